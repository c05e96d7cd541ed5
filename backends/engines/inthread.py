"""The same talk as with a child process, with a thread of the agent at the other end.

Text never leaves the process then. The price: what crashes the thread's library crashes the
agent, and a thread that hangs cannot be ended by anybody.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from .child import TAIL_BYTES, Line, Listener
from .leash import places
from .pipe import Pipe

_GOODBYE_S = 2.0

Work = Callable[[Pipe, Callable[[str], None]], int]
"""What the thread does, with its end of the line and a log; an exit status comes out."""


class InThread:
    """A thread, its socket, and the last words of its log; see :class:`~.child.Child`.

    Args:
        work: What it does.
        listener: Told on the event loop.
    """

    pid: int | None = None
    """It has no process of its own."""

    def __init__(self, work: Work, listener: Listener) -> None:
        self._work = work
        self._listener = listener
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._line: asyncio.Transport | None = None
        self._log = ""
        self._open: set[Literal["thread", "line"]] = {"thread", "line"}
        self._gone = asyncio.Event()
        self.exit_code: int | None = None

    @property
    def log_tail(self) -> str:
        """The end of what it noted."""
        return self._log.strip()

    async def start(self) -> None:
        """Start the thread.

        Raises:
            OSError: There is no socket to be had.
        """
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        pipe = Pipe(theirs)
        self._line, _ = await loop.create_unix_connection(lambda: Line(self), sock=ours)
        loop.run_in_executor(self._threads, self._run, pipe).add_done_callback(self._returned)

    def say(self, frame: bytes) -> None:
        """Send a frame; it is lost if the thread has ended."""
        if self._line and not self._line.is_closing():
            self._line.write(frame)

    def listen(self, *, to_more: bool) -> None:
        """Take more bytes from the thread, or leave them to it until its own room is full."""
        if self._line and not self._line.is_closing():
            if to_more:
                self._line.resume_reading()
            else:
                self._line.pause_reading()

    def kill(self) -> None:
        """Hang up, which ends a thread at its next look at the line; there is no other way."""
        if self._line:
            self._line.abort()

    async def stop(self, farewell: Iterable[bytes], *, patience_s: float) -> bool:
        """Ask the thread to leave, then hang up; return when it has left, whenever that is.

        Args:
            farewell: Frames that ask it; empty: it is not asked.
            patience_s: Seconds it may take after it was asked.

        Returns:
            Whether it had to be hung up on.
        """
        if self._line is None:
            return False
        asked = tuple(farewell)
        self.listen(to_more=True)
        for frame in asked:
            self.say(frame)
        try:
            async with asyncio.timeout(patience_s if asked else 0):
                await self._gone.wait()
        except TimeoutError:
            self.kill()
            # its memory is not back before it has left, and nobody shall think so
            await self._gone.wait()
            return True
        except asyncio.CancelledError:
            self.kill()
            raise
        return False

    def took(self, data: bytes) -> None:
        """The socket brought bytes."""
        self._listener.heard(data)

    def ended(self, part: Literal["thread", "line"]) -> None:
        """One part of it has ended; when both have, it is told."""
        self._open.discard(part)
        if not self._open:
            self._gone.set()
            self._listener.gone(self.exit_code)

    def _run(self, pipe: Pipe) -> int:
        try:
            return self._work(pipe, self._note)
        finally:
            pipe.drain(_GOODBYE_S)

    def _note(self, words: str) -> None:
        self._log = (self._log + words)[-TAIL_BYTES:]

    def _returned(self, done: asyncio.Future[int]) -> None:
        error = done.exception()
        if error is not None:
            self._note(places(error))
        self.exit_code = done.result() if error is None else 1
        self._threads.shutdown(wait=False)
        self.listen(to_more=True)
        self.ended("thread")
