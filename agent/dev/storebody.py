"""How an object's bytes get to the client, whole, in part, or as a fault wants them.

Bodies go from the file to the socket by ``sendfile`` unless a fault has to touch them;
none is ever held in memory.
"""

import asyncio
import re
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from ...config.frozen import frozen
from .faults import Fault
from .s3_answers import S3Problem

_PIECE_BYTES = 256 * 1024
_PACES_PER_S = 20
_KEPT_RANGES = 10_000
_INVERTED = bytes(255 - byte for byte in range(256))


class Stats:
    """Counts of what was asked and what was sent; ``GET /_stats`` shows them."""

    def __init__(self) -> None:
        self._requests = Counter[str]()
        self._statuses = Counter[str]()
        self._bytes_sent = Counter[str]()
        self._ranges: deque[dict[str, object]] = deque(maxlen=_KEPT_RANGES)

    def count_request(self, operation: str, status: int) -> None:
        """Count one request and what became of it."""
        self._requests[operation] += 1
        self._statuses[str(status)] += 1

    def count_range(self, name: str, asked: str | None, status: int) -> None:
        """Keep what a GET asked for; ``None`` for the whole. The last 10,000 are kept."""
        self._ranges.append({"key": name, "range": asked, "status": status})

    def count_bytes(self, name: str, sent_bytes: int) -> None:
        """Count bytes of ``bucket/key`` that were handed to the system."""
        self._bytes_sent[name] += sent_bytes

    def document(self) -> dict[str, object]:
        """All counts since the start, for JSON."""
        return {
            "requests": self._requests.total(),
            "operations": dict(self._requests),
            "statuses": dict(self._statuses),
            "bytes_sent": dict(self._bytes_sent),
            "ranges": list(self._ranges),
        }


def parse_range(text: str | None, size_bytes: int) -> range | S3Problem | None:
    """Read a ``Range`` header.

    Args:
        text: The header, or ``None``.
        size_bytes: The object's length.

    Returns:
        The offsets to send; ``None`` for the whole object, also if the header is none
        that S3 understands (it ignores those); a problem if no byte lies in it.
    """
    found = re.fullmatch(r"bytes=([0-9]{0,19})-([0-9]{0,19})", text or "")
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if first and last and int(last) < int(first):
        return None
    if first:
        stop = min(int(last) + 1, size_bytes) if last else size_bytes
        span = range(int(first), stop)
    else:
        span = range(max(0, size_bytes - int(last)), size_bytes)
    if not span:
        facts = {"RangeRequested": text or "", "ActualObjectSize": str(size_bytes)}
        return S3Problem("InvalidRange", facts=facts)
    return span


@frozen
class Body:
    """What is to be sent of a file, and what is to go wrong with it."""

    path: Path
    span: range
    fault: Fault
    is_replaced: bool

    @property
    def _limit_bytes(self) -> int:
        fault = self.fault
        cuts = (fault.reset_after_bytes, fault.end_after_bytes, fault.stall_after_bytes)
        return min([len(self.span), *(cut for cut in cuts if cut is not None)])

    @property
    def _is_touched(self) -> bool:
        return bool(self.fault.bytes_per_s or self.is_replaced) or (
            self.fault.flip_byte_at is not None and self.fault.flip_byte_at in self.span
        )

    async def send(
        self,
        transport: asyncio.Transport,
        response: web.StreamResponse,
        sent: Callable[[int], None],
        *,
        threads: Executor,
    ) -> None:
        """Send it; the response's headers are out already.

        Args:
            transport: The connection below ``response``.
            response: For pieces that a fault has touched.
            sent: Told of bytes that were handed to the system.
            threads: Where files are read.

        Raises:
            ConnectionError: The client is gone.
        """
        # opened here and not in a thread: a cancel in between would lose the open file
        with _opened(self.path) as file:
            if self._is_touched:
                await self._send_pieces(file, response, sent, threads)
            elif self._limit_bytes:
                await self._send_file(file, transport, sent)
        await self._end(transport)

    async def _send_file(
        self, file: BinaryIO, transport: asyncio.Transport, sent: Callable[[int], None]
    ) -> None:
        if transport.is_closing():
            raise ConnectionResetError
        loop = asyncio.get_running_loop()
        start = self.span.start
        try:
            count = await loop.sendfile(transport, file, start, self._limit_bytes)
        finally:
            # true also when it was cut off: the loop moves the position as it sends
            sent(max(0, file.tell() - start))
        if count < self._limit_bytes:
            transport.close()  # the file shrank; an honest short body is all there is

    async def _send_pieces(
        self,
        file: BinaryIO,
        response: web.StreamResponse,
        sent: Callable[[int], None],
        threads: Executor,
    ) -> None:
        loop = asyncio.get_running_loop()
        rate = self.fault.bytes_per_s
        piece_bytes = max(1, min(_PIECE_BYTES, rate // _PACES_PER_S or _PIECE_BYTES))
        began_s = loop.time()
        at, stop = self.span.start, self.span.start + self._limit_bytes
        file.seek(at)
        while at < stop:
            piece = await loop.run_in_executor(threads, file.read, min(piece_bytes, stop - at))
            if not piece:
                return
            due_bytes = at + len(piece) - self.span.start
            if rate:
                await asyncio.sleep(began_s + due_bytes / rate - loop.time())
            await response.write(self._altered(piece, at))
            sent(len(piece))
            at += len(piece)

    def _altered(self, piece: bytes, at: int) -> bytes:
        if self.is_replaced:
            piece = piece.translate(_INVERTED)
        flip = self.fault.flip_byte_at
        if flip is None or not at <= flip < at + len(piece):
            return piece
        altered = bytearray(piece)
        altered[flip - at] ^= 1
        return bytes(altered)

    async def _end(self, transport: asyncio.Transport) -> None:
        """Do what a fault wants done at the place where it cuts the body."""
        if self._limit_bytes == len(self.span):
            return
        if self._limit_bytes == self.fault.stall_after_bytes:
            await asyncio.Event().wait()  # until the client or the store goes away
        if self._limit_bytes == self.fault.reset_after_bytes:
            reset(transport)
        else:
            transport.close()


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def reset(transport: asyncio.Transport) -> None:
    """Drop a connection so that the peer sees a reset, not an end."""
    line = transport.get_extra_info("socket")
    if line is not None:
        # lingering for no time at all is how a socket is told to send RST
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
