"""The tables [hours] and [owner]: windows as people write them."""

import zoneinfo
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.hours import DAY_MIN, DAYS, Hours, Owner, Window, window
from poolhand.config.rules import Invalid
from poolhand.config.settings import Settings

BASE = {"coordinator": {"url": "ws://127.0.0.1:1"}}
ALL = frozenset(range(7))


@pytest.mark.parametrize(
    ("text", "days", "start_min", "end_min"),
    [
        ("22:00-07:00", ALL, 1320, 1860),
        ("mon-fri 09:00-17:30", frozenset(range(5)), 540, 1050),
        ("sat,sun 00:00-24:00", frozenset({5, 6}), 0, 1440),
        ("fri-mon 22:00-00:00", frozenset({4, 5, 6, 0}), 1320, 1440),
        ("mon,wed-thu 23:59-00:01", frozenset({0, 2, 3}), 1439, 1441),
        (" Tue 06:15-06:16 ", frozenset({1}), 375, 376),
        ("sun-sun 01:00-02:00", frozenset({6}), 60, 120),
    ],
)
def test_a_window_is_read(text: str, days: frozenset[int], start_min: int, end_min: int) -> None:
    assert window(text) == Window(days, start_min, end_min)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no window: write days and times"),
        ("nights", "is no window: write days and times"),
        ("9:00-17:00", "is no window: write days and times"),
        ("mon 9-17", "is no window: write days and times"),
        ("mon - fri 09:00-17:00", "is no window: write days and times"),
        ("moo 09:00-17:00", "'moo' is no day; days are mon tue wed thu fri sat sun"),
        ("mon-dim 09:00-17:00", "'dim' is no day"),
        ("09:60-17:00", "09:60 is no time of day"),
        ("09:00-24:01", "24:01 is no time of day"),
        ("22:00-22:00", "a whole day is 00:00-24:00"),
        ("24:00-02:00", "a whole day is 00:00-24:00"),
        ("mon 09:00-17:00\n", ""),
    ],
)
def test_what_is_no_window_is_refused_with_its_reason(text: str, words: str) -> None:
    if not words:
        assert window(text) == window(text.strip()), "blanks around it are no harm"
        return
    with pytest.raises(ValueError, match="no window") as caught:
        _ = window(text)
    assert words in str(caught.value)
    with pytest.raises(Invalid, match="no window"):
        _ = Hours(windows=("09:00-10:00", text))


@given(
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    start_min=st.integers(0, DAY_MIN - 1),
    length_min=st.integers(1, DAY_MIN - 1),
)
def test_law_what_is_written_is_what_is_read(
    days: set[str], start_min: int, length_min: int
) -> None:
    end_min = (start_min + length_min) % DAY_MIN
    text = f"{','.join(days)} {start_min // 60:02}:{start_min % 60:02}"
    text += f"-{end_min // 60:02}:{end_min % 60:02}"
    read = window(text)
    assert {DAYS[day] for day in read.days} == days
    assert (read.start_min, read.end_min) == (start_min, start_min + length_min)


def test_a_node_serves_always_and_yields_to_nobody_unless_asked_to() -> None:
    settings = Settings.model_validate(BASE)
    assert settings.hours == Hours()
    assert settings.hours.opens == ()
    assert settings.owner.yield_to == ()
    assert settings.slots.idle_unload_s == 0


def test_both_tables_are_read_from_a_file() -> None:
    settings = Settings.model_validate(
        BASE
        | {
            "hours": {"windows": ["mon-fri 22:00-07:00"], "drain_before_s": 30.0},
            "owner": {"yield_to": ["input", "gpu"], "heat": "fair"},
            "slots": {"idle_unload_s": 900.0},
        }
    )
    assert settings.hours.opens == (Window(frozenset(range(5)), 1320, 1860),)
    assert settings.owner == Owner(yield_to=("input", "gpu"), heat="fair")
    with pytest.raises(Invalid, match="yield_to"):
        _ = Settings.model_validate(BASE | {"owner": {"yield_to": ["mouse"]}})


@pytest.mark.parametrize("name", ["Mars/Phobos", "../etc/passwd", "/etc/localtime", "a/", "\0"])
def test_a_zone_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="no time zone that this machine knows"):
        _ = Hours(timezone=name)


def test_the_zone_is_the_one_that_is_named_else_the_machines(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    assert Hours().zone.utcoffset(now.replace(tzinfo=None)) is not None
    # whether the machine has the table of zones does not matter: here is one
    (tmp_path / "Test").mkdir()
    (tmp_path / "Test" / "Zone").write_bytes(compiled("TST-5"))
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    try:
        hours = Hours(timezone="Test/Zone")
        assert hours.zone is hours.zone, "read once"
        assert datetime(2026, 1, 1, tzinfo=hours.zone).isoformat() == "2026-01-01T00:00:00+05:00"
    finally:
        zoneinfo.reset_tzpath()


def compiled(rule: str) -> bytes:
    """A zone as a compiled file, from a rule in the manner of POSIX alone.

    Source: RFC 9636, version 2: a header and no data, twice, with one type of local time.
    """
    header = b"TZif2" + bytes(15) + b"".join(n.to_bytes(4, "big") for n in (0, 0, 0, 0, 1, 4))
    block = header + bytes(6) + b"LMT\0"
    return block * 2 + f"\n{rule}\n".encode()
