"""A file's sha256, taken behind the bytes that arrive.

Blocks arrive in any order; sha256 needs them in file order. Whoever completes the block at
the frontier reads on from there, out of the page cache, until the next gap. So the digest
is over what lies on the disk, costs no memory beyond the caller's buffer, and on resume
works the same as at first. Without a frontier: :func:`sha256_of`.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path


class Interrupted(Exception):  # not a failure: somebody asked to stop
    """Work ended early because somebody asked for it."""


class FrontierDigest:
    """The digest of one file whose blocks arrive in any order; safe for many threads.

    Args:
        fd: The file, open for reading; owned by the caller.
        size_bytes: Its length when complete.
        block_bytes: Unit of arrival.
        have: Blocks that are on the disk already, one byte each; taken over.
    """

    def __init__(self, fd: int, *, size_bytes: int, block_bytes: int, have: bytearray) -> None:
        self._fd = fd
        self._size_bytes = size_bytes
        self._block_bytes = block_bytes
        self._have = have
        self._sha256 = hashlib.sha256()
        self._at = 0
        self._is_busy = False
        self._lock = threading.Lock()

    def arrived(self, block: int) -> None:
        """Say that a block's bytes are written."""
        with self._lock:
            self._have[block] = 1

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
        """
        with self._lock:
            if self._is_busy:
                return None
            self._is_busy = True
        while True:
            with self._lock:
                stop = self._frontier()
                if stop == self._at:
                    # a finished digest stays busy: its value is given out once
                    self._is_busy = stop == self._size_bytes
                    return self._sha256.hexdigest() if self._is_busy else None
            self._read_to(stop, buffer, is_stopped)

    def _frontier(self) -> int:
        gap = self._have.find(0, self._at // self._block_bytes)
        return self._size_bytes if gap < 0 else gap * self._block_bytes

    def _read_to(self, stop: int, buffer: memoryview, is_stopped: Callable[[], bool]) -> None:
        while self._at < stop:
            if is_stopped():
                raise Interrupted
            piece = buffer[: min(len(buffer), stop - self._at)]
            count = os.preadv(self._fd, [piece], self._at)
            if count == 0:
                raise EOFError
            self._sha256.update(piece[:count])
            self._at += count


def sha256_of(path: Path, buffer: memoryview, *, is_stopped: Callable[[], bool]) -> str:
    """Digest a whole file.

    Returns:
        Lower-case hex.

    Raises:
        Interrupted: ``is_stopped`` said so.
        OSError: The file cannot be read.
    """
    sha256 = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            if is_stopped():
                raise Interrupted
            sha256.update(buffer[:count])
    return sha256.hexdigest()
