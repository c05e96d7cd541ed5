"""A file's sha256, taken behind the bytes that arrive.

Blocks arrive in any order; sha256 needs them in file order. What comes next is digested out of
the buffer that it was written from; whoever completes the block at the frontier reads on from
there, out of the page cache, until the next gap. So the digest is over what was written, costs
no memory beyond the caller's buffer, and on resume works the same as at first. Without a
frontier: :func:`sha256_of`.

On its way it takes *marks*: the digest of all bytes so far, every 16 MiB. They cost next to
nothing, for the digest is at hand, and tell later which piece of a damaged file is the first
bad one. A digest that is given the marks of an earlier time stops there, has that piece
fetched again, and goes on behind it.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .told import Both, both

if TYPE_CHECKING:
    from .told import Digest

MARK_BYTES = 16 * 2**20
"""From one mark to the next."""


class Interrupted(Exception):  # not a failure: somebody asked to stop
    """Work ended early because somebody asked for it."""


class PieceBad(Exception):  # not a failure yet: it is fetched again
    """A piece of the file is not what it was.

    Attributes:
        blocks: Those that are not believed any more.
    """

    def __init__(self, blocks: range) -> None:
        self.blocks = blocks
        super().__init__()


class FrontierDigest:
    """The digest of one file whose blocks arrive in any order; safe for many threads.

    Args:
        fd: The file, open for reading; owned by the caller.
        size_bytes: Its length when complete.
        block_bytes: Unit of arrival.
        have: Blocks that are on the disk already, one byte each; taken over.
        expected: The marks that an earlier digest took; empty if there was none.
        mark_bytes: From one mark to the next.
        told: What the store tells of the file; if given, it is found out beside the sha256.

    Attributes:
        read_bytes: Digested by reading them back, not out of the memory that they came in.
        read_cpu_s: Seconds of processor time that this took.
    """

    def __init__(
        self,
        fd: int,
        *,
        size_bytes: int,
        block_bytes: int,
        have: bytearray,
        expected: Sequence[str] = (),
        mark_bytes: int = MARK_BYTES,
        told: str | None = None,
    ) -> None:
        self._fd = fd
        self._size_bytes = size_bytes
        self._block_bytes = block_bytes
        self._have = have
        self._sha256 = _begin(told, size_bytes)
        self._at = self.read_bytes = 0
        self.read_cpu_s = 0.0
        self._marks: list[str] = []
        self._expected = tuple(expected)
        # who expects nothing never goes back to it
        self._marked = self._sha256.copy() if expected else self._sha256
        self._mark_bytes = mark_bytes
        self._refetched = -1
        self._is_busy = False
        self._lock = threading.Lock()

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks taken so far, the last of a whole file its digest; none of a small file."""
        return tuple(self._marks) if self._size_bytes > self._mark_bytes else ()

    @property
    def at(self) -> int:
        """How many bytes are digested."""
        return self._at

    @property
    def told(self) -> str | None:
        """What the bytes so far are in the terms of the store; ``None`` if nobody asked."""
        taken = self._sha256
        return taken.told() if isinstance(taken, Both) else None

    def arrived(self, block: int) -> None:
        """Say that a block's bytes are written."""
        with self._lock:
            self._have[block] = 1

    def take(self, piece: memoryview, at: int, since: int) -> None:
        """Digest what was just written, if it comes next: then nobody has to read it back.

        Args:
            piece: What lies in the file from ``at`` on, and is never written again.
            at: Its place in the file.
            since: All from here on is written, too; what little of it is still to be digested is.
        """
        with self._lock:
            is_next = since <= self._at <= at <= self._at + self._block_bytes
            if self._is_busy or not is_next or self._expected:
                return
            self._is_busy = True
        if self._at < at:
            self._digest(memoryview(os.pread(self._fd, at - self._at, self._at)))
        if self._at == at:
            self._digest(piece)
        with self._lock:
            self._is_busy = False

    def whole(self, view: memoryview) -> str:
        """Digest the whole file at once, out of the memory that it came in.

        Returns:
            Lower-case hex; :meth:`advance` gives it to nobody.
        """
        self._is_busy = True
        self._have[:] = b"\x01" * len(self._have)
        self._digest(view)
        return self._sha256.hexdigest()

    def _digest(self, piece: memoryview) -> None:
        done = 0
        while done < len(piece):
            part = piece[done : done + self._mark_bytes - self._at % self._mark_bytes]
            self._sha256.update(part)
            done += len(part)
            self._went(len(part))

    def advance(self, buffer: memoryview, *, is_stopped: Callable[[], bool]) -> str | None:
        """Digest as far as the bytes reach, unless another thread is at it.

        Args:
            buffer: Where pieces are read into.
            is_stopped: Asked after every piece.

        Returns:
            Lower-case hex, to exactly one caller: the one that digested the last byte.

        Raises:
            Interrupted: ``is_stopped`` said so; the digest is of no more use.
            EOFError: The file is shorter than its blocks.
            PieceBad: A mark is not the expected one; its blocks have to arrive again.
        """
        with self._lock:
            if self._is_busy:
                return None
            self._is_busy = True
        while True:
            with self._lock:
                stop = self._frontier()
                if stop <= self._at:
                    # a finished digest stays busy: its value is given out once, and not before
                    # whoever wrote some of the bytes has claimed them
                    self._is_busy = self._at == self._size_bytes and 0 not in self._have
                    return self._sha256.hexdigest() if self._is_busy else None
            self._read_to(stop, buffer, is_stopped)

    def _frontier(self) -> int:
        gap = self._have.find(0, self._at // self._block_bytes)
        return self._size_bytes if gap < 0 else gap * self._block_bytes

    def _read_to(self, stop: int, buffer: memoryview, is_stopped: Callable[[], bool]) -> None:
        while self._at < stop:
            # twice for each mark: the clock of a thread costs more than what it says is worth
            begun_s, begun = time.thread_time(), self._at
            to_mark = self._mark_bytes - begun % self._mark_bytes
            self._read_on(min(stop, begun + to_mark), buffer, is_stopped)
            self.read_bytes += self._at - begun
            self.read_cpu_s += time.thread_time() - begun_s

    def _read_on(self, stop: int, buffer: memoryview, is_stopped: Callable[[], bool]) -> None:
        while self._at < stop:
            if is_stopped():
                raise Interrupted
            piece = buffer[: min(len(buffer), stop - self._at)]
            count = os.preadv(self._fd, [piece], self._at)
            if count == 0:
                raise EOFError
            self._sha256.update(piece[:count])
            self._went(count)

    def _went(self, count: int) -> None:
        self._at += count
        is_due = self._at % self._mark_bytes == 0 or self._at == self._size_bytes
        if is_due and (self._size_bytes > self._mark_bytes or self._expected):
            self._mark()

    def _mark(self) -> None:
        """Take a mark; if it is not the expected one, go back to the one before."""
        number = len(self._marks)
        mark = self._sha256.copy().hexdigest()
        if number < len(self._expected) and self._expected[number] != mark:
            if number != self._refetched:
                self._refetched = number
                raise self._back(number)
            self._expected = ()  # fetched anew it is the same: the marks are of another file
        self._marks.append(mark)
        self._marked = self._sha256.copy()

    def _back(self, number: int) -> PieceBad:
        start = number * self._mark_bytes
        blocks = range(start // self._block_bytes, -(-self._at // self._block_bytes))
        with self._lock:
            self._sha256, self._at = self._marked.copy(), start
            for block in blocks:
                self._have[block] = 0
            self._is_busy = False
        return PieceBad(blocks)


def _begin(told: str | None, size_bytes: int) -> "Digest":
    return hashlib.sha256() if told is None else both(told, size_bytes=size_bytes)


def told_of(path: Path, told: str, buffer: memoryview) -> str:
    """What a whole file is, in the terms of what is told of it.

    Raises:
        OSError: The file cannot be read.
    """
    taken = both(told, size_bytes=path.stat().st_size)
    _take_whole(path, taken, buffer)
    return taken.told()


def sha256_of(
    path: Path,
    buffer: memoryview,
    *,
    is_stopped: Callable[[], bool],
    told: Callable[[int], None] = lambda _: None,
) -> str:
    """Digest a whole file.

    Args:
        path: The file.
        buffer: Where pieces are read into.
        is_stopped: Asked after every piece.
        told: Hears how long each was.

    Returns:
        Lower-case hex.

    Raises:
        Interrupted: ``is_stopped`` said so.
        OSError: The file cannot be read.
    """
    sha256 = hashlib.sha256()
    _take_whole(path, sha256, buffer, is_stopped=is_stopped, told=told)
    return sha256.hexdigest()


def _take_whole(
    path: Path,
    taken: "Digest",
    buffer: memoryview,
    *,
    is_stopped: Callable[[], bool] = lambda: False,
    told: Callable[[int], None] = lambda _: None,
) -> None:
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            if is_stopped():
                raise Interrupted
            taken.update(buffer[:count])
            told(count)
