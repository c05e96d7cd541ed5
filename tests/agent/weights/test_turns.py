"""Turns: every chunk once, and a connection stays with its file while that pays."""

from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.plan import Chunk
from poolhand.agent.weights.turns import Turns


def chunks(file: int, count: int) -> list[Chunk]:
    """So many chunks of a file, of one byte each."""
    return [Chunk(file, at, at + 1) for at in range(count)]


def test_two_connections_bring_two_files_side_by_side() -> None:
    turns = Turns([chunks(0, 2), [], chunks(2, 3)])
    assert turns.next(None) == Chunk(0, 0, 1)
    assert turns.next(None) == Chunk(2, 0, 1)
    turns.done(Chunk(2, 0, 1))
    assert turns.next(2) == Chunk(2, 1, 2), "it stays, though the other file is as little busy"
    turns.done(Chunk(0, 0, 1))
    assert turns.next(0) == Chunk(0, 1, 2)
    turns.done(Chunk(0, 1, 2))
    assert turns.next(0) == Chunk(2, 2, 3), "its own file is all taken: it helps with another"
    assert turns.next(2) is None
    assert len(turns) == 0


def test_a_file_that_nobody_began_comes_before_one_that_somebody_is_at() -> None:
    turns = Turns([chunks(0, 9), chunks(1, 1), chunks(2, 1)])
    taken = [turns.next(None) for _ in range(4)]
    assert [chunk.file for chunk in taken if chunk] == [0, 1, 2, 0]


def test_many_connections_spread_evenly() -> None:
    turns = Turns([chunks(0, 20), chunks(1, 20), chunks(2, 20)])
    taken = [turns.next(None) for _ in range(12)]
    counts = [sum(chunk is not None and chunk.file == file for chunk in taken) for file in range(3)]
    assert counts == [4, 4, 4]


def test_what_has_to_come_again_comes_first_of_its_file() -> None:
    turns = Turns([chunks(0, 4)])
    first = turns.next(None)
    assert first is not None
    assert turns.next(0) == Chunk(0, 1, 2)
    turns.done(first)
    turns.again([first])
    turns.again([])
    assert [turns.next(0) for _ in range(4)] == [first, *chunks(0, 4)[2:], None]
    turns.again([first])
    assert len(turns) == 1
    assert turns.next(None) == first


@given(
    counts=st.lists(st.integers(0, 6), max_size=5),
    moves=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60),
)
def test_every_chunk_comes_once_and_each_file_in_order(
    counts: list[int], moves: list[tuple[int, bool]]
) -> None:
    """Whatever connections ask in whatever order, and whether or not one fails in between."""
    turns = Turns([chunks(file, count) for file, count in enumerate(counts)])
    busy: dict[int, Chunk] = {}
    got: list[Chunk] = []
    while len(turns) or busy:
        who, is_lost = moves.pop() if moves else (len(busy) and min(busy), False)
        last = busy.pop(who, None)
        if last is not None:
            turns.done(last)
            if is_lost:
                got.remove(last)
                turns.again([last])
        left = len(turns)
        chunk = turns.next(None if last is None else last.file)
        assert (chunk is None) == (left == 0)
        if chunk is not None:
            busy[who] = chunk
            got.append(chunk)
            assert len(turns) == left - 1
    assert sorted(got, key=lambda one: (one.file, one.start)) == [
        chunk for file, count in enumerate(counts) for chunk in chunks(file, count)
    ]
