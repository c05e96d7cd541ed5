"""How long the rest will take: right on a steady line, and never nonsense."""

import statistics
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weights_origin import CHILD, REF, Origin, quick, stores_of, toy

from poolhand.agent.weights.fetch import fetch
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.tempo import Pace
from poolhand.backends.stores.base import Progress


def test_a_file_that_is_read_again_gives_no_rate_below_zero() -> None:
    pace = Pace()
    for at_s, count in enumerate([0, 10, 20, 5, 15]):
        pace.told(count, float(at_s))
    assert pace.rate_bytes_s == pytest.approx(10.0)


@given(
    rate=st.floats(1e3, 1e9),
    total_s=st.floats(20, 1e5),
    part=st.floats(0.1, 0.99),
)
def test_on_a_steady_line_the_time_left_is_right(rate: float, total_s: float, part: float) -> None:
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


def guessed(steps: list[tuple[int, int]]) -> float:
    """How far it is believed that each connection brings so much; steps of half a second."""
    pace, done = Pace(), 1
    pace.told(done, 0.0, steps[0][0])
    for at, (connections, rate) in enumerate(steps, start=1):
        done += rate // 2
        pace.told(done, at / 2, connections)
    return sum(guess.trust for guess in pace.guesses() if guess.is_each)


def test_with_one_number_of_connections_nobody_knows_which_reason_it_is() -> None:
    assert guessed([(8, 800)] * 20) == pytest.approx(0.5, abs=0.01)


def test_what_comes_with_more_connections_tells_which_it_is() -> None:
    assert guessed([(8, 800)] * 6 + [(12, 1200)] * 4) > 0.9
    assert guessed([(8, 800)] * 6 + [(12, 800)] * 4) < 0.1


def test_what_was_once_clear_is_remembered() -> None:
    assert guessed([(8, 800)] * 6 + [(12, 1200)] * 200) > 0.9
    assert guessed([(8, 800)] * 6 + [(12, 800)] * 200) < 0.1
    assert guessed([(8, 800)] * 6 + [(12, 1200)] * 20 + [(16, 1200)] * 20) < 0.1, "full by now"


def test_nobody_knows_when_in_a_step_the_others_came() -> None:
    """In one step many more connections: that alone is no reason to believe either."""
    assert 0.2 < guessed([(2, 100), (8, 300)]) < 0.8


def test_whoever_tells_all_the_time_is_heard_now_and_then() -> None:
    often, seldom = Pace(), Pace()
    for at in range(4001):
        often.told(at, at / 1000)
        if at % 200 == 0:
            seldom.told(at, at / 1000)
    assert often.rate_bytes_s == pytest.approx(seldom.rate_bytes_s)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10**9)), max_size=1200))
def test_no_measurements_break_it(steps: list[tuple[float, int]]) -> None:
    pace, now_s = Pace(), 0.0
    for wait_s, count in steps:
        now_s += wait_s
        pace.told(count, now_s)
    rate = pace.rate_bytes_s
    assert rate is None or rate >= 0
    assert pace.left_s(0) in {None, 0.0}


async def test_a_fetch_knows_when_it_will_be_over(tmp_path: Path) -> None:
    """After its first tenth, and to a fifth; a machine that stutters may be wrong now and then."""
    told: list[tuple[float, Progress]] = []
    with Origin(toy(shard_bytes=700_000)) as origin:
        slow = {"max_bytes_per_s": 400_000, "max_connections": 1}
        weights = quick(connections=1).model_copy(update=slow)
        job = FetchJob("org/toy", REF, stores_of(origin), weights, str(tmp_path))
        _ = await fetch(job, told=lambda at: told.append((time.monotonic(), at)), command=CHILD)
    (over_s,) = [at_s for at_s, at in told if at.phase == "publish"]
    errors = [
        abs(at.eta_s - (over_s - at_s)) / (over_s - at_s)
        for at_s, at in told
        if at.phase == "fetch"
        and at.eta_s is not None
        and 0.1 <= at.bytes_done / at.bytes_total <= 0.8
    ]
    assert len(errors) >= 3
    assert statistics.median(errors) <= 0.2
