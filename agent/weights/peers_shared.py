"""What of an unfinished build may be passed on: the file ``.shared`` beside its journal.

The fetch writes it, and the process that answers peers reads it while it grows. A range stands
in it once its bytes are on the disk *and* came from the build's own store. What a peer brought
is not passed on before the digest of its whole file was found to be the promised one: so a
peer's lie goes no further than to those who asked that peer.

Lines, each written after what it tells: ``F sha256 size path`` begins a file, whose number is
how many stood before it; ``C file start stop`` tells of bytes that are being read from the
store, ``B file start stop`` of those that have come, ``K file start stop`` of those that came in
another way and are kept here; ``W file``: the whole was digested and has its final name;
``X file``: nothing of it holds any more; ``P bytes``: how far the store has got, so that others
see that it goes on. A line without its end is no line, and a file that nobody holds a lock on is
what a fetch left that was killed.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from ...config.frozen import frozen
from .manifest import path_problem

MAX_SHARED_BYTES = 64 * 2**20
_WORDS = 4
_DIGITS = 64


@frozen
class Offered:
    """One file of a build that is being fetched, and what of it may be passed on; never changes.

    Attributes:
        sha256: What the whole of it was promised to be, lower-case hex.
        path: Relative to the build.
        ranges: First bytes to ends, none touching another.
        claims: First bytes to ends of what is being read now.
        kept: First bytes to ends of what is here and is not passed on.
    """

    sha256: str
    size_bytes: int
    path: str
    is_whole: bool = False
    ranges: Mapping[int, int] = field(default_factory=dict[int, int])
    claims: Mapping[int, int] = field(default_factory=dict[int, int])
    kept: Mapping[int, int] = field(default_factory=dict[int, int])

    def reach(self, start: int) -> int:
        """One behind the last byte that can be passed on from ``start`` on without a gap."""
        for first, stop in self.ranges.items():
            if first <= start < stop:
                return stop
        return start

    def is_coming(self, start: int) -> bool:
        """Whether the bytes at ``start`` are here, or being read."""
        return self.reach(start) > start or _holds(self.claims, start)

    def is_kept(self, start: int) -> bool:
        """Whether the bytes at ``start`` are here, but not to be passed on."""
        return self.reach(start) <= start and _holds(self.kept, start)


class Sharing:
    """Writes the file; its methods may be called from many threads.

    Args:
        path: Written anew.
        files: sha256, size in bytes and path of each file that may be shared.
    """

    def __init__(self, path: Path, files: Sequence[tuple[str, int, str]]) -> None:
        self._path = path
        self._lock = threading.Lock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        path.unlink(missing_ok=True)  # whoever reads the old one sees that it is another
        self._fd = os.open(path, flags, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._say("".join(f"F {sha256} {size} {name}\n" for sha256, size, name in files))

    def claimed(self, file: int, start: int, stop: int) -> None:
        """Bytes are being read from the store from now on."""
        self._say(f"C {file} {start} {stop}\n")

    def kept(self, file: int, start: int, stop: int) -> None:
        """Bytes are here that are not to be passed on before the whole file was digested."""
        self._say(f"K {file} {start} {stop}\n")

    def arrived(self, file: int, start: int, stop: int) -> None:
        """Bytes from the store are on the disk."""
        self._say(f"B {file} {start} {stop}\n")

    def whole(self, file: int) -> None:
        """A file was digested, is what was promised, and has its final name."""
        self._say(f"W {file}\n")

    def forget(self, file: int) -> None:
        """Nothing of a file is to be passed on any more."""
        self._say(f"X {file}\n")

    def progressed(self, count: int) -> None:
        """So many bytes of all files are on the disk, those of unfinished blocks among them."""
        self._say(f"P {count}\n")

    def close(self) -> None:
        """Offer nothing any more; what is published, its record offers."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                with contextlib.suppress(OSError):
                    self._path.unlink()
            self._fd = -1

    def _say(self, lines: str) -> None:
        with self._lock:
            if self._fd >= 0:  # else a straggler's, and nobody reads it
                _ = os.write(self._fd, lines.encode())


class Shared:
    """Reads the file while it grows; used by one thread at a time.

    Args:
        path: Need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._at = 0
        self._torn = b""
        self._numbers: dict[str, int] = {}
        self.files: list[Offered] = []
        self.progress_bytes = 0

    def look(self) -> list[Offered]:
        """What may be passed on now; empty if nothing is being fetched here."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            self._begin(None)
            return self.files
        try:
            if _is_left(fd):
                self._begin(None)
                return self.files
            facts = os.fstat(fd)
            if (facts.st_dev, facts.st_ino) != self._seen or facts.st_size < self._at:
                self._begin((facts.st_dev, facts.st_ino))
            self._read(fd, min(facts.st_size, MAX_SHARED_BYTES))
        finally:
            os.close(fd)
        return self.files

    def file(self, sha256: str) -> Offered | None:
        """A file as the last look found it.

        Args:
            sha256: Of the whole, lower-case hex.
        """
        number = self._numbers.get(sha256)
        return None if number is None else self.files[number]

    def _begin(self, seen: tuple[int, int] | None) -> None:
        self._seen, self._at, self._torn, self.files = seen, 0, b"", []
        self._numbers, self.progress_bytes = {}, 0

    def _read(self, fd: int, size_bytes: int) -> None:
        while self._at < size_bytes:
            found = os.pread(fd, size_bytes - self._at, self._at)
            if not found:
                return
            self._at += len(found)
            *lines, self._torn = (self._torn + found).split(b"\n")
            for line in lines:
                self._apply(line.decode(errors="replace").split(" ", _WORDS - 1))

    def _apply(self, words: list[str]) -> None:
        match words:
            case ["F", sha256, size, path] if size.isdecimal() and len(sha256) == _DIGITS:
                # a name that leaves the folder takes its number, and no bytes are ever offered
                self._numbers[sha256] = len(self.files)
                self.files.append(Offered(sha256, -1 if path_problem(path) else int(size), path))
            case ["P", count] if _numbers(count):
                self.progress_bytes = int(count)
            case ["B" | "C" | "K" | "W" | "X", number, *spans] if _numbers(number, *spans):
                if int(number) < len(self.files):
                    self._told(words[0], int(number), [int(word) for word in spans])
            case _:
                return  # a line of a later version

    def _told(self, word: str, number: int, span: list[int]) -> None:
        file = self.files[number]
        match word, span:
            case "B", [start, stop] if start < stop <= file.size_bytes:
                self.files[number] = replace(file, ranges=_joined(file.ranges, start, stop))
            case "C", [start, stop] if start < stop <= file.size_bytes:
                self.files[number] = replace(file, claims=_joined(file.claims, start, stop))
            case "K", [start, stop] if start < stop <= file.size_bytes:
                self.files[number] = replace(file, kept=_joined(file.kept, start, stop))
            case "W", [] if file.size_bytes >= 0:
                self.files[number] = replace(file, is_whole=True, ranges={0: file.size_bytes})
            case "X", []:
                self.files[number] = replace(file, is_whole=False, ranges={}, claims={}, kept={})
            case _:
                return


def _is_left(fd: int) -> bool:
    """Whether nobody writes to it any more."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _numbers(*words: str) -> bool:
    return all(word.isdecimal() for word in words)


def _holds(ranges: Mapping[int, int], start: int) -> bool:
    return any(first <= start < stop for first, stop in ranges.items())


def _joined(ranges: Mapping[int, int], start: int, stop: int) -> Mapping[int, int]:
    """Disjoint ranges and one more; those that touch are one."""
    apart = dict(ranges)
    for first, end in ranges.items():
        if first <= stop and start <= end:
            del apart[first]
            start, stop = min(start, first), max(stop, end)
    return {**apart, start: stop}
