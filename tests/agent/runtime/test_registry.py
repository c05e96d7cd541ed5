"""A public catalog, read over HTTP: offered, refused, kept, and told of where it fails."""

import asyncio
import hashlib
import json
import ssl
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from poolhand.agent.core.events import CatalogRead, Event, ListingFailed
from poolhand.agent.runtime.registry import FILE, Registry
from poolhand.agent.weights.manifest import prefix, weight_hash
from poolhand.agent.weights.registry import CATALOG_PATH, manifest_path
from poolhand.config.settings import ModelEntry, Settings

MODEL = "org/toy"
PATIENCE_S = 30.0

NO_MORE: Mapping[str, object] = MappingProxyType({})

Answers = Mapping[str, tuple[int, bytes]]


def manifest(model: str = MODEL) -> bytes:
    digest = hashlib.sha256(b"{}").digest()
    said = {
        "schema_version": 1,
        "model_id": model,
        "version": "v1",
        "r2_prefix": prefix(model, "v1"),
        "aggregate_sha256": weight_hash([("config.json", digest)]),
        "total_size_bytes": 2,
        "file_count": 1,
        "files": [{"path": "config.json", "size_bytes": 2, "sha256": digest.hex()}],
    }
    return json.dumps(said).encode()


HASH = str(json.loads(manifest())["aggregate_sha256"])


def catalog(*models: str) -> bytes:
    rows = [{"id": m, "r2_prefix": prefix(m, "v1"), "weight_hash": HASH} for m in models]
    alias = {"id": "toy", "desired_build": MODEL}
    return json.dumps({"models": rows, "aliases": [alias]}).encode()


def good(*models: str) -> dict[str, tuple[int, bytes]]:
    answers = {CATALOG_PATH: (200, catalog(*models))}
    return answers | {manifest_path(m): (200, manifest(m)) for m in models}


@asynccontextmanager
async def listening(
    answers: Answers, asked: list[str], tls: ssl.SSLContext | None = None
) -> AsyncGenerator[int]:
    """A web server that says what it was told to say."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        asked.append(path)
        status, body = answers.get(path, (404, b"{}"))
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n"
            f"Location: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


class Room:
    """A registry, and what it tells."""

    def __init__(
        self, folder: Path, port: int, line: Mapping[str, object] = NO_MORE, **catalog: object
    ) -> None:
        self.told: list[Event] = []
        self.offers: list[list[ModelEntry]] = []
        self.news = asyncio.Event()
        settings = Settings.model_validate(
            {
                "coordinator": {"url": f"ws://127.0.0.1:{port}", **line},
                "catalog": {"builds": ["org/*"], "store": "s3://bucket", **catalog},
            }
        )
        self.registry = Registry(
            settings, folder, tell=self.tell, offers=self.offered, taken=lambda: ["org/own"]
        )

    def tell(self, event: Event) -> None:
        self.told.append(event)
        self.news.set()

    def offered(self, entries: Sequence[ModelEntry]) -> None:
        self.offers.append(list(entries))
        self.news.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let it read until something is so."""
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self.registry.keep())
            async with asyncio.timeout(PATIENCE_S):
                while not is_so():
                    self.news.clear()
                    await self.news.wait()
            keeping.cancel()

    @property
    def failures(self) -> list[tuple[str, str]]:
        return [(e.model, e.error.code) for e in self.told if isinstance(e, ListingFailed)]


async def test_what_is_named_is_offered_with_its_hash(tmp_path: Path) -> None:
    asked: list[str] = []
    async with listening(good(MODEL, "other/x", "org/own"), asked) as port:
        room = Room(tmp_path, port)
        await room.until(lambda: bool(room.offers))
    ((entry,),) = room.offers
    expected = (MODEL, f"s3://bucket/{prefix(MODEL, 'v1')}", HASH)
    assert (entry.id, entry.ref, entry.weight_hash) == expected
    assert asked == [CATALOG_PATH, manifest_path(MODEL)], "and nothing else was looked at"
    pinned: dict[str, str] = dict.fromkeys((MODEL, "other/x", "org/own"), HASH)
    assert room.told == [CatalogRead({"toy": (MODEL,)}, pinned)]


@pytest.mark.parametrize("is_trusted", [False, True])
async def test_a_catalog_behind_tls_is_believed_if_the_coordinator_s_authority_vouches_for_it(
    tmp_path: Path, *, is_trusted: bool
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(  # noqa: ASYNC221, S603  # fixed words, once
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",  # noqa: S607
         "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    asked: list[str] = []
    async with listening(good(MODEL), asked, context) as port:
        who = {"url": f"wss://127.0.0.1:{port}", "ca_file": str(cert) if is_trusted else None}
        room = Room(tmp_path, port, who)
        await room.until(lambda: bool(room.offers or room.failures))
    if is_trusted:
        assert [entry.weight_hash for entry in room.offers[0]] == [HASH]
        assert asked == [CATALOG_PATH, manifest_path(MODEL)]
    else:
        assert [code for _, code in room.failures] == ["store_unreachable"]
        assert asked == [], "and it heard nothing from us"


async def test_what_was_read_last_outlives_the_process_and_the_catalog(tmp_path: Path) -> None:
    async with listening(good(MODEL), []) as port:
        room = Room(tmp_path, port)
        await room.until(lambda: bool(room.offers))
    again = Room(tmp_path, port)
    again.registry.recall()
    assert [entry.id for entry in again.offers[0]] == [MODEL]
    assert again.told == [CatalogRead({"toy": (MODEL,)})]
    await again.until(lambda: bool(again.failures))
    assert again.failures == [(f"127.0.0.1:{port}", "store_unreachable")]
    assert len(again.offers) == 1, "a failure takes nothing back"
    narrower = Room(tmp_path, port, builds=["org/x"])
    narrower.registry.recall()
    moved = Room(tmp_path, port, store="s3://other")
    moved.registry.recall()
    assert narrower.offers == moved.offers == [[]], "the operator's word of today counts"


async def test_a_file_that_cannot_be_understood_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"models": 7}')
    room = Room(tmp_path, 1)
    room.registry.recall()
    assert room.offers == []
    assert [code for _, code in room.failures] == ["state_damaged"]
    assert (tmp_path / "catalog.bad").exists()


@pytest.mark.parametrize(
    ("answers", "failed"),
    [
        ({}, "store_unreachable"),
        ({CATALOG_PATH: (403, b"")}, "store_denied"),
        ({CATALOG_PATH: (302, b"")}, "store_unreachable"),
        ({CATALOG_PATH: (200, b"<html>")}, "store_unreachable"),
        ({CATALOG_PATH: (200, b" " * (8 * 2**20 + 1))}, "store_unreachable"),
        ({**good(MODEL), manifest_path(MODEL): (500, b"")}, "store_unreachable"),
    ],
)
async def test_a_catalog_that_fails_is_told_of_and_offers_nothing(
    tmp_path: Path, answers: Answers, failed: str
) -> None:
    async with listening(answers, []) as port:
        room = Room(tmp_path, port)
        await room.until(lambda: bool(room.failures))
    assert room.failures == [(f"127.0.0.1:{port}", failed)]
    assert room.offers == []


@pytest.mark.parametrize(
    ("answer", "failed"),
    [((404, b""), "model_missing"), ((200, manifest("org/other")), "weights_corrupt")],
)
async def test_a_bad_manifest_costs_its_own_build_only(
    tmp_path: Path, answer: tuple[int, bytes], failed: str
) -> None:
    answers = {**good("org/bad", MODEL), manifest_path("org/bad"): answer}
    async with listening(answers, []) as port:
        room = Room(tmp_path, port)
        await room.until(lambda: bool(room.offers))
    assert room.failures == [("org/bad", failed)]
    assert [entry.id for entry in room.offers[0]] == [MODEL]


async def test_an_ask_is_not_lost_and_not_answered_too_often(tmp_path: Path) -> None:
    answers = good()
    async with listening(answers, asked := []) as port:
        room = Room(tmp_path, port)
        for _ in range(100):
            room.registry.ask()
        await room.until(lambda: bool(room.offers))
    assert asked == [CATALOG_PATH]
