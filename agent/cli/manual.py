"""The manual page, written from the parser: ``poolhand.1`` for ``man``.

Source:
    groff_man(7); man-pages(7) for the sections and their order.
"""

from collections.abc import Iterator, Mapping
from textwrap import dedent

from .exits import MEANINGS
from .words import Words

_FILES = """
$POOLHAND_CONFIG, /etc/poolhand/agent.toml or the user's own agent.toml: the configuration, and
agent.d/*.toml beside it. The state folder ($POOLHAND_STATE_DIR) holds the control socket, the
node's keys and what outlives a restart.
"""


def page(tree: Mapping[str, Words]) -> str:
    """The page.

    Args:
        tree: From :func:`~.words.tree`.
    """
    return "\n".join(_lines(tree)) + "\n"


def _lines(tree: Mapping[str, Words]) -> Iterator[str]:
    yield '.TH POOLHAND 1 "" poolhand "User Commands"'
    yield '.\\" written by docs/generate.py from the parser; do not edit'
    yield from (".SH NAME", "poolhand \\- a node agent: lends this machine to one pool of models")
    yield from (".SH SYNOPSIS", ".B poolhand", ".I VERB", "[\\fIARGUMENT\\fR ...]")
    yield from (".SH DESCRIPTION", _text(tree["poolhand"].purpose))
    yield ".SH VERBS"
    for path, found in tree.items():
        is_leaf = not found.below or any(f"{path} {word}" not in tree for word in found.below)
        if path != "poolhand" and is_leaf:
            yield from _verb(path, found)
    yield ".SH EXIT STATUS"
    for code, meaning in MEANINGS:
        yield from (".TP", f".B {code.value}", _text(meaning))
    yield from (".SH FILES", _text(dedent(_FILES).strip()))
    yield from (".SH SEE ALSO", ".BR systemctl (1),", ".BR journalctl (1),", ".BR launchctl (1)")


def _verb(path: str, found: Words) -> Iterator[str]:
    named = [name for name in found.values if not name.startswith("-")]
    choices = f" {{{'|'.join(found.below)}}}" if found.below else ""
    places = "" if found.below else "".join(f" {name}" for name in named)
    yield f'.SS "{_text(path + choices + places)}"'
    if found.purpose:
        yield _text(found.purpose[:1].upper() + found.purpose[1:] + ".")
    for option, words in found.options.items():
        if option == "--help":
            continue
        value = found.values.get(option, "")
        yield from (
            ".TP",
            f"\\fB{_text(option)}\\fR" + (f" \\fI{_text(value)}\\fR" if value else ""),
        )
        yield _text(words) or "\\&"


def _text(words: str) -> str:
    """Text that groff takes as text."""
    plain = words.replace("…", "...").replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in plain.split("\n"))
