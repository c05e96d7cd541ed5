"""What configuration and headers tell, out of a few kilobytes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from weights_origin import safetensors, toy

from poolhand.agent.weights.lines import decode, encode_result
from poolhand.agent.weights.look import MOST_CONFIG_BYTES, look
from poolhand.agent.weights.parts import Target
from poolhand.agent.weights.plane import Plane
from poolhand.backends.stores.base import Location, RemoteFile
from poolhand.backends.stores.errors import WeightsCorrupt


@dataclass
class Counted:
    """A store that counts what is read of it."""

    objects: Mapping[str, bytes]
    name: str = "counted"
    read_bytes: int = 0
    reads: list[str] = field(default_factory=list[str])

    async def files(self) -> tuple[RemoteFile, ...]:
        return tuple(RemoteFile(path, len(data), None, path) for path, data in self.objects.items())

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        data = self.objects[file.key][start:stop]
        self.read_bytes += len(data)
        self.reads.append(file.path)
        return data

    def location(self, file: RemoteFile) -> Location:
        raise NotImplementedError(file)

    async def refresh(self) -> None:
        """Nothing to be had."""

    async def close(self) -> None:
        """Nothing to be given back."""


def targets(store: Counted) -> list[Target]:
    return [Target(file) for file in Plane(store).ask(store.files)]


def test_a_model_is_known_from_a_few_kilobytes() -> None:
    store = Counted(toy(shard_bytes=3_000_000, shards=3))
    found = look(Plane(store), store, targets(store), model="m")
    total = sum(map(len, store.objects.values()))
    assert (found.size_bytes, found.files) == (total, len(store.objects))
    assert found.weights_bytes == 9_000_000
    assert json.loads(found.config) == {"model_type": "toy"}
    assert store.read_bytes < 250_000
    assert decode(encode_result(found)) == found


def test_a_long_header_is_read_to_its_end() -> None:
    tensors = {
        f"layer.{number}.weight": {
            "dtype": "U8",
            "shape": [10],
            "data_offsets": [number * 10, number * 10 + 10],
        }
        for number in range(2000)
    }
    header = json.dumps(tensors).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(20_000)
    store = Counted({"model.safetensors": data})
    found = look(Plane(store), store, targets(store), model="m")
    assert found.weights_bytes == 20_000
    assert store.read_bytes == len(header) + 8
    assert found.config == ""


def test_a_header_that_lies_is_found_before_the_bytes_come() -> None:
    data = bytearray(safetensors(3_000_000))
    data[0] ^= 1
    store = Counted({"model.safetensors": bytes(data)})
    with pytest.raises(WeightsCorrupt, match="safetensors"):
        _ = look(Plane(store), store, targets(store), model="m")
    store = Counted({"model.safetensors": b"x"})
    with pytest.raises(WeightsCorrupt, match="safetensors"):
        _ = look(Plane(store), store, targets(store), model="m")


def test_what_is_too_long_to_be_read_ahead_counts_whole() -> None:
    huge = (5 * 2**20).to_bytes(8, "little") + bytes(5 * 2**20 + 10)
    config = b'{"a": "' + b"x" * MOST_CONFIG_BYTES + b'"}'
    store = Counted({"model.safetensors": huge, "m.gguf": b"GGUF", "config.json": config})
    found = look(Plane(store), store, targets(store), model="m")
    assert found.weights_bytes == len(huge) + 4
    assert found.config == ""
    assert store.read_bytes <= 2**16


@pytest.mark.parametrize("config", [b"[]", b"{", b"[" * 50_000])
def test_a_configuration_that_is_none_is_not_told(config: bytes) -> None:
    store = Counted({"config.json": config})
    found = look(Plane(store), store, targets(store), model="m")
    assert (found.config, found.weights_bytes) == ("", 0)


def test_what_a_child_says_that_did_not_look() -> None:
    found = decode(b'{"result": {"size_bytes": 3, "files": 1}}')
    assert getattr(found, "weights_bytes", 0) is None
