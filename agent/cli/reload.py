"""``poolhand reload``: have the running agent read its configuration again."""

from argparse import ArgumentParser, Namespace

from . import orders


def add_arguments(parser: ArgumentParser) -> None:
    """Take what every order takes."""
    orders.add_common(parser)


def main(args: Namespace) -> int:
    """Have it read again; what cannot be is refused, and what was in force stays.

    Returns:
        See :func:`~.orders.give`.
    """
    return orders.give(args, "/v1/reload", {})
