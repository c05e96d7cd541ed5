"""The WebSocket, and nothing but.

One line at a time, each under the number it was dialled with. No compression (what we send is
ciphertext), no proxy by accident, no redirect (a token goes where the operator said, and
nowhere else), certificates always checked. It decodes what it hears and hands it on; it
reads on while the node is busy, up to a bound, and then lets the socket wait.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from ...config.errors import AuthRejected, LinkError, LinkLost, LinkRefused
from ...config.frozen import frozen
from ...config.settings import Coordinator
from ..core.events import Event, Heard, LinkClosed, LinkOpened
from ..wire.codec import MAX_IN_BYTES, encode
from ..wire.outbound import InferenceAccepted, InferenceComplete, InferenceError, Outbound
from ..wire.reader import Reader
from .incoming import Incoming
from .lanes import Lanes
from .writer import Writer

_IN_REQUEST_ORDER = (InferenceAccepted, InferenceComplete, InferenceError)
"""Messages that must not overtake, or be overtaken by, a chunk."""

_TRY_LATER = frozenset({429, 502, 503, 504})
"""HTTP answers of a coordinator that is overloaded or restarts."""

_NOT_WANTED = frozenset({401, 403})

GOODBYE_S = 5.0
"""How long a polite end may take, from the wish to the answered close."""

AT_ONCE = 64
"""So many messages are read one after the other; then others have their turn."""

_GONE = 1006
_LATER = 1013
_REFUSED = 1008


@dataclass(slots=True)
class _Call:
    """One line, from its dial to its end.

    Attributes:
        ended: How it ended; written once, by whoever ends it.
    """

    line: int
    lanes: Lanes = field(default_factory=Lanes)
    reader: Reader = field(default_factory=Reader)
    is_open: bool = False
    ended: tuple[int, LinkError] = (_GONE, LinkLost(close_code=_GONE, reason="given up"))
    task: asyncio.Task[None] | None = None


@frozen
class Traffic:
    """What goes over the lines, for whoever measures.

    Attributes:
        ack_age_s: Since the coordinator last answered a ping; ``None`` if it never did.
        outbox: Frames that wait to be sent; ``None`` without a line.
        chunks: Pieces of answers that were queued, on all lines so far.
    """

    ack_age_s: float | None = None
    outbox: int | None = None
    chunks: int = 0


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
        hear: The same for what the coordinator says, but waits while the inbox is full.
        tasks: Parent of the line's tasks.
    """

    def __init__(
        self,
        settings: Coordinator,
        *,
        tell: Callable[[Event], None],
        hear: Callable[[Sequence[Heard]], Awaitable[None]],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._hear = hear
        self._tasks = tasks
        self._call: _Call | None = None
        self._acked_s: float | None = None
        self._standing: list[Lanes] = []
        self._chunks = 0

    @property
    def traffic(self) -> Traffic:
        """What goes over the lines."""
        age_s = None if self._acked_s is None else time.monotonic() - self._acked_s
        outbox = None if self._call is None else len(self._call.lanes)
        return Traffic(age_s, outbox, self._chunks + sum(each.chunks for each in self._standing))

    def resettle(self, settings: Coordinator) -> None:
        """Dial by these settings from the next line on."""
        self._settings = settings

    def dial(self, line: int) -> None:
        """Open a line under this number; one that still stands is dropped.

        A line that was hung up politely goes on saying goodbye beside the new one.
        """
        if self._call is not None:
            self.hang_up(self._call.line, is_polite=False)
        call = self._call = _Call(line)
        self._standing.append(call.lanes)
        call.task = self._tasks.create_task(self._hold(call), name=f"line {line}")
        # told by the task's own end: one that is cancelled before its first step tells it too
        call.task.add_done_callback(lambda _: self._over(call))

    def hang_up(self, line: int, *, is_polite: bool) -> None:
        """Close the line: after its last frame and with a goodbye, or at once."""
        call = self._call
        if call is None or call.line != line or call.task is None:
            return
        self._call = None
        call.lanes.shut(drop=not is_polite)
        if is_polite and call.is_open:
            asyncio.get_running_loop().call_later(GOODBYE_S, call.task.cancel)
        else:
            call.task.cancel()

    def send(self, line: int, message: Outbound) -> None:
        """Queue a message; nothing happens if that line is gone."""
        if self._call is not None and self._call.line == line:
            after_chunks = isinstance(message, _IN_REQUEST_ORDER)
            self._call.lanes.put(encode(message).encode(), after_chunks=after_chunks)

    def lanes(self, line: int) -> Lanes:
        """Where the chunks go of what was asked for on this line; shut if it is gone."""
        if self._call is not None and self._call.line == line:
            return self._call.lanes
        gone = Lanes()
        gone.shut()
        return gone

    def _over(self, call: _Call) -> None:
        call.lanes.shut(drop=True)
        self._standing.remove(call.lanes)
        self._chunks += call.lanes.chunks
        self._tell(LinkClosed(call.line, *call.ended))

    async def _hold(self, call: _Call) -> None:
        """Dial, read and write until the line ends."""
        try:
            connection = await dialled(self._settings)
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, UnicodeError) as failed:
            call.ended = refusal(failed, self._settings.socket_url)
            return
        call.is_open = True
        self._tell(LinkOpened(call.line))
        try:
            await self._talk(call, connection)
        finally:
            # whoever is cancelled, or whose peer is dead, has no time for a goodbye
            connection.transport.abort()
        call.ended = _ending(connection)

    async def _talk(self, call: _Call, connection: Incoming) -> None:
        """Read, write and watch side by side until the reading ends."""
        async with asyncio.TaskGroup() as sides:
            beside = (Writer(call.lanes, connection).run(), self._watch(connection))
            others = [sides.create_task(side, name=f"line {call.line}") for side in beside]
            await self._read(call, connection)
            for other in others:
                other.cancel()

    async def _read(self, call: _Call, connection: Incoming) -> None:
        line, read = call.line, call.reader.read
        try:
            in_turn = 0
            while True:
                # undecoded: bytes that are no UTF-8 are a bad message, not the end of the line
                frames = await connection.several(AT_ONCE - in_turn)
                unix_s = time.time()
                await self._hear([Heard(line, read(frame), unix_s) for frame in frames])
                await call.lanes.calm()
                in_turn += len(frames)
                if in_turn == AT_ONCE:
                    in_turn = 0
                    await asyncio.sleep(0)  # what has come already is read without a wait
        except ConnectionClosed:
            return

    async def _watch(self, connection: ClientConnection) -> None:
        """Ping, and drop the line over a missing pong.

        The library's own keepalive waits for room in the socket before it starts to count, so
        it never notices a peer that died while it was being sent to.
        """
        settings = self._settings
        while True:
            await asyncio.sleep(settings.ping_interval_s)
            try:
                async with asyncio.timeout(settings.pong_timeout_s):
                    await (await connection.ping())
                self._acked_s = time.monotonic()
            except TimeoutError:
                connection.transport.abort()
                return
            except ConnectionClosed:
                return


async def dialled(settings: Coordinator) -> Incoming:
    """Dial; nothing is said on the line yet, the token least of all.

    Args:
        settings: Where, how patiently, and whom to trust.

    Raises:
        OSError: Nobody answers there, or the certificates do not hold.
        TimeoutError: Not in time.
        InvalidHandshake: Whoever answers is no coordinator, or wants no line.
        InvalidURI: It sends us somewhere that is no address.
        UnicodeError: The host's name cannot be one.
    """
    line = await _Connect(
        settings.socket_url,
        ssl=trust(settings.ca_file) if settings.is_encrypted else None,
        max_size=MAX_IN_BYTES,
        compression=None,
        proxy=None,
        open_timeout=settings.dial_timeout_s,
        ping_interval=None,
        close_timeout=GOODBYE_S,
        user_agent_header="poolhand",
        create_connection=Incoming,
    )
    return cast("Incoming", line)  # the library says less than it was told


def refusal(failed: Exception, url: str) -> tuple[int, LinkError]:
    """What a dial that failed means: a close code, and the failure under its own code."""
    if isinstance(failed, InvalidStatus):
        status = failed.response.status_code
        if status in _NOT_WANTED:
            return _REFUSED, AuthRejected(reason=f"HTTP {status}")
        close_code = _LATER if status in _TRY_LATER else _GONE
        return close_code, LinkRefused(url=url, reason=f"it answered HTTP {status}")
    # the system's own words, without their number
    words = getattr(failed, "strerror", None) or str(failed) or type(failed).__name__
    return _GONE, LinkRefused(url=url, reason=words)


def _ending(connection: ClientConnection) -> tuple[int, LinkError]:
    """How a line that stood has ended."""
    protocol = connection.protocol
    close_code, reason = int(protocol.close_code or _GONE), protocol.close_reason or ""
    if close_code == _REFUSED:
        return close_code, AuthRejected(reason=reason or "no reason given")
    return close_code, LinkLost(close_code=close_code, reason=reason)


def trust(ca_file: str | None) -> ssl.SSLContext:
    """Whose certificates the line believes.

    Args:
        ca_file: PEM file of authorities instead of the system's.

    Raises:
        OSError: The file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        # its own words name no file, and would read as if the coordinator were missing
        reason = f"coordinator.ca_file {ca_file} cannot be used: {error.strerror or error}"
        raise OSError(reason) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
