"""When should we serve? Windows of local time as a pure function of the clock on the wall.

Every window becomes a span of real time, so that a day of 23 or 25 hours needs no rule of its
own: an hour that a clock skips is where the skip is, and an hour that comes twice counts when
it comes first. Windows that touch are one. Nothing is remembered from one moment to the next:
a clock that jumps is simply another moment.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from ...config.frozen import frozen
from ...config.hours import Hours, Window
from .slots import SlotState, Stay

FOREVER_S = float("inf")

DAY_S = 86400.0

DAYS_BACK = 2
"""A window of the day before yesterday may still be open: it lasts 24 hours at most, and a
zone's day begins up to 14 hours from another's."""

DAYS_AHEAD = 9
"""A window of each week is met at least once, and its end is seen."""

ENDLESS_S = 8 * DAY_S
"""Windows repeat each week: what is open for longer than this is open always."""

LATEST_UNIX_S = 250_000_000_000.0
"""A clock beyond the year 9892 is broken, and no date has room for a window after it."""


class Phase(StrEnum):
    """What the hours say."""

    OPEN = "open"
    """Serve."""

    CLOSING = "closing"
    """Finish what runs, take nothing new: the window is about to end."""

    CLOSED = "closed"
    """Outside every window."""

    WAKING = "waking"
    """Load, but answer nobody yet: a window is about to begin."""


@frozen
class Span:
    """From one moment to another, the second not included; in seconds since 1970."""

    starts_s: float
    ends_s: float

    def holds(self, unix_s: float) -> bool:
        """Whether a moment lies within."""
        return self.starts_s <= unix_s < self.ends_s


@frozen
class Moment:
    """What the hours say, and for how long.

    Attributes:
        span: The phase lasts exactly so long, if the clock does not jump.
        turns_s: When the window that is open ends, or the next one begins; in seconds since
            1970, infinite if never.
    """

    phase: Phase
    span: Span
    turns_s: float


ALWAYS = Moment(Phase.OPEN, Span(-FOREVER_S, FOREVER_S), FOREVER_S)


def moment(hours: Hours, zone: tzinfo, unix_s: float) -> Moment:
    """What the hours say at a moment.

    Args:
        hours: The windows; none mean that the machine always serves.
        zone: The clock on the wall that the windows are told by.
        unix_s: Seconds since 1970.
    """
    if not hours.windows:
        return ALWAYS
    at_s = min(max(unix_s, 0.0), LATEST_UNIX_S)
    known = spans(hours.opens, zone, at_s)
    now = next((span for span in known if span.holds(at_s)), None)
    if now is not None:
        # a window is never all drain: half of it at most
        last_s = now.ends_s - min(hours.drain_before_s, (now.ends_s - now.starts_s) / 2)
        if at_s < last_s:
            # whoever has no hole in a week has none at all, and is looked at again all the same
            is_endless = now.ends_s > at_s + ENDLESS_S
            turns_s = FOREVER_S if is_endless else now.ends_s
            return Moment(Phase.OPEN, Span(now.starts_s, last_s), turns_s)
        return Moment(Phase.CLOSING, Span(last_s, now.ends_s), now.ends_s)
    before_s = max((span.ends_s for span in known if span.ends_s <= at_s), default=-FOREVER_S)
    # a week's only window may fall into a skipped hour: then it is looked for again tomorrow
    next_s = min((span.starts_s for span in known if span.starts_s > at_s), default=None)
    if next_s is None:
        return Moment(Phase.CLOSED, Span(before_s, at_s + DAY_S), FOREVER_S)
    wakes_s = max(before_s, next_s - hours.wake_before_s)
    if at_s < wakes_s:
        return Moment(Phase.CLOSED, Span(before_s, wakes_s), next_s)
    return Moment(Phase.WAKING, Span(wakes_s, next_s), next_s)


def spans(windows: Iterable[Window], zone: tzinfo, unix_s: float) -> list[Span]:
    """The windows around a moment as spans of real time, in order; no two touch."""
    today = datetime.fromtimestamp(unix_s, UTC).date()
    days = [today + timedelta(days=ahead) for ahead in range(-DAYS_BACK, DAYS_AHEAD + 1)]
    found = sorted(
        (instant(day, window.start_min, zone), instant(day, window.end_min, zone))
        for window in windows
        for day in days
        if day.weekday() in window.days
    )
    merged: list[Span] = []
    for starts_s, ends_s in found:
        if merged and starts_s <= merged[-1].ends_s:
            merged[-1] = Span(merged[-1].starts_s, max(merged[-1].ends_s, ends_s))
        elif starts_s < ends_s:
            merged.append(Span(starts_s, ends_s))
    return merged


def instant(day: date, minutes: int, zone: tzinfo) -> float:
    """When the clock on the wall says so, in seconds since 1970.

    Args:
        day: A date.
        minutes: From its 00:00 by the clock on the wall; 1440 is the next day's 00:00.
        zone: Whose clock.

    Returns:
        The first such moment if there are two; if there is none, when the clock skips it.
    """
    wanted = datetime.combine(day, time()) + timedelta(minutes=minutes)
    at_s = wanted.replace(tzinfo=zone).timestamp()
    if _reads(at_s, zone) == wanted:
        return at_s
    # a gap: with fold=1 it is read by the offset that holds after it, so as a moment before it
    low_s, high_s = int(wanted.replace(tzinfo=zone, fold=1).timestamp()) - 1, int(at_s)
    while high_s - low_s > 1:
        middle_s = (low_s + high_s) // 2
        low_s, high_s = (
            (low_s, middle_s) if _reads(middle_s, zone) >= wanted else (middle_s, high_s)
        )
    return float(high_s)


def idle_ends(
    stays: Iterable[Stay],
    *,
    idle_unload_s: float,
    busy: Collection[str],
    pinned: Collection[str],
) -> dict[str, float]:
    """When each model has been idle for long enough to go, in the node's time.

    One whose engine leaves its memory by itself then keeps its slot, until somebody wants that.

    Args:
        stays: Every stay.
        idle_unload_s: How long a model may stay without a request; 0: for ever.
        busy: Models with requests that have not ended.
        pinned: Models that never go for being idle.
    """
    if not idle_unload_s:
        return {}
    return {
        stay.model: stay.last_used_s + idle_unload_s
        for stay in stays
        if stay.state is SlotState.READY
        and not stay.sleeps
        and stay.model not in busy
        and stay.model not in pinned
    }


def _reads(unix_s: float, zone: tzinfo) -> datetime:
    """What the clock on the wall says."""
    return datetime.fromtimestamp(unix_s, zone).replace(tzinfo=None)
