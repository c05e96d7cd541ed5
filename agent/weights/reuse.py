"""Bytes that a fetch wants and another build on this disk has: taken over, not fetched again.

The next build of a model mostly has files of the one before it. Two promises say which: a
digest (a manifest's or a store's own), and on S3 a version tag that is made of the content. A
manifest may also name the digests of a file's pieces; then a file that has changed in part is
taken over in part.

Bytes are copied, and never shared by a second name of one file: a build that is mended, or that
a fetch goes on with, is written to in place. Where the file system can, the kernel copies by
reference (btrfs, XFS), which takes no room until one side is written to. What was copied is
held to its digest like anything that arrives, so damage does not spread: it is fetched instead.
"""

import errno
import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ...backends.stores.etags import is_of_content
from ...config.frozen import frozen
from .cache import Cache
from .digests import Interrupted, sha256_of
from .journal import Claims, Seal
from .manifest import Manifest
from .parts import Part, Target
from .plan import Grid
from .record import Record, RecordFile
from .verify import changed_files, place_of, read_record

_COPY_BYTES = 16 * 2**20
_READ_BYTES = 2**20
_MOST_ELDERS = 3
_NOT_BY_THE_KERNEL = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}
)

Told = Callable[[int], None]
"""Hears how many bytes more have been taken over."""


@frozen
class Here:
    """A file of a build that is here and untouched.

    Attributes:
        place: Where it lies.
        file: What was verified of it.
        has_content_tag: Whether its version tag speaks of its content.
    """

    place: Path
    file: RecordFile
    has_content_tag: bool


@frozen
class Pieces:
    """What a manifest promises of a file's pieces.

    Attributes:
        piece_bytes: Length of each but the last.
        sha256: Lower-case hex, in file order.
    """

    piece_bytes: int
    sha256: tuple[str, ...]


def here_now(cache: Cache) -> tuple[Here, ...]:
    """Every untouched file of every build in the cache, the build last verified first."""
    found = [(folder, record) for folder in cache.orphans(()) if (record := read_record(folder))]
    return tuple(
        file
        for folder, record in sorted(found, key=lambda one: _age(*one))
        for file in _files(folder, record)
    )


def keep_own(folder: Path, targets: Sequence[Target], claims: Claims, ref: str) -> tuple[int, ...]:
    """Seal what lies under its final name already, left by an earlier build of this model.

    Call it while the folder's record is still there.

    Returns:
        Which of the targets stay where they are.
    """
    record = read_record(folder)
    if record is None or record.folder is not None:
        return ()
    here = _Index(_files(folder, record))
    kept: list[int] = []
    for number, (target, claim) in enumerate(zip(targets, claims.files, strict=True)):
        own = here.same(target, has_tags=ref.startswith("s3://"))
        path = target.remote.path
        if claim.seal is None and own is not None and own.file.path == path:
            claim.seal = Seal(own.file.sha256, own.file.fingerprint, own.file.told)
            kept.append(number)
    return tuple(kept)


def pieces_of(promise: Manifest | None) -> dict[str, Pieces]:
    """What a manifest promises of pieces, by path; empty if it does not."""
    if promise is None or not promise.chunk_bytes:
        return {}
    return {
        file.path: Pieces(promise.chunk_bytes, file.chunks) for file in promise.files if file.chunks
    }


def take_over(
    parts: Sequence[Part],
    here: Sequence[Here],
    grid: Grid,
    *,
    has_tags: bool,
    pieces: Mapping[str, Pieces],
    told: Told = lambda _: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> dict[int, int]:
    """Copy into the parts what other builds have of them, and claim it.

    Args:
        parts: Allocated; those of which something is here already are left alone.
        here: What other builds have.
        grid: How the parts are cut.
        has_tags: Whether the store's version tags speak of the content.
        pieces: Promised digests of pieces, by path.
        told: Hears of every copy.
        is_stopped: Asked between copies.

    Returns:
        By part, how many bytes it got.

    Raises:
        Interrupted: ``is_stopped`` said so.
        OSError: The parts cannot be written to.
    """
    index, got = _Index(here), dict[int, int]()
    for number, part in enumerate(parts):
        if part.seal is not None or any(part.have) or not part.size_bytes:
            continue
        whole = index.same(part.target, has_tags=has_tags)
        if whole is not None and _take_whole(part, whole, told, is_stopped):
            got[number] = part.size_bytes
        elif promised := pieces.get(part.target.remote.path):
            elders = index.elders(part.target.remote.path)
            count = _take_pieces(part, elders, promised, grid, told, is_stopped)
            got |= {number: count} if count else {}
    return got


def still_reused(got: Mapping[int, int], parts: Sequence[Part]) -> int:
    """How much of what was taken over still counts: not that of a file that is read anew."""
    return sum(count for number, count in got.items() if not parts[number].is_second_reading)


class _Index:
    """Files by what tells that they are the same."""

    def __init__(self, files: Sequence[Here] | Iterator[Here]) -> None:
        self._by_digest: dict[tuple[str, int], Here] = {}
        self._by_tag: dict[tuple[str | None, int], Here] = {}
        self._by_path: dict[str, list[Here]] = {}
        for one in files:
            size_bytes = one.file.size_bytes
            _ = self._by_digest.setdefault((one.file.sha256, size_bytes), one)
            self._by_path.setdefault(one.file.path, []).append(one)
            if one.has_content_tag:
                _ = self._by_tag.setdefault((one.file.etag, size_bytes), one)

    def same(self, target: Target, *, has_tags: bool) -> Here | None:
        """The file that has these very bytes, as far as anybody promises."""
        remote = target.remote
        if target.sha256 is not None:
            return self._by_digest.get((target.sha256, remote.size_bytes))
        return self._by_tag.get((remote.etag, remote.size_bytes)) if has_tags else None

    def elders(self, path: str) -> list[Here]:
        """Files of the same name, of which some pieces may be the same."""
        return self._by_path.get(path, [])[:_MOST_ELDERS]


def _files(folder: Path, record: Record) -> Iterator[Here]:
    changed = {file.path for file in changed_files(folder, record)}
    place, is_s3 = place_of(folder, record), record.ref.startswith("s3://")
    for file in record.files:
        if file.path not in changed:
            is_content = is_s3 and is_of_content(file.etag or "")
            yield Here(place / file.path, file, is_content)


def _age(folder: Path, record: Record) -> tuple[int, str]:
    newest = max((file.mtime_ns for file in record.files), default=0)
    return (-newest, folder.name)


def _take_whole(part: Part, here: Here, told: Told, is_stopped: Callable[[], bool]) -> bool:
    try:
        source = os.open(here.place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # it has just left the cache
    try:
        fd, _ = part.open()
        if os.fstat(source).st_size != part.size_bytes:
            return False
        for at in range(0, part.size_bytes, _COPY_BYTES):
            if is_stopped():
                raise Interrupted
            count = min(_COPY_BYTES, part.size_bytes - at)
            if not _copy(source, fd, count, at, at):
                return False
            told(count)
    finally:
        os.close(source)
    if part.target.sha256 is None and not _is_what_it_was(part, here, is_stopped):
        return False  # a tag promises no digest: a damaged copy must not become the truth
    part.have[:] = b"\x01" * len(part.have)
    return True


def _is_what_it_was(part: Part, here: Here, is_stopped: Callable[[], bool]) -> bool:
    view = memoryview(mmap.mmap(-1, _READ_BYTES))
    return sha256_of(part.path, view, is_stopped=is_stopped) == here.file.sha256


def _take_pieces(
    part: Part,
    elders: Sequence[Here],
    promised: Pieces,
    grid: Grid,
    told: Told,
    is_stopped: Callable[[], bool],
) -> int:
    wanted: dict[str, list[int]] = {}
    for number, sha256 in enumerate(promised.sha256):
        wanted.setdefault(sha256, []).append(number)
    found: set[int] = set()
    for elder in elders:
        for sha256, data in _pieces_in(elder.place, promised.piece_bytes, is_stopped):
            for number in wanted.pop(sha256, ()):
                fd, _ = part.open()
                _ = os.pwrite(fd, data, number * promised.piece_bytes)
                found.add(number)
                told(len(data))
    got = 0
    for block in range(len(part.have)):
        span = grid.block_span(block, size_bytes=part.size_bytes)
        first, last = span[0] // promised.piece_bytes, span[-1] // promised.piece_bytes
        if found.issuperset(range(first, last + 1)):
            part.have[block] = 1
            got += len(span)
    return got


def _pieces_in(
    place: Path, piece_bytes: int, is_stopped: Callable[[], bool]
) -> Iterator[tuple[str, memoryview]]:
    """The pieces of a file and their digests, taken now: what is recorded may have rotted."""
    try:
        with place.open("rb") as file:
            view = memoryview(mmap.mmap(-1, piece_bytes))
            while count := file.readinto(view):
                if is_stopped():
                    raise Interrupted
                yield hashlib.sha256(view[:count]).hexdigest(), view[:count]
    except OSError:
        return  # it has just left the cache


def _copy(source: int, fd: int, count: int, start: int, at: int) -> bool:
    """Copy a span, by the kernel if it can; whether the source had all of it."""
    while count:
        done = _copy_some(source, fd, count, start, at)
        if not done:
            return False
        count, start, at = count - done, start + done, at + done
    return True


def _copy_some(source: int, fd: int, count: int, start: int, at: int) -> int:
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, fd, count, start, at)
        except OSError as error:
            if error.errno not in _NOT_BY_THE_KERNEL:
                raise
    data = os.pread(source, min(count, _READ_BYTES), start)
    return os.pwrite(fd, data, at)
