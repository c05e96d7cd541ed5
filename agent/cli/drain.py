"""``poolhand drain``: finish what runs and take nothing new, until ``poolhand undrain``."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import cast

from . import orders

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_LONGEST_S = 86400.0


def add_arguments(parser: ArgumentParser) -> None:
    """Take the patience."""
    orders.add_common(parser, may_wait=True)
    parser.add_argument(
        "--deadline",
        metavar="SPAN",
        type=span_s,
        help="end answers that take longer: 30, 90s, 5m, 1h (default: never)",
    )


def main(args: Namespace) -> int:
    """Drain, and wait until nothing runs.

    Returns:
        See :func:`~.orders.give`.
    """
    deadline_s = cast("float | None", args.deadline)
    return orders.give(args, "/v1/drain", {} if deadline_s is None else {"deadline_s": deadline_s})


def span_s(text: str) -> float:
    """Seconds of a span as people write it, at most a day.

    Raises:
        ArgumentTypeError: It is none.
    """
    digits = text.strip().lower().rstrip("sminh")
    try:
        found_s = float(digits) * _UNITS_S[text.strip().lower()[len(digits) :]]
    except (ValueError, KeyError):
        found_s = -1.0
    if not 0 <= found_s <= _LONGEST_S:
        message = f"{text!r} is no span such as 30, 90s, 5m or 1h, and at most a day"
        raise ArgumentTypeError(message)
    return found_s
