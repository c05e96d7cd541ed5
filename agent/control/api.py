"""HTTP on a local socket: the owner's way to look in.

Only ``GET``, only on a Unix socket of mode 0600 in a folder of the owner's own: there is
nothing to authenticate and no port to find. h11 speaks the protocol; this file answers.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h11

from ...config.paths import StateUnusable, own_dir

MAX_REQUEST_BYTES = 2**14
PATIENCE_S = 5.0
"""How long a client may take to ask, and to read."""

MAX_CLIENTS = 32

Route = Callable[[], object]


class Api:
    """Answers on the control socket.

    Args:
        routes: By target, such as ``/v1/status``: what to answer, as plain values for JSON.
    """

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._clients = 0

    async def serve(self, bound: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
        """Answer until cancelled.

        Args:
            bound: From :func:`control_socket`.
            ready: Called once clients can connect.
        """
        async with asyncio.TaskGroup() as clients:

            def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if bound.fileno() < 0:
                    writer.transport.abort()  # it came in while we left
                    return
                task = clients.create_task(self._answer(reader, writer), name="control client")
                # by the task's own end: one that is cancelled before its first step hangs up too
                task.add_done_callback(lambda _: writer.transport.abort())

            server = await asyncio.start_unix_server(meet, sock=bound, limit=MAX_REQUEST_BYTES)
            ready()
            try:
                await server.serve_forever()
            finally:
                server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients >= MAX_CLIENTS:
            writer.close()
            return
        self._clients += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, body = await self._ask(reader)
                writer.write(_response(status, body))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            pass
        finally:
            self._clients -= 1

    async def _ask(self, reader: asyncio.StreamReader) -> tuple[int, object]:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_BYTES)
        try:
            while True:
                event = connection.next_event()
                if isinstance(event, h11.Request):
                    return self._route(event)
                if event is not h11.NEED_DATA:
                    return 400, _problem("bad_request", "that was no whole request")
                connection.receive_data(await reader.read(MAX_REQUEST_BYTES))
        except h11.RemoteProtocolError as error:
            return error.error_status_hint, _problem("bad_request", "that was no HTTP request")

    def _route(self, request: h11.Request) -> tuple[int, object]:
        route = self._routes.get(request.target.decode("latin-1").partition("?")[0])
        if route is None:
            return 404, _problem("not_found", f"known are {', '.join(sorted(self._routes))}")
        if request.method != b"GET":
            return 405, _problem("method_not_allowed", "only GET is answered here")
        return 200, route()


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


def _response(status: int, body: object) -> bytes:
    content = json.dumps(body, allow_nan=False).encode() + b"\n"
    connection = h11.Connection(h11.SERVER)
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(content))),
        ("Cache-Control", "no-store"),
        ("Connection", "close"),
    ]
    head = connection.send(h11.Response(status_code=status, headers=headers))
    return (head or b"") + content


def _problem(code: str, words: str) -> dict[str, str]:
    return {"code": code, "words": words}
