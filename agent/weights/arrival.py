"""Where one chunk has got to, and whether it takes too long."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from .pace import laggards
from .parts import write_all
from .plan import Chunk, Grid

_MOST_PATIENCE = 16
DRIP_RATIO = 0.6
"""After so much of the stall time-out, with hardly a byte, the rest is asked for elsewhere: whoever
waits for all of it would lose 20 s to one silent line."""

_DRIP_BYTES = 32 * 1024
"""A connection that brings less in that time stands still, too."""


class Ground(Protocol):
    """Where chunks arrive; its methods may be called from any thread."""

    @property
    def grid(self) -> Grid:
        """How files are cut."""
        ...

    def open(self, file: int) -> int:
        """The open file that a chunk is written to."""
        ...

    def size_bytes(self, file: int) -> int:
        """Length of one file."""
        ...

    def arrived(self, file: int, block: int) -> None:
        """A block was written."""
        ...

    def came(self, file: int, view: memoryview, offset: int, since: int) -> None:
        """These bytes were written, as were all from ``since`` on: nobody writes there again."""
        ...

    def wrote(self, count: int) -> None:
        """So many bytes were; may rest, and may raise to end the read."""
        ...


class Arrival:
    """One chunk on its way; its :meth:`write` is the reader's sink.

    Args:
        ground: Where it arrives.
        chunk: What is to come.
        interrupt: Ends the read that runs for it.
        holds: Whether a whole file that comes in one piece is held, and not written.

    Attributes:
        held: That file, in the buffer that it came in.
        start: Where it begins in its file.
        at: Where the next byte goes.
        asked_bytes: All of it.
    """

    def __init__(
        self,
        ground: Ground,
        chunk: Chunk,
        interrupt: Callable[[], None],
        *,
        holds: bool = False,
    ) -> None:
        self._ground = ground
        self._file = chunk.file
        self._most_held_bytes = ground.size_bytes(chunk.file) if holds else 0
        self.held: memoryview | None = None
        self._block = chunk.start // ground.grid.block_bytes
        self._interrupt = interrupt
        self._is_hurried = False
        self._patience = 1
        self._begun_s = self._origin_s = time.monotonic()
        self._seen: tuple[float, int] | None = None
        self._rested_s = 0.0
        self._rests_since_s: float | None = None
        self.start = self.at = chunk.start
        self.asked_bytes = chunk.stop - chunk.start

    def took(self, now_s: float) -> tuple[float, int]:
        """Seconds from its first request on, and its bytes."""
        return now_s - self._begun_s, self.asked_bytes

    def so_far(self, now_s: float) -> tuple[float, int]:
        """Seconds since its last connection was begun, and its bytes times the patience."""
        return now_s - self._origin_s, self.asked_bytes * self._patience

    def hurry(self, now_s: float, *, is_free: bool = True) -> None:
        """End the connection: the rest comes over another, with twice the patience.

        Args:
            now_s: Of the monotonic clock.
            is_free: Whether it costs no try, for it was only slower than others.
        """
        self._patience *= 2
        self._origin_s = now_s
        self._seen = None
        self._is_hurried = is_free
        self._interrupt()

    def was_hurried(self) -> bool:
        """Whether the last read was ended by :meth:`hurry`, which costs no try at first."""
        was, self._is_hurried = self._is_hurried, False
        return was and self._patience <= _MOST_PATIENCE

    def is_dripping(self, now_s: float, window_s: float) -> bool:
        """Whether hardly a byte came over a whole window; the rests that we took do not count."""
        since_s = self._rests_since_s
        awake_s = (now_s if since_s is None else since_s) - self._rested_s
        if self._seen is None or self.at - self._seen[1] >= _DRIP_BYTES:
            self._seen = (awake_s, self.at)
        return awake_s - self._seen[0] > window_s

    def write(self, view: memoryview, offset: int) -> None:
        """Write bytes to their place and claim each block that they complete."""
        if len(view) == self._most_held_bytes:
            self.held, self.at = view, len(view)
        else:
            self._put(view, offset)
        self._rests_since_s = begun_s = time.monotonic()
        self._ground.wrote(len(view))
        self._rested_s += time.monotonic() - begun_s
        self._rests_since_s = None

    def _put(self, view: memoryview, offset: int) -> None:
        write_all(self._ground.open(self._file), view, offset)
        self.at = offset + len(view)
        self._ground.came(self._file, view, offset, self.start)
        size_bytes = self._ground.size_bytes(self._file)
        while (
            self.at
            >= (span := self._ground.grid.block_span(self._block, size_bytes=size_bytes)).stop
        ):
            if not span:
                break
            self._ground.arrived(self._file, self._block)
            self._block += 1


def hurry(
    running: Mapping[int, Arrival],
    finished: Sequence[tuple[float, int]],
    now_s: float,
    *,
    stall_timeout_s: float,
) -> None:
    """End the reads that take far longer than others did, or bring hardly a byte.

    Args:
        running: Those under way.
        finished: Seconds and bytes of the last ones that ended well; none: hold it to no others.
        now_s: Of the monotonic clock.
        stall_timeout_s: Without one byte, a connection would be given up after so long.
    """
    so_far = {key: arrival.so_far(now_s) for key, arrival in running.items()}
    slow = set(laggards(so_far, finished))
    for key, arrival in running.items():
        if key in slow or arrival.is_dripping(now_s, DRIP_RATIO * stall_timeout_s):
            arrival.hurry(now_s, is_free=key in slow)
