"""The WebSocket, and nothing but.

One line at a time, each under the number it was dialled with. No compression (what we send is
ciphertext), no proxy by accident, no redirect (a token goes where the operator said, and
nowhere else), certificates always checked. It decodes what it hears and hands it on; it
reads on while the node is busy, up to a bound, and then lets the socket wait.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from ...config.errors import AuthRejected, LinkError, LinkLost, LinkRefused
from ...config.settings import Coordinator
from ..core.events import Event, Heard, LinkClosed, LinkOpened
from ..wire.codec import MAX_IN_BYTES, decode, encode
from ..wire.outbound import InferenceAccepted, InferenceComplete, InferenceError, Outbound
from .lanes import Lanes

_IN_REQUEST_ORDER = (InferenceAccepted, InferenceComplete, InferenceError)
"""Messages that must not overtake, or be overtaken by, a chunk."""

_TRY_LATER = frozenset({429, 502, 503, 504})
"""HTTP answers of a coordinator that is overloaded or restarts."""

_NOT_WANTED = frozenset({401, 403})

GOODBYE_S = 5.0
"""How long a polite end may take, from the last frame to the answered close."""

_GONE = 1006
_LATER = 1013
_REFUSED = 1008


class _Connect(connect):
    """A dial that goes where it was told, and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for what it is here: a refusal."""
        return exc


class Link:
    """The line to the coordinator.

    Args:
        settings: Where to dial, and how patiently.
        tell: Puts an event into the inbox.
        hear: The same, but waits while the inbox is full.
        tasks: Parent of the line's tasks.
    """

    def __init__(
        self,
        settings: Coordinator,
        *,
        tell: Callable[[Event], None],
        hear: Callable[[Event], Awaitable[None]],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._hear = hear
        self._tasks = tasks
        self._line = 0
        self._lanes = Lanes()
        self._call: asyncio.Task[None] | None = None

    def dial(self, line: int) -> None:
        """Open a line under this number; one that still stands is dropped."""
        if self._call is not None and self._line != line:
            self.hang_up(self._line, is_polite=False)
        self._line, self._lanes = line, Lanes()
        self._call = self._tasks.create_task(self._hold(line, self._lanes), name=f"line {line}")

    def hang_up(self, line: int, *, is_polite: bool) -> None:
        """Close the line: after its last frame and with a goodbye, or at once."""
        if line != self._line or self._call is None:
            return
        self._lanes.shut(drop=not is_polite)
        if not is_polite:
            self._call.cancel()
            self._call = None

    def send(self, line: int, message: Outbound) -> None:
        """Queue a message; nothing happens if that line is gone."""
        if line == self._line:
            after_chunks = isinstance(message, _IN_REQUEST_ORDER)
            self._lanes.put(encode(message), after_chunks=after_chunks)

    async def send_chunk(self, line: int, frame: str) -> bool:
        """Queue an encoded chunk once there is room.

        Returns:
            ``False`` if that line is gone.
        """
        return line == self._line and await self._lanes.put_chunk(frame)

    async def _hold(self, line: int, lanes: Lanes) -> None:
        """Dial, read and write until the line ends; tell how it ended, whatever happens."""
        close_code, error = _GONE, LinkRefused(url=self._settings.socket_url, reason="gave up")
        ended: tuple[int, LinkError] = (close_code, error)
        try:
            connection = await self._dialled()
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as failed:
            ended = self._refused(failed)
        else:
            self._tell(LinkOpened(line))
            ended = await self._talk(line, lanes, connection)
        finally:
            lanes.shut(drop=True)
            self._tell(LinkClosed(line, *ended))

    async def _dialled(self) -> ClientConnection:
        settings = self._settings
        return await _Connect(
            settings.socket_url,
            ssl=_trust(settings.ca_file) if settings.is_encrypted else None,
            max_size=MAX_IN_BYTES,
            compression=None,
            proxy=None,
            open_timeout=settings.dial_timeout_s,
            ping_interval=settings.ping_interval_s,
            ping_timeout=settings.pong_timeout_s,
            close_timeout=GOODBYE_S,
            user_agent_header="poolhand",
        )

    async def _talk(
        self, line: int, lanes: Lanes, connection: ClientConnection
    ) -> tuple[int, LinkError]:
        """Read and write side by side until one of them ends."""
        try:
            async with asyncio.TaskGroup() as both:
                writer = both.create_task(_write(lanes, connection), name=f"line {line} writer")
                await self._read(line, connection)
                writer.cancel()
        finally:
            # on the way out by cancellation there is no time for a goodbye
            connection.transport.abort()
        protocol = connection.protocol
        close_code = protocol.close_code or _GONE
        reason = protocol.close_reason or ""
        if close_code == _REFUSED:
            return close_code, AuthRejected(reason=reason or "no reason given")
        return close_code, LinkLost(close_code=close_code, reason=reason)

    async def _read(self, line: int, connection: ClientConnection) -> None:
        try:
            while True:
                # undecoded: bytes that are no UTF-8 are a bad message, not the end of the line
                await self._hear(Heard(line, decode(await connection.recv(decode=False))))
        except ConnectionClosed:
            return

    def _refused(self, failed: Exception) -> tuple[int, LinkError]:
        url = self._settings.socket_url
        if isinstance(failed, InvalidStatus):
            status = failed.response.status_code
            if status in _NOT_WANTED:
                return _REFUSED, AuthRejected(reason=f"HTTP {status}")
            close_code = _LATER if status in _TRY_LATER else _GONE
            return close_code, LinkRefused(url=url, reason=f"it answered HTTP {status}")
        words = str(failed) or type(failed).__name__
        return _GONE, LinkRefused(url=url, reason=words)


async def _write(lanes: Lanes, connection: ClientConnection) -> None:
    """Send frames in their order; when the lanes are shut and empty, say goodbye."""
    try:
        while (frame := await lanes.take()) is not None:
            await connection.send(frame)
        async with asyncio.timeout(GOODBYE_S):
            await connection.close(1000)
    except (ConnectionClosed, TimeoutError):
        return
    except AttributeError:
        # websockets on Python 3.11: closing over a transport that was aborted meanwhile
        return


def _trust(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
