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
_LEAST_CHUNK_BYTES = 2**20
_LEAST_BLOCK_BYTES = 2**16
_CHUNKS = 16
_BLOCKS = 256
"""So many are made of a small build, or more: whichever connection is fast takes more of them, and
at the end the slowest holds up little."""


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
        whole_bytes: Up to so many a file comes in one read if nothing but that answer tells what
            its bytes have to be: of a range it would not.
    """

    block_bytes: int
    chunk_bytes: int
    whole_bytes: int = 0

    def read_bytes(self, size_bytes: int, *, is_told: bool) -> int:
        """Most of one read of a file, of which something is told or not."""
        is_whole = not is_told and size_bytes <= self.whole_bytes
        return self.whole_bytes if is_whole else self.chunk_bytes

    def blocks(self, size_bytes: int) -> int:
        """How many blocks a file has; the last may be short."""
        return -(-size_bytes // self.block_bytes)

    def block_span(self, block: int, *, size_bytes: int) -> range:
        """The bytes of one block."""
        start = block * self.block_bytes
        return range(start, min(start + self.block_bytes, size_bytes))


def grid_for(*, total_bytes: int, asked_chunk_bytes: int) -> Grid:
    """How to cut a build of ``total_bytes``.

    Below 1 GiB a chunk is at most 8 MiB, and below 128 MiB a sixteenth, so that few files still
    keep every connection busy. A block is a power of two, so that none lies across a mark of a
    digest: where a piece is fetched again, no byte of the one before it is. A chunk is rounded
    down to whole blocks.
    """
    chunk_bytes = whole_bytes = asked_chunk_bytes
    if total_bytes < _SMALL_BUILD_BYTES:
        whole_bytes = min(asked_chunk_bytes, _SMALL_BUILD_CHUNK_BYTES)
        part = max(_LEAST_CHUNK_BYTES, _power_of_two(total_bytes // _CHUNKS))
        chunk_bytes = min(whole_bytes, part)
    part = max(_LEAST_BLOCK_BYTES, _power_of_two(total_bytes // _BLOCKS))
    block_bytes = min(BLOCK_BYTES, _power_of_two(chunk_bytes), part)
    chunk_bytes, whole_bytes = (
        each // block_bytes * block_bytes for each in (chunk_bytes, whole_bytes)
    )
    return Grid(block_bytes, chunk_bytes, whole_bytes)


def _power_of_two(most: int) -> int:
    """The greatest up to this; 0 if that is less than 1."""
    return 1 << most.bit_length() - 1 if most > 0 else 0


def missing(
    file: int, *, size_bytes: int, have: Sequence[int], grid: Grid, is_told: bool = True
) -> list[Chunk]:
    """Cut what is not here of one file into reads.

    Args:
        file: The index that the chunks get.
        size_bytes: The file's length.
        have: One truth value a block.
        grid: How to cut.
        is_told: Whether anything tells what its bytes have to be, but for the answer itself.

    Returns:
        Chunks in file order, disjoint, none empty; with ``have`` they cover the file.
    """
    most = grid.read_bytes(size_bytes, is_told=is_told) // grid.block_bytes
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


def recut(have: Sequence[int], old_bytes: int, new_bytes: int, *, size_bytes: int) -> bytearray:
    """What is here of a file, in blocks of another length.

    Args:
        have: One truth value a block of the old length.
        old_bytes: That length.
        new_bytes: The new one.
        size_bytes: The file's length.
    """
    if old_bytes == new_bytes:
        return bytearray(have)
    grid, found = Grid(new_bytes, new_bytes), bytearray()
    for block in range(grid.blocks(size_bytes)):
        span = grid.block_span(block, size_bytes=size_bytes)
        found.append(all(have[span.start // old_bytes : -(-span.stop // old_bytes)]))
    return found


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
