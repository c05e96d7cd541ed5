"""What a damaged or outdated folder still has of use, claimed for the next fetch.

A fetch goes on from its journal. So to repair is to write the journal that a fetch would
have left that had brought everything but the bad parts, and to fetch again: the store's
listing, its version tags and all digests are held to as at first.
"""

import mmap
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.stores.errors import WeightsCorrupt
from .boot import boot_id
from .cache import PARTIAL_NAME, Cache
from .digests import MARK_BYTES
from .journal import JOURNAL_NAME, Claims, Header, Journal, Listed, Seal, nothing
from .parts import flush, sync_path
from .plan import Grid, grid_for
from .record import RECORD_NAME, Record, RecordFile
from .verify import changed_files, fingerprint, mark_of_same

if TYPE_CHECKING:
    from .scrub import BadFile

_READ_BYTES = 2**20


def claim(
    folder: Path,
    record: Record,
    *,
    good: Collection[str],
    chunk_bytes: int,
    bad: "Mapping[str, BadFile] | None" = None,
) -> int:
    """Write the journal of a fetch that lacks only what is not good.

    The caller holds the folder's lock, and removes the record afterwards: with both there, a
    fetch would believe the record.

    Args:
        folder: The model's folder; the good files lie in it.
        record: What was verified there once.
        good: Files whose bytes are what the record says.
        chunk_bytes: ``weights.chunk_bytes``: a fetch only goes on with the same blocks.
        bad: By path, files of which it is known which pieces are bad, or the first one. Such a
            file is moved back among the unfinished ones; all its other pieces count, and its
            marks find those that are bad behind the first.

    Returns:
        Bytes that need not be fetched again; not even after a power cut, if the record would have
        outlived one.

    Raises:
        OSError: The disk would not take them.
    """
    grid = grid_for(total_bytes=record.size_bytes, asked_chunk_bytes=chunk_bytes)
    listed = tuple(
        Listed(path=file.path, size_bytes=file.size_bytes, etag=file.etag) for file in record.files
    )
    claims = nothing(
        Header(ref=record.ref, boot_id=boot_id(), block_bytes=grid.block_bytes, files=listed)
    )
    for file, claimed in zip(record.files, claims.files, strict=True):
        mark = fingerprint(folder / file.path)
        if mark is None or mark.size_bytes != file.size_bytes:
            continue
        if file.path in good:
            claimed.seal = Seal(file.sha256, mark, file.told)
        elif bad and (found := bad.get(file.path)) is not None:
            claimed.have[:] = _good_blocks(file, found, grid)
            _set_back(folder, file.path)
        if record.mark_bytes == MARK_BYTES:
            claimed.marks = file.marks
    is_synced = record.unsynced_boot is None  # else the next fetch does not wait for it, either
    if is_synced:
        _sync(folder, record, claims)
    journal = Journal(folder / JOURNAL_NAME, claims)
    if is_synced:
        journal.synced(journal.count)
    journal.close()
    return claims.bytes_here


def _sync(folder: Path, record: Record, claims: Claims) -> None:
    """Put on the platter what is claimed: names that were changed, and files that were touched."""
    partial = folder / PARTIAL_NAME
    paths = [
        (folder if claimed.seal else partial) / file.path
        for file, claimed in zip(record.files, claims.files, strict=True)
        if claimed.seal or any(claimed.have)
    ]
    for path in (*paths, *{path.parent for path in paths}):
        sync_path(path, flush)


def unharmed(
    folder: Path, record: Record, bad: str, *, is_stopped: Callable[[], bool]
) -> frozenset[str]:
    """Files whose bytes need not come again: to read them is quicker than to fetch them.

    Args:
        folder: The model's folder; the files lie in it.
        record: What was verified there once.
        bad: A file that is known to be another.
        is_stopped: Asked while files are read.

    Returns:
        Those that nobody has touched, and those that were read and are what they were.

    Raises:
        Interrupted: ``is_stopped`` said so.
    """
    view = memoryview(mmap.mmap(-1, _READ_BYTES))
    touched = {file.path for file in changed_files(folder, record)}

    def is_same(file: RecordFile) -> bool:
        path = folder / file.path
        return mark_of_same(path, file, view, is_stopped=is_stopped) is not None

    return frozenset(
        file.path
        for file in record.files
        if file.path != bad and (file.path not in touched or is_same(file))
    )


def _good_blocks(file: RecordFile, found: "BadFile", grid: Grid) -> bytes:
    """One byte a block: whether all pieces that it touches are good."""
    piece_bytes, bad = found.piece_bytes, frozenset(found.pieces)
    spans = (
        grid.block_span(block, size_bytes=file.size_bytes)
        for block in range(grid.blocks(file.size_bytes))
    )
    touched = (range(span[0] // piece_bytes, span[-1] // piece_bytes + 1) for span in spans)
    return bytes(not any(piece in bad for piece in pieces) for pieces in touched)


def _set_back(folder: Path, path: str) -> None:
    partial = folder / PARTIAL_NAME / path
    partial.parent.mkdir(parents=True, exist_ok=True)
    _ = (folder / path).replace(partial)


def set_aside(
    cache: Cache, model: str, record: Record, bad: "Sequence[BadFile]", *, chunk_bytes: int
) -> int:
    """Make of a damaged build an unfinished fetch that lacks only what is damaged.

    Args:
        cache: Where it lies.
        model: The build's id.
        record: What it was held to.
        bad: What is damaged.
        chunk_bytes: ``weights.chunk_bytes``.

    Returns:
        Bytes that need not be fetched again.

    Raises:
        CacheBusy: It is being fetched.
        WeightsCorrupt: The files are not the cache's own, so they are not ours to mend.
    """
    if record.folder is not None:
        reason = "it lies outside the cache and is not ours to mend"
        raise WeightsCorrupt(model=model, file=bad[0].path, reason=reason)
    folder = cache.folder(model)
    names = {one.path for one in bad}
    with cache.lock(model):
        kept = claim(
            folder,
            record,
            good={file.path for file in record.files} - names,
            chunk_bytes=chunk_bytes,
            bad={one.path: one for one in bad if one.pieces},
        )
        (folder / RECORD_NAME).unlink(missing_ok=True)
        for name in names:
            (folder / name).unlink(missing_ok=True)
    return kept
