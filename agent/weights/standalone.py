"""A copy of a prefix in a folder of the user's choice, brought as models are.

Everything arrives in ``<to>/.poolhand`` and is moved to its relative name only when all of
it is complete and verified, so nothing under a final name is ever half there. Then
``.poolhand`` goes away: the folder holds the objects and nothing else. What was verified is
remembered in the user's cache, so that the next run fetches only what the store changed.

Killed at any moment, a copy is found in one of four states, and each is gone on from:
a journal (fetch on), a record in ``.poolhand`` (move the rest), a record in the cache
(compare with the store), nothing.
"""

import mmap
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from ...backends.stores.base import Progress
from ...backends.stores.catalog import store_for
from ...backends.stores.errors import ModelMissing, WeightsUnsafe
from ...config.atomic import write_atomically
from ...config.frozen import frozen, replace
from ...config.refs import ModelRef
from .bring import FindStore
from .cache import Cache
from .here import bring_here
from .journal import JOURNAL_NAME
from .lines import FetchJob
from .manifest import folder_name
from .parts import sync_path
from .record import RECORD_NAME, Record, RecordFile
from .verify import fingerprint, mark_of_same, read_record

STAGE_NAME = ".poolhand"
_COPIES_NAME = "copies"
_PATIENCE_S = 3.0
_PIECE_BYTES = 2**20


@frozen
class Copy:
    """One prefix in one folder.

    Attributes:
        ref: Where the objects lie.
        to: The folder, absolute; made when first written to.
        cache_dir: Where it is remembered what was verified.
    """

    ref: ModelRef
    to: Path
    cache_dir: Path

    @property
    def model(self) -> str:
        """Under which name the child knows it."""
        return str(self.ref)

    @property
    def stage_dir(self) -> str:
        """Where it arrives."""
        return str(self.to / STAGE_NAME)

    @property
    def stage(self) -> Cache:
        """The same, as the cache folder that it is meanwhile."""
        return Cache(self.stage_dir)

    @property
    def memory(self) -> Path:
        """The folder of its record once it is whole."""
        return memory_of(self.cache_dir, self.to)


def memory_of(cache_dir: Path, to: Path) -> Path:
    """Where it is remembered what was brought to a folder."""
    return cache_dir / _COPIES_NAME / folder_name(os.path.realpath(to))


def bring(
    copy: Copy,
    job: FetchJob,
    *,
    told: Callable[[Progress], None],
    find_store: FindStore = store_for,
) -> Record:
    """Bring every object of the prefix; go on where an earlier run ended.

    Args:
        copy: From where to where.
        job: How; into :attr:`Copy.stage_dir`.
        told: Hears of progress.
        find_store: How a reference becomes a store.

    Returns:
        What lies there now, every file with its digest.

    Raises:
        WeightsError: The leaf says what went wrong; final names hold what they held.
        OSError: The folder cannot be written to.
    """
    begin(copy, chunk_bytes=job.weights.chunk_bytes)
    _ = bring_here(job, told=told, find_store=find_store)
    return deliver(copy)


def begin(copy: Copy, *, chunk_bytes: int) -> None:
    """Claim what lies here already, so that the fetch asks only for the rest.

    Raises:
        WeightsUnsafe: ``.poolhand`` is a link to somewhere else.
        CacheBusy: Another process brings something to the same folder.
    """
    if (copy.to / STAGE_NAME).is_symlink():
        reason = f"{copy.to / STAGE_NAME} is a symbolic link"
        raise WeightsUnsafe(model=copy.model, reason=reason)
    folder, is_new = copy.stage.folder(copy.model), not copy.to.exists()
    with copy.stage.lock(copy.model, patience_s=_PATIENCE_S):
        # what is remembered of a folder that has gone is of no use
        record = None if is_new else read_record(folder) or read_record(copy.memory)
        is_known = record is not None and record.ref == copy.model
        if record is not None and is_known and not (folder / JOURNAL_NAME).is_file():
            from .repair import claim  # noqa: PLC0415  # seldom is anything there

            record = _read_again(copy, record)
            # without a version tag nobody can tell whether the store still has these bytes
            good = {
                file.path
                for file in record.files
                if file.etag is not None and _is_back(copy, folder, file)
            }
            _ = claim(folder, record, good=good, chunk_bytes=chunk_bytes)
        (folder / RECORD_NAME).unlink(missing_ok=True)


def deliver(copy: Copy) -> Record:
    """Give every file its final name, remember what was verified, and tidy up.

    Raises:
        ModelMissing: Nothing complete lies in ``.poolhand``.
        WeightsUnsafe: A folder below ``to`` is a link that leads out of it.
    """
    folder = copy.stage.folder(copy.model)
    with copy.stage.lock(copy.model, patience_s=_PATIENCE_S):
        record = read_record(folder)
        if record is None:
            raise ModelMissing(model=copy.model, reason="nothing verified has arrived")
        root, entered = copy.to.resolve(), set[str]()
        for file in record.files:
            if (base := file.path.rpartition("/")[0]) not in entered:
                for parent in reversed(Path(file.path).parents):
                    _enter(copy, copy.to / parent, root)
                entered.add(base)
            # texts: paths of the library's for each of many files take longer than to move them
            _move(f"{folder}/{file.path}", f"{copy.to}/{file.path}")
        if record.unsynced_boot is None:
            for parent in sorted(copy.to / base for base in entered):
                sync_path(parent, os.fsync)
        whole = replace(record, folder=str(copy.to))
        _remember(copy, whole)
        _take_away(copy.to / STAGE_NAME)
    return whole


def remembered(copy: Copy) -> Record | None:
    """What was verified in the folder when it was last brought there."""
    return read_record(copy.memory)


def distrust(copy: Copy, paths: Collection[str]) -> None:
    """Have the next run fetch these files again, whatever the disk says about them."""
    record = read_record(copy.memory)
    if record is None:
        return
    files = tuple(
        # no file has a negative inode: the fingerprint can never match
        replace(file, inode=-1) if file.path in paths else file
        for file in record.files
    )
    _remember(copy, replace(record, files=files))


def _read_again(copy: Copy, record: Record) -> Record:
    """Read what a power cut may have changed: only files with the right digest are believed."""
    fresh: list[RecordFile] = []
    view = memoryview(mmap.mmap(-1, _PIECE_BYTES))
    for file in record.files:
        path, mark = copy.to / file.path, None
        if file.inode < 0 and record.unsynced_boot is not None:
            mark = mark_of_same(path, file, view, is_stopped=lambda: False)
        found = file if mark is None else replace(file, mtime_ns=mark.mtime_ns, inode=mark.inode)
        fresh.append(found)
    return replace(record, files=tuple(fresh))


def _is_back(copy: Copy, folder: Path, file: RecordFile) -> bool:
    """Whether the file lies in the stage again; the delivered one stays where it is."""
    staged, final = folder / file.path, copy.to / file.path
    if fingerprint(staged) == file.fingerprint and not staged.is_symlink():
        return True
    if fingerprint(final) != file.fingerprint or final.is_symlink():
        return False
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.unlink(missing_ok=True)
        os.link(final, staged)
    except OSError:
        return False  # a file system without hard links: the file is fetched again
    return True


def _enter(copy: Copy, folder: Path, root: Path) -> None:
    folder.mkdir(exist_ok=True)
    if not folder.resolve().is_relative_to(root):
        reason = f"{folder} is a link that leads out of the folder"
        raise WeightsUnsafe(model=copy.model, reason=reason)


def _move(staged: str, final: str) -> None:
    os.replace(staged, final)  # noqa: PTH105  # see deliver
    # two names of one file: rename leaves both, by the letter of POSIX
    with suppress(FileNotFoundError):
        os.unlink(staged)  # noqa: PTH108  # likewise


def _take_away(folder: Path) -> None:
    """Delete a folder with all that is in it; the library's way brings what packs archives."""
    for base, folders, names in os.walk(folder, topdown=False):
        for name in names:
            (Path(base) / name).unlink()
        for name in folders:
            lower = Path(base) / name
            if lower.is_symlink():
                lower.unlink()
            else:
                lower.rmdir()
    folder.rmdir()


def _remember(copy: Copy, record: Record) -> None:
    try:
        copy.memory.mkdir(parents=True, exist_ok=True)
        is_synced = record.unsynced_boot is None
        write_atomically(copy.memory / RECORD_NAME, record.encode(), is_synced=is_synced)
    except OSError:
        pass  # no home to write to: the next run fetches again, and nothing else is lost
