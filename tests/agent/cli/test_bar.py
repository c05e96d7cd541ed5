"""Progress in words, on a terminal and without one."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.cli.bar import Bar, Pace
from poolhand.backends.stores.base import Progress

MIB = 2**20


def test_lines_come_every_two_seconds_and_at_the_end() -> None:
    out = io.StringIO()
    bar = Bar(out, "org/a")
    bar.told(Progress(0, 0, phase="list"), 0.0)
    for tenth in range(1, 51):
        bar.told(Progress(tenth * MIB, 100 * MIB, phase="fetch"), tenth / 10)
    bar.close()
    assert out.getvalue().splitlines() == [
        "org/a: list …",
        "org/a: fetch 20 %  20.0 MiB of 100.0 MiB  10.0 MiB/s  ETA 8 s",
        "org/a: fetch 40 %  40.0 MiB of 100.0 MiB  10.0 MiB/s  ETA 6 s",
        "org/a: fetch 50 %  50.0 MiB of 100.0 MiB  10.0 MiB/s  ETA 5 s",
    ]


def test_a_terminal_has_one_living_line() -> None:
    out = io.StringIO()
    bar = Bar(out, "org/a", is_live=True)
    bar.told(Progress(50 * MIB, 100 * MIB, 50 * MIB, phase="fetch"), 0.0)
    bar.told(Progress(100 * MIB, 100 * MIB, 50 * MIB, phase="publish"), 1.0)
    bar.close()
    first, second = out.getvalue().removesuffix("\n").split("\r")[1:]
    assert first.startswith("[############............]  fetch 50 %")
    assert first.endswith("50.0 MiB were here")
    assert "publish 100 %" in second
    assert "50.0 MiB/s" in second, "what was here is not counted as fetched"
    assert len(second) >= len(first), "nothing of the old line stays"


def test_nothing_told_says_nothing() -> None:
    for is_live in (True, False):
        out = io.StringIO()
        Bar(out, "x", is_live=is_live).close()
        assert out.getvalue() == ""


def test_a_file_that_is_read_again_gives_no_rate_below_zero() -> None:
    pace = Pace()
    for at_s, count in enumerate([0, 10, 20, 5, 15]):
        pace.told(count, float(at_s))
    assert pace.rate_bytes_s == pytest.approx(10.0)


@given(
    rate=st.floats(1e3, 1e9),
    total_s=st.floats(5, 1e5),
    part=st.floats(0.1, 0.99),
    resumed_ratio=st.floats(0, 0.9),
)
def test_on_a_steady_line_the_time_left_is_right(
    rate: float, total_s: float, part: float, resumed_ratio: float
) -> None:
    pace, steps = Pace(), 700
    for step in range(steps + 1):
        now_s = part * total_s * step / steps
        pace.told(int(rate * now_s), now_s)
    left = int(rate * total_s * (1 - part))
    told_s = pace.left_s(left)
    assert told_s == pytest.approx(total_s * (1 - part), rel=0.05, abs=0.05)


def test_a_stall_is_seen_and_a_pace_that_changed_is_believed() -> None:
    pace = Pace()
    for second in range(10):
        pace.told(second * 100, float(second))
    for second in range(10, 31):
        pace.told(900 + (second - 9) * 10, float(second))
    assert pace.rate_bytes_s == pytest.approx(10.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10**9)), max_size=1200))
def test_no_measurements_break_it(steps: list[tuple[float, int]]) -> None:
    pace, now_s = Pace(), 0.0
    for wait_s, count in steps:
        now_s += wait_s
        pace.told(count, now_s)
    rate = pace.rate_bytes_s
    assert rate is None or rate >= 0
    assert pace.left_s(0) in {None, 0.0}
