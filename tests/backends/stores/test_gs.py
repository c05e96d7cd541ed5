"""Google Cloud Storage: endpoints, generations, pages, and who gets which credentials."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from stand_ins import KEY, TOKEN, Shelf, gcs, generation, standing

from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    StoreUnsafe,
    WeightsChanged,
    WeightsUnsafe,
)
from poolhand.backends.stores.gs import ENDPOINT, GsStore, as_s3, endpoint_of
from poolhand.config.errors import ConfigInvalid
from poolhand.config.refs import ModelRef
from poolhand.config.stores import Gs, Stores

Make = Callable[..., GsStore]


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    async with standing(gcs) as shelf:
        shelf.objects = {
            "models/tiny/config.json": b"{}",
            "models/tiny/m.safetensors": b"weights",
            "models/tiny/": b"",
        }
        yield shelf


@pytest.fixture
def key(shelf: Shelf, tmp_path: Path) -> str:
    path = tmp_path / "key.json"
    said = {"type": "authorized_user", "refresh_token": KEY, "token_uri": f"{shelf.url}/token"}
    path.write_text(json.dumps(said))
    return str(path)


@pytest.fixture
async def store(shelf: Shelf, key: str) -> AsyncIterator[Make]:
    made: list[GsStore] = []

    def make(config: Gs | None = None, environ: dict[str, str] | None = None) -> GsStore:
        usual = Gs(endpoint=shelf.url, auth="adc", credentials_file=key)
        trusted = (shelf.url.removeprefix("http://"),)
        stores = Stores(gs=config or usual, trusted_hosts=trusted)
        made.append(GsStore(ModelRef.parse("gs://models/tiny"), stores, environ or {}))
        return made[-1]

    yield make
    for one in made:
        await one.close()
        await one.close()


async def test_reads_insist_on_the_listed_generation(shelf: Shelf, store: Make) -> None:
    opened = store()
    kept = {file.path: file for file in await opened.files()}
    assert set(kept) == {"config.json", "m.safetensors"}
    place = opened.location(kept["m.safetensors"])
    assert place.headers["x-goog-if-generation-match"] == generation(b"weights")
    assert place.headers["authorization"] == f"Bearer {TOKEN}"
    assert place.target == "/models/tiny/m.safetensors"
    assert TOKEN not in f"{place!r} {opened!r} {opened.name}"
    shelf.objects["models/tiny/m.safetensors"] = b"other!!"
    shelf.has_tags = False
    with pytest.raises(WeightsChanged):
        await opened.read(kept["m.safetensors"])


async def test_only_what_tells_or_all(store: Make) -> None:
    telling, whole = store(), store()
    telling.take_metadata()
    whole.take_all()
    assert [file.path for file in await telling.files()] == ["config.json"]
    assert len(await whole.files()) == 2


async def test_whoever_pays_is_named(shelf: Shelf, key: str, store: Make) -> None:
    config = Gs(endpoint=shelf.url, auth="adc", credentials_file=key, user_project="p1")
    opened = store(config)
    files = await opened.files()
    assert opened.location(files[0]).headers["x-goog-user-project"] == "p1"


async def test_a_token_that_ended_is_replaced(shelf: Shelf, store: Make) -> None:
    opened = store()
    kept = await opened.files()
    shelf.token = "n3w"  # noqa: S105  # everybody may know it
    with pytest.raises(StoreDenied):
        await opened.read(kept[0])
    await opened.refresh()
    assert await opened.read(kept[0]) == b"{}"
    shelf.token = "n3wer"  # noqa: S105  # everybody may know it
    assert len(await opened.files()) == 2, "a listing renews by itself"


async def test_a_public_bucket_needs_no_credentials(shelf: Shelf, store: Make) -> None:
    shelf.token = ""
    for auth in ("none", "auto"):
        opened = store(Gs(endpoint=shelf.url, auth=auth, credentials_file="/absent"))
        assert len(await opened.files()) == 2
        assert opened.notes == ("reads without credentials",)
    assert shelf.authorized == [], "an emulator is shown nothing unless told so"
    shelf.token = TOKEN
    with pytest.raises(StoreDenied, match="does not serve this to strangers"):
        await store(Gs(endpoint=shelf.url, auth="none")).files()


async def test_the_machine_s_own_account_and_no_way_from_the_store_to_it(shelf: Shelf) -> None:
    async def machine(_: Shelf, request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"access_token": TOKEN, "expires_in": 3599})

    async with standing(machine) as metadata:
        host = metadata.url.removeprefix("http://")
        stores = Stores(gs=Gs(endpoint=shelf.url, auth="adc"))
        environ = {"GCE_METADATA_HOST": host}
        opened = GsStore(ModelRef.parse("gs://models/tiny"), stores, environ)
        assert len(await opened.files()) == 2
        assert opened.notes == ("reads as this machine's own account",)
        await opened.close()

        async def lead(_: Shelf, request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": f"{metadata.url}/token"})

        asked = len(metadata.seen)
        async with standing(lead) as leading:
            stores = Stores(gs=Gs(endpoint=leading.url, auth="machine"))
            opened = GsStore(ModelRef.parse("gs://models/tiny"), stores, environ)
            with pytest.raises(StoreUnsafe):
                await opened.files()
            await opened.close()
        assert len(metadata.seen) == asked + 1, "its own token, and nothing that the store wanted"


async def test_an_emulator_by_its_variable(shelf: Shelf, store: Make) -> None:
    shelf.token = ""
    host = shelf.url.removeprefix("http://")
    for said in (host, shelf.url):
        opened = store(Gs(), {"STORAGE_EMULATOR_HOST": said})
        assert opened.name == f"{shelf.url}/models"
        assert len(await opened.files()) == 2


async def test_what_is_not_there(shelf: Shelf, store: Make) -> None:
    shelf.objects = {"models/tiny/a.py": b""}
    with pytest.raises(ModelMissing, match="no file of a model"):
        await store().files()
    shelf.objects = {}
    with pytest.raises(ModelMissing, match="nothing lies under 'tiny/'"):
        await store().files()
    shelf.objects = {"models/tiny/../x.json": b""}
    with pytest.raises(WeightsUnsafe):
        await store().files()
    with pytest.raises(StoreDenied, match="cannot be read"):
        await store(Gs(endpoint=shelf.url, auth="adc", credentials_file="/absent")).files()


NO_SENSE = "no sense"
ENTRY = {"name": "tiny/a.json", "size": "1", "generation": "1"}


@pytest.mark.parametrize(
    ("page", "error", "told"),
    [
        ("nonsense", StoreUnreachable, NO_SENSE),
        ([], StoreUnreachable, NO_SENSE),
        ({"items": [1]}, StoreUnreachable, NO_SENSE),
        ({"items": [ENTRY | {"size": 1}]}, StoreUnreachable, NO_SENSE),
        ({"items": [ENTRY | {"size": "-1"}]}, StoreUnreachable, NO_SENSE),
        ({"items": [ENTRY | {"generation": "x"}]}, StoreUnreachable, NO_SENSE),
        ({"items": [ENTRY | {"name": "other/a.json"}]}, StoreUnreachable, "was not asked for"),
        ({"items": [], "nextPageToken": "again"}, WeightsUnsafe, "no end"),
    ],
)
async def test_a_listing_that_cannot_be_believed(
    page: object, error: type[Exception], told: str
) -> None:
    async def say(_: Shelf, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=page if isinstance(page, str) else json.dumps(page))

    async with standing(say) as shelf:
        stores = Stores(gs=Gs(endpoint=shelf.url, auth="none"))
        opened = GsStore(ModelRef.parse("gs://models/tiny"), stores, {})
        with pytest.raises(error, match=told):
            await opened.files()
        await opened.close()


def test_the_endpoint_that_wins() -> None:
    named = Stores(gs=Gs(endpoint="http://a:1/"))
    environ = {"STORAGE_EMULATOR_HOST": "b:2"}
    assert endpoint_of(named, environ) == ("http://a:1", True)
    assert endpoint_of(Stores(), environ) == ("http://b:2", True)
    assert endpoint_of(Stores(), {}) == (ENDPOINT, False)
    for wrong in ("ftp://a", "http://", "http://["):
        with pytest.raises(ConfigInvalid, match=r"stores\.gs\.endpoint"):
            endpoint_of(Stores(gs=Gs(endpoint=wrong)), {})


def test_hmac_keys_are_for_the_other_interface() -> None:
    config = as_s3(Stores(gs=Gs(auth="hmac", hmac_profile="g", ca_file="/ca")), {})
    assert (config.endpoint, config.region, config.addressing) == (ENDPOINT, "auto", "path")
    assert (config.profile, config.ca_file) == ("g", "/ca")
