"""Listings that lie or are long, through the real child: nothing comes of what makes no sense."""

import asyncio
import hashlib
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest
from weights_origin import quick, toy

from poolhand.agent.weights.alone import Alone
from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.fetch import FetchJob, fetch
from poolhand.backends.stores.base import Build
from poolhand.backends.stores.errors import WeightsUnsafe
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Stores

MODEL, PREFIX = "org/toy", "org/toy/"
REF = ModelRef.parse("s3://models/org/toy")
SHARD = "model-00001-of-00002.safetensors"

Entry = tuple[str, int, str]
"""Name below the prefix, length, tag without quotes."""


def entry(name: str, content: bytes) -> Entry:
    return name, len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()


class Listed:
    """A store that lists what it is told to, whatever it has.

    Args:
        objects: What it has.
        pages: What it lists.
    """

    def __init__(self, objects: dict[str, bytes], pages: Sequence[Sequence[Entry]]) -> None:
        self.objects = objects
        self.pages = pages
        self.asked: list[str] = []

    def page(self, number: int) -> bytes:
        entries = "".join(
            f"<Contents><Key>{escape(PREFIX + name)}</Key><Size>{size}</Size>"
            f"<ETag>&quot;{tag}&quot;</ETag></Contents>"
            for name, size, tag in self.pages[number]
        )
        more = f"<NextContinuationToken>{number + 1}</NextContinuationToken>"
        is_last = number + 1 == len(self.pages)
        told = "" if is_last else f"<IsTruncated>true</IsTruncated>{more}"
        return f"<ListBucketResult>{told}{entries}</ListBucketResult>".encode()


@contextmanager
def serving(listed: Listed) -> Generator[Stores]:
    class Answerer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Say nothing."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if "list-type" in url.query:
                token = parse_qs(url.query).get("continuation-token", ["0"])[0]
                self._send(200, listed.page(int(token)), {})
                return
            name = unquote(url.path).removeprefix(f"/models/{PREFIX}")
            content = listed.objects[name]
            listed.asked.append(name)
            headers = {"ETag": f'"{entry(name, content)[2]}"'}
            if asked := self.headers.get("Range"):
                first, last = (int(at) for at in asked.removeprefix("bytes=").split("-"))
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                content = content[first : last + 1]
            self._send(206 if asked else 200, content, headers)

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            _ = self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answerer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Stores(s3=S3(endpoint=f"http://127.0.0.1:{server.server_address[1]}", unsigned=True))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def bring(listed: Listed, folder: Path, alone: Alone | None = None) -> Build:
    with serving(listed) as stores:
        job = FetchJob(MODEL, REF, stores, quick(), str(folder), alone=alone)
        async with asyncio.timeout(50):
            return await fetch(job, told=lambda _: None)


OBJECTS = toy()
RIGHT = [entry(name, content) for name, content in OBJECTS.items()]
SAME, LONGER = entry(SHARD, OBJECTS[SHARD]), (SHARD, 10**6, entry(SHARD, OBJECTS[SHARD])[2])
RETAGGED, OTHER = (SHARD, len(OBJECTS[SHARD]), "0" * 32), entry(SHARD, b"other")
TWICE = {
    "on one page": [[*RIGHT, SAME]],
    "on two pages": [RIGHT, [SAME]],
    "of another length": [[LONGER, *RIGHT]],
    "of another length on another page": [[LONGER], RIGHT],
    "with another tag": [[*RIGHT, RETAGGED]],
    "another version on another page": [RIGHT, [OTHER]],
}


@pytest.mark.parametrize("pages", TWICE.values(), ids=TWICE.keys())
async def test_one_key_listed_twice(pages: Sequence[Sequence[Entry]], tmp_path: Path) -> None:
    """Which of two versions the answers would be of, nobody knows: nothing is fetched."""
    listed = Listed(OBJECTS, pages)
    with pytest.raises(WeightsUnsafe, match=f"'{SHARD}' is listed more than once") as caught:
        _ = await bring(listed, tmp_path)
    assert caught.value.remedy
    assert listed.asked == []
    assert not [path for path in Cache(tmp_path).folder(MODEL).rglob("*") if path.stat().st_size]


async def test_a_copy_of_a_key_listed_twice(tmp_path: Path) -> None:
    listed = Listed(OBJECTS, TWICE["another version on another page"])
    with pytest.raises(WeightsUnsafe, match="more than once"):
        _ = await bring(listed, tmp_path, Alone(is_verified=False))
    assert listed.asked == []
    listed.pages = [RIGHT]
    build = await bring(listed, tmp_path)
    assert (Path(build.folder) / SHARD).read_bytes() == OBJECTS[SHARD]


async def test_ten_thousand_keys_over_ten_pages(tmp_path: Path) -> None:
    """What makes a model lies among them, on every page; pictures and notes are left there."""
    rest = [(f"notes/{number:05}.md", 9, "0" * 32) for number in range(10_000 - len(RIGHT))]
    entries = sorted([*RIGHT, *rest])
    mixed = [entries[at::10] for at in range(10)]
    listed = Listed(OBJECTS, mixed)
    build = await bring(listed, tmp_path)
    assert sum(map(len, mixed)) == 10_000
    assert set(listed.asked) == set(OBJECTS)
    assert build.size_bytes == sum(map(len, OBJECTS.values()))
    for name, content in OBJECTS.items():
        assert (Path(build.folder) / name).read_bytes() == content
