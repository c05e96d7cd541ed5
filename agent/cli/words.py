"""Every word of the command line, read off its parser: for completions and the manual page."""

from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterator, Mapping
from typing import cast

from ...config.frozen import frozen


@frozen
class Words:
    """What may follow after some words.

    Attributes:
        below: Verbs or choices, each with what it is for.
        options: The same for options, by their longest name.
        values: Names of positional arguments and of options' values, for the manual page.
        purpose: What the words before do.
    """

    below: Mapping[str, str]
    options: Mapping[str, str]
    values: Mapping[str, str]
    purpose: str


def tree(parser: ArgumentParser) -> dict[str, Words]:
    """By path, such as ``poolhand pool set``, what may follow it."""
    return dict(_walk(parser, "poolhand"))


def _walk(parser: ArgumentParser, path: str) -> Iterator[tuple[str, Words]]:
    below: dict[str, str] = {}
    options: dict[str, str] = {}
    values: dict[str, str] = {}
    inner: dict[str, ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001  # argparse offers no other way to look
        found = cast("Mapping[str, ArgumentParser] | tuple[str, ...] | None", action.choices)
        what = "" if action.help in {None, SUPPRESS} else _expanded(action)
        if action.option_strings:
            name = max(action.option_strings, key=len)
            options[name] = what
            if action.nargs != 0:
                values[name] = _value(action)
        elif isinstance(found, Mapping):
            inner |= dict(found)
            helps = {one.dest: one.help or "" for one in _choices(action)}
            below |= {word: helps.get(word, "") for word in found}
        else:
            below |= dict.fromkeys((str(word) for word in found or ()), "")
            values[_value(action)] = what
    yield path, Words(below, options, values, parser.description or "")
    for word, one in inner.items():
        yield from _walk(one, f"{path} {word}")


def _choices(action: Action) -> list[Action]:
    return cast("list[Action]", getattr(action, "_choices_actions", []))


def _value(action: Action) -> str:
    named = action.metavar
    return named if isinstance(named, str) else action.dest.upper()


def _expanded(action: Action) -> str:
    """The help's text; what argparse would fill in is filled in."""
    return (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
