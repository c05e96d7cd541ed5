"""HTTP on local sockets: the owner's way to look in, and to give orders.

On a Unix socket of mode 0600 in a folder of the owner's own there is nothing to authenticate.
A TCP port exists only if the configuration names one: on loopback, behind a key, and closed
to web pages (:mod:`~.access`). h11 speaks the protocol; the routes answer.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, cast

import h11

from ...config.paths import StateUnusable, own_dir
from .asked import Answer, Asked, Long, NotAnswered, Route, Routes, asked, route_of

MAX_REQUEST_BYTES = 2**14
"""Of the head; routes that take longer bodies say so."""

PATIENCE_S = 5.0
"""How long a client may take to ask, and to read."""

STREAM_PATIENCE_S = 60.0
"""How long the reader of a long answer may read nothing."""

LINGER_S = 1.0
"""How long whoever was refused may go on talking, so that he reads why."""

MAX_CLIENTS = 32

MAX_REFUSED = 64
"""So many more are told that it is too much at once; beyond them, whoever comes is hung up on."""

MAX_LONG = 64
"""Long answers under way; they take no place from the others."""

Guard = Callable[[Asked], None]
"""Looks at a question before it is answered; raises :class:`NotAnswered`."""


class Api:
    """Answers on local sockets.

    Args:
        routes: By path and method, who answers.
        guard: Whom to turn away; nobody on a socket that only its owner can open.
        most_body_bytes: A longer body is refused.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        guard: Guard = lambda _: None,
        most_body_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        self._routes = routes
        self._guard = guard
        self._most_body_bytes = most_body_bytes
        self._clients = 0
        self._refused = 0
        self._long = 0

    async def serve(self, bound: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
        """Answer until cancelled.

        Args:
            bound: From :func:`control_socket`, or a TCP socket that is bound.
            ready: Called once clients can connect.
        """
        async with asyncio.TaskGroup() as clients:

            def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if bound.fileno() < 0:
                    writer.transport.abort()  # it came in while we left
                    return
                task = clients.create_task(self._meet(reader, writer), name="control client")
                # by the task's own end: one that is cancelled before its first step hangs up too
                task.add_done_callback(lambda _: writer.transport.abort())

            open_server = (
                asyncio.start_unix_server
                if bound.family == socket.AF_UNIX
                else asyncio.start_server
            )
            server = await open_server(meet, sock=bound, limit=MAX_REQUEST_BYTES)
            ready()
            try:
                await server.serve_forever()
            finally:
                server.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients >= MAX_CLIENTS:
            await self._turn_away(reader, writer)
            return
        self._clients += 1
        try:
            await self._answer(reader, writer)
        except (OSError, TimeoutError, h11.LocalProtocolError):
            pass
        finally:
            self._clients -= 1

    async def _turn_away(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say when to come again, before anything is asked."""
        if self._refused >= MAX_REFUSED:
            writer.close()
            return
        self._refused += 1
        full = {"code": "overloaded", "words": f"{MAX_CLIENTS} questions are being answered"}
        try:
            out = _Out(h11.Connection(h11.SERVER), writer)
            await _told(out, Answer(full, 503, headers={"Retry-After": "1"}), reader)
        except (OSError, TimeoutError, h11.LocalProtocolError):
            pass
        finally:
            self._refused -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_BYTES)
        try:
            async with asyncio.timeout(PATIENCE_S):
                question = await self._heard(connection, reader)
            route = route_of(self._routes, question)
            if isinstance(route, Long):
                await self._take_time(route, question, reader, _Out(connection, writer))
                return
            answer = await _answered(route, question)
        except NotAnswered as error:
            answer = error.answer
        except h11.RemoteProtocolError as error:
            connection = h11.Connection(h11.SERVER)
            no_http = NotAnswered(
                error.error_status_hint, "bad_request", "that was no HTTP request"
            )
            answer = no_http.answer
        is_cut = connection.their_state is h11.SEND_BODY
        if connection.our_state is not h11.SEND_RESPONSE:
            connection = h11.Connection(h11.SERVER)  # there was no whole request to answer
        await _told(_Out(connection, writer), answer, reader if is_cut else None)

    async def _take_time(
        self, long: Long, question: Asked, reader: asyncio.StreamReader, out: "_Out"
    ) -> None:
        """Answer for as long as it takes and the client is there."""
        self._clients -= 1
        self._long += 1
        out.patience_s = STREAM_PATIENCE_S
        try:
            async with asyncio.TaskGroup() as sides:
                watch = sides.create_task(_leaves(reader), name="control client leaves")
                try:
                    if self._long > MAX_LONG:
                        _refuse(429, "overloaded", f"{MAX_LONG} are being answered")
                    answer = await _answered(long.route, question)
                except NotAnswered as error:
                    answer = long.said(error.answer)
                await _told(out, answer)
                watch.cancel()
        except* (_Gone, OSError, TimeoutError, h11.LocalProtocolError):
            pass
        finally:
            self._long -= 1
            self._clients += 1

    async def _heard(self, connection: "h11.Connection", reader: asyncio.StreamReader) -> Asked:
        """Read one request whole; who may not ask is stopped at its head.

        Raises:
            NotAnswered: It ends too soon, is too long, or nobody is to be answered.
            RemoteProtocolError: It is no HTTP.
        """
        head: Asked | None = None
        body = bytearray()
        most_bytes = self._most_body_bytes
        said: Callable[[Answer], Answer] | None = None
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(MAX_REQUEST_BYTES))
                elif isinstance(event, h11.Request):
                    head = _head(event)
                    route = self._routes.get(head.path, {}).get(head.method)
                    if isinstance(route, Long):
                        most_bytes, said = route.most_body_bytes, route.said
                    self._guard(head)
                elif isinstance(event, h11.Data) and head is not None:
                    body += event.data
                    if len(body) > most_bytes:
                        _refuse(413, "too_large", "the body is too long")
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    return replace(head, body=bytes(body))
                else:
                    _refuse(400, "bad_request", "that was no whole request")
        except NotAnswered as error:
            error.answer = said(error.answer) if said is not None else error.answer
            raise


class _Gone(Exception):
    """The client has hung up."""


def _refuse(status: int, code: str, words: str) -> NoReturn:
    raise NotAnswered(status, code, words)


def _head(event: "h11.Request") -> Asked:
    headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
    return asked(event.method.decode(), event.target.decode("latin-1"), headers, b"")


async def _answered(route: Route, question: Asked) -> Answer:
    found = route(question)
    return await found if isinstance(found, Awaitable) else found


async def _leaves(reader: asyncio.StreamReader) -> NoReturn:
    """Wait until the client hangs up, or says more than it was asked.

    Raises:
        _Gone: Always.
    """
    more_bytes = 0
    while (said := await reader.read(MAX_REQUEST_BYTES)) and more_bytes < MAX_REQUEST_BYTES:
        more_bytes += len(said)
    raise _Gone


class _Out:
    """The way back to one client."""

    def __init__(self, connection: "h11.Connection", writer: asyncio.StreamWriter) -> None:
        self._connection = connection
        self._writer = writer
        self.patience_s = PATIENCE_S

    async def say(self, *events: "h11.Response | h11.Data | h11.EndOfMessage") -> None:
        """Send, and wait until there is room."""
        self._writer.write(b"".join(self._connection.send(event) or b"" for event in events))
        async with asyncio.timeout(self.patience_s):
            await self._writer.drain()

    async def close(self, talks: asyncio.StreamReader | None) -> None:
        """Hang up once all is said; who still ``talks`` would lose an answer to a reset."""
        if talks is not None:
            self._writer.write_eof()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while await talks.read(MAX_REQUEST_BYTES):
                        pass
        self._writer.close()
        async with asyncio.timeout(PATIENCE_S):
            await self._writer.wait_closed()


async def _told(out: _Out, answer: Answer, talks: asyncio.StreamReader | None = None) -> None:
    headers = [
        ("Content-Type", answer.kind),
        ("Cache-Control", "no-store"),
        ("Connection", "close"),
        *answer.headers.items(),
    ]
    pieces = answer.pieces
    if pieces is None:
        content = answer.encoded()
        headers.append(("Content-Length", str(len(content))))
        head = h11.Response(status_code=answer.status, headers=headers)
        await out.say(head, h11.Data(data=content), h11.EndOfMessage())
    else:
        # whoever makes the pieces has to hear of it when nobody reads them any more
        async with aclosing(cast("AsyncGenerator[bytes]", pieces)) as coming:
            await out.say(h11.Response(status_code=answer.status, headers=headers))
            async for piece in coming:
                await out.say(h11.Data(data=piece))
        await out.say(h11.EndOfMessage())
    await out.close(talks)


@contextmanager
def control_socket(path: Path) -> Generator[socket.socket]:
    """A socket of mode 0600 at ``path``, in place of whatever a dead process left there.

    It is there while the block runs, and gone afterwards.

    Args:
        path: Of the socket; its folder is made, and nobody else may write to it.

    Raises:
        StateUnusable: The socket cannot be made.
    """
    own_dir(path.parent)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        bound.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        bound.close()
        raise StateUnusable(path=str(path), reason=error.strerror or str(error)) from error
    try:
        yield bound
    finally:
        bound.close()
        path.unlink(missing_ok=True)
