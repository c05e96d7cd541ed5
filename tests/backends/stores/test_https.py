"""A registry's manifest as a store."""

import json
from collections.abc import AsyncIterator, Callable

import pytest
from stand_ins import Shelf, registry, sha256, standing

from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreUnreachable,
    StoreUnsafe,
    WeightsCorrupt,
    WeightsError,
    WeightsUnsafe,
)
from poolhand.backends.stores.https import HttpsStore
from poolhand.config.refs import ModelRef
from poolhand.config.stores import Stores

Make = Callable[[], HttpsStore]
FILES = {"config.json": b"{}", "sub/m.safetensors": b"weights", "README.md": b"#"}


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    async with standing(registry) as shelf:
        shelf.objects = {f"models/v2/tiny/{path}": content for path, content in FILES.items()}
        yield shelf


@pytest.fixture
async def store(shelf: Shelf) -> AsyncIterator[Make]:
    made: list[HttpsStore] = []

    def make() -> HttpsStore:
        ref = ModelRef.parse(f"{shelf.url}/models/v2/tiny/manifest.json")
        made.append(HttpsStore(ref, Stores()))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def test_what_the_manifest_promises_is_told(store: Make) -> None:
    kept = {file.path: file for file in await store().files()}
    assert set(kept) == {"config.json", "manifest.json", "sub/m.safetensors"}
    assert kept["sub/m.safetensors"].sha256 == sha256(b"weights")
    assert kept["sub/m.safetensors"].size_bytes == 7
    assert kept["manifest.json"].sha256 is None


async def test_all_of_it_or_only_what_tells(store: Make) -> None:
    whole, telling = store(), store()
    whole.take_all()
    telling.take_metadata()
    assert {file.path for file in await whole.files()} == {*FILES, "manifest.json"}
    assert [file.path for file in await telling.files()] == ["config.json", "manifest.json"]


async def test_the_manifest_s_own_words_can_be_read(store: Make) -> None:
    opened = store()
    kept = {file.path: file for file in await opened.files()}
    said = json.loads(await opened.read(kept["manifest.json"]))
    assert {entry["path"] for entry in said["files"]} == set(FILES)
    await opened.refresh()
    await opened.close()
    await opened.close()


GOOD = {"path": "a.json", "size_bytes": 2, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("manifest", "kind"),
    [
        ("nonsense", WeightsCorrupt),
        ([], WeightsCorrupt),
        ({}, WeightsCorrupt),
        ({"files": {}}, WeightsCorrupt),
        ({"files": ["a.json"]}, WeightsCorrupt),
        ({"files": [GOOD | {"size_bytes": -1}]}, WeightsCorrupt),
        ({"files": [GOOD | {"size_bytes": True}]}, WeightsCorrupt),
        ({"files": [GOOD | {"sha256": "A" * 64}]}, WeightsCorrupt),
        ({"files": [GOOD | {"path": 1}]}, WeightsCorrupt),
        ({"files": [GOOD | {"path": "../a.json"}]}, WeightsUnsafe),
        ({"files": [GOOD | {"path": "/a.json"}]}, WeightsUnsafe),
        ({"files": [GOOD | {"path": "http://169.254.169.254/a.json"}]}, WeightsUnsafe),
        ({"files": [GOOD, GOOD | {"path": "A.json"}]}, WeightsUnsafe),
        ({"files": [GOOD | {"path": "w.bin"}]}, WeightsUnsafe),
        ({"files": []}, ModelMissing),
        ({"files": [GOOD | {"path": "w.py"}]}, ModelMissing),
    ],
)
async def test_a_manifest_that_is_not_believed(
    shelf: Shelf, store: Make, manifest: object, kind: type[WeightsError]
) -> None:
    raw = manifest if isinstance(manifest, str) else json.dumps(manifest)
    shelf.objects["models/v2/tiny/manifest.json"] = raw.encode()
    with pytest.raises(kind):
        await store().files()


async def test_no_manifest_is_no_model(shelf: Shelf, store: Make) -> None:
    shelf.objects.clear()
    with pytest.raises(ModelMissing):
        await store().files()
    shelf.statuses = [500, 500]
    with pytest.raises(StoreUnreachable):
        await store().files()


@pytest.mark.parametrize(
    "ref",
    [
        "http://10.0.0.1/manifest.json",
        "https://10.0.0.1/manifest.json",
        "https://169.254.169.254/manifest.json",
        "http://169.254.169.254/latest/manifest.json",
        "https://0x7f000001/manifest.json",
        "https://[::ffff:10.0.0.1]/manifest.json",
        "http://registry.example/manifest.json",
    ],
)
async def test_a_place_that_nobody_named_stays_untouched(ref: str) -> None:
    with pytest.raises(StoreUnsafe):
        await HttpsStore(ModelRef.parse(ref), Stores()).files()


async def test_what_is_listed_and_not_there(shelf: Shelf, store: Make) -> None:
    opened = store()
    opened.take_all()
    gone = {"path": "gone.json", "size_bytes": 1, "sha256": "0" * 64}
    shelf.objects["models/v2/tiny/manifest.json"] = json.dumps({"files": [gone]}).encode()
    with pytest.raises(ModelMissing, match=r"gone\.json is listed, and not there"):
        await opened.files()


async def test_a_manifest_that_would_take_all_memory(shelf: Shelf, store: Make) -> None:
    shelf.objects["models/v2/tiny/manifest.json"] = b'{"files":[' + b"{}," * 100_000 + b"{}]}"
    with pytest.raises(WeightsUnsafe, match="more than 20000 files"):
        await store().files()
    numbers = b'{"files":[' + b"1000," * 2**20 + b"0]}"
    shelf.objects["models/v2/tiny/manifest.json"] = numbers
    with pytest.raises(WeightsCorrupt, match="more than 1048576 values"):
        await store().files()
