"""A throttled origin: so many bytes a second on each connection, after a delay a request.

    python bench/weights_link.py PORT ROOT BYTES_A_SECOND DELAY_S

Serves the files below ROOT with ranges and tags as the benchmark's nginx does, one thread a
connection and ``sendfile`` for the bytes, so that it takes hardly any of the machine.
"""

import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PIECE_S = 0.005
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class _Sent:
    """Counts what every connection has sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes = 0

    def add(self, count: int) -> None:
        """Count more."""
        with self._lock:
            self.bytes += count


class _Answerer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    root: Path
    rate_bytes_s: int
    delay_s: float
    sent: _Sent

    def do_GET(self) -> None:
        """Answer after the delay, no faster than the rate."""
        path = self.path.partition("?")[0].strip("/")
        if path == "-/sent":
            self._answer(str(self.sent.bytes).encode())
            return
        time.sleep(self.delay_s)
        if "/" not in path:
            self._answer((self.root / f"{path}.xml").read_bytes())
            return
        self._file(self.root / path)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the library
        """Nothing: it would cost more than the answer."""

    def _answer(self, body: bytes) -> None:
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        _ = self.wfile.write(body)

    def _file(self, path: Path) -> None:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            asked = _RANGE.fullmatch(self.headers.get("Range", ""))
            first, last = (int(asked[1]), int(asked[2])) if asked else (0, found.st_size - 1)
            last = min(last, found.st_size - 1)
            self.send_response_only(206 if asked else 200)
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("ETag", f'"{int(found.st_mtime):x}-{found.st_size:x}"')
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{found.st_size}")
            self.end_headers()
            self._pour(file.fileno(), first, last + 1)

    def _pour(self, fd: int, at: int, stop: int) -> None:
        begun_s, begun = time.monotonic(), at
        piece = int(self.rate_bytes_s * _PIECE_S)
        while at < stop:
            count = os.sendfile(self.connection.fileno(), fd, at, min(piece, stop - at))
            at += count
            self.sent.add(count)
            ahead_s = (at - begun) / self.rate_bytes_s - (time.monotonic() - begun_s)
            if ahead_s > 0:
                time.sleep(ahead_s)


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is killed is what one row is about."""


def main() -> None:
    """Serve until told to end."""
    port, root, rate, delay = sys.argv[1:]

    class Answerer(_Answerer):
        pass

    Answerer.root = Path(root)
    Answerer.rate_bytes_s = int(rate)
    Answerer.delay_s = float(delay)
    Answerer.sent = _Sent()
    _Server(("127.0.0.1", int(port)), Answerer).serve_forever()


if __name__ == "__main__":
    main()
