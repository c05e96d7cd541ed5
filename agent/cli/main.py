"""The command ``poolhand``: arguments to a verb, and its end to an exit code.

======  ==================================================
code    meaning
======  ==================================================
0       done; ``status``: the agent serves
1       it failed, and said why
2       the command line was not understood
3       no agent answers
4       it runs, but does not serve (``status``), or not that model (``why``)
5       the agent refused the order; nothing was changed
6       all of it is here, but nobody had promised what its bytes are
78      the configuration or the token cannot be used
130     interrupted from the keyboard
======  ==================================================

A verb imports what it needs when it is chosen, so that ``--version`` stays quick. There is
no argument for a token: everybody on the machine can read arguments.
"""

import errno
import gc
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Protocol, cast

from ... import __version__
from ...config.errors import AgentError, ConfigError, ConfigInvalid
from ...config.postponed import import_later
from .exits import MEANINGS, Exit
from .parsing import Parser, open_streams

VERBS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "run": ("run", "run the agent in the foreground"),
        "status": ("status", "say whether the agent serves, and if not, why"),
        "doctor": ("doctor", "what works here, what does not, why, and what helps; s3 REF: a read"),
        "models": ("models_args", "what is here: list, fetch, show, verify, rm, prune, pin"),
        "bench": ("bench", "how fast this machine answers with a model"),
        "pool": ("pool", "which pool is served: status, set, release"),
        "pin": ("pins", "let a model make way for no other"),
        "unpin": ("pins", "take a pin back"),
        "drain": ("drain", "finish what runs and take nothing new"),
        "undrain": ("undrain", "take work again after a drain"),
        "reload": ("reload", "have the running agent read its configuration again"),
        "top": ("top", "the slots and what they do, drawn anew each second"),
        "logs": ("logs", "show what the agent wrote down; -f goes on"),
        "config": ("settings", "the configuration: init, check, show, get, set, diff, schema"),
        "login": ("login", "store the coordinator's token where the configuration says"),
        "logout": ("login", "delete the token that login stored"),
        "service": ("units", "install, start, stop, ask: have systemd or launchd keep it running"),
        "completion": ("completion", "print what bash, zsh or fish needs to complete our words"),
        "support-bundle": ("bundle", "gather what helps to find a fault; nothing is uploaded"),
        "engines": ("engines", "what could run a model here, and what is missing for the rest"),
        "dev": ("dev", "a world to try it in, for development, on loopback"),
    }
)
"""By verb: its file in this folder, and what it is for. The next verb is a line here."""


_SELDOM = 50_000
"""New objects from one look of the collector to the next: looking at what imports have made, again
and again, it would take a sixth of a verb's time."""


class Verb(Protocol):
    """What the file of a verb offers; only the chosen one is imported."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what it takes."""
        ...

    def main(self, args: Namespace) -> int:
        """Do it; give back the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Arguments after the command's name; ``None``: the process's own.

    Returns:
        The exit code, one of :class:`~poolhand.agent.cli.exits.Exit`.
    """
    open_streams()
    import_later()
    if argv is not None:
        return _run(argv)
    words = sys.argv[1:]
    if words[:1] != ["run"]:  # it stays, and takes care of itself
        gc.set_threshold(_SELDOM)
    try:
        code = _run(words)
        if words[:2] == ["models", "fetch"]:  # as its child does: see there
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        return code
    finally:
        gc.freeze()  # the interpreter's end would look at every object once more: a tenth of it all


def _run(words: Sequence[str]) -> int:
    name = words[0] if words else ""
    try:
        chosen = _file_of(name) if name in VERBS else None
        args = _parser({name: chosen} if chosen else {}, words).read(words)
        code = chosen.main(args) if chosen else _version()
        sys.stdout.flush()
    except AgentError as error:
        return _told(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _unread()
        return Exit.FAILURE
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _unread()
        # its answer, or what it was to write: nothing tells which of them found no room
        print(f"poolhand: cannot write: {error.strerror}", file=sys.stderr)
        print("  Make room on the disk and where its answer goes, and ask again.", file=sys.stderr)
        return Exit.FAILURE
    return code


def _file_of(verb: str) -> Verb:
    return cast("Verb", import_module(f".{VERBS[verb][0]}", __package__))


def whole_parser() -> Parser:
    """The parser of all verbs with all their arguments; it imports each of them."""
    return _parser({name: _file_of(name) for name in VERBS})


def _parser(chosen: Mapping[str, Verb], words: Sequence[str] = ()) -> Parser:
    """Every verb by name, or the chosen one alone if words begin with it; its arguments alone."""
    codes = "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS)
    parser = Parser(
        prog="poolhand",
        description="Lends this machine to one model pool, over one outbound line.",
        epilog=f"exit codes:\n{codes}",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"poolhand {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in words[:1] if chosen and words else VERBS:
        told = VERBS[verb][1]
        one = verbs.add_parser(verb, help=told, description=told, allow_abbrev=False)
        if verb in chosen:
            one.words = words[1:]
            chosen[verb].add_arguments(one)
    verbs.add_parser("version", help="print the version", allow_abbrev=False)
    return parser


def _version() -> int:
    print(f"poolhand {__version__}")
    return Exit.OK


def _unread() -> None:
    """Let what is still to be written go: Python would complain again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: AgentError) -> int:
    print(f"poolhand: {error}", file=sys.stderr)
    if isinstance(error, ConfigInvalid):
        for other in error.others:
            print(f"poolhand: {other}", file=sys.stderr)
    print(f"  {error.remedy}", file=sys.stderr)
    return Exit.CONFIG if isinstance(error, ConfigError) else Exit.FAILURE
