"""The real child with the real stores: the dev S3 server, and a folder in place."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stand_ins import COMMIT, TOKEN, hub, standing
from weights_origin import lay, manifest_of, quick, toy

from poolhand.agent.dev.objectstore import ObjectStore, StoreOptions, serve
from poolhand.agent.weights.bring import Bring
from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.fetch import FetchJob, fetch, sizes
from poolhand.agent.weights.inventory import inventory
from poolhand.agent.weights.manifest import weight_hash
from poolhand.backends.stores.base import Progress
from poolhand.backends.stores.catalog import store_for
from poolhand.backends.stores.errors import ModelMissing, StoreDenied, WeightsCorrupt
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, ModelEntry, Stores

MODEL = "org/toy"
TOTAL = sum(map(len, toy().values()))
HASH = weight_hash((path, hashlib.sha256(data).digest()) for path, data in toy().items())
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    _ = lay(tmp_path / "root" / "models" / "toy", toy())
    async with await serve(
        StoreOptions(
            root=tmp_path / "root",
            access_key="key",
            secret_key=ENVIRON["AWS_SECRET_ACCESS_KEY"],
        )
    ) as running:
        yield running


def job_for(store: ObjectStore, tmp_path: Path, ref: str = "s3://models/toy") -> FetchJob:
    stores = Stores(s3=S3(endpoint=store.url, region="us-east-1"))
    return FetchJob(MODEL, ModelRef.parse(ref), stores, quick(), str(tmp_path / "cache"))


async def test_from_s3(store: ObjectStore, tmp_path: Path) -> None:
    build = await fetch(job_for(store, tmp_path), told=lambda _: None, environ=ENVIRON)
    assert (build.weight_hash, build.size_bytes) == (HASH, TOTAL)
    for name, data in toy().items():
        assert (Path(build.folder) / name).read_bytes() == data


async def test_sizes_from_s3(store: ObjectStore, tmp_path: Path) -> None:
    assert await sizes(job_for(store, tmp_path), environ=ENVIRON) == TOTAL
    entry = ModelEntry(id=MODEL, ref="s3://models/toy")
    (stock,) = inventory(Cache(tmp_path / "cache"), [entry])
    assert (stock.state, stock.size_bytes) == ("listed", TOTAL)


async def test_a_missing_prefix_and_a_wrong_secret(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing) as caught:
        _ = await sizes(job_for(store, tmp_path, "s3://models/none"), environ=ENVIRON)
    assert MODEL in caught.value.load_text
    with pytest.raises(StoreDenied):
        _ = await sizes(
            job_for(store, tmp_path), environ={**ENVIRON, "AWS_SECRET_ACCESS_KEY": "wrong"}
        )


def local_job(folder: Path, cache: Path) -> FetchJob:
    return FetchJob(MODEL, ModelRef.parse(f"file://{folder}"), Stores(), quick(), str(cache))


async def test_a_folder_is_verified_where_it_lies(tmp_path: Path) -> None:
    place, cache = tmp_path / "here", tmp_path / "cache"
    _ = lay(place, toy())
    build = await fetch(local_job(place, cache), told=lambda _: None)
    assert (build.folder, build.weight_hash) == (str(place), HASH)
    assert {path.name for path in Cache(cache).folder(MODEL).iterdir()} == {"manifest.ok", ".lock"}
    again = await fetch(local_job(place, cache), told=lambda _: None, command=("false",))
    assert again == build


def test_how_far_a_folder_is_read_where_it_lies_is_told(tmp_path: Path) -> None:
    place, cache = tmp_path / "here", tmp_path / "cache"
    _ = lay(place, toy())
    told: list[tuple[str, Progress]] = []

    def tell(phase: str, progress: Progress) -> None:
        told.append((phase, progress))

    _ = Bring(local_job(place, cache), store_for, tell, tick_s=0.0).run()
    done = [at.bytes_done for phase, at in told if phase == "verify"]
    assert (done[0], done[-1]) == (0, TOTAL)
    assert done == sorted(done)
    assert {at.bytes_total for phase, at in told if phase == "verify"} == {TOTAL}


async def test_a_folder_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    place, cache = tmp_path / "here", tmp_path / "cache"
    _ = lay(place, toy())
    build = await fetch(local_job(place, cache), told=lambda _: None)
    _ = (place / "config.json").write_bytes(b'{"model_type": "new"}')
    newer = await fetch(local_job(place, cache), told=lambda _: None)
    assert newer.config == {"model_type": "new"}
    assert newer.weight_hash != build.weight_hash


async def test_a_folder_is_held_to_its_manifest(tmp_path: Path) -> None:
    place, cache = tmp_path / "here", tmp_path / "cache"
    _ = lay(place, {**toy(), "manifest.json": manifest_of(toy(), model=MODEL)})
    build = await fetch(local_job(place, cache), told=lambda _: None)
    assert build.verified_by == "manifest"
    data = bytearray((place / "model-00001-of-00002.safetensors").read_bytes())
    data[-1] ^= 1
    _ = (place / "model-00001-of-00002.safetensors").write_bytes(data)
    with pytest.raises(WeightsCorrupt):
        _ = await fetch(local_job(place, cache), told=lambda _: None)
    assert (place / "model-00001-of-00002.safetensors").exists(), "not ours to delete"


async def test_a_damaged_cache_of_the_hubs_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What huggingface_hub left here has rotted: the hub has it still."""
    snapshot = tmp_path / "hf" / "hub" / "models--models--tiny" / "snapshots" / COMMIT
    _ = lay(snapshot, toy())
    shard = snapshot / "model-00001-of-00002.safetensors"
    _ = shard.write_bytes(shard.read_bytes()[:-1] + b"\x55")
    async with standing(hub) as shelf:
        shelf.objects = {f"models/tiny/{path}": data for path, data in toy().items()}
        for name, text in {"ENDPOINT": shelf.url, "TOKEN": TOKEN, "HOME": tmp_path / "hf"}.items():
            monkeypatch.setenv(f"HF_{name}", str(text))
        stores = Stores(trusted_hosts=(shelf.onward.removeprefix("http://"),))
        ref, cache = ModelRef.parse("models/tiny"), tmp_path / "cache"
        job = FetchJob(MODEL, ref, stores, quick(), str(cache))
        bring = Bring(job, store_for, lambda _phase, _told: None)
        result = await asyncio.to_thread(bring.run)
    assert result.size_bytes == TOTAL
    for name, data in toy().items():
        assert (Cache(cache).folder(MODEL) / name).read_bytes() == data
