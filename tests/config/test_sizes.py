"""Bytes as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.sizes import size

GIB = 2**30


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, "0 B"),
        (12, "12 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (2**20 * 1.5, "1.5 MiB"),
        (2**20 - 1, "1.0 MiB"),
        (GIB - 1, "1.0 GiB"),
        (3 * GIB, "3.0 GiB"),
        (2**50, "1048576.0 GiB"),
        (-1, "?"),
        (2.0**70, "?"),
        (float("nan"), "?"),
    ],
)
def test_a_size(size_bytes: float, expected: str) -> None:
    assert size(size_bytes) == expected


@given(st.integers(1, 2**62))
def test_no_size_is_told_as_nothing_and_few_digits_do(size_bytes: int) -> None:
    count, unit = size(size_bytes).split()
    steps = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]
    assert abs(float(count) * steps - size_bytes) <= 0.05 * steps + 1
    assert float(count) >= 1
    assert unit == "GiB" or len(count) <= len("1023.9")
