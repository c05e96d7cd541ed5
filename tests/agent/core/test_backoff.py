"""How long to wait before the next dial."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.backoff import GOING_AWAY, REFUSED, Backoff

chances = st.floats(0.0, 1.0, exclude_max=True)


@pytest.mark.parametrize(
    ("failures", "chance", "wait_s"),
    [
        (1, 0.0, 0.1),
        (1, 0.5, 0.5),
        (2, 0.5, 1.0),
        (3, 0.5, 2.0),
        (5, 0.5, 8.0),
        (6, 0.5, 15.0),
        (10**9, 0.5, 15.0),
    ],
)
def test_the_longest_wait_doubles_up_to_the_ceiling(
    failures: int, chance: float, wait_s: float
) -> None:
    assert Backoff().wait_s(failures, chance) == wait_s


@pytest.mark.parametrize("code", sorted(GOING_AWAY))
def test_a_server_that_goes_away_is_come_back_to_all_over_half_a_minute(code: int) -> None:
    waits = [Backoff().wait_s(1, chance / 10, close_code=code) for chance in range(10)]
    assert waits == pytest.approx([0.1, *(3.0 * tenth for tenth in range(1, 10))])


def test_a_refusal_is_not_asked_again_soon() -> None:
    assert Backoff().wait_s(1, 0.0, close_code=REFUSED) == 30.0
    assert Backoff().wait_s(9, 0.5, close_code=REFUSED) == 45.0


@given(
    failures=st.integers(1, 10**6),
    chance=chances,
    code=st.sampled_from([1000, 1006, 1011, *GOING_AWAY]),
)
def test_no_wait_is_zero_and_none_is_endless(failures: int, chance: float, code: int) -> None:
    assert 0.1 <= Backoff().wait_s(failures, chance, close_code=code) <= 30.0


@given(failures=st.integers(1, 40), chance=chances)
def test_full_jitter(failures: int, chance: float) -> None:
    longest_s = min(30.0, 2.0 ** (failures - 1))
    assert Backoff().wait_s(failures, chance) == max(0.1, chance * longest_s)
