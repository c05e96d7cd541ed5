"""Every store keeps the same promises: our dev store, an S3 of another make, a folder, stand-ins.

Google's, Hugging Face's and NVIDIA's stores cannot be reached from a test: small servers speak
their documented interfaces, see ``stand_ins.py``. None of the three was run against the real
thing. A registry's manifest is real HTTP.
"""

import asyncio
import hashlib
import http.client
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import pytest
from moto.server import ThreadedMotoServer  # pyright: ignore[reportMissingTypeStubs]
from stand_ins import web

from poolhand.agent.dev.objectstore import StoreOptions, serve
from poolhand.backends.stores.base import (
    FileLocation,
    Location,
    MetadataStore,
    RemoteFile,
    Store,
)
from poolhand.backends.stores.catalog import store_for
from poolhand.backends.stores.errors import ModelMissing, WeightsChanged, WeightsUnsafe
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Stores
from poolhand.config.stores import Gs

BUCKET = "models"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "s3cr3t/+key"}

ANYBODY = "AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/us-east-1/s3/aws4_request"
"""Whom moto takes us for when it is filled: it does not look further."""


class World(Protocol):
    """A place with one bucket that a test may fill."""

    async def put(self, path: str, content: bytes) -> None: ...
    def ref(self, path: str) -> str: ...
    def stores(self) -> Stores: ...


@dataclass
class Folder:
    """Files below a folder; with an endpoint, our dev store serves them."""

    root: Path
    endpoint: str = ""

    async def put(self, path: str, content: bytes) -> None:
        await asyncio.to_thread(self._put, self.root / BUCKET / path, content)

    def _put(self, to: Path, content: bytes) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        new = to.with_name(f"{to.name[:200]}.new")
        new.write_bytes(content)
        new.replace(to)

    def ref(self, path: str) -> str:
        return f"s3://{BUCKET}/{path}" if self.endpoint else f"file://{self.root}/{BUCKET}/{path}"

    def stores(self) -> Stores:
        return Stores(s3=S3(endpoint=self.endpoint or None))


@dataclass
class Moto:
    """Somebody else's S3 in this process, filled over HTTP."""

    host: str
    port: int

    async def put(self, path: str, content: bytes) -> None:
        await asyncio.to_thread(self.send, f"/{BUCKET}/{quote(path)}", content)

    def send(self, target: str, content: bytes = b"", method: str = "PUT") -> None:
        line = http.client.HTTPConnection(self.host, self.port, timeout=10)
        line.request(method, target, content, {"Authorization": ANYBODY})
        assert line.getresponse().status == 200
        line.close()

    async def reset(self) -> None:
        await asyncio.to_thread(self.send, "/moto-api/reset", method="POST")
        await asyncio.to_thread(self.send, f"/{BUCKET}")

    def ref(self, path: str) -> str:
        return f"s3://{BUCKET}/{path}"

    def stores(self) -> Stores:
        return Stores(s3=S3(endpoint=f"http://{self.host}:{self.port}"))


@dataclass
class Interoperable(Moto):
    """The same as a bucket of Google's that is read with HMAC keys."""

    def ref(self, path: str) -> str:
        return f"gs://{BUCKET}/{path}"

    def stores(self) -> Stores:
        return Stores(gs=Gs(endpoint=f"http://{self.host}:{self.port}", auth="hmac"))


@dataclass
class Opened:
    """Stores that a test opened and the fixture closes."""

    world: World
    all: list[Store] = field(default_factory=list[Store])

    def __call__(self, path: str = "tiny") -> Store:
        store = store_for(ModelRef.parse(self.world.ref(path)), self.world.stores(), os.environ)
        self.all.append(store)
        return store


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    for name, value in (KEYS | {"AWS_EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(name, value)
    # a proxy of the web's is nobody's business here
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Moto(host, port)
    server.stop()


WORLDS = ["ours", "moto", "folder", "hmac", "gcs", "hub", "ngc", "registry"]


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    root = tmp_path / "root"
    (root / BUCKET).mkdir(parents=True)
    match request.param:
        case "ours":
            access, secret = KEYS.values()
            options = StoreOptions(root, access_key=access, secret_key=secret)
            async with await serve(options) as server:
                yield Folder(root, server.url)
        case "moto":
            # the fixture is asked for by name, so that the others need not start it
            other: Moto = request.getfixturevalue("moto")
            await other.reset()
            yield other
        case "folder":
            yield Folder(root)
        case "hmac":
            same: Moto = request.getfixturevalue("moto")
            await same.reset()
            yield Interoperable(same.host, same.port)
        case kind:
            async with web(kind, tmp_path) as stood:
                yield stood


@pytest.fixture
async def opened(world: World) -> AsyncIterator[Opened]:
    opened = Opened(world)
    yield opened
    for store in opened.all:
        await store.close()
        await store.close()


def fetch(location: Location, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Read a location as the fetch does: nothing but the standard library."""
    if isinstance(location, FileLocation):
        return 200, Path(location.path).read_bytes()
    line = http.client.HTTPConnection(location.host, location.port, timeout=10)
    line.putrequest("GET", location.target, skip_host=True, skip_accept_encoding=True)
    for name, value in {**location.headers, **headers}.items():
        line.putheader(name, value)
    line.endheaders()
    answer = line.getresponse()
    content = answer.read()
    line.close()
    return answer.status, content


async def listed(store: Store) -> list[RemoteFile]:
    """What a store lists, but for the manifest that a registry adds."""
    return [file for file in await store.files() if file.path != "manifest.json"]


async def only(store: Store) -> RemoteFile:
    (file,) = await listed(store)
    return file


async def test_a_listing_is_sorted_relative_and_bound_to_its_prefix(
    world: World, opened: Opened
) -> None:
    for path in ("tiny/sub/b.json", "tiny/a.json", "tiny-b/c.json", "tin", "tiny/.git/x.json"):
        await world.put(path, path.encode())
    files = await listed(opened())
    assert [(file.path, file.size_bytes) for file in files] == [
        ("a.json", len("tiny/a.json")),
        ("sub/b.json", len("tiny/sub/b.json")),
    ]
    assert all(file.etag and file.etag.startswith('"') for file in files)


# pages of a bucket read with HMAC keys are those of S3, and moto takes long for a thousand files
@pytest.mark.parametrize("world", [name for name in WORLDS if name != "hmac"], indirect=True)
async def test_a_listing_has_as_many_pages_as_it_needs(world: World, opened: Opened) -> None:
    names = [f"{at:04}.json" for at in range(1101)]
    for name in names:
        await world.put(f"tiny/{name}", b"{}")
    assert [file.path for file in await listed(opened())] == names


NAMES = [
    "with space.json",
    "plus+and&amp=.json",
    "ünï/模型 😀.json",
    "100%25.json",
    "~q'(x)!*.json",
]


@pytest.mark.parametrize("name", NAMES)
async def test_any_safe_name_can_be_listed_read_and_located(
    world: World, opened: Opened, name: str
) -> None:
    await world.put(f"tiny/{name}", name.encode())
    store = opened()
    file = await only(store)
    assert file.path == name
    assert await store.read(file) == name.encode()
    assert await asyncio.to_thread(fetch, store.location(file), {}) == (200, name.encode())


async def test_a_range_is_exactly_what_was_asked_for(world: World, opened: Opened) -> None:
    await world.put("tiny/w.safetensors", b"0123456789")
    store = opened()
    file = await only(store)
    spans = {
        (0, None): b"0123456789",
        (3, 7): b"3456",
        (8, None): b"89",
        (4, 4): b"",
        (8, 99): b"89",
    }
    for (start, stop), expected in spans.items():
        assert await store.read(file, start=start, stop=stop) == expected


async def test_an_empty_file_is_a_file(world: World, opened: Opened) -> None:
    await world.put("tiny/empty.txt", b"")
    store = opened()
    file = await only(store)
    assert (file.size_bytes, await store.read(file)) == (0, b"")


async def test_a_replaced_object_is_not_read_as_the_old_one(world: World, opened: Opened) -> None:
    await world.put("tiny/a.json", b"old")
    store = opened()
    file = await only(store)
    await world.put("tiny/a.json", b"new")
    with pytest.raises(WeightsChanged, match=r"a\.json changed"):
        await store.read(file)


async def test_a_reader_may_add_range_and_if_match(world: World, opened: Opened) -> None:
    await world.put("tiny/w.safetensors", b"0123456789")
    store = opened()
    file = await only(store)
    location = store.location(file)
    if isinstance(location, FileLocation):
        return
    assert file.etag is not None
    asked = {"Range": "bytes=2-4", "If-Match": file.etag}
    assert await asyncio.to_thread(fetch, location, asked) == (206, b"234")
    status, _ = await asyncio.to_thread(fetch, location, {"If-Match": '"another"'})
    assert status == 412


async def test_locations_come_from_any_thread_and_survive_a_refresh(
    world: World, opened: Opened
) -> None:
    await world.put("tiny/a.json", b"{}")
    store = opened()
    file = await only(store)
    await store.refresh()

    def read(_: int) -> tuple[int, bytes]:
        return fetch(store.location(file), {})

    def read_all() -> set[tuple[int, bytes]]:
        with ThreadPoolExecutor(4) as threads:
            return set(threads.map(read, range(16)))

    assert await asyncio.to_thread(read_all) == {(200, b"{}")}


async def test_nothing_at_the_place_is_a_missing_model(world: World, opened: Opened) -> None:
    await world.put("other/a.json", b"{}")
    with pytest.raises(ModelMissing):
        await opened("tiny").files()


async def test_no_such_bucket_is_a_missing_model(world: World) -> None:
    ref = world.ref("tiny").replace(f"/{BUCKET}/", "/no-such-bucket/")
    store = store_for(ModelRef.parse(ref), world.stores(), os.environ)
    with pytest.raises(ModelMissing):
        await store.files()
    await store.close()


async def test_a_build_of_pickles_is_refused(world: World, opened: Opened) -> None:
    await world.put("tiny/config.json", b"{}")
    await world.put("tiny/pytorch_model.bin", b"cos\nsystem")
    with pytest.raises(WeightsUnsafe):
        await opened().files()


async def test_what_tells_about_a_model_comes_without_its_weights(
    world: World, opened: Opened
) -> None:
    for path in ("config.json", "tokenizer.json", "chat_template.jinja", "m.safetensors"):
        await world.put(f"tiny/{path}", path.encode())
    await world.put("tiny/model.safetensors.index.json", b"{}")
    store = opened()
    assert isinstance(store, MetadataStore)
    store.take_metadata()
    assert [file.path for file in await listed(store)] == [
        "chat_template.jinja",
        "config.json",
        "model.safetensors.index.json",
        "tokenizer.json",
    ]


async def test_what_is_promised_is_the_truth(world: World, opened: Opened) -> None:
    await world.put("tiny/m.safetensors", b"weights")
    file = await only(opened())
    assert file.sha256 in {None, hashlib.sha256(b"weights").hexdigest()}


async def test_an_object_that_went_away_has_changed(world: World, opened: Opened) -> None:
    await world.put("tiny/a.json", b"{}")
    store = opened()
    file = await only(store)
    gone = replace(file, path="b.json", key=f"{file.key.removesuffix('a.json')}b.json")
    with pytest.raises(WeightsChanged):
        await store.read(gone)


async def test_a_name_tells_the_place_and_no_secret(opened: Opened) -> None:
    store = opened()
    assert BUCKET in store.name
    assert not any(secret in f"{store.name} {store!r}" for secret in KEYS.values())


@pytest.mark.parametrize("key", ["tiny/../../etc/x.json", "tiny//x.json", "tiny/a\\b.json"])
async def test_a_key_that_would_leave_the_folder_refuses_the_build(moto: Moto, key: str) -> None:
    await moto.reset()
    await moto.put(key, b"{}")
    store = Opened(moto)()
    with pytest.raises(WeightsUnsafe):
        await store.files()
    await store.close()


async def test_what_a_console_puts_for_an_empty_folder_is_no_file(moto: Moto) -> None:
    await moto.reset()
    for key in ("tiny/", "tiny/sub/", "tiny/a.json"):
        await moto.put(key, b"{}" if key.endswith("json") else b"")
    store = Opened(moto)()
    assert (await only(store)).path == "a.json"
    await store.close()
