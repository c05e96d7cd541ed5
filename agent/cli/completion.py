"""``poolhand completion SHELL``: what a shell needs to complete our words.

The scripts are made from the parser by :mod:`~.shells`; reading all of it would take every verb.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import cast

from .exits import Exit

SHELLS = ("bash", "zsh", "fish")


def script_of(shell: str) -> Path:
    """Where the script for a shell lies."""
    return Path(__file__).with_name("completions") / f"poolhand.{shell}"


def add_arguments(parser: ArgumentParser) -> None:
    """Take the shell."""
    parser.add_argument("shell", choices=SHELLS)


def main(args: Namespace) -> int:
    """Print the script.

    Returns:
        0.
    """
    print(script_of(cast("str", args.shell)).read_text(encoding="utf-8"), end="")
    return Exit.OK
