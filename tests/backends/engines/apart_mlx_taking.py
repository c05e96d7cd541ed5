"""Tensors that are read early are the ones that the model gets; others come from the file."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from poolhand.agent.dev.checkpoint import make_model
from poolhand.backends.engines.manners import limits_kept
from poolhand.backends.engines.messages import LoadModel, Take

pytestmark = pytest.mark.engine
with limits_kept():
    import mlx.core as mx

    from poolhand.backends.engines import mlx_loading
    from poolhand.backends.engines.mlx_taking import Taken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_model(tmp_path / "m", preset="nano", name="nano")
    return tmp_path / "m"


def names_of(shard: Path) -> tuple[str, ...]:
    data = shard.read_bytes()
    header = cast("dict[str, object]", json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))
    return tuple(name for name in header if name != "__metadata__")


def aside(work: object) -> None:
    """In a thread that puts away what the library made for it, as the agent does it."""

    def run() -> None:
        try:
            assert callable(work)
            _ = work()
        finally:
            mlx_loading.leave()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(run).result()
    assert threading.active_count() >= 1


def test_read_before_the_rename_and_used_after_it(folder: Path) -> None:
    """The final files are made useless for the tensors: who uses them must have been early."""

    def work() -> None:
        shards = sorted(folder.glob("*.safetensors"))
        taken, whole = Taken(), {str(shard): shard.read_bytes() for shard in shards}
        for shard in shards:
            taken.take(Take((str(shard) + ".part", str(shard)), names_of(shard)))
        early = taken.tensors()
        assert early.keys() == {name for shard in shards for name in names_of(shard)}
        for shard in shards:
            data = whole[str(shard)]
            base = 8 + int.from_bytes(data[:8], "little")
            _ = shard.write_bytes(data[:base] + b"\x7f" * (len(data) - base))
        ones = {name: mx.zeros_like(array) for name, array in early.items()}
        model = mlx_loading.load(
            LoadModel(str(folder), None, 64, 2), progressed=lambda _d, _t: None, early=ones
        )
        model.drop()
        assert ones == {}, "each was used"

    aside(work)


def test_what_comes_anew_or_cannot_be_read_does_not_count(folder: Path) -> None:
    def work() -> None:
        shards = sorted(folder.glob("*.safetensors"))
        taken = Taken()
        for shard in shards:
            taken.take(Take((str(shard), str(shard)), names_of(shard)))
        taken.take(Take((str(shards[0]), str(shards[0])), ()))
        kept = taken.tensors()
        assert kept.keys() == {name for shard in shards[1:] for name in names_of(shard)}
        taken.take(Take(("/nowhere", "/nowhere/else"), ("t",)))
        taken.take(Take((str(shards[0]), str(shards[0])), ("no such tensor",)))
        assert taken.tensors().keys() == kept.keys()
        taken.forget()
        assert taken.tensors() == {}

    aside(work)


def test_a_tensor_of_another_shape_is_left_out(folder: Path) -> None:
    def work() -> None:
        name = names_of(min(folder.glob("*.safetensors")))[0]
        early = {name: mx.zeros((1, 1))}
        model = mlx_loading.load(
            LoadModel(str(folder), None, 64, 2), progressed=lambda _d, _t: None, early=early
        )
        model.drop()

    aside(work)
