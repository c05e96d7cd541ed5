"""``poolhand dev TOOL``: a world to try the agent in, for development, on loopback."""

from argparse import REMAINDER, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from .main import Verb

TOOLS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "coordinator": ("coordinator", "a small coordinator that speaks the real wire"),
        "store": ("objectstore", "a small S3 over a folder"),
        "demo": ("demo", "both of them and an agent, from nothing to an answer"),
        "model": ("checkpoint", "write the tiny checkpoint that the demo serves"),
    }
)
"""By name: the file in ``agent/dev`` and what it is."""


def add_arguments(parser: ArgumentParser) -> None:
    """Take a tool; what follows is the tool's own."""
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = "\n".join(f"  {name:<12} {words}" for name, (_, words) in TOOLS.items())
    parser.add_argument("tool", choices=list(TOOLS))
    parser.add_argument(
        "rest", nargs=REMAINDER, metavar="...", help="see `poolhand dev TOOL --help`"
    )


def main(args: Namespace) -> int:
    """Run the tool.

    Returns:
        Its exit code.
    """
    name = cast("str", args.tool)
    file, words = TOOLS[name]
    tool = cast("Verb", import_module(f"...dev.{file}", __name__))
    parser = ArgumentParser(prog=f"poolhand dev {name}", description=words, allow_abbrev=False)
    tool.add_arguments(parser)
    return tool.main(parser.parse_args(cast("list[str]", args.rest)))
