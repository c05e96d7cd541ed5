"""A chunk on its way: what it claims, and when it is hurried."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from poolhand.agent.weights.arrival import Arrival
from poolhand.agent.weights.plan import Chunk, Grid
from poolhand.agent.weights.ranges import Hiccup


class Ground:
    """Takes note."""

    def __init__(self, path: Path) -> None:
        self.grid = Grid(10, 40)
        self.file = path.open("w+b")
        self.claimed: list[int] = []
        self.counts: list[int] = []
        self.came_to: list[int] = []
        self.rest: Callable[[], None] = lambda: None

    def came(self, file: int, view: memoryview, offset: int, since: int) -> None:
        assert os.pread(self.file.fileno(), len(view), offset) == view
        assert b"\0" not in os.pread(self.file.fileno(), offset - since, since)
        self.came_to.append(offset)

    def put(self, file: int, view: memoryview, offset: int) -> None:
        assert os.pwrite(self.file.fileno(), view, offset) == len(view)

    def size_bytes(self, file: int) -> int:
        return 95

    def arrived(self, file: int, block: int) -> None:
        self.claimed.append(block)

    def wrote(self, count: int) -> None:
        self.counts.append(count)
        self.rest()


def test_a_block_is_claimed_when_its_last_byte_is_written(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "f")
    arrival = Arrival(ground, Chunk(0, 60, 95), lambda: None)
    arrival.write(memoryview(b"a" * 9), 60)
    assert (arrival.at, ground.claimed) == (69, [])
    arrival.write(memoryview(b"b" * 11), 69)
    assert ground.claimed == [6, 7]
    arrival.write(memoryview(b"c" * 15), 80)
    assert ground.claimed == [6, 7, 8, 9], "the last block is short"
    assert ground.counts == [9, 11, 15]
    assert (tmp_path / "f").read_bytes()[60:] == b"a" * 9 + b"b" * 11 + b"c" * 15
    ground.file.close()


def test_a_read_that_we_ended_says_why(tmp_path: Path) -> None:
    ground, ended = Ground(tmp_path / "f"), Hiccup(reason="ended early")
    arrival = Arrival(ground, Chunk(0, 60, 95), lambda: None)
    assert arrival.explained(ended) is ended
    arrival.hurry(1.0)
    assert arrival.explained(ended) is ended, "it was only slower than others"
    arrival.hurry(2.0, is_free=False)
    assert "hardly a byte" in arrival.explained(ended).reason
    assert arrival.explained(ended) is ended, "the next one may have a reason of its own"
    ground.file.close()


def test_a_whole_file_is_held_only_if_it_comes_at_once(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "f")
    arrival = Arrival(ground, Chunk(0, 0, 95), lambda: None, holds=True)
    whole = memoryview(b"a" * 95)
    arrival.write(whole, 0)
    assert (arrival.held, arrival.at, ground.claimed, ground.counts) == (whole, 95, [], [95])
    assert (tmp_path / "f").read_bytes() == b"", "whoever holds it writes it"
    for holds, start, pieces in ((False, 0, (95,)), (True, 0, (90, 5)), (True, 10, (85,))):
        arrival = Arrival(ground, Chunk(0, start, 95), lambda: None, holds=holds)
        for count in pieces:
            arrival.write(memoryview(b"b" * count), arrival.at)
        assert arrival.held is None
        assert (tmp_path / "f").read_bytes()[arrival.start :] == b"b" * (95 - start)
    ground.file.close()


def test_hurried_is_patient_for_longer_and_at_first_costs_no_try(tmp_path: Path) -> None:
    ground, ended = Ground(tmp_path / "f"), list[int]()
    arrival = Arrival(ground, Chunk(0, 0, 40), lambda: ended.append(1))
    seen: list[tuple[bool, int]] = []
    for at in range(6):
        arrival.hurry(100.0 + at)
        seen.append((arrival.was_hurried(), arrival.so_far(200.0 + at)[1]))
    assert seen == [(True, 80), (True, 160), (True, 320), (True, 640), (False, 1280), (False, 2560)]
    assert len(ended) == 6
    assert not arrival.was_hurried()
    ground.file.close()


def test_a_drip_costs_a_try(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "f")
    arrival = Arrival(ground, Chunk(0, 0, 40), lambda: None)
    arrival.hurry(1.0, is_free=False)
    assert not arrival.was_hurried()
    ground.file.close()


def test_a_drip_is_no_stream(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "f")
    arrival = Arrival(ground, Chunk(0, 0, 10**6), lambda: None)
    assert not arrival.is_dripping(0.0, 20.0)
    arrival.at = 1000
    assert not arrival.is_dripping(19.0, 20.0)
    assert arrival.is_dripping(21.0, 20.0)
    arrival.at = 70_000
    assert not arrival.is_dripping(21.5, 20.0), "enough came after all"
    ground.file.close()


def test_a_rest_that_was_asked_for_is_no_drip(tmp_path: Path) -> None:
    """With a limit on the rate a connection may bring little, but then it is we who wait."""
    ground = Ground(tmp_path / "f")
    arrival = Arrival(ground, Chunk(0, 0, 10**6), lambda: None)
    begun_s = time.monotonic()
    assert not arrival.is_dripping(begun_s, 20.0)
    seen: list[bool] = []
    ground.rest = lambda: seen.append(arrival.is_dripping(begun_s + 60.0, 20.0))
    arrival.write(memoryview(b"a"), 0)
    assert seen == [False]
    assert not arrival.is_dripping(begun_s + 19.0, 20.0)
    assert arrival.is_dripping(begun_s + 60.0, 20.0), "between its rests it brought nothing"
    ground.file.close()
