"""The last chunks are cut in two as long as connections rest, and every byte comes once."""

import contextlib
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.arrival import Arrival
from poolhand.agent.weights.plan import Chunk, Grid
from poolhand.agent.weights.ranges import Hiccup
from poolhand.agent.weights.tail import Tail
from poolhand.agent.weights.turns import Turns

BLOCK_BYTES = 10
SIZE_BYTES = 1000


class Ground:
    """A file of zeros that anybody may write to."""

    grid = Grid(BLOCK_BYTES, 100)

    def __init__(self) -> None:
        self.fd = os.open(os.devnull, os.O_WRONLY)
        self.claimed: list[int] = []

    def put(self, file: int, view: memoryview, offset: int) -> None:
        assert os.pwrite(self.fd, view, offset) == len(view)

    def size_bytes(self, file: int) -> int:
        return 2 * SIZE_BYTES

    def arrived(self, file: int, block: int) -> None:
        self.claimed.append(block)

    def came(self, file: int, view: memoryview, offset: int, since: int) -> None:
        pass

    def wrote(self, count: int) -> None:
        pass


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground()


def at(ground: Ground, chunk: Chunk, got_bytes: int) -> Arrival:
    arrival = Arrival(ground, chunk, lambda: None)
    if got_bytes:
        arrival.write(memoryview(bytes(got_bytes)), chunk.start)
    return arrival


def in_s(seconds: float) -> float:
    return time.monotonic() + seconds


def cut(tail: Tail, *running: Arrival, most: int = 8, after_s: float = 10.0) -> list[Chunk]:
    numbered = dict(enumerate(running))
    return tail.cut(numbered, most=most, now_s=in_s(after_s))


def test_whoever_rests_takes_half_of_what_would_take_longest(ground: Ground) -> None:
    tail = Tail(block_bytes=BLOCK_BYTES)
    fast = at(ground, Chunk(0, 0, 400), 300)
    slow = at(ground, Chunk(0, 400, 800), 100)
    assert cut(tail, fast, slow, most=3) == [Chunk(0, 650, 800)]
    assert (slow.stop, slow.asked_bytes, fast.stop) == (650, 250, 400)


def test_nobody_rests_or_nobody_should_work(ground: Ground) -> None:
    one, two = (at(ground, Chunk(0, start, start + 400), 100) for start in (0, 400))
    assert cut(Tail(block_bytes=BLOCK_BYTES), one, two, most=2) == []
    assert cut(Tail(block_bytes=BLOCK_BYTES), one, two, most=1) == []


def test_as_many_as_are_wanted_are_kept_busy(ground: Ground) -> None:
    """Where each connection brings only so much, those that never had a chunk rest for nothing."""
    tail = Tail(block_bytes=BLOCK_BYTES)
    three = [at(ground, Chunk(0, start, start + 300), 60) for start in (0, 300, 600)]
    assert cut(tail, *three, most=3) == []
    assert len(cut(tail, *three, most=5)) == 2
    assert len(cut(tail, three[2], most=8)) == 1, "one cut for each that is under way"


def test_what_is_hardly_more_than_a_block_is_cut_too(ground: Ground) -> None:
    tail, arrival = Tail(block_bytes=BLOCK_BYTES), at(ground, Chunk(0, 0, 100), 87)
    assert cut(tail, arrival, after_s=1000.0) == [Chunk(0, 90, 100)]


@pytest.mark.parametrize(
    ("got_bytes", "after_s"),
    [(0, 10.0), (100, 0.1), (350, 2.0), (395, 1000.0)],
    ids=["nothing came", "too early to say", "soon over", "within its last block"],
)
def test_what_is_left_alone(ground: Ground, got_bytes: int, after_s: float) -> None:
    tail = Tail(block_bytes=BLOCK_BYTES)
    assert cut(tail, at(ground, Chunk(0, 0, 400), got_bytes), after_s=after_s) == []


def test_a_file_that_comes_whole_is_left_whole(ground: Ground) -> None:
    """No range of it was asked for, and the store may not know ranges."""
    tail = Tail(block_bytes=BLOCK_BYTES)
    assert cut(tail, at(ground, Chunk(0, 0, 2 * SIZE_BYTES), 100)) == []
    assert cut(tail, at(ground, Chunk(0, 0, 2 * SIZE_BYTES - 1), 100)) != []


def test_nothing_is_cut_while_chunks_wait(ground: Ground) -> None:
    tail, arrival = Tail(block_bytes=BLOCK_BYTES), at(ground, Chunk(0, 0, 400), 100)
    turns = Turns([[Chunk(0, 400, 800)]])
    assert not tail.share({0: arrival}, turns, 2, in_s(10.0))
    assert turns.next(None) == Chunk(0, 400, 800)
    assert tail.share({0: arrival}, turns, 2, in_s(10.0))
    assert turns.next(None) == Chunk(0, 250, 400)


def test_the_last_chunk_is_shared_before_its_own_pace_is_known(ground: Ground) -> None:
    """All others ended at once: it would be half-way before anybody knew how long it takes."""
    tail, none_left = Tail(block_bytes=BLOCK_BYTES), Turns([])
    others = {at_: at(ground, Chunk(0, at_ * 100, at_ * 100 + 100), 50) for at_ in range(4)}
    last = at(ground, Chunk(0, 800, 1000), 0)
    assert not tail.share({0: last}, none_left, 4, in_s(0.1)), "nobody knows"
    assert not tail.share(others, Turns([[Chunk(0, 800, 1000)]]), 4, in_s(10.0))
    assert tail.share({0: last}, none_left, 4, in_s(0.1))
    assert none_left.next(None) == Chunk(0, 900, 1000)


def test_what_is_under_way_already_is_never_asked_for_again(ground: Ground) -> None:
    """Ten bytes a second: within ten seconds a hundred come, whoever asks for the rest."""
    tail = Tail(block_bytes=BLOCK_BYTES)

    def cut_late(delay_s: float) -> list[Chunk]:
        running = {0: at(ground, Chunk(0, 0, 400), 100)}
        return tail.cut(running, most=2, now_s=in_s(10.0), delay_s=delay_s)

    assert cut_late(0.0) == [Chunk(0, 250, 400)]
    assert cut_late(4.0) == [Chunk(0, 270, 400)]
    assert cut_late(7.4) == [Chunk(0, 290, 400)]
    assert cut_late(7.6) == [], "it is over as soon as another has begun"


@pytest.mark.parametrize(("step_bytes", "is_cut"), [(20, False), (10, True)])
def test_as_long_as_the_link_is_full_only_what_takes_long_is_shared(
    ground: Ground, step_bytes: int, *, is_cut: bool
) -> None:
    """One rests now; the other is twice as fast for it, or it is not."""
    tail, now_s, cuts = Tail(block_bytes=BLOCK_BYTES), time.monotonic(), Turns([])
    one = at(ground, Chunk(0, 0, 400), 0)
    two = at(ground, Chunk(0, 400, 800), 0)
    for _ in range(20):
        now_s += 1.0
        for each in (one, two):
            each.write(memoryview(bytes(10)), each.at)
        assert not tail.share({1: one, 2: two}, cuts, 2, now_s)
    for _ in range(5):
        now_s += 1.0
        one.write(memoryview(bytes(step_bytes)), one.at)
        if one.at <= 360:
            _ = tail.share({1: one}, Turns([]), 1, now_s)
    one.write(memoryview(bytes(380 - one.at)), one.at)
    assert tail.share({1: one}, cuts, 2, now_s + 0.1) == is_cut


@given(
    steps=st.lists(st.integers(1, 120), min_size=1, max_size=20),
    cuts=st.lists(st.integers(0, 99), max_size=6),
)
def test_a_chunk_and_what_was_cut_from_it_are_what_it_was(
    ground: Ground, steps: list[int], cuts: list[int]
) -> None:
    """However the pieces come, it ends where it was cut last, and never beyond."""
    arrival, rests = Arrival(ground, Chunk(0, 0, SIZE_BYTES), lambda: None), list[Chunk]()
    for step, number in zip([*steps, *[120] * 20], [*cuts, *[None] * 40], strict=False):
        if number is not None and (rest := arrival.cut(number * BLOCK_BYTES)) is not None:
            assert rest.start > arrival.at
            rests.append(rest)
        count = min(step, SIZE_BYTES - arrival.at)
        if arrival.at == arrival.stop:
            break
        with contextlib.suppress(Hiccup):
            arrival.write(memoryview(bytes(count)), arrival.at)
    assert arrival.at == arrival.stop
    spans = [(0, arrival.stop), *((rest.start, rest.stop) for rest in reversed(rests))]
    assert [start for start, _ in spans[1:]] == [stop for _, stop in spans[:-1]]
    assert spans[-1][1] == SIZE_BYTES


def test_to_end_where_it_was_cut_costs_no_try(ground: Ground) -> None:
    arrival = at(ground, Chunk(0, 0, 100), 10)
    assert arrival.cut(50) == Chunk(0, 50, 100)
    with pytest.raises(Hiccup) as ended:
        arrival.write(memoryview(bytes(90)), 10)
    assert (ended.value.is_free, arrival.at) == (True, 50)


def test_a_cut_from_another_thread_is_never_passed(ground: Ground) -> None:
    for _ in range(50):
        arrival, rests = Arrival(ground, Chunk(0, 0, SIZE_BYTES), lambda: None), list[Chunk]()

        def halve(arrival: Arrival = arrival, rests: list[Chunk] = rests) -> None:
            while arrival.at < arrival.stop:
                middle = (arrival.at + arrival.stop) // 2 // BLOCK_BYTES * BLOCK_BYTES
                if (rest := arrival.cut(middle)) is not None:
                    rests.append(rest)

        other = threading.Thread(target=halve)
        other.start()
        while arrival.at < arrival.stop:
            try:
                arrival.write(memoryview(bytes(7)), arrival.at)
            except Hiccup:
                break
        other.join(20)
        assert arrival.at == arrival.stop
        assert sum(rest.stop - rest.start for rest in rests) == SIZE_BYTES - arrival.at
