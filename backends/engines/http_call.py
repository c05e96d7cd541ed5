"""One HTTP call to an engine that is a server: over a Unix socket, TCP or TLS.

Each call has a connection of its own, and leaving the block closes it: that is how a server
learns that nobody wants the rest. Nothing is tried twice, no redirect is followed, no cookie
kept, no proxy asked. h11 speaks the protocol.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from typing import TypeVar
from urllib.parse import urlsplit

import h11

from ...config.frozen import frozen

T = TypeVar("T")

READ_BYTES = 2**16
HEAD_BYTES = 2**16
"""Most that the head of an answer may have."""


class CallFailed(Exception):
    """A call came to nothing; the text is closed words."""


class Unreachable(CallFailed):
    """Nobody took the call: whatever was asked was not heard."""


class CutOff(CallFailed):
    """The call was taken, and what came back was no whole answer."""


class Silent(CutOff):
    """The call was taken, and then nothing came for too long."""


class TooMuch(CallFailed):
    """The answer is longer than it may be."""


class Lines:
    """The connections of one server that are open now, so that all can be ended at once."""

    def __init__(self) -> None:
        self._open: set[asyncio.WriteTransport] = set()

    @contextlib.contextmanager
    def held(self, line: asyncio.WriteTransport) -> Generator[None]:
        """Count a connection while the block runs."""
        self._open.add(line)
        try:
            yield
        finally:
            self._open.discard(line)

    def cut(self) -> None:
        """End them; whoever waits for an answer on one is told that it was cut."""
        for line in self._open:
            line.abort()


@frozen
class Peer:
    """A server, and how it is reached.

    Attributes:
        url: ``http://host:port`` or ``https://host``, without a path; over a Unix socket it
            only names the host.
        headers: Sent with every call; a key is among them.
        socket_path: A Unix socket to use instead of TCP.
        address: An address to connect to instead of asking a resolver for the host's.
        tls: Whom to trust; ``None`` for https: whom the system trusts.
        lines: Counts the connections while they are open.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    socket_path: str | None = None
    address: str | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    lines: Lines = field(default_factory=Lines, repr=False, compare=False)


class HttpAnswer:
    """A status, headers, and a body that is still on its way.

    Attributes:
        status: 200 to 599.
        headers: By name in lower case; of a repeated one the last.
    """

    def __init__(self, wire: "_Wire", status: int, headers: Mapping[str, str]) -> None:
        self._wire = wire
        self.status = status
        self.headers = headers
        self._first = b""
        self._is_over = False

    async def first(self) -> bytes:
        """What the body begins with, some of it no blank; it comes once more with the rest.

        Raises:
            CutOff: It ends before its end.
        """
        while not (self._first.strip() or self._is_over or len(self._first) > READ_BYTES):
            data, self._is_over = await self._wire.body()
            self._first += data
        return self._first

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, all that is there at once as one block.

        Raises:
            CutOff: It ends before its end.
        """
        if first := self._first:
            self._first = b""
            yield first
        while not self._is_over:
            data, self._is_over = await self._wire.body()
            if data:
                yield data

    async def beginning(self, *, limit_bytes: int, within_s: float) -> bytes:
        """What comes of the body before it ends, is cut, or has taken room or time enough."""
        body = bytearray()
        with contextlib.suppress(CutOff, TimeoutError):
            async with asyncio.timeout(within_s), contextlib.aclosing(self.blocks()) as blocks:
                async for block in blocks:
                    body += block
                    if len(body) >= limit_bytes:
                        break
        return bytes(body[:limit_bytes])

    async def whole(self, *, limit_bytes: int) -> bytes:
        """All of the body.

        Raises:
            CutOff: It ends before its end.
            TooMuch: It is longer than that.
        """
        body = bytearray()
        async for block in self.blocks():
            body += block
            if len(body) > limit_bytes:
                problem = f"the answer is longer than {limit_bytes} bytes"
                raise TooMuch(problem)
        return bytes(body)


@asynccontextmanager
async def call(
    peer: Peer,
    method: str,
    target: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    connect_s: float = 10.0,
    silence_s: float | None = None,
) -> AsyncGenerator[HttpAnswer, None]:
    """Ask, and have the answer's head; leaving the block hangs up.

    Args:
        peer: Whom.
        method: Such as ``POST``.
        target: Path and query.
        body: JSON, if there is one.
        headers: On top of the peer's.
        connect_s: Seconds until somebody takes the call.
        silence_s: Seconds that may pass without a byte, and until the answer's head is whole;
            ``None``: somebody else watches.

    Raises:
        Unreachable: Nobody took the call.
        CutOff: What came is no HTTP answer, or nothing came.
    """
    reader, writer = await _connected(peer, connect_s)
    try:
        wire = _Wire(reader, writer, silence_s)
        with peer.lines.held(writer.transport):
            yield await wire.ask(_request(peer, method, target, body, headers or {}), body)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _connected(
    peer: Peer, connect_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(peer.url)
    try:
        async with asyncio.timeout(connect_s):
            if peer.socket_path is not None:
                return await asyncio.open_unix_connection(peer.socket_path, limit=READ_BYTES)
            is_tls = parts.scheme == "https"
            return await asyncio.open_connection(
                peer.address or parts.hostname,
                parts.port or (443 if is_tls else 80),
                ssl=(peer.tls or ssl.create_default_context()) if is_tls else None,
                server_hostname=parts.hostname if is_tls else None,
                limit=READ_BYTES,
            )
    except TimeoutError:
        problem = f"no connection within {connect_s:g} s"
        raise Unreachable(problem) from None
    except ssl.SSLError as error:
        problem = f"no trusted connection ({error.reason or 'TLS'})"
        raise Unreachable(problem) from error
    except OSError as error:
        problem = f"no connection ({error.strerror or type(error).__name__})"
        raise Unreachable(problem) from error


def _request(
    peer: Peer, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
) -> h11.Request:
    sent = {
        "Host": urlsplit(peer.url).netloc or "localhost",
        "Accept": "*/*",
        # without a word of it a server may choose any
        "Accept-Encoding": "identity",
        "User-Agent": "poolhand",
        "Connection": "close",
    }
    if body is not None:
        sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    # in one way of writing, or a name could be sent twice
    more = {name.title(): value for name, value in (*peer.headers.items(), *headers.items())}
    return h11.Request(method=method, target=target, headers=list({**sent, **more}.items()))


class _Wire:
    """One connection, on which one thing is asked."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence_s: float | None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._silence_s = silence_s
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)

    async def ask(self, request: h11.Request, body: bytes | None) -> HttpAnswer:
        self._writer.write(self._http.send(request) or b"")
        if body:
            self._writer.write(self._http.send(h11.Data(data=body)) or b"")
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        # a server may answer and hang up before it has read all: the answer still counts
        with contextlib.suppress(OSError):
            await self._patiently(self._writer.drain())
        # as a whole: line by line it could go on for ever, and so could interim answers
        return await self._patiently(self._head())

    async def _head(self) -> HttpAnswer:
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in event.headers
                }
                return HttpAnswer(self, event.status_code, headers)
            if not isinstance(event, h11.InformationalResponse):
                problem = "no HTTP answer came"
                raise CutOff(problem)

    async def body(self) -> tuple[bytes, bool]:
        """What is there, waiting only if nothing is; and whether that was the end."""
        parts: list[bytes] = []
        event = await self._event()
        while isinstance(event, h11.Data):
            parts.append(bytes(event.data))
            try:
                event = self._next()
            except CutOff:
                # what came before the cut is handed over first; the next look meets it again
                return b"".join(parts), False
        return b"".join(parts), isinstance(event, h11.EndOfMessage)

    async def _event(self) -> object:
        while (event := self._next()) is h11.NEED_DATA:
            try:
                data = await self._patiently(self._reader.read(READ_BYTES))
            except OSError as error:
                problem = "the connection broke"
                raise CutOff(problem) from error
            self._http.receive_data(data)
        return event

    def _next(self) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            problem = "the connection ended before the answer, or carried no HTTP"
            raise CutOff(problem) from error

    async def _patiently(self, work: Awaitable[T]) -> T:
        if self._silence_s is None:
            return await work
        try:
            async with asyncio.timeout(self._silence_s):
                return await work
        except TimeoutError:
            problem = f"nothing came within {self._silence_s:g} s"
            raise Silent(problem) from None
