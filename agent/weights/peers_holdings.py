"""What this node can give its peers: digests of whole files to bytes on this disk.

Two sources: the records of published builds, and what a running fetch offers (``.shared``).
Nothing is remembered that a look at the disk could contradict, and a file is compared with its
record each time it is opened.
"""

import os
import stat
import threading
import time
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from ...config.frozen import frozen
from .cache import PARTIAL_NAME, SHARED_NAME
from .manifest import folder_name
from .peers_shared import Offered, Shared
from .record import RECORD_NAME, Fingerprint
from .verify import read_record

_LOOK_EVERY_S = 0.02


@frozen
class Held:
    """A file of which something may be given away.

    Attributes:
        root: The build's folder; the file must not lie outside it.
        fingerprint: What it must look like; ``None`` while it is still written to.
        offered: What of it may be given; ``None``: all.
        progress_bytes: How far the fetch is that brings it.
    """

    root: Path
    path: Path
    size_bytes: int
    fingerprint: Fingerprint | None = None
    offered: Offered | None = None
    progress_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all of it may be given."""
        return self.offered is None or self.offered.is_whole

    def is_kept(self, start: int) -> bool:
        """Whether the bytes at ``start`` are here, but not to be given away."""
        return self.offered is not None and self.offered.is_kept(start)

    def reach(self, start: int) -> int:
        """One behind the last byte that may be given from ``start`` on without a gap."""
        if self.offered is not None:
            return self.offered.reach(start)
        return max(start, self.size_bytes)


_NO_RECORD: tuple[tuple[int, int], Mapping[str, Held]] = ((0, 0), MappingProxyType({}))


class Holdings:
    """Finds files by digest; safe for many threads.

    Args:
        models: The folder of all builds.
    """

    def __init__(self, models: Path) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._looked_s = float("-inf")
        self._kept_back: frozenset[str] = frozenset()
        self._records: dict[str, tuple[tuple[int, int], Mapping[str, Held]]] = {}
        self._shared: dict[str, Shared] = {}
        self._names: list[str] = []

    def keep_back(self, models: Collection[str]) -> None:
        """Give nothing of these models: they are being read through, or were found damaged."""
        with self._lock:
            self._kept_back = frozenset(folder_name(model) for model in models)
            self._looked_s = float("-inf")

    def find(self, sha256: str) -> Held | None:
        """The file with this digest, if any of it may be given away.

        Args:
            sha256: Of the whole file, lower-case hex.
        """
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._looked_s >= _LOOK_EVERY_S:
                self._look()
                self._looked_s = now_s
            found: Held | None = None
            for name in self._names:
                held = self._records.get(name, _NO_RECORD)[1].get(sha256)
                held = held or self._arriving(name, sha256)
                if held is not None and (found is None or held.is_whole):
                    found = held
            return found

    def _look(self) -> None:
        try:
            names = [path.name for path in self._models.iterdir() if not path.is_symlink()]
        except OSError:
            names = []
        names = [name for name in names if not name.startswith(".")]
        for gone in self._records.keys() - set(names):
            del self._records[gone]
        for gone in self._shared.keys() - set(names):
            del self._shared[gone]
        self._names = sorted(set(names) - self._kept_back)
        for name in self._names:
            shared = self._shared.setdefault(name, Shared(self._models / name / SHARED_NAME))
            _ = shared.look()
            self._read_record(name)

    def _arriving(self, name: str, sha256: str) -> Held | None:
        shared, folder = self._shared[name], self._models / name
        file = shared.file(sha256)
        if file is None or file.size_bytes < 0:
            return None
        place = folder if file.is_whole else folder / PARTIAL_NAME
        return Held(
            folder,
            place / file.path,
            file.size_bytes,
            offered=file,
            progress_bytes=shared.progress_bytes,
        )

    def _read_record(self, name: str) -> None:
        folder = self._models / name
        try:
            facts = (folder / RECORD_NAME).lstat()
        except OSError:
            _ = self._records.pop(name, None)
            return
        seen = (facts.st_ino, facts.st_mtime_ns)
        if self._records.get(name, _NO_RECORD)[0] == seen:
            return
        record = read_record(folder)
        files: dict[str, Held] = {}
        if record is not None and record.folder is None:  # else the files are not the cache's own
            for file in record.files:
                path = folder / file.path
                files[file.sha256] = Held(folder, path, file.size_bytes, file.fingerprint)
        self._records[name] = (seen, files)


@contextmanager
def opened(held: Held) -> Generator[int | None]:
    """The open file; ``None`` if it is no longer what it was, or not where it should be."""
    try:
        place = held.path.parent.resolve(strict=True)
        if not place.is_relative_to(held.root.resolve(strict=True)):
            yield None
            return
        fd = os.open(held.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield None
        return
    try:
        yield fd if _is_same(os.fstat(fd), held) else None
    finally:
        os.close(fd)


def _is_same(facts: os.stat_result, held: Held) -> bool:
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != held.size_bytes:
        return False
    mark = Fingerprint(facts.st_size, facts.st_mtime_ns, facts.st_ino)
    return held.fingerprint in {None, mark}
