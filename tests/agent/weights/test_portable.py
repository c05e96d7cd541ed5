"""Objects that the library reads: through a proxy, and as patient as our own sockets."""

import asyncio
import http.client
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from answer_faults import LASTING, MENDED
from weights_origin import (
    BUCKET,
    Fault,
    Origin,
    Reply,
    always,
    but_for_the_manifest,
    manifest_of,
    quick,
    toy,
)

from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.fetch import FetchJob, fetch
from poolhand.backends.stores.base import Build, Progress
from poolhand.backends.stores.errors import StoreUnreachable, WeightsError
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Stores

MODEL = "org/toy"
REF = ModelRef.parse(f"s3://{BUCKET}")
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "s3cr3t"}
ELSEWHERE = "http://store.invalid:9000"
"""Nobody but the proxy knows how to get there."""


class Forwarding(BaseHTTPRequestHandler):
    """A proxy of the web's, for one origin."""

    protocol_version = "HTTP/1.1"
    port: int
    asked: list[str]

    def do_GET(self) -> None:
        """Send a request on."""
        place = urlsplit(self.path)
        self.asked.append(place.netloc)
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        line.request("GET", f"{place.path}?{place.query}".rstrip("?"), headers=dict(self.headers))
        answer = line.getresponse()
        body = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.end_headers()
        _ = self.wfile.write(body)
        line.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the library
        """Nothing."""


@pytest.fixture
def origin() -> Iterator[Origin]:
    objects = toy()
    with Origin({**objects, "manifest.json": manifest_of(objects, model=MODEL)}) as serving:
        yield serving


@pytest.fixture
def proxy(origin: Origin) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Forwarding,), {"port": origin.port, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def job(
    folder: Path, endpoint: str, engine: Literal["direct", "portable"] = "portable"
) -> FetchJob:
    stores = Stores(s3=S3(endpoint=endpoint, engine=engine))
    patient = quick().model_copy(update={"no_progress_s": 5.0})
    return FetchJob(MODEL, REF, stores, patient, str(folder))


def environ(**more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**plain, **KEYS, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "", **more}


async def bring(work: FetchJob, **more: str) -> Build:
    async with asyncio.timeout(60):
        return await fetch(work, told=lambda _: None, environ=environ(**more))


@pytest.mark.parametrize("fault", MENDED.values(), ids=MENDED.keys())
async def test_a_passing_fault_is_mended(origin: Origin, fault: Fault, tmp_path: Path) -> None:
    origin.fault = but_for_the_manifest(fault)
    build = await bring(job(tmp_path, origin.endpoint))
    for name, data in toy().items():
        assert (Path(build.folder) / name).read_bytes() == data


@pytest.mark.parametrize(("fault", "kind"), LASTING.values(), ids=LASTING.keys())
async def test_a_lasting_fault_has_its_name_and_leaves_no_debris(
    origin: Origin, fault: Fault, kind: type[WeightsError], tmp_path: Path
) -> None:
    origin.fault = but_for_the_manifest(fault)
    with pytest.raises(kind):
        _ = await bring(job(tmp_path, origin.endpoint))
    folder = Cache(tmp_path).folder(MODEL)
    for name, data in toy().items():
        assert not (folder / name).exists() or (folder / name).read_bytes() == data
    assert Cache(tmp_path).build(MODEL, str(REF)) is None


async def test_listing_and_bytes_go_through_the_proxy_that_the_environment_names(
    origin: Origin, proxy: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, asked = proxy
    build = await bring(job(tmp_path, ELSEWHERE), HTTP_PROXY=url)
    for name, data in toy().items():
        assert (Path(build.folder) / name).read_bytes() == data
    assert set(asked) == {urlsplit(ELSEWHERE).netloc}
    assert len(asked) > len(origin.objects), "a listing, and a read of each"


async def test_our_own_sockets_go_through_none(
    proxy: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, asked = proxy
    with pytest.raises(StoreUnreachable):
        _ = await bring(job(tmp_path, ELSEWHERE, "direct"), HTTP_PROXY=url)
    assert asked == []


async def test_nor_does_the_library_to_whom_no_proxy_is_for(
    origin: Origin, proxy: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, asked = proxy
    _ = await bring(job(tmp_path, origin.endpoint), HTTP_PROXY=url, NO_PROXY="127.0.0.1,localhost")
    assert asked == []


async def test_a_proxy_that_is_gone_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable) as caught:
        _ = await bring(job(tmp_path, ELSEWHERE), HTTP_PROXY="http://127.0.0.1:9")
    assert caught.value.remedy


def once(number: int, _path: str, _range: str) -> Reply | None:
    return Reply(cut_bytes=500, stall_s=45.0) if number == 7 else None


async def test_a_stall_is_over_long_before_two_time_outs(origin: Origin, tmp_path: Path) -> None:
    origin.fault = once
    begun_s = time.monotonic()
    build = await bring(job(tmp_path, origin.endpoint))
    assert time.monotonic() - begun_s < 25.0
    assert Cache(tmp_path).build(MODEL, str(REF)) == build


async def test_it_stops_amid_silence_and_goes_on_later(origin: Origin, tmp_path: Path) -> None:
    work = job(tmp_path, origin.endpoint)
    origin.fault = always(Reply(cut_bytes=40_000, stall_s=45.0))
    told: asyncio.Queue[Progress] = asyncio.Queue()
    begun_s = time.monotonic()
    task = asyncio.create_task(fetch(work, told=told.put_nowait, environ=environ()))
    while (await told.get()).phase != "fetch":
        pass
    _ = task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun_s < 20.0
    origin.fault = None
    _ = await bring(work)
