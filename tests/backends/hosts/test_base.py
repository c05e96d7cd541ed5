"""The two sums that every probe shares."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.hosts.base import THERMAL_STATES, ThermalState, hottest, used_ratio


@pytest.mark.parametrize(
    ("total_bytes", "available_bytes", "ratio"),
    [(100, 25, 0.75), (100, 100, 0.0), (100, 0, 1.0), (None, 5, None), (5, None, None)],
)
def test_the_part_that_is_used(
    total_bytes: int | None, available_bytes: int | None, ratio: float | None
) -> None:
    assert used_ratio(total_bytes, available_bytes) == ratio


@given(st.none() | st.integers(-5, 2**45), st.none() | st.integers(-5, 2**45))
def test_a_ratio_is_a_ratio_or_nothing(total: int | None, available: int | None) -> None:
    ratio = used_ratio(total, available)
    assert ratio is None or 0.0 <= ratio <= 1.0
    assert (ratio is None) == (not total or available is None)


def test_the_hottest_part_speaks_for_the_host() -> None:
    states: list[ThermalState | None] = [None, "fair", "critical", "nominal"]
    for order in permutations(states):
        assert hottest(order) == "critical"
    assert [hottest([state]) for state in THERMAL_STATES] == [*THERMAL_STATES]
    assert hottest([None]) is None
    assert hottest([]) is None
