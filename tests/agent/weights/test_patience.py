"""A read is given up when its tries and its time are both spent."""

from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.patience import TRIES, Patience


def lasted(*, down_s: float | None, no_progress_s: float, chance: float = 0.0) -> float | None:
    """When a store that is away for so long brings bytes again; ``None``: given up before."""
    now_s = 0.0
    patience = Patience(no_progress_s=no_progress_s, block_bytes=100, now_s=now_s)
    while down_s is None or now_s < down_s:
        wait_s = patience.wait_s(got_bytes=0, asked_s=None, now_s=now_s, chance=chance)
        if wait_s is None:
            return None
        now_s += wait_s
    return now_s


@given(st.floats(5, 30), st.floats(0, 0.999))
def test_a_store_that_is_away_for_half_a_minute_costs_the_time_and_little_more(
    down_s: float, chance: float
) -> None:
    back_s = lasted(down_s=down_s, no_progress_s=60.0, chance=chance)
    assert back_s is not None
    assert back_s - down_s <= 5.0


@given(st.floats(0, 300), st.floats(0, 0.999))
def test_one_that_is_away_for_good_is_given_up(no_progress_s: float, chance: float) -> None:
    assert lasted(down_s=None, no_progress_s=no_progress_s, chance=chance) is None


def test_without_time_to_spend_the_tries_decide() -> None:
    patience = Patience(no_progress_s=0.0, block_bytes=100, now_s=0.0)
    waits = [patience.wait_s(got_bytes=0, asked_s=None, now_s=0.0, chance=0.0) for _ in range(9)]
    assert waits.index(None) == TRIES - 1
    assert waits[:3] == [0.05, 0.1, 0.2]


@given(st.floats(1, 20))
def test_a_store_that_stands_still_is_not_waited_for_much_beyond_the_time(stall_s: float) -> None:
    """Each try ends by a time-out of its own, so eight of them would take minutes."""
    patience, now_s = Patience(no_progress_s=60.0, block_bytes=100, now_s=0.0), stall_s
    while (
        wait_s := patience.wait_s(got_bytes=1, asked_s=None, now_s=now_s, chance=0.9)
    ) is not None:
        now_s += wait_s + stall_s
    assert 60.0 <= now_s <= 60.0 + stall_s + 5.0


def test_bytes_make_good_for_every_try_before() -> None:
    patience = Patience(no_progress_s=0.0, block_bytes=100, now_s=0.0)
    for _ in range(10 * TRIES):
        assert patience.wait_s(got_bytes=100, asked_s=None, now_s=0.0, chance=0.0) is not None
    assert patience.tries == 1


def test_what_the_store_asks_for_is_waited_but_not_for_ever() -> None:
    patience = Patience(no_progress_s=60.0, block_bytes=100, now_s=0.0)
    assert patience.wait_s(got_bytes=0, asked_s=7.0, now_s=0.0, chance=0.0) == 7.0
    assert patience.wait_s(got_bytes=0, asked_s=1e6, now_s=0.0, chance=0.0) == 60.0


def test_a_line_that_breaks_before_each_block_is_progress_all_the_same() -> None:
    """What four answers brought together is a block, and the fifth is asked for at once."""
    patience = Patience(no_progress_s=60.0, block_bytes=100, now_s=0.0)
    now_s = 0.0
    for _ in range(100):
        wait_s = patience.wait_s(got_bytes=30, asked_s=None, now_s=now_s, chance=0.9)
        assert wait_s is not None
        assert wait_s < 1.0
        now_s += wait_s + 1.0
    assert now_s > 60.0


@given(st.floats(20, 300), st.floats(1, 1e6))
def test_a_store_that_asks_for_a_day_is_given_up_in_time(
    no_progress_s: float, asked_s: float
) -> None:
    patience, now_s = Patience(no_progress_s=no_progress_s, block_bytes=100, now_s=0.0), 0.0
    while (
        wait_s := patience.wait_s(got_bytes=0, asked_s=asked_s, now_s=now_s, chance=0.0)
    ) is not None:
        now_s += wait_s
    assert no_progress_s <= now_s <= no_progress_s + 5.0
