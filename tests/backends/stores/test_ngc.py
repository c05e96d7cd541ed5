"""NGC: keys become tokens, versions become files; against a stand-in, never the real one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from stand_ins import KEY, Shelf, ngc, sha256, standing

from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    WeightsUnsafe,
)
from poolhand.backends.stores.ngc import TOKEN_LIFE_S, NgcStore
from poolhand.config.refs import ModelRef
from poolhand.config.stores import Ngc, Stores

Make = Callable[..., NgcStore]


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    async with standing(ngc) as shelf:
        shelf.objects = {"models/tiny/config.json": b"{}", "models/tiny/m.safetensors": b"w"}
        yield shelf


@pytest.fixture
def environ(shelf: Shelf, tmp_path: Path) -> dict[str, str]:
    return {
        "NGC_API_ENDPOINT": shelf.url,
        "NGC_AUTH_ENDPOINT": shelf.url,
        "NGC_API_KEY": KEY,
        "NGC_CLI_HOME": str(tmp_path),
    }


@pytest.fixture
def now_s() -> list[float]:
    return [1000.0]


@pytest.fixture
async def store(shelf: Shelf, environ: dict[str, str], now_s: list[float]) -> AsyncIterator[Make]:
    made: list[NgcStore] = []

    def make(ref: str = "ngc://models/tiny:1", config: Ngc | None = None) -> NgcStore:
        trusted = (shelf.onward.removeprefix("http://"),)
        stores = Stores(trusted_hosts=trusted, ngc=config or Ngc())
        made.append(NgcStore(ModelRef.parse(ref), stores, environ, clock=lambda: now_s[0]))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def test_files_come_with_digests_from_elsewhere_without_the_token(
    shelf: Shelf, store: Make
) -> None:
    opened = store()
    kept = {file.path: file for file in await opened.files()}
    assert kept["m.safetensors"].sha256 == sha256(b"w")
    place = opened.location(kept["m.safetensors"])
    assert place.target.startswith("/onward/")
    assert "authorization" not in place.headers
    assert "GET /token?service=ngc&scope=group%2Fngc%3Amodels" in shelf.seen
    assert KEY not in f"{opened!r} {opened.name} {place!r}"


async def test_only_what_tells(store: Make) -> None:
    telling, whole = store(), store()
    telling.take_metadata()
    whole.take_all()
    assert [file.path for file in await telling.files()] == ["config.json"]
    assert len(await whole.files()) == 2


@pytest.mark.parametrize(
    "text", [KEY, json.dumps({"apikey": KEY}), f"[CURRENT]\napikey = {KEY}\norg = o\n"]
)
async def test_where_a_key_is_found(
    store: Make, environ: dict[str, str], tmp_path: Path, text: str
) -> None:
    del environ["NGC_API_KEY"]
    if text == KEY:
        path = tmp_path / "key"
        path.write_text(f"{KEY}\n")
        opened = store(config=Ngc(key_file=str(path)))
    else:
        (tmp_path / ".ngc").mkdir()
        (tmp_path / ".ngc" / "config").write_text(text)
        opened = store()
    assert len(await opened.files()) == 2


async def test_a_personal_key_is_a_token_by_itself(
    shelf: Shelf, store: Make, environ: dict[str, str]
) -> None:
    shelf.token = environ["NGC_API_KEY"] = "nvapi-s3cret"  # noqa: S105  # everybody may know it
    assert len(await store().files()) == 2
    assert not any("/token" in seen for seen in shelf.seen)


async def test_keys_that_are_no_good(store: Make, environ: dict[str, str]) -> None:
    environ["NGC_API_KEY"] = "wr0ng"
    with pytest.raises(StoreDenied, match="not good for this organisation") as caught:
        await store().files()
    assert "wr0ng" not in str(caught.value)
    del environ["NGC_API_KEY"]
    with pytest.raises(StoreDenied, match="NGC_API_KEY"):
        await store().files()


async def test_a_token_is_renewed_before_it_ends(
    shelf: Shelf, store: Make, now_s: list[float]
) -> None:
    opened = store()
    kept = await opened.files()
    shelf.token = "n3w"  # noqa: S105  # everybody may know it
    now_s[0] += TOKEN_LIFE_S
    await opened.refresh()
    assert await opened.read(kept[0]) == b"{}"
    assert len([seen for seen in shelf.seen if "/token" in seen]) == 2


async def test_what_is_not_there(shelf: Shelf, store: Make) -> None:
    with pytest.raises(ModelMissing):
        await store("ngc://absent/tiny:1").files()
    with pytest.raises(ModelMissing, match="no file of a model"):
        await store("ngc://models/other:1").files()
    shelf.statuses = [200, 503, 503]
    with pytest.raises(StoreUnreachable, match="503"):
        await store().files()


# ── answers of another kind ───────────────────────────────────────────────────────────


async def pages(shelf: Shelf, request: web.BaseRequest) -> web.StreamResponse:
    """Gives what ``page`` holds as the answer to a listing."""
    if request.path.endswith("/files"):
        return web.Response(body=shelf.objects["page"], content_type="application/json")
    return web.Response(status=404)


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("nonsense", StoreUnreachable),
        ([], StoreUnreachable),
        ({"requestStatus": {"statusCode": "FORBIDDEN"}}, StoreUnreachable),
        ({"modelFiles": [1]}, StoreUnreachable),
        ({"modelFiles": [{"path": "../x.json"}]}, WeightsUnsafe),
        ({"urls": ["https://a/x"], "filepath": [1]}, StoreUnreachable),
        ({}, ModelMissing),
    ],
)
async def test_a_listing_without_sense(page: object, kind: type[Exception]) -> None:
    async with standing(pages) as shelf:
        raw = page if isinstance(page, str) else json.dumps(page)
        shelf.objects["page"] = raw.encode()
        environ = {"NGC_API_ENDPOINT": shelf.url, "NGC_API_KEY": "nvapi-x"}
        opened = NgcStore(ModelRef.parse("ngc://o1/tiny:1"), Stores(), environ)
        with pytest.raises(kind):
            await opened.files()
        await opened.close()


async def test_signed_addresses_of_the_older_storage_never_see_the_token() -> None:
    async with standing(pages) as shelf:
        signed = f"{shelf.onward}/onward/a.json?X-Amz-Signature=s3"
        shelf.objects = {"a.json": b"{}"}
        shelf.objects["page"] = json.dumps({"urls": [signed], "filepath": ["a.json"]}).encode()
        environ = {"NGC_API_ENDPOINT": shelf.url, "NGC_API_KEY": "nvapi-x"}
        stores = Stores(trusted_hosts=(shelf.onward.removeprefix("http://"),))
        opened = NgcStore(ModelRef.parse("ngc://o1/tiny:1"), stores, environ)
        (file,) = await opened.files()
        assert (file.path, file.size_bytes, file.sha256) == ("a.json", 2, None)
        assert await opened.read(file) == b"{}"
        fresh = json.dumps({"urls": [f"{signed}-again"], "filepath": ["a.json"]})
        shelf.objects["page"] = fresh.encode()
        assert opened.location(file).target.endswith("=s3")
        await opened.refresh()
        place = await asyncio.to_thread(opened.location, file)
        assert place.target.endswith("=s3-again"), "the old one has ended"
        await opened.close()
        assert not any(path.startswith("/onward") for path in shelf.authorized)


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        ("ngc://o1/n:1", "/v2/org/o1/models/n/versions/1/files"),
        ("ngc://o1/n/1", "/v2/org/o1/models/n/versions/1/files"),
        ("ngc://nim/nvidia/n:1", "/v2/org/nim/team/nvidia/models/n/versions/1/files"),
        ("ngc://o1/t/resources/n/1", "/v2/org/o1/team/t/resources/n/versions/1/files"),
    ],
)
async def test_where_a_version_is_asked_for(ref: str, path: str) -> None:
    async with standing(pages) as shelf:
        shelf.objects["page"] = b"{}"
        environ = {"NGC_API_ENDPOINT": shelf.url, "NGC_API_KEY": "nvapi-x"}
        opened = NgcStore(ModelRef.parse(ref), Stores(), environ)
        with pytest.raises(ModelMissing):
            await opened.files()
        await opened.close()
        assert shelf.seen == [f"GET {path}?page-size=500&page-number=1"]
