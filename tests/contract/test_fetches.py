"""The real fetching child against every stand-in: whole, held to digests, resumed, refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stand_ins import BUCKET, Web, web
from weights_origin import manifest_of, quick, toy

from poolhand.agent.weights.fetch import FetchJob, fetch
from poolhand.backends.stores.errors import StoreDenied, StoreUnsafe, WeightsCorrupt
from poolhand.config.refs import ModelRef
from poolhand.config.stores import Stores

MODEL = "org/toy"
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture(params=["gcs", "hub", "ngc", "registry"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Web]:
    async with web(request.param, tmp_path) as world:
        objects = toy()
        if request.param == "registry":
            objects["manifest.json"] = manifest_of(objects, model=MODEL)
        for path, content in objects.items():
            await world.put(f"toy/{path}", content)
        yield world


def job(world: Web, tmp_path: Path, stores: Stores | None = None) -> FetchJob:
    ref = ModelRef.parse(world.ref("toy"))
    return FetchJob(MODEL, ref, stores or world.stores(), quick(), str(tmp_path / "cache"))


async def test_a_build_arrives_whole(world: Web, tmp_path: Path) -> None:
    build = await fetch(job(world, tmp_path), told=lambda _: None)
    for path, content in toy().items():
        assert (Path(build.folder) / path).read_bytes() == content
    promises = {"gcs": "self"} | {k: "manifest" for k in [world.kind] if "registry" in k}
    assert build.verified_by == promises.get(world.kind, "store")


async def test_bytes_that_were_not_promised_never_arrive(world: Web, tmp_path: Path) -> None:
    if world.kind == "gcs":
        return  # Google promises nothing that we could hold it to
    world.shelf.damaged = {f"{BUCKET}/toy/{SHARD}"}
    with pytest.raises(WeightsCorrupt, match=SHARD):
        await fetch(job(world, tmp_path), told=lambda _: None)
    lying = [path.parent.name for path in (tmp_path / "cache").rglob(SHARD)]
    assert set(lying) <= {".partial"}, "never under its final name"


async def test_a_store_that_says_no_is_told_so(world: Web, tmp_path: Path) -> None:
    if world.kind == "registry":
        return  # it asks nobody who they are
    world.shelf.token = "an0ther"  # noqa: S105  # everybody may know it
    secret = tmp_path / "secret"
    before = secret.read_text()
    secret.write_text(before.replace("k3y", "wr0ng").replace("t0ken", "wr0ng"))
    with pytest.raises(StoreDenied) as caught:
        await fetch(job(world, tmp_path), told=lambda _: None)
    assert "wr0ng" not in str(caught.value)


async def test_nobody_is_led_into_the_house(world: Web, tmp_path: Path) -> None:
    if world.kind in {"gcs", "registry"}:
        return  # they lead nowhere
    stores = world.stores().model_copy(update={"trusted_hosts": ()})
    with pytest.raises(StoreUnsafe, match=r"stores\.trusted_hosts"):
        await fetch(job(world, tmp_path, stores), told=lambda _: None)
