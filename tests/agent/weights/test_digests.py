"""Digests behind a frontier: any order, any number of threads, the same answer, once."""

import hashlib
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.digests import FrontierDigest, Interrupted, PieceBad, sha256_of

DATA = random.Random(1).randbytes(10_007)  # noqa: S311  # the same each time


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def fd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path = tmp_path_factory.mktemp("d") / "data"
    _ = path.write_bytes(DATA)
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


def blocks(block_bytes: int) -> int:
    return -(-len(DATA) // block_bytes)


@given(order=st.permutations(range(11)), buffer_bytes=st.integers(1, 3000))
def test_any_order_gives_the_digest_to_exactly_one(
    fd: int, order: list[int], buffer_bytes: int
) -> None:
    digest = FrontierDigest(fd, size_bytes=len(DATA), block_bytes=1000, have=bytearray(11))
    buffer = memoryview(bytearray(buffer_bytes))
    told: list[str | None] = []
    for block in order:
        digest.arrived(block)
        told.append(digest.advance(buffer, is_stopped=never))
    assert told[:-1] == [None] * 10
    assert told[-1] == hashlib.sha256(DATA).hexdigest()
    assert digest.advance(buffer, is_stopped=never) is None


def test_only_what_is_read_back_counts_as_that(fd: int) -> None:
    digest = FrontierDigest(
        fd, size_bytes=len(DATA), block_bytes=1000, have=bytearray(11), mark_bytes=3000
    )
    digest.take(memoryview(DATA)[:500], 0, 0)
    assert (digest.at, digest.read_bytes, digest.read_cpu_s) == (500, 0, 0.0)
    for block in range(11):
        digest.arrived(block)
    assert digest.advance(memoryview(bytearray(70)), is_stopped=never)
    assert (digest.at, digest.read_bytes) == (len(DATA), len(DATA) - 500)
    assert 0 < digest.read_cpu_s < 20


@given(have=st.lists(st.sampled_from([0, 1]), min_size=11, max_size=11))
def test_what_was_here_before_counts(fd: int, have: list[int]) -> None:
    digest = FrontierDigest(fd, size_bytes=len(DATA), block_bytes=1000, have=bytearray(have))
    buffer = memoryview(bytearray(512))
    told = [digest.advance(buffer, is_stopped=never)]
    for block in (block for block, here in enumerate(have) if not here):
        digest.arrived(block)
        told.append(digest.advance(buffer, is_stopped=never))
    assert [word for word in told if word] == [hashlib.sha256(DATA).hexdigest()]


def test_many_threads(fd: int) -> None:
    for seed in range(5):
        order = list(range(blocks(100)))
        random.Random(seed).shuffle(order)  # noqa: S311
        digest = FrontierDigest(
            fd, size_bytes=len(DATA), block_bytes=100, have=bytearray(len(order))
        )
        told: list[str] = []

        def work(share: list[int], digest: FrontierDigest = digest, told: list[str] = told) -> None:
            buffer = memoryview(bytearray(64))
            for block in share:
                digest.arrived(block)
                if word := digest.advance(buffer, is_stopped=never):
                    told.append(word)

        threads = [threading.Thread(target=work, args=(order[at::4],)) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == [hashlib.sha256(DATA).hexdigest()]


def test_an_empty_file_is_complete_at_once(fd: int) -> None:
    digest = FrontierDigest(fd, size_bytes=0, block_bytes=4, have=bytearray())
    told = digest.advance(memoryview(bytearray(4)), is_stopped=never)
    assert told == hashlib.sha256().hexdigest()


def test_it_leaves_when_asked(fd: int, tmp_path: Path) -> None:
    digest = FrontierDigest(fd, size_bytes=8, block_bytes=4, have=bytearray(b"\1\1"))
    with pytest.raises(Interrupted):
        _ = digest.advance(memoryview(bytearray(4)), is_stopped=lambda: True)
    path = tmp_path / "x"
    _ = path.write_bytes(b"abc")
    with pytest.raises(Interrupted):
        _ = sha256_of(path, memoryview(bytearray(2)), is_stopped=lambda: True)


def test_a_file_shorter_than_its_blocks(fd: int) -> None:
    digest = FrontierDigest(fd, size_bytes=99_999, block_bytes=99_999, have=bytearray(b"\1"))
    with pytest.raises(EOFError):
        _ = digest.advance(memoryview(bytearray(4096)), is_stopped=never)


@given(st.binary(max_size=100), st.integers(1, 50))
def test_a_whole_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, buffer_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("w") / "x"
    _ = path.write_bytes(data)
    told = sha256_of(path, memoryview(bytearray(buffer_bytes)), is_stopped=never)
    assert told == hashlib.sha256(data).hexdigest()


def marks_of(data: bytes, mark_bytes: int) -> tuple[str, ...]:
    ends = [*range(mark_bytes, len(data), mark_bytes), len(data)]
    return tuple(hashlib.sha256(data[:end]).hexdigest() for end in ends)


@given(mark_bytes=st.integers(700, 20_000), buffer_bytes=st.integers(1, 3000))
def test_marks_are_the_digests_of_all_bytes_so_far(
    fd: int, mark_bytes: int, buffer_bytes: int
) -> None:
    digest = FrontierDigest(
        fd,
        size_bytes=len(DATA),
        block_bytes=1000,
        have=bytearray(b"\x01" * 11),
        mark_bytes=mark_bytes,
    )
    told = digest.advance(memoryview(bytearray(buffer_bytes)), is_stopped=never)
    assert told == hashlib.sha256(DATA).hexdigest()
    assert digest.marks == (marks_of(DATA, mark_bytes) if len(DATA) > mark_bytes else ())


@given(
    bad=st.sets(st.integers(0, 10_006), max_size=6),
    mark_bytes=st.integers(1000, 4000),
    block_bytes=st.sampled_from([500, 1000, 1024]),
)
def test_with_marks_only_the_bad_pieces_are_wanted_again(
    tmp_path_factory: pytest.TempPathFactory, bad: set[int], mark_bytes: int, block_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("bad") / "data"
    rotten = bytearray(DATA)
    for at in bad:
        rotten[at] ^= 1
    _ = path.write_bytes(rotten)
    opened = os.open(path, os.O_RDWR)
    have = bytearray(b"\x01" * blocks(block_bytes))
    digest = FrontierDigest(
        opened,
        size_bytes=len(DATA),
        block_bytes=block_bytes,
        have=have,
        expected=marks_of(DATA, mark_bytes),
        mark_bytes=mark_bytes,
    )
    buffer, sha256, wanted = memoryview(bytearray(777)), None, list[range]()
    while sha256 is None:
        try:
            sha256 = digest.advance(buffer, is_stopped=never)
        except PieceBad as piece:
            wanted.append(piece.blocks)
            for block in piece.blocks:
                assert not have[block]
                at = block * block_bytes
                _ = os.pwrite(opened, DATA[at : at + block_bytes], at)
                digest.arrived(block)
    os.close(opened)
    assert sha256 == hashlib.sha256(DATA).hexdigest()
    assert len(wanted) <= len({at // mark_bytes for at in bad})
    assert bool(wanted) == bool(bad)


def test_marks_of_another_file_are_given_up(fd: int) -> None:
    digest = FrontierDigest(
        fd,
        size_bytes=len(DATA),
        block_bytes=1000,
        have=bytearray(b"\x01" * 11),
        expected=marks_of(DATA[::-1], 4000),
        mark_bytes=4000,
    )
    buffer = memoryview(bytearray(777))
    with pytest.raises(PieceBad) as caught:
        _ = digest.advance(buffer, is_stopped=never)
    assert caught.value.blocks == range(4)
    for block in caught.value.blocks:
        digest.arrived(block)
    assert digest.advance(buffer, is_stopped=never) == hashlib.sha256(DATA).hexdigest()
    assert digest.marks == marks_of(DATA, 4000)


@given(
    order=st.permutations(range(11)),
    piece_bytes=st.integers(1, 1500),
    lazy=st.sets(st.integers(0, 10)),
)
def test_what_is_taken_as_it_comes_gives_the_same_digest_and_marks(
    fd: int, order: list[int], piece_bytes: int, lazy: set[int]
) -> None:
    """Whoever takes pieces at once and whoever only claims blocks may alternate."""
    made = [
        FrontierDigest(
            fd, size_bytes=len(DATA), block_bytes=1000, have=bytearray(11), mark_bytes=2500
        )
        for _ in range(2)
    ]
    buffer = memoryview(bytearray(512))
    told: list[str | None] = []
    for block in order:
        for digest in made:
            stop = min(len(DATA), 1000 * (block + 1))
            if digest is made[0] and block not in lazy:
                for at in range(1000 * block, stop, piece_bytes):
                    piece = memoryview(DATA)[at : min(stop, at + piece_bytes)]
                    digest.take(piece, at, 1000 * block)
            digest.arrived(block)
            told.append(digest.advance(buffer, is_stopped=never))
    assert told[-2:] == [hashlib.sha256(DATA).hexdigest()] * 2
    assert set(told[:-2]) == {None}
    assert made[0].marks == made[1].marks


def test_what_was_taken_is_not_read_back(tmp_path: Path) -> None:
    with (tmp_path / "empty").open("w+b") as empty:
        digest = FrontierDigest(
            empty.fileno(), size_bytes=len(DATA), block_bytes=1000, have=bytearray(11)
        )
        for at in range(0, len(DATA), 700):
            digest.take(memoryview(DATA)[at : at + 700], at, 0)
        for block in range(11):
            digest.arrived(block)
        told = digest.advance(memoryview(bytearray(512)), is_stopped=never)
    assert told == hashlib.sha256(DATA).hexdigest()


def test_who_came_to_late_for_a_piece_takes_it_with_the_next(fd: int) -> None:
    digest = FrontierDigest(fd, size_bytes=len(DATA), block_bytes=1000, have=bytearray(11))
    buffer = memoryview(bytearray(512))
    digest.arrived(0)
    assert digest.advance(buffer, is_stopped=never) is None  # to 1000, and not to 1700
    for at in range(1700, len(DATA), 700):
        digest.take(memoryview(DATA)[at : at + 700], at, 1000)
    with open(os.devnull, "rb") as empty:  # noqa: PTH123  # a descriptor is what is wanted
        _ = os.dup2(empty.fileno(), fd)  # from here on nothing can be read back
    for block in range(11):
        digest.arrived(block)
    assert digest.advance(buffer, is_stopped=never) == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(("at", "since"), [(3000, 1500), (3000, 0), (500, 0)])
def test_what_is_far_ahead_or_not_all_written_is_left_for_later(
    tmp_path: Path, at: int, since: int
) -> None:
    with (tmp_path / "empty").open("w+b") as empty:
        digest = FrontierDigest(
            empty.fileno(), size_bytes=len(DATA), block_bytes=1000, have=bytearray(11)
        )
        digest.take(memoryview(DATA)[:1000], 0, 0)
        digest.take(memoryview(DATA)[at : at + 1000], at, since)
        digest.take(memoryview(DATA)[1000:], 1000, 0)
        for block in range(11):
            digest.arrived(block)
        told = digest.advance(memoryview(bytearray(512)), is_stopped=never)
    assert told == hashlib.sha256(DATA).hexdigest()


def test_a_file_that_cannot_be_read_back_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "gone").open("w+b") as gone:
        number = gone.fileno()
    digest = FrontierDigest(number, size_bytes=len(DATA), block_bytes=1000, have=bytearray(11))
    digest.take(memoryview(DATA)[1000:2000], 1000, 1000)  # not its turn
    digest.arrived(0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        _ = digest.advance(memoryview(bytearray(512)), is_stopped=never)


@given(order=st.permutations(range(10)), size_bytes=st.sampled_from([10_000, 9_993]))
def test_nobody_is_told_before_every_block_is_claimed(
    fd: int, order: list[int], size_bytes: int
) -> None:
    """The file is renamed by whoever is told; until then its writers write to it."""
    digest = FrontierDigest(fd, size_bytes=size_bytes, block_bytes=1000, have=bytearray(10))
    buffer = memoryview(bytearray(512))
    digest.take(memoryview(DATA)[:size_bytes], 0, 0)
    for block in order:
        assert digest.advance(buffer, is_stopped=never) is None
        digest.arrived(block)
    assert digest.advance(buffer, is_stopped=never) == hashlib.sha256(DATA[:size_bytes]).hexdigest()


def test_with_marks_to_hold_to_everything_is_read_from_the_disk(tmp_path: Path) -> None:
    first = FrontierDigest(
        os.open(os.devnull, os.O_RDONLY),
        size_bytes=4,
        block_bytes=2,
        have=bytearray(2),
        mark_bytes=2,
    )
    first.take(memoryview(b"good"), 0, 0)
    path = tmp_path / "bad"
    _ = path.write_bytes(b"goXd")
    with path.open("rb") as bad:
        again = FrontierDigest(
            bad.fileno(),
            size_bytes=4,
            block_bytes=2,
            have=bytearray(b"\x01\x01"),
            expected=first.marks,
            mark_bytes=2,
        )
        again.take(memoryview(b"good"), 0, 0)
        with pytest.raises(PieceBad):
            _ = again.advance(memoryview(bytearray(8)), is_stopped=never)
