"""Files behind URLs: where they are, which version, for how long, and who sees what."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import Shelf, standing

from poolhand.backends.stores.addresses import Guard, named
from poolhand.backends.stores.base import RemoteFile
from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    StoreUnsafe,
    WeightsChanged,
)
from poolhand.backends.stores.http_ranges import HttpClient
from poolhand.backends.stores.web_files import REDIRECT_LIFE_S, WebFiles, lifetime_s

AUTH = {"authorization": "Bearer s3cret"}


async def answer(shelf: Shelf, request: web.BaseRequest) -> web.StreamResponse:
    """Redirects what lies under ``/far/`` to the other origin; has the rest itself."""
    if request.path == "/mute":
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write_eof()
        return response
    key = request.path.removeprefix("/far/").removeprefix("/")
    if request.path.startswith("/far/"):
        where = f"{shelf.onward}/onward/{key}?{request.query_string}"
        return web.Response(status=302, headers={"Location": where})
    if "whole" in key:  # a server that knows no ranges
        return web.Response(body=shelf.objects[key], headers={"ETag": '"w"'})
    return shelf.give(request, shelf.objects.get(key))


@dataclass
class Clock:
    """Moved by hand."""

    now_s: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    async with standing(answer) as shelf:
        shelf.objects = {"a.json": b"0123456789", "empty": b"", "whole": b"abcdef"}
        yield shelf


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def files(shelf: Shelf, clock: Clock) -> Iterator[WebFiles]:
    client = HttpClient("s", Guard("s", [named(shelf.url), named(shelf.onward)]))
    yield WebFiles(
        client,
        model="m",
        home=shelf.url,
        auth=lambda: AUTH,
        extra=lambda key: {"x-key": key[-6:]},
        denied=lambda _: "not for you",
        clock=clock,
    )
    client.close()


def listed(shelf: Shelf, path: str) -> RemoteFile:
    return RemoteFile(path.rpartition("/")[2].partition("?")[0], 0, None, f"{shelf.url}/{path}")


async def one(files: WebFiles, file: RemoteFile) -> RemoteFile:
    (found,) = await files.probed([file])
    return found


async def test_a_probe_tells_length_and_version(shelf: Shelf, files: WebFiles) -> None:
    for path, size in {"a.json": 10, "far/a.json": 10, "empty": 0, "whole": 6}.items():
        file = await one(files, replace(listed(shelf, path), sha256="ab"))
        assert (file.size_bytes, file.sha256) == (size, "ab")
        assert file.etag
        assert file.etag.startswith('"')


async def test_what_is_elsewhere_is_read_there_without_our_name(
    shelf: Shelf, files: WebFiles
) -> None:
    home = files.location(await one(files, listed(shelf, "a.json")))
    assert home.headers["authorization"] == "Bearer s3cret"
    assert home.headers["x-key"] == "a.json"
    file = await one(files, listed(shelf, "far/a.json?Signature=s3"))
    far = files.location(file)
    assert (far.host, far.port) == ("127.0.0.1", int(shelf.onward.rpartition(":")[2]))
    assert far.target == "/onward/a.json?Signature=s3"
    assert set(far.headers) == {"host", "accept-encoding"}
    assert await files.read(file, start=2, stop=4) == b"23"
    assert not any(path.startswith("/onward") for path in shelf.authorized)


async def test_a_listed_address_elsewhere_never_sees_our_name(
    shelf: Shelf, files: WebFiles
) -> None:
    signed = RemoteFile("a.json", 0, None, f"{shelf.onward}/onward/a.json?Signature=s3")
    file = await one(files, signed)
    assert "authorization" not in files.location(file).headers
    assert await files.read(file) == b"0123456789"
    assert shelf.authorized == []


@pytest.mark.parametrize(
    ("query", "life_s"), [("", 2 * REDIRECT_LIFE_S), ("Expires=1000100&Signature=s3", 100)]
)
async def test_a_signed_address_is_asked_for_again_before_it_ends(
    shelf: Shelf, files: WebFiles, clock: Clock, query: str, life_s: float
) -> None:
    file = await one(files, listed(shelf, f"far/a.json?{query}"))
    asked = len(shelf.seen)
    clock.now_s += life_s / 2 - 1
    _ = files.location(file)
    assert len(shelf.seen) == asked
    clock.now_s += 1
    _ = await asyncio.to_thread(files.location, file)
    assert len(shelf.seen) > asked


async def test_forgotten_addresses_are_asked_for_again(shelf: Shelf, files: WebFiles) -> None:
    file = await one(files, listed(shelf, "a.json"))
    asked = len(shelf.seen)
    files.forget()
    _ = await asyncio.to_thread(files.location, file)
    assert len(shelf.seen) == asked + 1


async def test_a_replaced_file_has_changed(shelf: Shelf, files: WebFiles) -> None:
    file = await one(files, listed(shelf, "a.json"))
    shelf.objects["a.json"] = b"other"
    with pytest.raises(WeightsChanged):
        await files.read(file)
    shelf.has_tags = False
    with pytest.raises((WeightsChanged, StoreUnreachable)):
        await files.read(file)


async def test_a_server_without_ranges_or_tags(shelf: Shelf, files: WebFiles) -> None:
    file = await one(files, listed(shelf, "whole"))
    assert await files.read(file, start=1, stop=3) == b"bc"
    assert await files.read(file, start=3, stop=3) == b""
    shelf.has_tags = False
    assert (await one(files, listed(shelf, "a.json"))).etag is None


async def test_what_cannot_be_probed(shelf: Shelf, files: WebFiles) -> None:
    with pytest.raises(StoreUnreachable, match="how long mute is"):
        await one(files, listed(shelf, "mute"))
    with pytest.raises(ModelMissing, match="absent is listed, and not there"):
        await one(files, listed(shelf, "absent"))
    shelf.statuses = [403]
    with pytest.raises(StoreDenied, match="not for you"):
        await one(files, listed(shelf, "a.json"))
    elsewhere = RemoteFile("a", 0, None, "https://169.254.169.254/a")
    with pytest.raises(StoreUnsafe):
        await one(files, elsewhere)


@pytest.mark.parametrize(
    ("url", "life_s"),
    [
        ("https://a/x", None),
        ("https://a/x?Expires=160&Signature=y", 60),
        ("https://a/x?X-Amz-Date=19700101T000130Z&X-Amz-Expires=70", 60),
        ("https://a/x?X-Goog-Date=19700101T000000Z&X-Goog-Expires=90", 0),
        ("https://a/x?X-Amz-Date=nonsense&X-Amz-Expires=70", None),
        ("https://a/x?Expires=soon", None),
        ("https://a/x?Expires=1", 0),
    ],
)
def test_how_long_an_address_is_good(url: str, life_s: float | None) -> None:
    assert lifetime_s(url, 100.0) == life_s


@given(st.text(max_size=40), st.floats(0, 1e10))
def test_law_a_life_is_never_negative(query: str, now_s: float) -> None:
    for name in ("Expires", "X-Amz-Date=19700101T000130Z&X-Amz-Expires"):
        life_s = lifetime_s(f"https://a/x?{name}={query}", now_s)
        assert life_s is None or life_s >= 0
