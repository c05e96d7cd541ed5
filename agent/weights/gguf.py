"""A GGUF file's header, checked before any engine opens the file.

Nothing is kept but the tensors' extents, and nothing is believed: every length is held
against what is left of the file before it is used, so a header that lies costs no memory.

Source:
    ggml, docs/gguf.md, versions 2 and 3: magic, version, counts, key-value pairs, tensor
    infos, padding to ``general.alignment``, tensor data. Block sizes: gguf-py, constants.py,
    ``GGML_QUANT_SIZES``.
"""

import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from .headers import HeaderInvalid

MAGIC = b"GGUF"
_VERSIONS = frozenset({2, 3})
_ALIGNMENT = 32
_MOST_ALIGNMENT = 2**20
_MOST_PAIRS = 2**16
_MOST_TENSORS = 2**16
_MOST_NAME_BYTES = 2**16
_MOST_DIMENSIONS = 4
_MOST_DEPTH = 4
_MOST_ELEMENTS = 2**22
"""Of arrays whose elements tell their own length: a vocabulary of a million has three of them."""

_STRING, _ARRAY, _UINT32 = 8, 9, 4
_SCALAR_BYTES: Mapping[int, int] = MappingProxyType(
    {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
)
_BLOCKS: Mapping[int, tuple[int, int]] = MappingProxyType(
    {
        0: (1, 4),
        1: (1, 2),
        2: (32, 18),
        3: (32, 20),
        6: (32, 22),
        7: (32, 24),
        8: (32, 34),
        9: (32, 40),
        10: (256, 84),
        11: (256, 110),
        12: (256, 144),
        13: (256, 176),
        14: (256, 210),
        15: (256, 292),
        16: (256, 66),
        17: (256, 74),
        18: (256, 98),
        19: (256, 50),
        20: (32, 18),
        21: (256, 110),
        22: (256, 82),
        23: (256, 136),
        24: (1, 1),
        25: (1, 2),
        26: (1, 4),
        27: (1, 8),
        28: (1, 8),
        29: (256, 56),
        30: (1, 2),
        34: (256, 54),
        35: (256, 66),
        39: (32, 17),
        40: (64, 36),
        41: (128, 18),
    }
)
"""By tensor type: elements and bytes of a block. Of a type that is newer, only the place is
checked."""


def gguf_bytes(path: Path) -> int:
    """Length of the tensors of a GGUF file whose header holds together.

    Raises:
        HeaderInvalid: It does not.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size_bytes = file.seek(0, 2)
        _ = file.seek(0)
        return check_gguf(file, size_bytes=size_bytes)


def check_gguf(file: BinaryIO, *, size_bytes: int) -> int:
    """Like :func:`gguf_bytes`, for an open file that stands at its begin.

    Args:
        file: Read and skipped through up to the header's end.
        size_bytes: Length of the whole file.
    """
    reader = _Reader(file, size_bytes)
    if reader.take(4) != MAGIC:
        raise HeaderInvalid(problem="it does not begin with GGUF")
    if reader.u32() not in _VERSIONS:
        raise HeaderInvalid(problem="a version that is not known")
    tensors = reader.count(_MOST_TENSORS, "tensors")
    pairs = reader.count(_MOST_PAIRS, "key-value pairs")
    alignment = _ALIGNMENT
    for _ in range(pairs):
        key, kind = reader.name(), reader.u32()
        if key == b"general.alignment" and kind == _UINT32:
            alignment = reader.u32()
            if not 0 < alignment <= _MOST_ALIGNMENT or alignment % 8:
                raise HeaderInvalid(problem="an alignment that is none")
        else:
            reader.skip_value(kind, 0)
    names = set[int]()
    extents = sorted(_extent(reader, alignment, names) for _ in range(tensors))
    if len(names) != tensors:
        raise HeaderInvalid(problem="a tensor stands in the header twice")
    start = -(-reader.at // alignment) * alignment
    return _laid_out(extents, size_bytes - start)


def _laid_out(extents: list[tuple[int, int]], room_bytes: int) -> int:
    at, total = 0, 0
    for start, size_bytes in extents:
        if start < at:
            raise HeaderInvalid(problem="tensors overlap")
        at = start + size_bytes
        if at > room_bytes:
            raise HeaderInvalid(problem="a tensor does not fit into the file")
        total += size_bytes
    return total


def _extent(reader: "_Reader", alignment: int, names: set[int]) -> tuple[int, int]:
    names.add(hash(reader.name()))
    dimensions = reader.u32()
    if dimensions > _MOST_DIMENSIONS:
        raise HeaderInvalid(problem="a tensor has too many dimensions")
    sides = [reader.u64() for _ in range(dimensions)]
    kind, start = reader.u32(), reader.u64()
    if start % alignment:
        raise HeaderInvalid(problem="a tensor does not begin at a multiple of the alignment")
    elements = prod(sides)
    block = _BLOCKS.get(kind)
    if block is None:
        return start, 0
    if sides and sides[0] % block[0]:
        raise HeaderInvalid(problem="a tensor's row is no whole number of blocks")
    return start, elements // block[0] * block[1]


class _Reader:
    """Reads little-endian values and never beyond the file."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._elements = 0
        self.at = 0

    def take(self, count: int) -> bytes:
        """So many bytes, or a header that ends too early."""
        data = self._file.read(count) if count <= self._size_bytes - self.at else b""
        if len(data) != count:
            raise HeaderInvalid(problem="the header does not fit into the file")
        self.at += count
        return data

    def skip(self, count: int) -> None:
        """Pass over so many bytes."""
        if count > self._size_bytes - self.at:
            raise HeaderInvalid(problem="the header does not fit into the file")
        _ = self._file.seek(count, 1)
        self.at += count

    def u32(self) -> int:
        """Four bytes, little-endian."""
        return int(struct.unpack("<I", self.take(4))[0])

    def u64(self) -> int:
        """Eight bytes, little-endian."""
        return int(struct.unpack("<Q", self.take(8))[0])

    def count(self, most: int, what: str) -> int:
        """How many of something follow."""
        count = self.u64()
        if count > most:
            raise HeaderInvalid(problem=f"more than {most} {what}")
        return count

    def name(self) -> bytes:
        """A string that is needed."""
        return self.take(self.count(_MOST_NAME_BYTES, "bytes in a name"))

    def skip_value(self, kind: int, depth: int) -> None:
        """Pass over a value of this type."""
        if kind in _SCALAR_BYTES:
            self.skip(_SCALAR_BYTES[kind])
        elif kind == _STRING:
            self.skip(self.u64())
        elif kind == _ARRAY and depth < _MOST_DEPTH:
            inner, length = self.u32(), self.u64()
            if inner in _SCALAR_BYTES:
                self.skip(_SCALAR_BYTES[inner] * length)
                return
            # each would take a microsecond, and a file has room for very many
            self._elements += length
            if self._elements > _MOST_ELEMENTS:
                raise HeaderInvalid(problem=f"more than {_MOST_ELEMENTS} elements in its arrays")
            for _ in range(length):
                self.skip_value(inner, depth + 1)
        else:
            raise HeaderInvalid(problem="a value of a type that is not known")
