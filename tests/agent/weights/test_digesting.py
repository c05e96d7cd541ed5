"""Digesters: every file that has come further has its turn, and nobody waits for it."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from poolhand.agent.weights.digesting import MOST_DIGESTERS, Digesting, Trails, Work
from poolhand.agent.weights.journal import Claim, Claims, Header, Listed
from poolhand.agent.weights.parts import Part, Target, prepare
from poolhand.agent.weights.plan import Grid
from poolhand.backends.stores.base import RemoteFile

PATIENCE_S = 20


class Bench:
    """Digests when it is let, and takes note of it."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.threads: list[threading.Thread] = []
        self.come = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.made = Digesting(self._digest, self._live)

    def _digest(self, file: int, buffer: memoryview) -> None:
        assert len(buffer) == 3
        self.began.append(file)
        self.come.release()
        assert self.go.acquire(timeout=PATIENCE_S)

    def _live(self, work: Work) -> None:
        self.threads.append(threading.current_thread())
        work(memoryview(bytearray(3)))

    def wait(self, count: int) -> list[int]:
        """The files whose turn has begun, once so many have."""
        while len(self.began) < count:
            assert self.come.acquire(timeout=PATIENCE_S)
        return sorted(self.began)


@contextmanager
def bench() -> Generator[Bench]:
    made = Bench()
    yield made
    made.made.end()
    made.go.release(99)
    for thread in made.threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "nobody is left behind"


def test_what_comes_during_a_turn_has_another_one() -> None:
    with bench() as made:
        made.made.put(7)
        assert made.wait(1) == [7]
        for _ in range(3):
            made.made.put(7)
        made.go.release(2)
        assert made.wait(2) == [7, 7], "one more for the three"


def test_many_files_have_their_turns_side_by_side_up_to_a_bound() -> None:
    with bench() as made:
        for file in range(9):
            made.made.put(file)
        assert made.wait(MOST_DIGESTERS) == [0, 1, 2, 3]
        assert len(made.threads) == MOST_DIGESTERS
        made.go.release(9)
        assert made.wait(9) == [*range(9)]
        assert len(made.threads) == MOST_DIGESTERS


def test_who_is_idle_takes_what_comes_next() -> None:
    with bench() as made:
        for turn in range(5):
            made.made.put(turn)
            made.go.release()
            assert made.wait(turn + 1) == [*range(turn + 1)]
        assert len(made.threads) <= 2, "the first may not have been back for the second"


def test_after_the_end_nothing_begins() -> None:
    made = Bench()
    made.made.end()
    made.made.put(1)
    for thread in made.threads:
        thread.join(PATIENCE_S)
    assert made.began == []


def two_parts(folder: Path) -> list[Part]:
    """A large file and a small one, nothing of them here."""
    sizes = {"large": 3_500, "small": 1_000}
    listed = tuple(Listed(path=path, size_bytes=size, etag=None) for path, size in sizes.items())
    header = Header(ref="s3://b/m", boot_id="", block_bytes=1000, files=listed)
    claims = Claims(header, [Claim(bytearray(4)), Claim(bytearray(1))])
    targets = [Target(RemoteFile(path, size, None, path)) for path, size in sizes.items()]
    return prepare(folder, targets, claims, Grid(1000, 1000))


def test_it_is_told_how_far_digests_are_behind(tmp_path: Path) -> None:
    large, small = two_parts(tmp_path)
    trails = Trails([large, small], small_bytes=1000)
    look = trails.look()
    assert (look.lags, look.left_bytes, look.alone_bytes_s) == ((0,), 3_500, None)
    assert 1 <= look.most <= MOST_DIGESTERS
    for block in (0, 1, 3):
        large.put(memoryview(bytes(1000))[: 500 if block == 3 else 1000], block * 1000)
        large.open()[1].arrived(block)
    assert (trails.look().lags, trails.look().left_bytes) == ((2_500,), 1_000)
    buffer = memoryview(bytearray(300))
    assert large.open()[1].advance(buffer, is_stopped=lambda: False) is None
    look = trails.look()
    assert (look.lags, look.left_bytes) == ((500,), 1_000), "what is behind the gap has to wait"
    assert look.alone_bytes_s is not None
    assert look.alone_bytes_s > 0
    large.open()[1].arrived(2)
    sha256 = large.open()[1].advance(buffer, is_stopped=lambda: False)
    _ = large.finish(sha256 or "")
    assert (trails.look().lags, trails.look().left_bytes) == ((), 0)
