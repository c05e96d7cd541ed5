"""JSON of strangers is counted before it is read."""

import json
import tracemalloc

import pytest

from poolhand.config.foreign_json import MOST_VALUES, TooMuch, parsed, readable


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"[]," * MOST_VALUES + b"0]",
        b"{" + b'"a":{},' * MOST_VALUES + b'"b":0}',
        b"[" + b"1000," * MOST_VALUES + b"0]",
    ],
    ids=["lists", "objects", "numbers"],
)
def test_what_would_take_all_memory_is_not_read(data: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(TooMuch, match=str(MOST_VALUES)):
        _ = parsed(data)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2**20


def test_the_index_of_a_very_large_model_is_read() -> None:
    index = {
        "weight_map": {f"layers.{at}.weight": "model-00001.safetensors" for at in range(2**18)}
    }
    assert parsed(json.dumps(index).encode()) == index


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a": nope}'])
def test_what_is_no_json_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        _ = parsed(data)
    assert readable(data) is None
