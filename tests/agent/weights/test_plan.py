"""Missing ranges: cut, ordered, and never more or less than what is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.digests import MARK_BYTES
from poolhand.agent.weights.plan import (
    BLOCK_BYTES,
    Chunk,
    Grid,
    bytes_here,
    cut_at,
    grid_for,
    missing,
    recut,
    round_robin,
)

MIB = 2**20
Layout = tuple[int, list[int], Grid]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    block = draw(st.integers(1, 9))
    grid = Grid(block, block * draw(st.integers(1, 5)))
    size = draw(st.integers(0, 200))
    blocks = grid.blocks(size)
    return size, draw(st.lists(st.sampled_from([0, 1]), min_size=blocks, max_size=blocks)), grid


@given(layouts())
def test_laws(layout: Layout) -> None:
    size, have, grid = layout
    chunks = missing(0, size_bytes=size, have=have, grid=grid)
    asked = [byte for chunk in chunks for byte in range(chunk.start, chunk.stop)]
    wanted = [byte for byte in range(size) if not have[byte // grid.block_bytes]]
    assert asked == wanted, "in file order, each missing byte once, no other byte"
    assert all(0 < chunk.stop - chunk.start <= grid.chunk_bytes for chunk in chunks)
    assert all(chunk.start % grid.block_bytes == 0 for chunk in chunks)
    assert bytes_here(have, size_bytes=size, grid=grid) == size - len(wanted)


@given(layouts())
def test_blocks_tile_the_file(layout: Layout) -> None:
    size, _, grid = layout
    spans = [grid.block_span(block, size_bytes=size) for block in range(grid.blocks(size))]
    assert [byte for span in spans for byte in span] == list(range(size))


def test_a_file_that_is_here_needs_nothing() -> None:
    grid = Grid(4, 8)
    assert missing(0, size_bytes=10, have=[1, 1, 1], grid=grid) == []
    assert missing(0, size_bytes=0, have=[], grid=grid) == []


def test_a_gap_inside_a_chunk_splits_it() -> None:
    chunks = missing(3, size_bytes=10, have=[0, 1, 0], grid=Grid(4, 100))
    assert chunks == [Chunk(3, 0, 4), Chunk(3, 8, 10)]


def test_shards_are_read_side_by_side() -> None:
    first = [Chunk(0, 0, 1), Chunk(0, 1, 2), Chunk(0, 2, 3)]
    second = [Chunk(1, 0, 1)]
    assert [chunk.file for chunk in round_robin([first, [], second])] == [0, 1, 0, 0]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=5))
def test_order_loses_nothing(starts: list[list[int]]) -> None:
    queues = [[Chunk(file, at, at + 1) for at in queue] for file, queue in enumerate(starts)]
    ordered = round_robin(queues)
    for file, queue in enumerate(queues):
        assert [chunk for chunk in ordered if chunk.file == file] == queue


@pytest.mark.parametrize(
    ("total_bytes", "asked", "grid"),
    [
        (0, 16 * MIB, Grid(2**16, MIB, 8 * MIB)),
        (16 * MIB, 16 * MIB, Grid(2**16, MIB, 8 * MIB)),
        (100 * MIB, 16 * MIB, Grid(2**18, 4 * MIB, 8 * MIB)),
        (100 * MIB, 3 * MIB, Grid(2**18, 3 * MIB, 3 * MIB)),
        (2**30 - 1, 16 * MIB, Grid(MIB, 8 * MIB, 8 * MIB)),
        (2**30, 16 * MIB, Grid(MIB, 16 * MIB, 16 * MIB)),
        (2**40, 64 * MIB, Grid(MIB, 64 * MIB, 64 * MIB)),
        (2**40, 65536, Grid(65536, 65536, 65536)),
        (2**40, 700_000, Grid(2**19, 2**19, 2**19)),
        (2**40, 3 * MIB + 5, Grid(MIB, 3 * MIB, 3 * MIB)),
    ],
)
def test_how_a_build_is_cut(total_bytes: int, asked: int, grid: Grid) -> None:
    assert grid_for(total_bytes=total_bytes, asked_chunk_bytes=asked) == grid


@given(st.integers(0, 2**50), st.integers(2**16, 2**28))
def test_a_chunk_is_whole_blocks_and_a_kill_costs_a_block(total: int, asked: int) -> None:
    grid = grid_for(total_bytes=total, asked_chunk_bytes=asked)
    assert grid.chunk_bytes % grid.block_bytes == 0
    assert 0 < grid.block_bytes <= BLOCK_BYTES
    assert grid.block_bytes <= grid.chunk_bytes <= asked
    assert MARK_BYTES % grid.block_bytes == 0, "a byte that was digested is not written again"


def test_what_only_its_answer_tells_of_comes_in_one_answer() -> None:
    grid = Grid(1, 2, 4)
    assert missing(0, size_bytes=4, have=bytes(4), grid=grid, is_told=False) == [Chunk(0, 0, 4)]
    assert len(missing(0, size_bytes=4, have=bytes(4), grid=grid)) == 2
    assert len(missing(0, size_bytes=5, have=bytes(5), grid=grid, is_told=False)) == 3


@given(layouts(), st.integers(1, 12))
def test_law_other_blocks_claim_what_is_here_and_nothing_else(layout: Layout, block: int) -> None:
    size, have, grid = layout
    found = recut(have, grid.block_bytes, block, size_bytes=size)
    here = [bool(have[byte // grid.block_bytes]) for byte in range(size)]
    assert list(found) == [
        all(here[at] for at in Grid(block, block).block_span(number, size_bytes=size))
        for number in range(-(-size // block))
    ]


@given(st.integers(0, 500), st.integers(1, 500), st.integers(1, 40))
def test_law_a_cut_is_between_two_blocks_and_as_even_as_can_be(
    start: int, size: int, block: int
) -> None:
    stop = start + size
    places = [at for at in range(start + 1, stop) if at % block == 0]
    found = cut_at(start, stop, block_bytes=block)
    if not places:
        assert found is None
    else:
        middle = (start + stop) / 2
        assert found in places
        assert abs(found - middle) == min(abs(at - middle) for at in places)
