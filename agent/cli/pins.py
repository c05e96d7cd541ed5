"""``poolhand pin MODEL`` and ``unpin MODEL``: which models make way for no other."""

from argparse import ArgumentParser, Namespace
from typing import cast

from . import orders


def add_arguments(parser: ArgumentParser) -> None:
    """Take the model."""
    orders.add_common(parser)
    parser.add_argument("model", metavar="MODEL", help="its id, or an alias of it alone")


def main(args: Namespace) -> int:
    """Pin it, or take that back.

    Returns:
        See :func:`~.orders.give`.
    """
    return pin(args, is_pinned=cast("str", args.verb) == "pin")


def pin(args: Namespace, *, is_pinned: bool) -> int:
    """The same for ``models pin`` and ``models unpin``."""
    return orders.give(args, "/v1/pin" if is_pinned else "/v1/unpin", {"model": args.model})
