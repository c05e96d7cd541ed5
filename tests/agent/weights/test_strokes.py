"""How long one write is: what costs less, and a memory that changes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.strokes import LONG_BYTES, SHORT_BYTES, Strokes


def play(strokes: Strokes, cost_s: dict[int, float], count: int) -> float:
    """So many buffers; the share of them that were written whole."""
    whole = 0
    for _ in range(count):
        most_bytes = strokes.next_bytes()
        strokes.took(most_bytes, cost_s[most_bytes])
        whole += most_bytes == LONG_BYTES
    return whole / count


@given(st.floats(1e-12, 1e-6), st.floats(1.01, 100))
def test_what_is_cheaper_is_used_and_the_other_looked_at(least_s: float, ratio: float) -> None:
    for cheap, dear in ((LONG_BYTES, SHORT_BYTES), (SHORT_BYTES, LONG_BYTES)):
        strokes = Strokes()
        _ = play(strokes, {cheap: least_s, dear: least_s * ratio}, 16)
        share = play(strokes, {cheap: least_s, dear: least_s * ratio}, 320)
        assert 0.95 < (share if cheap == LONG_BYTES else 1 - share) < 1


@given(st.integers(1, 2000), st.floats(1.5, 20))
def test_a_memory_that_changes_is_noticed(before: int, ratio: float) -> None:
    strokes = Strokes()
    _ = play(strokes, {LONG_BYTES: 1e-9, SHORT_BYTES: 1.1e-9}, before)
    _ = play(strokes, {LONG_BYTES: ratio * 1.1e-9, SHORT_BYTES: 1.1e-9}, 400)
    assert play(strokes, {LONG_BYTES: ratio * 1.1e-9, SHORT_BYTES: 1.1e-9}, 320) < 0.05
    _ = play(strokes, {LONG_BYTES: 1e-9, SHORT_BYTES: 1.1e-9}, 6000)
    assert play(strokes, {LONG_BYTES: 1e-9, SHORT_BYTES: 1.1e-9}, 320) > 0.95


@pytest.mark.parametrize("size_bytes", [0, 1, SHORT_BYTES - 1, SHORT_BYTES + 1, LONG_BYTES])
def test_all_of_it_is_written_however_long_the_strokes_are(tmp_path: Path, size_bytes: int) -> None:
    strokes, data = Strokes(), os.urandom(size_bytes)
    fd = os.open(tmp_path / "f", os.O_CREAT | os.O_WRONLY)
    for turn in range(20):
        strokes.write(fd, memoryview(data), 3 + turn * size_bytes)
    os.close(fd)
    assert (tmp_path / "f").read_bytes()[3:] == 20 * data


def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Strokes().write(fd, memoryview(b"a"), 0)
    os.close(fd)
