"""Which ranges are still missing, cut into reads and put in order.

Bytes are accounted for in *blocks* (what the journal can claim) and asked for in *chunks*
(one ranged GET, a whole number of blocks): a kill costs a block for each connection, not a
chunk. A file's blocks are one byte each in a ``bytearray``, 1 for "on disk".
"""

from collections.abc import Sequence
from itertools import chain, zip_longest

from ...config.frozen import frozen

BLOCK_BYTES = 2**20
"""Most that one connection can lose to a kill."""

_SMALL_BUILD_BYTES = 2**30
_SMALL_BUILD_CHUNK_BYTES = 8 * 2**20


@frozen
class Chunk:
    """One ranged read.

    Attributes:
        file: Index of the file in the listing.
        start: First byte.
        stop: One behind the last byte; more than ``start``.
    """

    file: int
    start: int
    stop: int


@frozen
class Grid:
    """How files are cut.

    Attributes:
        block_bytes: Unit of the journal, 1 or more.
        chunk_bytes: Most of one read; a multiple of ``block_bytes``.
    """

    block_bytes: int
    chunk_bytes: int

    def blocks(self, size_bytes: int) -> int:
        """How many blocks a file has; the last may be short."""
        return -(-size_bytes // self.block_bytes)

    def block_span(self, block: int, *, size_bytes: int) -> range:
        """The bytes of one block."""
        start = block * self.block_bytes
        return range(start, min(start + self.block_bytes, size_bytes))


def grid_for(*, total_bytes: int, asked_chunk_bytes: int) -> Grid:
    """How to cut a build of ``total_bytes``.

    Below 1 GiB a chunk is at most 8 MiB, so that few files still keep every connection
    busy. A block is a power of two, so that none lies across a mark of a digest: where a piece
    is fetched again, no byte of the one before it is. A chunk is rounded down to whole blocks.
    """
    chunk_bytes = asked_chunk_bytes
    if total_bytes < _SMALL_BUILD_BYTES:
        chunk_bytes = min(chunk_bytes, _SMALL_BUILD_CHUNK_BYTES)
    block_bytes = min(BLOCK_BYTES, 1 << chunk_bytes.bit_length() - 1)
    return Grid(block_bytes, chunk_bytes // block_bytes * block_bytes)


def missing(file: int, *, size_bytes: int, have: Sequence[int], grid: Grid) -> list[Chunk]:
    """Cut what is not here of one file into reads.

    Args:
        file: The index that the chunks get.
        size_bytes: The file's length.
        have: One truth value a block.
        grid: How to cut.

    Returns:
        Chunks in file order, disjoint, none empty; with ``have`` they cover the file.
    """
    most = grid.chunk_bytes // grid.block_bytes
    chunks: list[Chunk] = []
    block, end = 0, grid.blocks(size_bytes)
    while block < end:
        if have[block]:
            block += 1
            continue
        stop = block + 1
        while stop < min(end, block + most) and not have[stop]:
            stop += 1
        last = min(stop * grid.block_bytes, size_bytes)
        chunks.append(Chunk(file, block * grid.block_bytes, last))
        block = stop
    return chunks


def cut_at(start: int, stop: int, *, block_bytes: int) -> int | None:
    """Where to cut what lies between two bytes, so that another connection may bring the rest.

    Returns:
        The place between two blocks that is nearest to the middle; ``None`` if there is none.
    """
    first = (start // block_bytes + 1) * block_bytes
    last = -(-stop // block_bytes) * block_bytes - block_bytes
    nearest = round((start + stop) / 2 / block_bytes) * block_bytes
    return min(max(nearest, first), last) if first <= last else None


def round_robin(queues: Sequence[Sequence[Chunk]]) -> list[Chunk]:
    """One chunk of each file in turn: digests run per file, so shards hide each other's."""
    return [chunk for chunk in chain.from_iterable(zip_longest(*queues)) if chunk is not None]


def bytes_here(have: Sequence[int], *, size_bytes: int, grid: Grid) -> int:
    """How many bytes the blocks that are here hold."""
    blocks = have.count(1)
    short = -size_bytes % grid.block_bytes
    return blocks * grid.block_bytes - (short if blocks and have[-1] else 0)
