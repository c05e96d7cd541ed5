"""safetensors headers: what holds together passes, whatever else is refused calmly."""

import contextlib
import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poolhand.agent.weights.headers import (
    MOST_SPANS,
    HeaderInvalid,
    check_header,
    tensor_bytes,
    tensor_spans,
)

Tensor = dict[str, object]


def packed(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def check(data: bytes) -> int:
    return check_header(io.BytesIO(data), size_bytes=len(data))


def tensor(dtype: str, shape: list[int], start: int, stop: int) -> Tensor:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_two_tensors_in_any_order() -> None:
    header = {"b": tensor("BF16", [2, 2], 4, 12), "a": tensor("F32", [], 0, 4)}
    assert check(packed(header, b"x" * 12)) == 12


def test_padding_metadata_and_empty_tensors() -> None:
    header = {"__metadata__": {"format": "mlx"}, "e": tensor("F32", [0, 7], 0, 0)}
    assert check(packed(json.dumps(header).encode() + b"   ")) == 0
    assert check(packed({})) == 0


@pytest.mark.parametrize(
    ("dtype", "size_bytes"),
    [
        ("F4", 4),
        ("F6_E2M3", 6),
        ("BOOL", 8),
        ("F8_E4M3", 8),
        ("F8_E5M2FNUZ", 8),
        ("U16", 16),
        ("I32", 32),
        ("C64", 64),
    ],
)
def test_widths(dtype: str, size_bytes: int) -> None:
    assert check(packed({"t": tensor(dtype, [8], 0, size_bytes)}, bytes(size_bytes))) == size_bytes


BROKEN = {
    "nothing": b"",
    "a cut prefix": b"\1\0\0",
    "a header longer than the file": (99).to_bytes(8, "little") + b"{}",
    "a header longer than allowed": (2**63).to_bytes(8, "little") + b"{}",
    "no brace": packed(b" {}"),
    "no JSON": packed(b"{torn"),
    "no UTF-8": packed(b'{"\xff": 1}'),
    "an array": packed(b"[]"),
    "deep nesting": packed(b'{"a":' + b"[" * 100_000),
    "a giant number": packed(b'{"a":' + b"9" * 5000 + b"}"),
    "a name twice": packed(b'{"a": 1, "a": 1}'),
    "a tensor that is none": packed({"t": 3}),
    "metadata that are no texts": packed({"__metadata__": {"a": [1]}}),
    "metadata that are a list": packed({"__metadata__": ["a"]}),
    "a name that is no text": packed(
        b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"
    ),
    "no dtype": packed({"t": {"shape": [], "data_offsets": [0, 0]}}),
    "an unknown dtype": packed({"t": tensor("F3", [1], 0, 1)}, b"x"),
    "a dtype that is a list": packed({"t": {"dtype": [], "shape": [], "data_offsets": [0, 0]}}),
    "no shape": packed({"t": {"dtype": "U8", "data_offsets": [0, 1]}}, b"x"),
    "a negative side": packed({"t": tensor("U8", [-1, -1], 0, 1)}, b"x"),
    "a side that is true": packed(
        b'{"t":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}', b"x"
    ),
    "a float side": packed(b'{"t":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', b"x"),
    "too many sides": packed({"t": tensor("U8", [1] * 33, 0, 1)}, b"x"),
    "three offsets": packed({"t": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}}, b"x"),
    "offsets backwards": packed({"t": tensor("U8", [1], 1, 0)}, b"x"),
    "a shape of another length": packed({"t": tensor("U8", [2], 0, 1)}, b"x"),
    "a side beyond 63 bits": packed({"t": tensor("U8", [2**63, 0], 0, 0)}),
    "a gap": packed({"t": tensor("U8", [1], 1, 2)}, b"xx"),
    "an overlap": packed({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 1, 3)}, b"xxx"),
    "bytes left over": packed({"t": tensor("U8", [1], 0, 1)}, b"xx"),
    "bytes missing": packed({"t": tensor("U8", [2], 0, 2)}, b"x"),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_refused(data: bytes) -> None:
    with pytest.raises(HeaderInvalid):
        _ = check(data)


@given(st.binary(max_size=400) | st.binary(max_size=400).map(packed))
@example(packed({"a": tensor("U8", [1], 0, 1)}, b"x"))
def test_any_bytes_pass_or_are_refused(data: bytes) -> None:
    try:
        length = check(data)
    except HeaderInvalid:
        return
    header_bytes = int.from_bytes(data[:8], "little")
    assert length == len(data) - 8 - header_bytes, "what passes covers the file exactly"


@given(st.data())
def test_one_changed_byte_never_does_worse_than_refusal(data: st.DataObject) -> None:
    good = bytearray(
        packed({"a": tensor("F16", [4], 0, 8), "b": tensor("U8", [3], 8, 11)}, b"x" * 11)
    )
    good[data.draw(st.integers(0, len(good) - 12))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(HeaderInvalid):
        assert check(bytes(good)) <= len(good)


def test_a_claimed_giant_header_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "giant.safetensors"
    with path.open("wb") as file:
        _ = file.write((2**40).to_bytes(8, "little") + b"{")
        _ = file.truncate(2**41)
    tracemalloc.start()
    with pytest.raises(HeaderInvalid):
        _ = tensor_bytes(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


LONG = 2**21


def long_header(before: bytes = b"", *, count: int = 20_000, behind: bytes = b"}") -> bytes:
    """Some tensors of one byte each, behind metadata that make the header long."""
    rows = (
        b'"t%d" : {"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}' % (at, at, at + 1)
        for at in range(count)
    )
    told = b'"__metadata__":{"q\\"uo\\\\":"' + b'\xc3\xa9\\"' * (LONG // 4) + b'" , "b":""},'
    return b"{ " + told + before + b",\n".join(rows) + behind


def test_a_long_header_that_holds_together() -> None:
    data = packed(long_header(behind=b"} \n"), b"x" * 20_000)
    assert check(data) == 20_000
    spans = tensor_spans(io.BytesIO(data), size_bytes=len(data))
    start = len(data) - 20_000
    assert (len(spans), spans["t7"]) == (20_000, range(start + 7, start + 8))
    assert check(packed(b"{}" + b" " * LONG)) == 0
    assert check(packed(b'{"__metadata__" : {}' + b" " * LONG + b"}")) == 0


T = b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
LONG_AND_BROKEN = {
    "cut": long_header()[:-1],
    "more behind it": long_header(behind=b"}}"),
    "a comma at its end": long_header(behind=b",}"),
    "a name twice": long_header(b'"t9":' + T + b","),
    "metadata twice": long_header(b'"__metadata__":{},'),
    "metadata that are no texts": long_header(b'"__metadata__":{"a":1},')[LONG // 2 :],
    "an overlap": long_header(b'"a":' + T + b","),
    "no tensor": long_header(b'"a":1,'),
    "an endless tensor": long_header(b'"a":{"dtype":"' + b"U" * LONG + b'"},'),
    "a deep tensor": long_header(b'"a":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b","),
    "no UTF-8": long_header(b'"\xff":' + T + b","),
    "a line break in its metadata": long_header(b'"__metadata__":{"a":"\n"},'),
    "no escape of JSON's": long_header().replace(b'\\"', b"\\&"),
    "a blank before it": b" " + long_header(),
    "a comma behind its metadata": long_header(b'"__metadata__":{"a":"b",},'),
    "a name that is no text": long_header(b'"\\ud800":' + T + b","),
    "half a text": long_header()[: LONG // 2] + b" " * LONG,
    "blanks alone": b" " * LONG,
    "an array": b"[" + b" " * LONG + b"]",
}


@pytest.mark.parametrize("header", LONG_AND_BROKEN.values(), ids=LONG_AND_BROKEN.keys())
def test_a_long_header_that_is_refused(header: bytes) -> None:
    with pytest.raises(HeaderInvalid):
        _ = check(packed(header, b"x" * 20_000))


@pytest.mark.parametrize(
    "header",
    [
        b'{"__metadata__":[' + b"[]," * 2**20 + b"[]]}",
        b'{"a":{"dtype":"U8","shape":[' + b"1," * 2**20 + b'1],"data_offsets":[0,1]}}',
        b'{"__metadata__":{"a":"' + b"y" * 2**22 + b'"}}',
        long_header(),
    ],
    ids=["lists", "sides", "metadata", "tensors"],
)
def test_a_long_header_costs_no_memory(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "long.safetensors"
    _ = path.write_bytes(packed(header, b"x" * 20_000))
    tracemalloc.start()
    with contextlib.suppress(HeaderInvalid):
        _ = tensor_bytes(path)
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


def test_spans_of_too_many_tensors_are_not_told() -> None:
    data = packed(long_header(count=MOST_SPANS + 1), b"x" * (MOST_SPANS + 1))
    assert check(data) == MOST_SPANS + 1
    with pytest.raises(HeaderInvalid, match="more than"):
        _ = tensor_spans(io.BytesIO(data), size_bytes=len(data))


def test_damaged_headers_are_refused_and_nothing_worse() -> None:
    """A few of the million that ``bench/fuzz_headers.py`` tries."""
    program = Path(__file__).parents[3] / "bench" / "fuzz_headers.py"
    said = [sys.executable, str(program), "5000", "1"]
    done = subprocess.run(said, capture_output=True, check=False)  # noqa: S603  # our own
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = json.loads(done.stdout)
    assert (found["cases"], found["refused"] > 2500) == (5000, True)
