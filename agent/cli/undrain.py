"""``poolhand undrain``: take work again after ``poolhand drain``."""

from argparse import ArgumentParser, Namespace

from . import orders


def add_arguments(parser: ArgumentParser) -> None:
    """Take what every order takes."""
    orders.add_common(parser)


def main(args: Namespace) -> int:
    """Undrain.

    Returns:
        See :func:`~.orders.give`.
    """
    return orders.give(args, "/v1/undrain", {})
