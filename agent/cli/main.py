"""The command ``poolhand``: arguments to a verb, and its end to an exit code.

======  ==================================================
code    meaning
======  ==================================================
0       done; ``status``: the agent serves
1       it failed, and said why
2       the command line was not understood
3       ``status``: no agent answers
4       ``status``: the agent runs, but does not serve
78      the configuration or the token cannot be used
130     interrupted from the keyboard
======  ==================================================

A verb imports what it needs when it is chosen, so that ``--version`` stays quick. There is
no argument for a token: everybody on the machine can read arguments.
"""

import gc
import os
import sys
from argparse import REMAINDER, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Protocol, cast

from ... import __version__
from ...config.errors import AgentError, ConfigError, ConfigInvalid
from .exits import MEANINGS, Exit
from .models_args import add_models, perform
from .places import add_config, add_state_dir, config_of, state_of

DEV_TOOLS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "coordinator": ("coordinator", "a small coordinator that speaks the real wire"),
        "store": ("objectstore", "a small S3 over a folder"),
        "demo": ("demo", "both of them and an agent, from nothing to an answer"),
        "model": ("checkpoint", "write the tiny checkpoint that the demo serves"),
    }
)
"""By verb: the file in ``agent/dev`` and what it is. For development, on loopback only."""


class DevTool(Protocol):
    """What a file in ``agent/dev`` offers to the command line."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what it takes."""
        ...

    def main(self, args: Namespace) -> int:
        """Run it; give back the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Arguments after the command's name; ``None``: the process's own.

    Returns:
        The exit code, one of :class:`~poolhand.agent.cli.exits.Exit`.
    """
    for stream in (sys.stdout, sys.stderr):
        if callable(reconfigure := getattr(stream, "reconfigure", None)):
            reconfigure(errors="replace")  # a narrow terminal must not end a verb
    try:
        code = _perform(_parser().parse_args(argv))
        sys.stdout.flush()
    except AgentError as error:
        return _told(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has left; Python would complain again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILURE
    return code


def _parser() -> ArgumentParser:
    codes = "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS)
    parser = ArgumentParser(
        prog="poolhand",
        description="Lends this machine to one model pool, over one outbound line.",
        epilog=f"exit codes:\n{codes}",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"poolhand {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, words: str) -> ArgumentParser:
        return verbs.add_parser(name, help=words, description=words, allow_abbrev=False)

    run = verb("run", "run the agent in the foreground")
    status = verb("status", "say whether the agent serves, and if not, why")
    add_models(verb("models", "what is here: list, fetch, show, verify, rm, prune"))
    config = verb("config", "check: read the configuration and say what is wrong with it")
    config.add_argument("action", choices=["check"])
    for one in (run, status, config):
        add_config(one)
    for one in (run, status):
        add_state_dir(one)
    for one in (status, config):
        one.add_argument("--json", action="store_true", help="print JSON for programs")
    tools = "; ".join(f"{name}: {words}" for name, (_, words) in DEV_TOOLS.items())
    dev = verb("dev", f"a world to try it in, for development, on loopback. {tools}")
    dev.add_argument("tool", choices=list(DEV_TOOLS))
    dev.add_argument("rest", nargs=REMAINDER, metavar="...", help="see `poolhand dev TOOL --help`")
    verb("version", "print the version")
    return parser


def _perform(args: Namespace) -> int:
    match cast("str", args.verb):
        case "run":
            # a fifth of the start would be the collector, looking at what imports made to stay
            gc.disable()
            from ..daemon import run  # noqa: PLC0415  # only for this verb

            gc.enable()
            return run(config_of(args), state_of(args))
        case "status":
            from .status import status  # noqa: PLC0415  # only for this verb

            return status(args)
        case "models":
            return perform(args)
        case "config":
            from .settings import check  # noqa: PLC0415  # only for this verb

            return check(args)
        case "dev":
            return _dev(cast("str", args.tool), cast("list[str]", args.rest))
        case _:
            print(f"poolhand {__version__}")
            return Exit.OK


def _dev(name: str, rest: Sequence[str]) -> int:
    file, words = DEV_TOOLS[name]
    tool = cast("DevTool", import_module(f"...dev.{file}", __name__))
    parser = ArgumentParser(prog=f"poolhand dev {name}", description=words, allow_abbrev=False)
    tool.add_arguments(parser)
    return tool.main(parser.parse_args(rest))


def _told(error: AgentError) -> int:
    print(f"poolhand: {error}", file=sys.stderr)
    if isinstance(error, ConfigInvalid):
        for other in error.others:
            print(f"poolhand: {other}", file=sys.stderr)
    print(f"  {error.remedy}", file=sys.stderr)
    return Exit.CONFIG if isinstance(error, ConfigError) else Exit.FAILURE
