"""When should we serve: windows across nights, weeks, skipped hours and hours that come twice."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from io import BytesIO
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.schedule import (
    ALWAYS,
    LATEST_UNIX_S,
    Moment,
    Phase,
    Span,
    idle_ends,
    instant,
    moment,
    spans,
)
from poolhand.agent.core.slots import SlotState, Stay
from poolhand.config.hours import DAYS, Hours, window

HOUR_S = 3600.0


def zone_of(rule: str) -> ZoneInfo:
    """A zone from a rule in the manner of POSIX; needs no table of zones on this machine."""
    header = b"TZif2" + bytes(15) + b"".join(n.to_bytes(4, "big") for n in (0, 0, 0, 0, 1, 4))
    data = (header + bytes(6) + b"LMT\0") * 2 + f"\n{rule}\n".encode()
    return ZoneInfo.from_file(BytesIO(data), key=rule)


BERLIN = zone_of("CET-1CEST,M3.5.0,M10.5.0/3")
NEW_YORK = zone_of("EST5EDT,M3.2.0,M11.1.0")
LORD_HOWE = zone_of("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")
"""Half an hour of daylight saving, in the south."""
CAIRO_LIKE = zone_of("EET-2EEST,M4.5.5/0,M10.5.4/24")
"""Changes at midnight: a day begins at 01:00."""
ZONES = [UTC, BERLIN, NEW_YORK, LORD_HOWE, CAIRO_LIKE, timezone(timedelta(hours=14))]


def at(text: str, zone: tzinfo = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def told(unix_s: float, zone: tzinfo = UTC) -> str:
    return datetime.fromtimestamp(unix_s, zone).isoformat(timespec="minutes")


def hours(*windows: str, drain_before_s: float = 0.0, wake_before_s: float = 0.0) -> Hours:
    return Hours(windows=windows, drain_before_s=drain_before_s, wake_before_s=wake_before_s)


def phase(chosen: Hours, text: str, zone: tzinfo = UTC) -> Phase:
    return moment(chosen, zone, at(text, zone)).phase


# ── windows ───────────────────────────────────────────────────────────────────────────


def test_without_windows_it_is_always_open() -> None:
    assert moment(Hours(), UTC, 0.0) == ALWAYS
    assert ALWAYS.phase is Phase.OPEN


def test_a_days_window_opens_closes_and_opens_again() -> None:
    chosen = hours("mon-fri 09:00-17:00", drain_before_s=600.0, wake_before_s=300.0)
    # 20 November 2026 is a Friday
    assert phase(chosen, "2026-11-20T08:54:59") is Phase.CLOSED
    assert phase(chosen, "2026-11-20T08:55:00") is Phase.WAKING
    assert phase(chosen, "2026-11-20T09:00:00") is Phase.OPEN
    assert phase(chosen, "2026-11-20T16:49:59") is Phase.OPEN
    assert phase(chosen, "2026-11-20T16:50:00") is Phase.CLOSING
    assert phase(chosen, "2026-11-20T17:00:00") is Phase.CLOSED
    found = moment(chosen, UTC, at("2026-11-20T18:00:00"))
    assert found.turns_s == at("2026-11-23T09:00:00"), "Monday"
    assert found.span == Span(at("2026-11-20T17:00:00"), at("2026-11-23T08:55:00"))


def test_a_nights_window_belongs_to_the_day_on_which_it_begins() -> None:
    chosen = hours("fri 22:00-06:00")
    assert phase(chosen, "2026-11-20T22:00:00") is Phase.OPEN
    assert phase(chosen, "2026-11-21T05:59:59") is Phase.OPEN, "Saturday morning"
    assert phase(chosen, "2026-11-21T06:00:00") is Phase.CLOSED
    assert phase(chosen, "2026-11-20T05:00:00") is Phase.CLOSED, "Friday morning"


def test_windows_that_touch_are_one() -> None:
    chosen = hours("sat,sun 00:00-24:00", "mon 00:00-06:00", drain_before_s=3600.0)
    found = moment(chosen, UTC, at("2026-11-21T12:00:00"))
    assert (found.phase, found.turns_s) == (Phase.OPEN, at("2026-11-23T06:00:00"))
    whole = hours("00:00-24:00", drain_before_s=3600.0)
    assert moment(whole, UTC, at("2026-11-21T23:59:59")).phase is Phase.OPEN, "no end at midnight"
    assert moment(whole, UTC, at("2026-11-21T23:59:59")).turns_s == float("inf"), "nor any other"
    week = hours("mon-sat 00:00-24:00", "sun 00:00-23:59")
    assert told(moment(week, UTC, at("2026-11-23T00:00:00")).turns_s) == "2026-11-29T23:59+00:00"


def test_a_drain_takes_half_of_a_window_at_most_and_waking_waits_for_the_last_ones_end() -> None:
    chosen = hours("10:00-10:10", "10:12-10:30", drain_before_s=HOUR_S, wake_before_s=HOUR_S)
    assert phase(chosen, "2026-11-20T10:04:59") is Phase.OPEN
    assert phase(chosen, "2026-11-20T10:05:00") is Phase.CLOSING
    waking = moment(chosen, UTC, at("2026-11-20T10:11:00"))
    span = Span(at("2026-11-20T10:10:00"), at("2026-11-20T10:12:00"))
    assert waking == Moment(Phase.WAKING, span, span.ends_s)
    assert phase(chosen, "2026-11-20T10:12:00") is Phase.OPEN


# ── clocks that are put forward and back ──────────────────────────────────────────────


def test_a_night_in_spring_is_an_hour_shorter_and_one_in_autumn_longer() -> None:
    chosen = hours("22:00-06:00")
    for text, length_h in [("2026-03-28", 7), ("2026-10-24", 9), ("2026-11-20", 8)]:
        found = moment(chosen, BERLIN, at(f"{text}T23:00:00", BERLIN))
        assert found.phase is Phase.OPEN
        assert found.span.ends_s - found.span.starts_s == length_h * HOUR_S
        assert told(found.turns_s, BERLIN)[11:16] == "06:00"


def test_a_skipped_time_is_when_the_clock_skips_it() -> None:
    sunday = date(2026, 3, 29)
    skip_s = at("2026-03-29T01:00:00")
    assert [instant(sunday, minutes, BERLIN) for minutes in (119, 120, 150, 179, 180)] == [
        skip_s - 60,
        skip_s,
        skip_s,
        skip_s,
        skip_s,
    ]
    assert instant(sunday, 181, BERLIN) == skip_s + 60
    within = hours("02:15-02:45")
    found = moment(within, BERLIN, skip_s)
    assert found.phase is Phase.CLOSED, "there is no such quarter on that day"
    assert told(found.turns_s, BERLIN) == "2026-03-30T02:15+02:00"
    across = hours("02:30-05:00")
    found = moment(across, BERLIN, skip_s)
    assert found.span == Span(skip_s, skip_s + 2 * HOUR_S), "from 03:00 to 05:00"


def test_a_time_that_comes_twice_counts_when_it_comes_first() -> None:
    sunday = date(2026, 10, 25)
    first_s = at("2026-10-25T00:30:00")
    assert instant(sunday, 150, BERLIN) == first_s, "02:30 in summer time"
    chosen = hours("22:00-02:30")
    found = moment(chosen, BERLIN, first_s - 1)
    assert (found.phase, found.turns_s) == (Phase.OPEN, first_s)
    for later_s in (0.0, 1800.0, HOUR_S, HOUR_S + 1799.0):
        assert moment(chosen, BERLIN, first_s + later_s).phase is Phase.CLOSED, "it stays shut"


def test_a_half_hours_change_and_one_at_midnight() -> None:
    # 4 October 2026: 02:00 becomes 02:30 on Lord Howe
    assert told(instant(date(2026, 10, 4), 135, LORD_HOWE)) == "2026-10-03T15:30+00:00"
    # 24 April 2026: 00:00 becomes 01:00
    day = date(2026, 4, 24)
    assert instant(day, 0, CAIRO_LIKE) == instant(day, 60, CAIRO_LIKE) == at("2026-04-23T22:00:00")
    found = moment(hours("fri 00:00-24:00"), CAIRO_LIKE, at("2026-04-24T12:00:00"))
    assert found.span.ends_s - found.span.starts_s == 23 * HOUR_S


def test_a_week_whose_only_window_is_skipped_is_waited_out() -> None:
    chosen = hours("sun 02:15-02:45")
    found = moment(chosen, BERLIN, at("2026-03-24T12:00:00"))
    assert (found.phase, found.turns_s) == (Phase.CLOSED, float("inf"))
    later = moment(chosen, BERLIN, found.span.ends_s + 5 * 24 * HOUR_S)
    assert told(later.turns_s, BERLIN) == "2026-04-05T02:15+02:00"


@pytest.mark.parametrize("unix_s", [-1e18, -1.0, 0.0, 1e5, LATEST_UNIX_S, 1e15, 1e300])
def test_a_broken_clock_breaks_nothing(unix_s: float) -> None:
    for zone in ZONES:
        assert moment(hours("mon 22:00-07:00"), zone, unix_s).phase in Phase


# ── laws ──────────────────────────────────────────────────────────────────────────────


def written(days: set[str], start_min: int, length_min: int) -> str:
    """A window as a person writes it."""
    end_min = (start_min + length_min) % 1440
    times = f"{start_min // 60:02}:{start_min % 60:02}-{end_min // 60:02}:{end_min % 60:02}"
    return f"{','.join(sorted(days))} {times}"


def chosen_hours(windows: list[str], drain_before_s: float, wake_before_s: float) -> Hours:
    """Hours of several windows."""
    return hours(*windows, drain_before_s=drain_before_s, wake_before_s=wake_before_s)


WINDOWS = st.builds(
    written,
    st.sets(st.sampled_from(DAYS), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1439),
)
MOMENTS = st.floats(1.7e9, 1.95e9, allow_nan=False)
CHOSEN = st.builds(
    chosen_hours,
    st.lists(WINDOWS, min_size=1, max_size=4),
    st.floats(0, 7200),
    st.floats(0, 7200),
)


@given(chosen=CHOSEN, zone=st.sampled_from(ZONES), unix_s=MOMENTS)
def test_law_a_phase_lasts_as_long_as_it_says(chosen: Hours, zone: tzinfo, unix_s: float) -> None:
    now = moment(chosen, zone, unix_s)
    assert now.span.holds(unix_s)
    assert now.turns_s >= now.span.ends_s
    within_s = (unix_s + now.span.ends_s) / 2
    if now.span.holds(within_s):
        assert moment(chosen, zone, within_s).phase is now.phase, "whenever it is asked"
    after = moment(chosen, zone, now.span.ends_s)
    follows = {
        Phase.OPEN: {Phase.CLOSING, Phase.CLOSED, Phase.WAKING},
        Phase.CLOSING: {Phase.CLOSED, Phase.WAKING},
        Phase.CLOSED: {Phase.WAKING, Phase.OPEN},
        Phase.WAKING: {Phase.OPEN},
    }
    if now.turns_s < float("inf"):
        assert after.phase in follows[now.phase] or now.phase is after.phase is Phase.OPEN


@given(
    zone=st.sampled_from(ZONES),
    cuts_min=st.sets(st.integers(1, 1439), min_size=1, max_size=4),
    unix_s=MOMENTS,
)
def test_law_windows_that_share_out_a_day_share_out_every_day(
    zone: tzinfo, cuts_min: set[int], unix_s: float
) -> None:
    marks = ["00:00", *(f"{m // 60:02}:{m % 60:02}" for m in sorted(cuts_min)), "24:00"]
    parts = [hours(f"{a}-{b}") for a, b in pairwise(marks)]
    is_open = [moment(part, zone, unix_s).phase is Phase.OPEN for part in parts]
    assert sum(is_open) == 1, "exactly one, on short days and on long ones"


@given(zone=st.sampled_from(ZONES), day=st.dates(date(2020, 1, 1), date(2035, 1, 1)))
def test_law_no_time_of_a_day_comes_before_an_earlier_one(zone: tzinfo, day: date) -> None:
    moments = [instant(day, minutes, zone) for minutes in range(0, 1441, 15)]
    assert moments == sorted(moments)
    assert instant(day, 1440, zone) == instant(day + timedelta(days=1), 0, zone)


@given(chosen=CHOSEN, zone=st.sampled_from(ZONES), unix_s=MOMENTS)
def test_law_spans_are_apart_and_in_order(chosen: Hours, zone: tzinfo, unix_s: float) -> None:
    found = spans([window(text) for text in chosen.windows], zone, unix_s)
    assert all(span.starts_s < span.ends_s for span in found)
    assert all(a.ends_s < b.starts_s for a, b in pairwise(found))


# ── idle ──────────────────────────────────────────────────────────────────────────────


def test_only_who_is_idle_here_and_not_pinned_has_an_end() -> None:
    stays = [
        Stay("a", SlotState.READY, last_used_s=100.0),
        Stay("busy", SlotState.READY, last_used_s=100.0),
        Stay("pinned", SlotState.READY, last_used_s=100.0),
        Stay("loading", SlotState.LOADING, last_used_s=0.0),
        Stay("leaving", SlotState.DRAINING, last_used_s=0.0),
        Stay("asleep", SlotState.READY, last_used_s=0.0, sleeps=True),
    ]
    rules = {"busy": {"busy"}, "pinned": {"pinned"}}
    assert idle_ends(stays, idle_unload_s=60.0, **rules) == {"a": 160.0}
    assert idle_ends(stays, idle_unload_s=0.0, **rules) == {}, "0 is never"


def test_a_moment_is_a_plain_value() -> None:
    assert moment(hours("09:00-10:00"), UTC, 0.0) == Moment(
        Phase.CLOSED, Span(-14 * HOUR_S, 9 * HOUR_S), 9 * HOUR_S
    )
