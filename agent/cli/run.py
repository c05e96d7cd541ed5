"""``poolhand run``: the agent in the foreground."""

import gc
from argparse import ArgumentParser, Namespace

from .places import add_config, add_state_dir, config_of, own_state_of


def add_arguments(parser: ArgumentParser) -> None:
    """Take the file and the state folder."""
    add_config(parser)
    add_state_dir(parser)


def main(args: Namespace) -> int:
    """Serve until told to stop.

    Returns:
        The daemon's exit code.
    """
    # a fifth of the start would be the collector, looking at what imports made to stay
    gc.disable()
    from ..daemon import run  # noqa: PLC0415  # after the collector is off

    gc.enable()
    return run(config_of(args), own_state_of(args))
