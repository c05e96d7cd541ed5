"""A collector: takes OTLP over HTTP, reads the protobuf, answers as it is told."""

import gzip
import threading
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What came, and how it is answered.

    Attributes:
        status: HTTP, for each batch.
        is_open: While it is not set, nobody is answered.
    """

    def __init__(self) -> None:
        self.status = 200
        self.is_open = threading.Event()
        self.is_open.set()
        self.batches: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.port = 0
        self._news = threading.Condition()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """One batch."""
        kind = headers.get("content-encoding", "")
        plain = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(kind, bytes)(body)
        batch = ExportTraceServiceRequest()
        batch.ParseFromString(plain)
        with self._news:
            self.paths.append(path)
            self.headers.append(headers)
            if self.status == 200:
                self.batches.append(batch)
            self._news.notify_all()

    def spans(self) -> list[Span]:
        """All that came, in order."""
        return [
            span
            for batch in self.batches
            for resource in batch.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait(self, count: int) -> list[Span]:
        """Wait until so many spans are here."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.spans()) >= count, 20), self.spans()
        return self.spans()

    def asked(self, count: int) -> None:
        """Wait until so many batches came, taken or not."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.paths) >= count, 20)


def facts(span: Span) -> dict[str, str | int | float | bool]:
    """A span's attributes as plain values."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "")
        for each in span.attributes
    }


@contextmanager
def collecting() -> Generator[Collector]:
    """A collector on loopback, for as long as the block runs."""
    collector = Collector()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.is_open.wait(20)
            named = {name.lower(): value for name, value in self.headers.items()}
            collector.take(self.path, named, body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        collector.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.is_open.set()
            server.shutdown()
            thread.join()
