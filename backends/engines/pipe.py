"""A child's end of the line to its engine: frames in and out of one socket, with no thread.

What cannot be sent at once is kept, and its length told: a child with a backlog stops
decoding, so a reader's pace reaches the model. It still hears what the engine says.
"""

import os
import select
import socket
import time
from collections.abc import Callable

from .frames import FROM_CHILD_BYTES, TO_CHILD_BYTES, Decoder, encode, to_child
from .messages import FromChild, ToChild

_READ_BYTES = 2**16
_KERNEL_BYTES = 2**16
"""Small, so that a reader who stopped is felt after some thousand tokens."""


class Pipe:
    """One socket, never waited on but in :meth:`exchange`.

    Attributes:
        is_closed: The engine is gone; nothing will be heard or read any more.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.settimeout(0)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
        self._decoder = Decoder[ToChild](to_child, limit_bytes=TO_CHILD_BYTES)
        self._backlog = bytearray()
        self.is_closed = False

    @classmethod
    def inherited(cls, descriptor: int) -> "Pipe":
        """The pipe over a socket that this process was started with."""
        # the copy has the lowest free number, which select needs, and is not passed on
        low = os.dup(descriptor)
        os.close(descriptor)
        return cls(socket.socket(fileno=low))

    @property
    def backlog_bytes(self) -> int:
        """What was said and not yet taken."""
        return len(self._backlog)

    def say(self, *messages: FromChild) -> None:
        """Send as much as can be sent without waiting; keep the rest."""
        for message in messages:
            self._backlog += encode(message, limit_bytes=FROM_CHILD_BYTES)
        self._flush()

    def exchange(self, wait_s: float) -> list[ToChild]:
        """Send what waits, hear what came; return at once if anything could be done.

        Args:
            wait_s: Most seconds to wait for either; 0 looks and goes on.

        Raises:
            FrameBroken: The engine said something that is no message.
        """
        if self.is_closed:
            return []
        writing = [self._line] if self._backlog else []
        readable, writable, _ = select.select([self._line], writing, [], wait_s)
        if writable:
            self._flush()
        return self._hear() if readable else []

    def drain(self, wait_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait until everything is sent, ``wait_s`` seconds at most; then close."""
        until_s = clock() + wait_s
        while self._backlog and not self.is_closed and clock() < until_s:
            select.select([], [self._line], [], max(0.0, until_s - clock()))
            self._flush()
        self._line.close()
        self.is_closed = True

    def _hear(self) -> list[ToChild]:
        heard: list[ToChild] = []
        while True:
            try:
                data = self._line.recv(_READ_BYTES)
            except BlockingIOError:
                return heard
            except OSError:
                data = b""
            if not data:
                self.is_closed = True
                return heard
            heard += self._decoder.feed(data)

    def _flush(self) -> None:
        try:
            while self._backlog:
                sent = self._line.send(self._backlog)
                del self._backlog[:sent]
        except BlockingIOError:
            return
        except OSError:
            self.is_closed = True
            self._backlog.clear()
