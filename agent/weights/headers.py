"""A safetensors file's header, checked before any engine opens the file.

Source:
    safetensors README, "Format": 8 bytes little-endian N, N bytes of JSON, then tensor
    bytes; N is at most 100,000,000; tensors cover the rest without gap or overlap; no
    duplicate names.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

from ...config.frozen import frozen

PREFIX_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
WHOLE_BYTES = 2**20
"""A longer header is read piece by piece: one that means harm takes 25 times as much, once it is
parsed."""

MOST_TENSORS = 2**18
"""Behind a long header. A model of 512 experts in 4 bits has 221,184, if all of it is one file."""

MOST_SPANS = 2**16
"""Tensors of one file that are told one by one."""

_MAX_DIMENSIONS = 32
_MAX_NUMBER = 2**63
_DTYPE_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


class HeaderInvalid(ValueError):
    """A header breaks the format; the text says how."""

    def __init__(self, *, problem: str) -> None:
        super().__init__(problem)


@frozen
class _Extent:
    start: int
    stop: int
    name: str = ""


def tensor_bytes(path: Path) -> int:
    """Length of the tensors of a safetensors file whose header holds together.

    Raises:
        HeaderInvalid: It does not.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size_bytes = file.seek(0, 2)
        _ = file.seek(0)
        return check_header(file, size_bytes=size_bytes)


def check_header(file: BinaryIO, *, size_bytes: int) -> int:
    """Like :func:`tensor_bytes`, for an open file that stands at its begin.

    Args:
        file: Read up to the header's end.
        size_bytes: Length of the whole file.
    """
    header_bytes = _header_bytes(file, size_bytes)
    rest_bytes = size_bytes - PREFIX_BYTES - header_bytes
    if header_bytes > WHOLE_BYTES:
        _check_long(file, header_bytes, rest_bytes)
    else:
        _refuse_gaps(sorted(map(_place, _whole(file, header_bytes))), rest_bytes)
    return rest_bytes


def tensor_spans(file: BinaryIO, *, size_bytes: int) -> dict[str, range]:
    """Where each tensor's bytes lie in the file, in their order there.

    Args:
        file: Read up to the header's end.
        size_bytes: Length of the whole file.

    Raises:
        HeaderInvalid: The header does not hold together, or has more than :data:`MOST_SPANS`.
    """
    header_bytes = _header_bytes(file, size_bytes)
    base = PREFIX_BYTES + header_bytes
    if header_bytes > WHOLE_BYTES:
        extents = list(_long(file, header_bytes, most=MOST_SPANS))
        _refuse_twins([hash(extent.name) for extent in extents])
    else:
        extents = _whole(file, header_bytes)
    extents.sort(key=_place)
    _refuse_gaps(map(_place, extents), size_bytes - base)
    return {one.name: range(base + one.start, base + one.stop) for one in extents}


def _header_bytes(file: BinaryIO, size_bytes: int) -> int:
    length = file.read(PREFIX_BYTES)
    header_bytes = int.from_bytes(length, "little")
    rest_bytes = size_bytes - PREFIX_BYTES - header_bytes
    if len(length) < PREFIX_BYTES or rest_bytes < 0:
        raise HeaderInvalid(problem="the header does not fit into the file")
    if header_bytes > MAX_HEADER_BYTES:
        raise HeaderInvalid(problem="the header is longer than 100,000,000 bytes")
    return header_bytes


def _whole(file: BinaryIO, header_bytes: int) -> list[_Extent]:
    text = file.read(header_bytes)
    if len(text) != header_bytes or not text.startswith(b"{"):
        raise HeaderInvalid(problem="the header does not begin with a brace")
    return _extents(text)


def _long(file: BinaryIO, header_bytes: int, *, most: int) -> Iterator[_Extent]:
    from .long_headers import entries  # noqa: PLC0415  # few headers are long

    count = 0
    try:
        for name, tensor in entries(file, header_bytes, _JSON):
            count += 1
            if count > most:
                raise HeaderInvalid(problem=f"more than {most} tensors behind a long header")
            if not name.isascii():
                _ = name.encode()
            yield _extent(name, tensor)
    except (ValueError, RecursionError) as error:
        raise HeaderInvalid(problem=str(error)[:80]) from error


def _check_long(file: BinaryIO, header_bytes: int, rest_bytes: int) -> None:
    """Hold a long header together, of each tensor of which two numbers are kept."""
    places, names = list[int](), list[int]()
    for extent in _long(file, header_bytes, most=MOST_TENSORS):
        places.append(extent.start << 64 | extent.stop)
        names.append(hash(extent.name))
    _refuse_twins(names)
    places.sort()
    _refuse_gaps(((place >> 64, place & (2**64 - 1)) for place in places), rest_bytes)


def _refuse_twins(names: list[int]) -> None:
    names.sort()
    if any(one == other for one, other in pairwise(names)):
        raise HeaderInvalid(problem="a name stands in the header twice")


def _place(extent: _Extent) -> tuple[int, int]:
    return extent.start, extent.stop


def _refuse_gaps(places: Iterable[tuple[int, int]], rest_bytes: int) -> None:
    """Hold tensors to lie side by side, from the header's end to the file's."""
    at = 0
    for start, stop in places:
        if start != at:
            raise HeaderInvalid(problem="tensors overlap or leave a gap")
        at = stop
    if at != rest_bytes:
        raise HeaderInvalid(problem="the tensors are not as long as the file")


def _extents(text: bytes) -> list[_Extent]:
    try:
        found: object = _JSON.decode(text.decode())
    except (ValueError, RecursionError) as error:
        # a HeaderInvalid of the hook is a ValueError, too, and says more
        raise HeaderInvalid(problem=str(error)[:80] or "the header is no JSON") from error
    if not isinstance(found, dict):
        raise HeaderInvalid(problem="the header is no JSON object")
    tensors = cast("dict[str, object]", found)
    metadata = tensors.pop("__metadata__", None)
    if metadata is not None and not _is_texts(metadata):
        raise HeaderInvalid(problem="the metadata are no texts")
    if b"\\u" in text and any("\ud800" <= letter <= "\udfff" for letter in "".join(tensors)):
        raise HeaderInvalid(problem="a name is no Unicode text")
    return [_extent(name, tensor) for name, tensor in tensors.items()]


def _is_texts(metadata: object) -> bool:
    if not isinstance(metadata, dict):
        return False
    return all(isinstance(text, str) for text in cast("dict[str, object]", metadata).values())


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise HeaderInvalid(problem="a name stands in the header twice")
    return fields


_JSON = json.JSONDecoder(object_pairs_hook=_unique)


def _extent(name: str, tensor: object) -> _Extent:
    fields = cast("dict[str, object]", tensor) if isinstance(tensor, dict) else {}
    dtype, sides = fields.get("dtype"), _list(fields.get("shape"))
    bits = _DTYPE_BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise HeaderInvalid(problem="a tensor has no dtype or an unknown one")
    if len(sides) > _MAX_DIMENSIONS:
        raise HeaderInvalid(problem="a tensor has too many dimensions")
    offsets = _list(fields.get("data_offsets"))
    if len(offsets) != 2:  # noqa: PLR2004  # begin and end
        raise HeaderInvalid(problem="a tensor has no two data_offsets")
    start, stop = _natural(offsets[0]), _natural(offsets[1])
    if prod(map(_natural, sides)) * bits != (stop - start) * 8:
        raise HeaderInvalid(problem="a tensor's bytes do not match its shape")
    return _Extent(start, stop, name)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise HeaderInvalid(problem="a tensor's shape or data_offsets is no list")
    return cast("list[object]", value)


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_NUMBER:
        raise HeaderInvalid(problem="an offset or a dimension is no natural number")
    return value
