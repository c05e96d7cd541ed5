"""GGUF headers: what holds together passes, and nothing else does anything but be refused."""

import contextlib
import io
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.gguf import check_gguf, gguf_bytes
from poolhand.agent.weights.headers import HeaderInvalid
from poolhand.agent.weights.verify import check_file
from poolhand.backends.stores.errors import WeightsCorrupt

U32, U64 = struct.Struct("<I").pack, struct.Struct("<Q").pack
F32, Q4_K, NEWER = 0, 12, 99


def text(value: str) -> bytes:
    raw = value.encode()
    return U64(len(raw)) + raw


def tensor(name: str, sides: list[int], kind: int, start: int) -> bytes:
    return text(name) + U32(len(sides)) + b"".join(map(U64, sides)) + U32(kind) + U64(start)


PAIRS = [
    text("general.architecture") + U32(8) + text("llama"),
    text("a.bool") + U32(7) + b"\1",
    text("a.floats") + U32(9) + U32(6) + U64(3) + bytes(12),
    text("a.words") + U32(9) + U32(8) + U64(2) + text("x") + text("yy"),
    text("a.nested") + U32(9) + U32(9) + U64(1) + U32(0) + U64(2) + bytes(2),
    text("a.long") + U32(10) + bytes(8),
]


def gguf(
    tensors: list[bytes], *, data_bytes: int, pairs: list[bytes] | None = None, align: int = 32
) -> bytes:
    kept = PAIRS if pairs is None else pairs
    head = b"GGUF" + U32(3) + U64(len(tensors)) + U64(len(kept)) + b"".join(kept + tensors)
    return head + bytes(-len(head) % align) + bytes(data_bytes)


GOOD = gguf(
    [tensor("a", [256, 2], Q4_K, 0), tensor("b", [10], F32, 288), tensor("c", [], NEWER, 352)],
    data_bytes=352,
)


def check(data: bytes) -> int:
    return check_gguf(io.BytesIO(data), size_bytes=len(data))


def test_what_holds_together(tmp_path: Path) -> None:
    assert check(GOOD) == 2 * 144 + 40
    path = tmp_path / "a.gguf"
    _ = path.write_bytes(GOOD)
    assert gguf_bytes(path) == 328
    check_file(path, path="a.gguf", model="m")
    _ = path.write_bytes(GOOD[:-100])
    with pytest.raises(WeightsCorrupt, match="GGUF: a tensor does not fit"):
        check_file(path, path="a.gguf", model="m")


def test_the_newest_kinds_have_a_length() -> None:
    tensors = [tensor("a", [64], 40, 0), tensor("b", [128], 41, 64), tensor("c", [32], 9, 96)]
    assert check(gguf(tensors, data_bytes=136)) == 36 + 18 + 40


def test_a_name_that_stands_there_twice() -> None:
    with pytest.raises(HeaderInvalid, match="twice"):
        _ = check(gguf([tensor("a", [1], F32, 0), tensor("a", [1], F32, 32)], data_bytes=64))


def test_an_array_of_endlessly_many_nothings() -> None:
    count = 2**22 + 1
    words = text("a.words") + U32(9) + U32(8) + U64(count) + bytes(8 * count)
    with pytest.raises(HeaderInvalid, match="elements"):
        _ = check(gguf([], data_bytes=0, pairs=[words]))


def test_the_alignment_is_the_files_own() -> None:
    pairs = [text("general.alignment") + U32(4) + U32(64)]
    data = gguf([tensor("a", [4], F32, 64)], data_bytes=80, pairs=pairs, align=64)
    assert check(data) == 16


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "does not fit"),
        (b"GGML" + GOOD[4:], "begin with GGUF"),
        (b"GGUF" + U32(1) + GOOD[8:], "version"),
        (GOOD[:8] + U64(2**40) + GOOD[16:], "tensors"),
        (GOOD[:16] + U64(2**40) + GOOD[24:], "pairs"),
        (gguf([tensor("a", [1] * 5, F32, 0)], data_bytes=64), "dimensions"),
        (gguf([tensor("a", [8], F32, 8)], data_bytes=64), "multiple"),
        (gguf([tensor("a", [255], Q4_K, 0)], data_bytes=900), "blocks"),
        (gguf([tensor("a", [32], F32, 0), tensor("b", [8], F32, 32)], data_bytes=900), "overlap"),
        (gguf([tensor("a", [2**62, 2**62], F32, 0)], data_bytes=64), "fit"),
        (gguf([], data_bytes=0, pairs=[text("k") + U32(77)]), "type"),
        (gguf([], data_bytes=0, pairs=[text("k") + U32(8) + U64(2**63)]), "fit"),
        (gguf([], data_bytes=0, pairs=[text("k") + U32(9) + U32(6) + U64(2**63)]), "fit"),
        (gguf([], data_bytes=0, pairs=[text("k") + (U32(9) + U64(1)[:0]) * 1], align=1), "fit"),
        (gguf([], data_bytes=0, pairs=[text("general.alignment") + U32(4) + U32(0)]), "alignment"),
        (gguf([], data_bytes=0, pairs=[U64(2**20) + bytes(2**20)]), "name"),
        (
            gguf([], data_bytes=0, pairs=[text("k") + U32(9) + (U32(9) + U64(1)) * 9]),
            "type",
        ),
    ],
)
def test_what_does_not(data: bytes, problem: str) -> None:
    with pytest.raises(HeaderInvalid, match=problem):
        _ = check(data)


@given(st.binary(max_size=300))
def test_no_bytes_break_it(data: bytes) -> None:
    for whole in (data, b"GGUF" + U32(3) + data):
        with contextlib.suppress(HeaderInvalid):
            assert check(whole) >= 0


def test_no_change_of_a_good_one_breaks_it() -> None:
    chance = random.Random(7)  # noqa: S311  # cases, not secrets
    refused = 0
    for _ in range(5000):
        data = bytearray(GOOD[: chance.randrange(len(GOOD))] if chance.random() < 0.2 else GOOD)
        for _ in range(chance.randrange(1, 4) if data else 0):
            byte = chance.choice([0, 1, 255, chance.randrange(256)])
            data[chance.randrange(len(data))] = byte
        try:
            assert 0 <= check(bytes(data)) <= len(data), "tensors never go beyond the file"
        except HeaderInvalid:
            refused += 1
    assert refused > 500
