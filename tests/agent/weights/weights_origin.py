"""An origin with faults on demand, a store that reads it, and a child that uses the store.

Run as a program it is the fetching child with :class:`OriginStore` in the place of S3, which
is how a test starts it: ``CHILD``. Objects are served below ``/``; ``/?list`` lists them. They
also lie in a bucket, for whoever speaks S3: ``BUCKET``.
"""

import hashlib
import json
import socket
import struct
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self, cast
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape

from poolhand.agent.weights.fetcher import main
from poolhand.agent.weights.manifest import prefix, weight_hash
from poolhand.agent.weights.parts import Target
from poolhand.agent.weights.publish import Digested, digest_in_place
from poolhand.backends.stores.base import FileLocation, HttpLocation, Location, RemoteFile
from poolhand.backends.stores.errors import ModelMissing
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Stores, Weights

CHILD = (sys.executable, "-W", "error", __file__)
REF = ModelRef.parse("s3://models/org/toy")
BUCKET = "bucket"


@dataclass
class Reply:
    """What a fault makes of one answer.

    Attributes:
        status: Instead of 200 or 206.
        cut_bytes: Close the connection after this many bytes of the body.
        stall_s: Say nothing for so long after ``cut_bytes``.
        flip: Change the first byte.
        headers: Instead of, or beside, the right ones; an empty value leaves one out.
        body: Instead of the object's bytes.
        close: Close the connection after the answer, and say so.
        drop: Close the connection after the answer, and do not say so.
        drip_s: Send the body a hundred bytes at a time, with such a rest after each.
        is_chunked: Send no length.
        resets: Break the connection off after ``cut_bytes``, instead of closing it.
    """

    status: int | None = None
    cut_bytes: int | None = None
    stall_s: float = 0.0
    flip: bool = False
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    close: bool = False
    drop: bool = False
    drip_s: float = 0.0
    is_chunked: bool = False
    ignores_range: bool = False
    resets: bool = False


Fault = Callable[[int, str, str], Reply | None]
"""Takes the request's number, path and Range header; ``None``: serve it right."""


def always(reply: Reply) -> Fault:
    """The same answer to every request."""
    return lambda _number, _path, _range: reply


def at_first(reply: Reply) -> Fault:
    """This answer to the first request, right ones to all others."""

    def fault(number: int, _path: str, _range: str) -> Reply | None:
        return reply if number == 0 else None

    return fault


def but_for_the_manifest(inner: Fault) -> Fault:
    """The same faults, with a manifest that is always served right."""

    def fault(number: int, path: str, asked: str) -> Reply | None:
        return None if path == "manifest.json" else inner(number, path, asked)

    return fault


class Origin:
    """Serves bytes on loopback, and as a bucket to whoever speaks S3.

    Attributes:
        objects: Path to bytes; may be changed while it serves.
        fault: Asked about every GET of an object.
        sent_bytes: Body bytes sent so far.
        is_mute: Whether tags are listed and then neither told nor minded.
        ranges: ``(path, Range)`` of every GET of an object, in order.
        callers: The other ends of the connections over which they came.
    """

    def __init__(self, objects: Mapping[str, bytes], *, fault: Fault | None = None) -> None:
        self.objects = dict(objects)
        self.fault = fault
        self.sent_bytes = 0
        self.pause_s = 0.0
        self.etags = True
        self.is_mute = False
        self.ranges: list[tuple[str, str]] = []
        self.callers: set[object] = set()
        self.lock = threading.Lock()
        outer = self

        class Answerer(_Answerer):
            origin = outer

        self._server = _Server(("127.0.0.1", 0), Answerer)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        """Start serving."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def etag(self, path: str) -> str:
        """The version tag of an object."""
        return f'"{hashlib.md5(self.objects[path], usedforsecurity=False).hexdigest()}"'

    def reply(self, path: str, asked: str) -> tuple[Reply, int]:
        """What to do about this GET."""
        with self.lock:
            number = len(self.ranges)
            self.ranges.append((path, asked))
        return (self.fault(number, path, asked) if self.fault else None) or Reply(), number


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what half of the tests are about."""


class _Answerer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin: Origin

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        try:
            if self.path == "/?list":
                self._list()
            elif place.path.strip("/") == BUCKET:
                self._list_bucket()
            else:
                self._object(unquote(place.path.lstrip("/")).removeprefix(f"{BUCKET}/"))
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _list(self) -> None:
        tags = self.origin.etags
        listed = [
            [path, len(data), self.origin.etag(path) if tags else None]
            for path, data in sorted(self.origin.objects.items())
        ]
        self._send(200, {}, json.dumps(listed).encode(), Reply())

    def _list_bucket(self) -> None:
        entries = "".join(
            f"<Contents><Key>{escape(path)}</Key><Size>{len(data)}</Size>"
            f"<ETag>{escape(self.origin.etag(path))}</ETag></Contents>"
            for path, data in sorted(self.origin.objects.items())
        )
        told = f"<Name>{BUCKET}</Name><IsTruncated>false</IsTruncated>{entries}"
        page = f"<ListBucketResult>{told}</ListBucketResult>".encode()
        self._send(200, {"Content-Type": "application/xml"}, page, Reply())

    def _object(self, path: str) -> None:
        asked = self.headers.get("Range", "")
        self.origin.callers.add(self.client_address)
        reply, _ = self.origin.reply(path, asked)
        data = self.origin.objects.get(path)
        if data is None:
            self._send(404, {}, b"<Error><Code>NoSuchKey</Code></Error>", reply)
            return
        wanted = self.headers.get("If-Match")
        tells = self.origin.etags and not self.origin.is_mute
        if wanted is not None and wanted != self.origin.etag(path) and tells:
            self._send(412, {}, b"<Error><Code>PreconditionFailed</Code></Error>", reply)
            return
        headers = {"ETag": self.origin.etag(path)} if tells else {}
        body, status = data, 200
        if asked and not reply.ignores_range:
            first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
            body, status = data[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._send(status, headers, body, reply)

    def _send(self, status: int, headers: dict[str, str], body: bytes, reply: Reply) -> None:
        body = reply.body if reply.body is not None else body
        if reply.flip:
            body = bytes([body[0] ^ 1]) + body[1:]
        self.send_response_only(reply.status or status)
        if not reply.is_chunked:
            headers = {"Content-Length": str(len(body)), **headers}
        else:
            headers = {"Transfer-Encoding": "chunked", **headers}
        if reply.close:
            headers["Connection"] = "close"
        for name, value in {**headers, **reply.headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if reply.is_chunked:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        self._pour(body, reply)
        if reply.resets:
            lingers = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingers)
            socket.close(self.connection.detach())
        if reply.close or reply.drop or reply.cut_bytes is not None:
            self.close_connection = True

    def _pour(self, body: bytes, reply: Reply) -> None:
        end = len(body) if reply.cut_bytes is None else reply.cut_bytes
        step = 100 if reply.drip_s else 65536
        for at in range(0, end, step):
            piece = body[at : min(at + step, end)]
            self.wfile.write(piece)
            time.sleep(reply.drip_s)
            with self.origin.lock:
                self.origin.sent_bytes += len(piece)
            if self.origin.pause_s:
                time.sleep(self.origin.pause_s)
        if reply.stall_s:
            self.wfile.flush()
            time.sleep(reply.stall_s)


class OriginStore:
    """The origin as a store."""

    def __init__(self, port: int, folder: Path | None = None) -> None:
        self.name = f"origin:{port}"
        self._port = port
        self._folder = folder
        self.refreshes = 0
        self.dates: list[str] = []

    def note_server_date(self, date: str) -> None:
        self.dates.append(date)

    async def files(self) -> tuple[RemoteFile, ...]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/?list") as answer:  # noqa: ASYNC210  # a test's child
            listed = cast("list[tuple[str, int, str | None]]", json.loads(answer.read()))
        if not listed:
            raise ModelMissing(model="some ref", reason="nothing there")
        return tuple(RemoteFile(path, size, etag, path) for path, size, etag in listed)

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{quote(file.key)}") as answer:  # noqa: ASYNC210
            return cast("bytes", answer.read())[start:stop]

    def location(self, file: RemoteFile) -> Location:
        if self._folder is not None:
            return FileLocation(str(self._folder / file.key))
        headers = {"Host": f"127.0.0.1:{self._port}", "X-Refreshes": str(self.refreshes)}
        return HttpLocation("127.0.0.1", self._port, False, f"/{quote(file.key)}", headers)  # noqa: FBT003  # plain

    async def refresh(self) -> None:
        self.refreshes += 1

    async def close(self) -> None:
        pass


def origin_store(ref: ModelRef, stores: Stores, environ: Mapping[str, str]) -> OriginStore:
    """The store that the child uses: the origin that the S3 endpoint names."""
    return OriginStore(int((stores.s3.endpoint or "").rpartition(":")[2]))


def stores_of(origin: Origin) -> Stores:
    return Stores(s3=S3(endpoint=origin.endpoint))


def quick(
    *,
    chunk_bytes: int = 2**16,
    connections: int = 4,
    require_manifest: bool = False,
    sync_first: bool = False,
) -> Weights:
    return Weights(
        chunk_bytes=chunk_bytes,
        connections=connections,
        stall_timeout_s=2.0,
        no_progress_s=0.0,
        require_manifest=require_manifest,
        sync_first=sync_first,
    )


def safetensors(size_bytes: int, *, seed: int = 0) -> bytes:
    """A small valid file with one tensor of so many pseudo-random bytes."""
    tensor = {"t": {"dtype": "U8", "shape": [size_bytes], "data_offsets": [0, size_bytes]}}
    header = json.dumps(tensor).encode()
    block = hashlib.sha256(str(seed).encode()).digest()
    body = b"".join(
        hashlib.sha256(block + bytes(f"{at}", "ascii")).digest() * 128
        for at in range(size_bytes // 4096 + 1)
    )[:size_bytes]
    return len(header).to_bytes(8, "little") + header + body


def toy(*, shard_bytes: int = 300_000, shards: int = 2) -> dict[str, bytes]:
    """A small build that holds together."""
    names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
    index = {"weight_map": {f"t{number}": name for number, name in enumerate(names)}}
    return {
        "config.json": b'{"model_type": "toy"}',
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
        "model.safetensors.index.json": json.dumps(index).encode(),
        **{name: safetensors(shard_bytes, seed=seed) for seed, name in enumerate(names)},
    }


def lay(folder: Path, objects: dict[str, bytes]) -> list[Target]:
    for name, data in objects.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _ = path.write_bytes(data)
    return [Target(RemoteFile(name, len(data), None, name)) for name, data in objects.items()]


def digested(folder: Path, targets: list[Target]) -> list[Digested]:
    return digest_in_place(folder, targets, model="org/toy", is_stopped=lambda: False)


def manifest_of(objects: Mapping[str, bytes], *, model: str) -> bytes:
    """What a registry would publish about these objects."""
    files = [
        {"path": path, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in objects.items()
    ]
    digests = [(path, hashlib.sha256(data).digest()) for path, data in objects.items()]
    return json.dumps(
        {
            "schema_version": 1,
            "model_id": model,
            "version": "v1",
            "r2_prefix": prefix(model, "v1"),
            "aggregate_sha256": weight_hash(digests),
            "total_size_bytes": sum(len(data) for data in objects.values()),
            "file_count": len(files),
            "files": files,
        }
    ).encode()


if __name__ == "__main__":
    sys.exit(main(origin_store))
