"""Where one chunk has got to, and whether it takes too long."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from .pace import laggards
from .plan import Chunk, Grid
from .ranges import Hiccup

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

    def put(self, file: int, view: memoryview, offset: int) -> None:
        """Write bytes to their place in a file."""
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
        stop: Where it ends: see :meth:`cut`.
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
        self._is_hurried = self._is_given_up = False
        self._patience = 1
        self._begun_s = self._origin_s = time.monotonic()
        self._seen: tuple[float, int] | None = None
        self._rested_s = 0.0
        self._rests_since_s: float | None = None
        self.start = self.at = self._taken = chunk.start
        self.stop = chunk.stop
        self._is_cut = False
        self._cutting = threading.Lock()

    @property
    def asked_bytes(self) -> int:
        """All of it."""
        return self.stop - self.start

    def cut(self, stop: int) -> Chunk | None:
        """Let it end earlier: its read ends there, with a hiccup that costs nothing.

        Args:
            stop: Where; between two blocks.

        Returns:
            The rest, for others to bring; ``None`` if it got there already, or ends there anyway,
            or is a whole file: a store that was never asked for a range may not know them.
        """
        is_whole = self.start == 0 and self.stop == self._ground.size_bytes(self._file)
        with self._cutting:
            if is_whole or not self._taken < stop < self.stop:
                return None
            rest = Chunk(self._file, stop, self.stop)
            self.stop, self._is_cut = stop, True
            return rest

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
        self._is_hurried, self._is_given_up = is_free, not is_free
        self._interrupt()

    def explained(self, hiccup: Hiccup) -> Hiccup:
        """Why the last read ended: its reader cannot know that we ended it."""
        was, self._is_given_up = self._is_given_up, False
        return Hiccup(reason="sends hardly a byte any more") if was else hiccup

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
        with self._cutting:
            view = view[: self.stop - offset]
            self._taken = offset + len(view)
        if len(view) == self._most_held_bytes:
            self.held, self.at = view, len(view)
        else:
            self._put(view, offset)
        self._rests_since_s = begun_s = time.monotonic()
        self._ground.wrote(len(view))
        self._rested_s += time.monotonic() - begun_s
        self._rests_since_s = None
        if self._is_cut and self.at == self.stop:
            raise Hiccup(reason="others bring the rest", is_free=True)

    def _put(self, view: memoryview, offset: int) -> None:
        self._ground.put(self._file, view, offset)
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
