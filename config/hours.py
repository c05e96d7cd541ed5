"""When this machine serves, and for whom it steps aside: the tables ``[hours]`` and ``[owner]``."""

import re
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Literal

from .frozen import frozen
from .rules import Bound, checks
from .section import Section

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Monday is 0, as for :meth:`datetime.date.weekday`."""

DAY_MIN = 24 * 60

_WINDOW = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:-[a-z]{3})?(?:,[a-z]{3}(?:-[a-z]{3})?)*) )?"
    r"(?P<start>[0-9]{2}:[0-9]{2})-(?P<end>[0-9]{2}:[0-9]{2})"
)

LOCALTIME = Path("/etc/localtime")
"""The machine's own time zone, as a compiled file, on Linux and macOS. Source: localtime(5)."""

Sign = Literal["input", "battery", "gpu", "heat"]
"""What can tell that a machine is wanted by somebody else."""


@frozen
class Window:
    """A time of day at which this machine serves.

    Attributes:
        days: The days on which it begins; Monday is 0.
        start_min: Minutes from that day's 00:00 by the clock on the wall.
        end_min: The same, and later than ``start_min``; beyond 1440 on the next day.
    """

    days: frozenset[int]
    start_min: int
    end_min: int


class Hours(Section):
    """``[hours]``: when this machine serves; without windows, always.

    Attributes:
        windows: Such as ``mon-fri 22:00-07:00`` or ``sat,sun 00:00-24:00``. The days are those
            on which a window begins, and no days are all days; an end that is not after the
            start lies on the next day.
        timezone: An IANA name such as ``Europe/Berlin``; unset: the machine's own.
        drain_before_s: So long before a window ends, running answers are finished and nothing
            new is taken.
        wake_before_s: So long before a window begins, the models that had to go come back.
    """

    windows: tuple[str, ...] = ()
    timezone: Annotated[str, Bound(min_length=1, max_length=64)] | None = None
    drain_before_s: Annotated[float, Bound(ge=0, le=86400)] = 120.0
    wake_before_s: Annotated[float, Bound(ge=0, le=86400)] = 60.0

    @checks("windows")
    @staticmethod
    def _windows_can_be_read(windows: tuple[str, ...]) -> tuple[str, ...]:
        for text in windows:
            _ = window(text)
        return windows

    @checks("timezone")
    @staticmethod
    def _zone_is_known(timezone: str | None) -> str | None:
        if timezone is not None:
            _ = _named_zone(timezone)
        return timezone

    @property
    def opens(self) -> tuple[Window, ...]:
        """The windows, understood."""
        return tuple(window(text) for text in self.windows)

    @property
    def zone(self) -> tzinfo:
        """The clock on the wall that the windows are told by."""
        return _own_zone() if self.timezone is None else _named_zone(self.timezone)


class Owner(Section):
    """``[owner]``: stepping aside while the machine's owner needs it; off unless asked for.

    Attributes:
        yield_to: What is heeded. ``input``: keyboard and mouse. ``battery``: the machine runs on
            its battery. ``gpu``: a program that is not ours keeps the GPU busy. ``heat``: the
            machine is hot. What cannot be read on a machine is never a reason.
        input_within_s: Keyboard or mouse that were touched so lately count as being used.
        gpu_busy_ratio: A GPU that others keep busier than this is theirs; below the half of it
            they have left.
        heat: From here on the machine is hot.
        yield_after_s: A reason has to hold so long before the machine steps aside.
        resume_after_s: No reason may hold for so long before it serves again.
        check_interval_s: From one look to the next.
    """

    yield_to: tuple[Sign, ...] = ()
    input_within_s: Annotated[float, Bound(gt=0, le=86400)] = 60.0
    gpu_busy_ratio: Annotated[float, Bound(gt=0, le=1)] = 0.3
    heat: Literal["fair", "serious", "critical"] = "serious"
    yield_after_s: Annotated[float, Bound(ge=0, le=3600)] = 10.0
    resume_after_s: Annotated[float, Bound(ge=0, le=86400)] = 300.0
    check_interval_s: Annotated[float, Bound(ge=1, le=300)] = 5.0


def window(text: str) -> Window:
    """Read a window such as ``mon-fri 22:00-07:00``.

    Raises:
        ValueError: It is none; the message says what is wrong with it.
    """
    found = _WINDOW.fullmatch(text.strip().lower())
    if found is None:
        problem = f"{text!r} is no window: write days and times, such as 'mon-fri 22:00-07:00'"
        raise ValueError(problem)
    start_min, end_min = _minutes(found["start"], text), _minutes(found["end"], text)
    if start_min in {end_min, DAY_MIN}:
        problem = f"{text!r} is no window: a whole day is 00:00-24:00"
        raise ValueError(problem)
    if end_min < start_min:
        end_min += DAY_MIN
    return Window(_days(found["days"], text), start_min, end_min)


def _days(text: str | None, whole: str) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        unknown = [name for name in (first, last or first) if name not in DAYS]
        if unknown:
            problem = f"{whole!r} is no window: {unknown[0]!r} is no day; days are {' '.join(DAYS)}"
            raise ValueError(problem)
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days |= {day % 7 for day in range(begin, end + 1 + (7 if end < begin else 0))}
    return frozenset(days)


def _minutes(text: str, whole: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > DAY_MIN:  # noqa: PLR2004 - minutes of an hour
        problem = f"{whole!r} is no window: {text} is no time of day"
        raise ValueError(problem)
    return hours * 60 + minutes


def _named_zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # needs no table of zones on this machine
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - most machines serve at all hours

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        # ZoneInfoNotFoundError is a KeyError; a folder's name ends as an OSError
        problem = f"{name!r} is no time zone that this machine knows, such as 'Europe/Berlin'"
        raise ValueError(problem) from error


def _own_zone() -> tzinfo:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - as above

    try:
        with LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key="local")
    except (ValueError, OSError):
        return UTC  # what the system's own library falls back to
