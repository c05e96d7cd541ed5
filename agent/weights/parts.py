"""The files of one fetch on the disk: preallocated, written in place, renamed when digested.

A part lies under ``.partial/`` until :meth:`Part.seal`; nothing with a final name is ever
incomplete. What the journal claims is held against what is really there before a claim is
believed.
"""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ...backends.stores.base import RemoteFile
from ...backends.stores.errors import DiskFull
from ...config.frozen import frozen, replace
from .answers import VEILED, Word, joined
from .cache import PARTIAL_NAME
from .digests import FrontierDigest, told_of
from .journal import Claim, Claims, Seal
from .plan import Grid, bytes_here
from .record import Fingerprint
from .strokes import Strokes
from .told import Witness
from .verify import fingerprint

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_READ_BYTES = 2**20
_UNSUPPORTED = frozenset({"EOPNOTSUPP", "ENOSYS", "EINVAL"})


@frozen
class Target:
    """A file to be had.

    Attributes:
        sha256: The promised digest in lower-case hex; ``None`` if nobody promised one.
        is_plain: The bytes are what counts: refuse a pickle, and look no further.
        is_told: Whether what the store tells otherwise counts where there is no such digest.
    """

    remote: RemoteFile
    sha256: str | None = None
    is_plain: bool = False
    is_told: bool = True

    @property
    def told(self) -> str | None:
        """What the store tells, if that is all there is to hold the file to."""
        return self.remote.told if self.is_told and self.sha256 is None else None


class Part:
    """One file on its way to its final name; reads and writes may come from many threads.

    Args:
        folder: The model's folder.
        target: What the file shall become.
        claim: What is here of it; the part owns it from now on.
        grid: How the file is cut.
        naming: Held while a name is made or changed in the folder; the kernel lets one thread in
            at a time, and has the others spin, which takes their processors. All parts share one.
        witness: What was seen of what this store tells; likewise.
        strokes: What was seen of long and short writes; likewise.
    """

    def __init__(
        self,
        folder: Path,
        target: Target,
        claim: Claim,
        grid: Grid,
        naming: "threading.Lock | None" = None,
        witness: Witness | None = None,
        strokes: Strokes | None = None,
    ) -> None:
        self._strokes = strokes or Strokes()
        self._witness = witness or Witness()
        self._naming = naming or threading.Lock()
        self.target = target
        # texts: two paths of the library's for each of many files take longer than to list them
        self._final = f"{folder}/{target.remote.path}"
        self._path = f"{folder}/{PARTIAL_NAME}/{target.remote.path}"
        self.seal = claim.seal
        self.have = claim.have
        self.marks = claim.marks
        self.is_second_reading = not target.remote.size_bytes  # no second one would bring more
        self.weights_bytes: int | None = None
        self._is_synced = False
        self._lost: OSError | None = None
        self._word: Word | None = None
        self._grid = grid
        self._fd = -1
        self._lock = threading.Lock()
        self._digest: FrontierDigest | None = None
        self._opened: tuple[int, FrontierDigest] | None = None

    @property
    def final(self) -> Path:
        """Where the complete file lies."""
        return Path(self._final)

    @property
    def path(self) -> Path:
        """Where it lies until then."""
        return Path(self._path)

    @property
    def size_bytes(self) -> int:
        """Length of the whole file."""
        return self.target.remote.size_bytes

    @property
    def here_bytes(self) -> int:
        """What has arrived of it."""
        if self.seal is not None:
            return self.size_bytes
        return bytes_here(self.have, size_bytes=self.size_bytes, grid=self._grid)

    @property
    def trail(self) -> tuple[int, int, int, float]:
        """What has arrived, what of it is digested, and what reading it back for that took."""
        digest = self._digest
        if digest is None:
            return self.here_bytes, 0, 0, 0.0
        return self.here_bytes, digest.at, digest.read_bytes, digest.read_cpu_s

    def open(self) -> tuple[int, FrontierDigest]:
        """The file and its digest; opened by whoever comes first."""
        if (opened := self._opened) is not None:
            return opened
        with self._lock:
            if self._fd < 0:
                # nothing was allocated for one block, see _allocate: what lies there is older
                is_new = len(self.have) <= 1 and not any(self.have)
                with self._naming:
                    self._fd = os.open(self._path, _FLAGS | os.O_TRUNC * is_new, 0o644)
            if self._digest is None:
                self._digest = FrontierDigest(
                    self._fd,
                    size_bytes=self.size_bytes,
                    block_bytes=self._grid.block_bytes,
                    have=self.have,
                    expected=self.marks,
                    told=self.target.told,
                )
            self._opened = self._fd, self._digest
            return self._opened

    def put(self, view: memoryview, offset: int) -> None:
        """Write bytes to their place."""
        self._strokes.write(self.open()[0], view, offset)

    def keep(self, view: memoryview) -> str:
        """Write a whole file, and digest it out of the memory that it came in.

        Returns:
            Its sha256, lower-case hex.
        """
        fd, digest = self.open()
        self._strokes.write(fd, view, 0)
        return digest.whole(view)

    def is_other(self, sha256: str) -> bool:
        """Whether the complete file is not what was promised, or told, as far as is known by now.

        Args:
            sha256: Its digest, lower-case hex.
        """
        word, found = self._word, self._digest and self._digest.told
        if word is not None and word.told is not None and self._gainsays(word.told, sha256):
            return True
        told = None if word is not None and word.is_veiled else self.target.told
        if told is not None and found is not None:
            return self._witness.is_lie(told, found)
        return self.target.sha256 not in {None, sha256}

    def hear(self, word: Word | None) -> None:
        """Take what an answer said of the object, where nobody promised what it is."""
        if self.target.is_told and self.target.sha256 is None:
            self._word = joined(self._word, word)

    def _gainsays(self, told: str, sha256: str) -> bool:
        kind, _, value = told.partition(":")
        if kind.endswith("sha256"):
            return value != sha256
        return told_of(self.path, told, memoryview(bytearray(_READ_BYTES))) != told

    def found(self) -> str | None:
        """What the file was found to be, in the best terms that its store has for it."""
        word, found = self._word, self._digest and self._digest.told
        if word is None or (found == self.target.told and found is not None):
            return found
        return word.told or (VEILED if word.is_veiled else found)

    def start_over(self) -> None:
        """Believe none of the file's bytes any more, though it has its name."""
        with self._lock:
            self.final.unlink(missing_ok=True)
            self.seal = None
            self.have = bytearray(len(self.have))
            self._digest = self._opened = self._word = None
            self.marks = ()
            self.is_second_reading = True

    def sync(self) -> None:
        """Put what was written on the platter, by an earlier process, too."""
        with self._lock:
            if self._lost is not None:  # a second try would succeed although the bytes are lost
                raise self._lost
            # open: a block may be claimed before it is noted. Not open: killed before it could
            # sync, but the claims live on, so their bytes have to
            seal, is_written = self.seal, self._fd >= 0 or any(self.have)
            if not (is_written if seal is None else not self._is_synced):
                return
            fd = os.open(self.path if seal is None else self.final, _FLAGS & ~os.O_CREAT)
        # the lock is free meanwhile: others go on writing, which is for the next sync
        try:
            flush(fd)
        except OSError as error:
            self._lost = error
            raise
        finally:
            os.close(fd)
        if seal is not None and self.seal is seal:  # else its name is another file's by now
            self._is_synced = True

    def finish(self, sha256: str, *, syncs_first: bool = True) -> Seal:
        """Give the complete file its final name.

        Args:
            sha256: Its digest, lower-case hex.
            syncs_first: Put it on the platter before; else :meth:`sync` does it later.
        """
        if syncs_first:
            self.sync()
        fd, digest = self.open()
        with self._lock:
            self._give_name()
            found = os.fstat(fd)
            mark = Fingerprint(found.st_size, found.st_mtime_ns, found.st_ino)
            self._is_synced = syncs_first
            self.seal = Seal(sha256, mark, self.found())
        self.marks = digest.marks
        self.close()
        return self.seal

    def _give_name(self) -> None:
        try:
            with self._naming:
                os.replace(self._path, self._final)  # noqa: PTH105  # see __init__
        except FileNotFoundError:  # most often its folder's name is there already
            self.final.parent.mkdir(parents=True, exist_ok=True)
            _ = self.path.replace(self.final)

    def close(self) -> None:
        """Give back the file; safe to call twice."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._opened = -1, None


def flush(fd: int) -> None:
    """Put a file's bytes on the platter; macOS knows no ``fdatasync``."""
    getattr(os, "fdatasync", os.fsync)(fd)


def sync_path(path: Path, put: Callable[[int], None]) -> None:
    """Put a file, or a folder's names, on the platter.

    Args:
        path: What there is.
        put: Does it to an open file.

    Raises:
        OSError: It is gone, or the disk would not take it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        put(fd)
    finally:
        os.close(fd)


def prepare(folder: Path, targets: Sequence[Target], claims: Claims, grid: Grid) -> list[Part]:
    """Make room for every file and hold the journal's claims against the disk.

    Raises:
        DiskFull: There is no room for what is missing; nothing was allocated.
        OSError: The folder cannot be used.
    """
    partial = folder / PARTIAL_NAME
    if partial.is_symlink():
        partial.unlink()
    is_new = not partial.exists()
    partial.mkdir(parents=True, exist_ok=True)
    naming, witness, strokes = threading.Lock(), Witness(), Strokes()
    parts = [
        Part(folder, target, claim, grid, naming, witness, strokes)
        for target, claim in zip(targets, claims.files, strict=True)
    ]
    # nothing is claimed, and nothing can lie in a folder that was just made: nobody need look
    is_fresh = is_new and not any(claim.seal or any(claim.have) for claim in claims.files)
    if not is_fresh:
        for part, claim in zip(parts, claims.files, strict=True):
            _settle(part, claim)
    open_parts = [part for part in parts if part.seal is None]
    _check_room(folder, open_parts, is_fresh=is_fresh)
    lower = {part.target.remote.path.rpartition("/")[0] for part in open_parts}
    for place in (partial / name for name in lower):
        place.mkdir(parents=True, exist_ok=True)
        if not is_new and not place.resolve().is_relative_to(partial.resolve()):
            raise NotADirectoryError(str(place))
    for part in open_parts:
        _allocate(part, grid, is_new=is_new)
    return parts


def sweep(folder: Path, kept: Sequence[str]) -> None:
    """Delete what an older build or fetch left beside the files of this one."""
    wanted, top = set(kept), len(str(folder)) + 1
    for base, folders, names in os.walk(folder, topdown=False):
        place = base[top:].replace(os.sep, "/")
        for name in names:
            path = f"{place}/{name}" if place else name
            if path not in wanted and not path.startswith("."):
                os.unlink(f"{base}/{name}")  # noqa: PTH108  # a path of objects for each costs more
        for name in folders:
            if (lower := Path(base) / name).is_symlink():
                lower.unlink()
            elif not any(lower.iterdir()):
                lower.rmdir()
    if (folder / PARTIAL_NAME).exists():
        import shutil  # noqa: PLC0415  # most often nothing is left of it

        shutil.rmtree(folder / PARTIAL_NAME, ignore_errors=True)


def _settle(part: Part, claim: Claim) -> None:
    """Believe a claim only as far as the files that it speaks of are there."""
    seal, promised = claim.seal, part.target.sha256
    if seal and fingerprint(part.final) == seal.fingerprint and promised in {None, seal.sha256}:
        told = part.target.told
        if told is not None and seal.told is None:  # an earlier fetch was not to hold it to that
            found = told_of(part.final, told, memoryview(bytearray(_READ_BYTES)))
            claim.seal = part.seal = replace(seal, told=found)
        return
    claim.seal = part.seal = None
    found = fingerprint(part.path)
    if found is None and any(claim.have):
        final = fingerprint(part.final)
        # killed between the rename and its line: the same bytes, still to be digested
        if final and final.size_bytes == part.size_bytes and not part.final.is_symlink():
            part.path.parent.mkdir(parents=True, exist_ok=True)
            _ = part.final.replace(part.path)
            found = final
    if found is None or found.size_bytes != part.size_bytes or part.path.is_symlink():
        claim.have[:] = bytes(len(claim.have))


def _check_room(folder: Path, parts: Sequence[Part], *, is_fresh: bool) -> None:
    needs_bytes = sum(part.size_bytes for part in parts)
    if not is_fresh:
        needs_bytes -= sum(_allocated_bytes(part.path) for part in parts)
    room = os.statvfs(folder)
    free_bytes = room.f_bavail * room.f_frsize
    if needs_bytes > free_bytes:
        raise DiskFull(needs_bytes=needs_bytes, free_bytes=free_bytes)


def _allocated_bytes(path: Path) -> int:
    try:
        found = path.stat()
    except OSError:
        return 0
    return min(found.st_size, found.st_blocks * 512)


def _allocate(part: Part, grid: Grid, *, is_new: bool) -> None:
    if not is_new and part.path.is_symlink():
        part.path.unlink()
    if part.size_bytes <= grid.block_bytes:
        return  # one write will be all of it, and there was room: made when it is opened
    fd = os.open(part.path, _FLAGS, 0o644)
    try:
        os.ftruncate(fd, part.size_bytes)
        # without it a full disk would show only half-way; where there is none, it does
        if hasattr(os, "posix_fallocate"):
            _fallocate(fd, part.size_bytes)
    finally:
        os.close(fd)


def _fallocate(fd: int, size_bytes: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size_bytes)
    except OSError as error:
        if errno.errorcode.get(error.errno or 0) not in _UNSUPPORTED:
            raise
