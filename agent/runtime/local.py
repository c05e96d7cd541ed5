"""Requests of this machine's own programs: on no line and unsealed, else like all the others.

They are admitted by the same core, run by the same relay and engine, and slowed by whoever
reads them. Their text is here on its way, and is not kept.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Self

from ...backends.engines.base import Endpoint
from ...config.errors import AgentError
from ..core.events import Event, RequestWithdrawn
from ..core.request_key import LOCAL, RequestKey
from .relay import Opened

ROOM_BYTES = 2**16
"""So much of an answer may wait for its reader before the engine does."""


class Call:
    """One request and its answer, line by line; whoever asked closes it, whatever happened.

    Attributes:
        id: The request's id, for logs and for whoever asked.

    Args:
        request: Its key.
        tell: Puts an event into the inbox.
        forget: Called once, when the call is closed.
        count: Called for each line.
    """

    def __init__(
        self,
        request: RequestKey,
        *,
        tell: Callable[[Event], None],
        forget: Callable[[], None],
        count: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = request.id
        self._request = request
        self._tell = tell
        self._forget = forget
        self._count = count
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_over = False
        self._is_closed = False
        self._error: AgentError | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def carry(self, line: bytes) -> bool:
        """Take one line, once there is room; ``False`` if nobody reads any more."""
        while not self._room.is_set():
            await self._room.wait()
        return self.now(line)

    def now(self, line: bytes) -> bool:
        """Take one line, if there is room and somebody reads."""
        if self._is_closed or not self._room.is_set():
            return False
        self._lines.append(line)
        self._count()
        self._waiting_bytes += len(line)
        if self._waiting_bytes >= ROOM_BYTES:
            self._room.clear()
        self._news.set()
        return True

    def end(self, error: AgentError | None) -> None:
        """Nothing more comes; ``error`` says why, if the answer is not whole."""
        self._is_over, self._error = True, error
        self._news.set()

    def __aiter__(self) -> Self:
        """The lines, in order."""
        return self

    async def __anext__(self) -> bytes:
        """The next line.

        Raises:
            AgentError: The request was refused, or its answer broke off.
        """
        while not self._lines:
            if self._is_over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        line = self._lines.popleft()
        self._waiting_bytes -= len(line)
        if self._waiting_bytes < ROOM_BYTES:
            self._room.set()
        return line

    async def aclose(self) -> None:
        """Nobody reads any more: if the answer is under way, it ends."""
        if self._is_closed:
            return
        self._is_closed = True
        self._lines.clear()
        self._room.set()
        self._forget()
        if not self._is_over:
            self._tell(RequestWithdrawn(self._request))


class Local:
    """Every request of this machine's own programs that has not ended.

    Attributes:
        chunks: Pieces of answers so far.

    Args:
        take: Hands a request to whoever keeps opened ones.
        tell: Puts an event into the inbox.
    """

    def __init__(
        self, *, take: Callable[[RequestKey, Opened], None], tell: Callable[[Event], None]
    ) -> None:
        self._take = take
        self._tell = tell
        self.chunks = 0
        self._calls: dict[RequestKey, Call] = {}
        self._fewer = asyncio.Event()

    def ask(self, model: str, endpoint: Endpoint, body: Mapping[str, object]) -> Call:
        """Ask as a coordinator would; the answer comes by the call.

        Args:
            model: A build's id.
            endpoint: Which form the body has.
            body: OpenAI-style.
        """
        word = "chatcmpl" if endpoint == "chat" else "cmpl"
        request = RequestKey(LOCAL, f"{word}-{secrets.token_hex(12)}")
        forget = partial(self._forget, request)
        call = Call(request, tell=self._tell, forget=forget, count=self._counted)
        self._calls[request] = call
        self._take(request, Opened({**body, "model": model}, endpoint, call))
        return call

    def end(self, request: RequestKey, error: AgentError | None) -> None:
        """The core says that a request is over."""
        call = self._calls.get(request)
        if call is not None:
            call.end(error)

    async def settled(self, patience_s: float) -> None:
        """Wait until whoever asked has read to the end, or too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._calls:
                    self._fewer.clear()
                    await self._fewer.wait()

    def _counted(self) -> None:
        self.chunks += 1

    def _forget(self, request: RequestKey) -> None:
        del self._calls[request]
        self._fewer.set()
