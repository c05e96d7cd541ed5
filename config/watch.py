"""Notices that the configuration was edited, whatever way the editor saves.

Files are looked at, not listened to: a rename, a file cut and written anew, a link that points
elsewhere, a mounted folder whose ``..data`` is swapped, a file that is gone for a moment and the
files of ``agent.d`` all look alike in the end: some bytes are others. What is new has to stay the
same for a while before it is taken, and longer if it looks like half of something.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path

from .errors import ConfigError
from .frozen import frozen
from .layers import extras_dir, read_files

QUIET_S = 0.5
"""How long files that were replaced as a whole have to stay the same."""

WRITTEN_QUIET_S = 1.0
"""The same for a file that was written in place."""

DOUBTFUL_QUIET_S = 3.0
"""The same for what may be half of something: no TOML, no end of line, nothing at all, or gone."""

_RACY_NS = 2 * 10**9
"""A file this young may change again under the very same times. Source: git's racy entries."""


@frozen
class _Stamp:
    """What the file system says of the files without reading them.

    Attributes:
        names: What lies in ``agent.d``.
        facts: Of each file: device, inode, size in bytes, and two times in nanoseconds.
    """

    names: tuple[str, ...]
    facts: tuple[tuple[int, int, int, int, int], ...]

    @property
    def newest_ns(self) -> int:
        """When the youngest of them was changed."""
        return max((max(fact[-2:]) for fact in self.facts), default=0)


@frozen
class Seen:
    """The files as they were at one look.

    Attributes:
        files: Their bytes, in the order in which they are laid over one another.
        error: Why there are none.
    """

    files: Mapping[Path, bytes] = field(default_factory=dict[Path, bytes])
    error: ConfigError | None = None

    def is_like(self, other: "Seen") -> bool:
        """Whether there is the same to read."""
        errors = [str(one.error) for one in (self, other)]
        return errors[0] == errors[1] and [*self.files.items()] == [*other.files.items()]


class Watch:
    """The files of one configuration, looked at again and again.

    Args:
        path: The first of them, absolute.
        taken: Their bytes as they are in force.
        clock_ns: The wall clock, as file times are told.
    """

    def __init__(
        self, path: Path, taken: Mapping[Path, bytes], *, clock_ns: Callable[[], int]
    ) -> None:
        self._path = path
        self._taken = Seen(taken)
        self._seen = self._taken
        self._since_s = float("-inf")
        self._quiet_s = 0.0
        self._clock_ns = clock_ns
        self._stamp: _Stamp | None = None
        self._inodes: Mapping[Path, object] = _inodes(path, taken)

    @property
    def is_waiting(self) -> bool:
        """Whether something new was seen and is not taken yet."""
        return self._seen is not self._taken

    def look(self, now_s: float) -> Seen | None:
        """What is to be taken over now; ``None`` if nothing is new, or not for long enough.

        Args:
            now_s: On a clock that never jumps back.
        """
        found = self._glance()
        if found.is_like(self._taken):
            self._seen = self._taken
            return None
        if not found.is_like(self._seen):
            self._seen, self._since_s = found, now_s
            self._quiet_s = self._patience(found)
        if now_s - self._since_s < self._quiet_s:
            return None
        self.take(found)
        return found

    def take(self, seen: Seen) -> None:
        """Somebody has read this, whatever it was worth: from now on only others are new."""
        self._taken = self._seen = seen
        self._inodes = _inodes(self._path, seen.files)

    def _glance(self) -> Seen:
        """Read the files, if anything says that they may have changed."""
        stamp = _stamp(self._path)
        if stamp is not None and stamp == self._stamp:
            return self._seen
        is_racy = stamp is None or stamp.newest_ns > self._clock_ns() - _RACY_NS
        self._stamp = None if is_racy else stamp
        return see(self._path)

    def _patience(self, found: Seen) -> float:
        if found.error is not None or not all(map(_is_whole, found.files.values())):
            return DOUBTFUL_QUIET_S
        changed = [path for path, raw in found.files.items() if self._taken.files.get(path) != raw]
        inodes = _inodes(self._path, found.files)
        is_replaced = all(inodes.get(path) != self._inodes.get(path) for path in changed)
        return QUIET_S if is_replaced else WRITTEN_QUIET_S


def see(path: Path) -> Seen:
    """Read the files as they are now."""
    try:
        return Seen(read_files(path))
    except ConfigError as error:
        return Seen(error=error)


def _is_whole(raw: bytes) -> bool:
    """Whether a file looks as if its writer had come to the end."""
    try:
        data = tomllib.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return bool(data) and raw.endswith(b"\n")


def _stamp(path: Path) -> _Stamp | None:
    """``None`` if the file system says nothing of one of them."""
    folder = extras_dir(path)
    try:
        names = tuple(sorted(os.listdir(folder)))  # noqa: PTH208  # names are all that is needed
    except FileNotFoundError:
        names = ()
    except (OSError, ValueError):
        return None
    try:
        facts = [one.stat() for one in (path, *(folder / name for name in names))]
    except (OSError, ValueError):
        return None
    return _Stamp(
        names, tuple((f.st_dev, f.st_ino, f.st_size, f.st_mtime_ns, f.st_ctime_ns) for f in facts)
    )


def _inodes(path: Path, files: Mapping[Path, bytes]) -> Mapping[Path, object]:
    """Which file each of them is, to tell one that was replaced from one that was written to."""
    found: dict[Path, object] = {}
    for one in (path, *files):
        try:
            facts = one.stat()
        except (OSError, ValueError):
            continue
        found[one] = (facts.st_dev, facts.st_ino)
    return found
