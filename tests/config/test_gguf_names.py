"""The names of GGUF files, as stores list them and engines open them."""

import pytest

from poolhand.config.gguf_names import SHARD, is_projector


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("m-00002-of-00003.gguf", ("00002", "00003")),
        ("Q4/M-00002-OF-00003.GGUF", ("00002", "00003")),
        ("m.gguf", None),
        ("m-2-of-3.gguf", None),
        ("m-00002-of-00003.gguf.part", None),
        ("m-00002-of-00003.safetensors", None),
    ],
)
def test_a_shard(path: str, expected: tuple[str, str] | None) -> None:
    found = SHARD.search(path)
    assert (found and found.groups()) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mmproj-m.gguf", True),
        ("vision/m-mmproj-F16.gguf", True),
        ("MMPROJ-M.GGUF", True),
        ("mmproj.json", False),
        ("m.gguf", False),
    ],
)
def test_a_projector(path: str, *, expected: bool) -> None:
    assert is_projector(path) is expected
