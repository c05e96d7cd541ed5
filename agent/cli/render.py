"""The daemon's JSON as lines for people.

It draws whatever is there, by the units in the names, and misses nothing that is not: an
older command line has to show a newer agent. Texts may come from a coordinator, so nothing
reaches the terminal that could steer it: whoever prints passes each line through
:func:`plain`.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, cast

from ...config.sizes import size

if TYPE_CHECKING:  # most verbs draw and fail with nothing
    from ...config.errors import AgentError

__all__ = [
    "items",
    "percent",
    "plain",
    "size",
    "span",
    "sparkline",
    "table",
    "told",
    "wants_colour",
]

GIB, MIB = 2**30, 2**20
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_FINE_BELOW = 10


def table(value: object) -> Mapping[str, object]:
    """The value if it is a JSON object, else an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """The value if it is a JSON array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def plain(value: object) -> str:
    """A scalar as text that cannot steer a terminal."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case _:
            return "".join(one if one.isprintable() else "?" for one in str(value))


def told(said: Mapping[str, object], lines: Iterable[str], *, is_json: bool) -> None:
    """Print one answer: for programs, or for people."""
    print(json.dumps(said) if is_json else "\n".join(lines))


def failed(error: "AgentError", *, is_json: bool) -> None:
    """Say why there is no answer, and what helps: for programs, or for people."""
    if is_json:
        print(json.dumps({"code": error.code, "words": str(error), "remedy": error.remedy}))
    else:
        print(f"poolhand: {error}\n  -> {error.remedy}", file=sys.stderr)


def wants_colour() -> bool:
    """Whether standard output is a terminal of somebody who wants colours, and that has them."""
    environ = os.environ
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def span(duration_s: float) -> str:
    """Seconds as people read them, in the largest unit that leaves a whole number."""
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if duration_s >= 2 * unit_s:
            return f"{duration_s // unit_s:.0f} {unit}"
    return f"{duration_s:.0f} s"


def time_left(left_s: float) -> str:
    """The same where a whole number alone would be a third too little: ``2 min 59 s``."""
    finer = ((_DAY_S, _HOUR_S, "h"), (_HOUR_S, _MINUTE_S, "min"), (_MINUTE_S, 1, "s"))
    for unit_s, part_s, part in finer:
        if left_s >= 2 * unit_s:
            rest = int(left_s % unit_s // part_s)
            is_fine = rest and left_s < _FINE_BELOW * unit_s
            return f"{span(left_s)} {rest} {part}" if is_fine else span(left_s)
    return span(left_s)


def percent(ratio: float) -> str:
    """A part of one as people read it."""
    return f"{100 * ratio:.0f} %"


def sparkline(values: Sequence[float], *, is_ascii: bool = False) -> str:
    """A row of figures as a row of bars; the highest of them fills its cell.

    Args:
        values: From the oldest on; less than nothing is nothing.
        is_ascii: For a terminal that knows no block characters.
    """
    cells = " .:-=+*#" if is_ascii else " ▁▂▃▄▅▆▇█"
    most = max(values, default=0.0)
    if most <= 0:
        return cells[0] * len(values)
    steps = len(cells) - 1
    return "".join(cells[ceil(max(0.0, value) / most * steps)] for value in values)
