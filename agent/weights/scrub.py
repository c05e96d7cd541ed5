"""Every byte of a build read again and held to its digests: disks forget, quietly.

A fingerprint only tells that nobody wrote; this tells that the bytes are still the same. It
is slow on purpose when it runs beside an engine: a throttle bounds what it takes of the
disk. The first clean reading also takes a digest of every 16 MiB, so that damage found later
costs those pieces to mend and not the file.
"""

import contextlib
import hashlib
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...backends.stores.errors import ModelMissing
from ...config.atomic import write_atomically
from ...config.frozen import frozen
from .cache import Cache
from .digests import Interrupted
from .record import RECORD_NAME, Record, RecordFile
from .verify import fingerprint, place_of, read_record, renewed

PIECE_BYTES = 16 * 2**20
SCRUBBED_NAME = ".scrubbed"
_READ_BYTES = 2**20
_DAY_S = 86400


@frozen
class BadFile:
    """A file that is not what it was.

    Attributes:
        reason: In plain words.
        pieces: Which pieces are bad, or the first of them; empty if nobody can tell.
        piece_bytes: Length of a piece.
    """

    path: str
    reason: str
    pieces: tuple[int, ...] = ()
    piece_bytes: int = PIECE_BYTES


@frozen
class Scrubbed:
    """What a reading found.

    Attributes:
        record: What the files were held to.
        bad: Files that are not what they were.
        read_bytes: How much was read.
    """

    record: Record
    bad: tuple[BadFile, ...]
    read_bytes: int


class Throttle:
    """Bounds a reading's rate by pauses.

    Args:
        bytes_s: Most bytes a second; ``None``: as fast as the disk gives.
        clock: Seconds, only forward.
        pause: Waits so many seconds.
    """

    def __init__(
        self,
        bytes_s: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_s = bytes_s
        self._clock = clock
        self._pause = pause
        self._free_s = clock()

    def took(self, count: int) -> None:
        """Wait until so many bytes may have been read."""
        if self._bytes_s is None:
            return
        now_s = self._clock()
        # time that was not used is not saved up: after a pause no burst follows
        self._free_s = max(self._free_s, now_s) + count / self._bytes_s
        self._pause(self._free_s - now_s)


def scrub(
    folder: Path,
    *,
    model: str,
    throttle: Throttle | None = None,
    told: Callable[[int], None] = lambda _: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Scrubbed:
    """Read a whole build; if it is clean, remember that, and the digests of its pieces.

    Args:
        folder: The folder of the record.
        model: For messages.
        throttle: What bounds the rate.
        told: Hears of bytes read, as they are.
        is_stopped: Asked after every MiB.

    Raises:
        ModelMissing: There is no record.
        Interrupted: ``is_stopped`` said so.
    """
    record = read_record(folder)
    if record is None:
        raise ModelMissing(model=model, reason="nothing verified lies there")
    pieces = record.chunk_bytes or record.mark_bytes or PIECE_BYTES
    reading = _Reading(pieces, throttle or Throttle(None), told, is_stopped)
    place = place_of(folder, record)
    bad: list[BadFile] = []
    fresh: list[RecordFile] = []
    for file in record.files:
        has_marks = record.mark_bytes == reading.piece_bytes
        found = reading.held(place / file.path, file, file.marks if has_marks else ())
        if isinstance(found, BadFile):
            bad.append(found)
        else:
            fresh.append(found)
    if not bad:
        _remember(folder, record, fresh, reading.piece_bytes)
    return Scrubbed(record, tuple(bad), reading.read_bytes)


def due(cache: Cache, *, interval_days: float, now_s: float) -> tuple[Path, ...]:
    """Folders whose last clean reading is too long ago, the longest ago first.

    Args:
        cache: Where builds lie.
        interval_days: ``cache.scrub_interval_days``; 0: nothing is ever due.
        now_s: Seconds since the epoch.
    """
    if not interval_days:
        return ()
    ages = [(read_s(folder), folder) for folder in cache.orphans(()) if read_record(folder)]
    return tuple(folder for at_s, folder in sorted(ages) if now_s - at_s > interval_days * _DAY_S)


def read_s(folder: Path) -> float:
    """When a build's bytes were last all seen to be right, in seconds since the epoch; 0: never."""
    for name in (SCRUBBED_NAME, RECORD_NAME):
        with contextlib.suppress(OSError):
            return (folder / name).lstat().st_mtime
    return 0.0


class _Reading:
    """One pass over a build."""

    def __init__(
        self,
        piece_bytes: int,
        throttle: Throttle,
        told: Callable[[int], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        self.piece_bytes = piece_bytes
        self.read_bytes = 0
        self._throttle = throttle
        self._told = told
        self._is_stopped = is_stopped
        self._buffer = memoryview(mmap.mmap(-1, _READ_BYTES))

    def held(self, path: Path, file: RecordFile, marks: tuple[str, ...]) -> RecordFile | BadFile:
        """One file against its record: as it is to be remembered, or what is wrong."""
        mark = fingerprint(path)
        if mark is None:
            return BadFile(file.path, "it is gone")
        if mark.size_bytes != file.size_bytes:
            return BadFile(file.path, f"it has {mark.size_bytes} bytes, not {file.size_bytes}")
        try:
            found, pieces = self._digests(path)
        except OSError as error:
            return BadFile(file.path, f"it cannot be read: {error.strerror or error}")
        if found[-1] != file.sha256:
            if len(file.chunks) == len(pieces):
                differ = tuple(n for n, piece in enumerate(pieces) if file.chunks[n] != piece)
            elif len(marks) == len(found):  # behind the first bad piece, marks say nothing
                differ = tuple(n for n, mark in enumerate(found) if marks[n] != mark)[:1]
            else:
                differ = ()
            reason = "its bytes are others than they were"
            return BadFile(file.path, reason, differ, self.piece_bytes)
        return replace(file, mtime_ns=mark.mtime_ns, inode=mark.inode, chunks=pieces)

    def _digests(self, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The digests of the file up to the end of each piece, and those of the pieces."""
        whole, piece, pieces, at = hashlib.sha256(), hashlib.sha256(), list[str](), 0
        marks: list[str] = []
        with path.open("rb", buffering=0) as opened:
            _forget(opened.fileno())
            most = min(_READ_BYTES, self.piece_bytes)
            while count := opened.readinto(self._buffer[: min(most, self._left(at))]):
                if self._is_stopped():
                    raise Interrupted
                whole.update(self._buffer[:count])
                piece.update(self._buffer[:count])
                at += count
                if at % self.piece_bytes == 0:
                    pieces.append(piece.hexdigest())
                    marks.append(whole.hexdigest())
                    piece = hashlib.sha256()
                self.read_bytes += count
                self._told(count)
                self._throttle.took(count)
        if at % self.piece_bytes or not at:
            pieces += [piece.hexdigest()] if at else []
            marks.append(whole.hexdigest())
        return tuple(marks), tuple(pieces)

    def _left(self, at: int) -> int:
        return self.piece_bytes - at % self.piece_bytes


def _forget(fd: int) -> None:
    """Have clean pages read from the disk again: the memory's copy is not in question."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _remember(folder: Path, record: Record, files: list[RecordFile], piece_bytes: int) -> None:
    fresh = replace(renewed(record, files), chunk_bytes=piece_bytes)
    if fresh != record:
        # a disk that takes no more, or was made read-only, says nothing against what was read
        with contextlib.suppress(OSError):
            write_atomically(folder / RECORD_NAME, fresh.encode())
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.suppress(OSError):
        fd = os.open(folder / SCRUBBED_NAME, flags, 0o644)
        try:
            os.utime(fd)
        finally:
            os.close(fd)
