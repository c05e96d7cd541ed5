"""The cache as a whole: what each folder holds, who is used, and who leaves.

Leaving is safe at any moment, a kill among them (see :func:`~.cache.remove`): what is left of
a folder on its way out is no build, and is swept by whoever prunes next.

What is synced, and when: a file's bytes before it is renamed to its final name; the record,
and the folder that names it, before a build is told of; the journal's lines only as far as
the bytes that they claim. Removal syncs nothing: a build that a power cut brings back without
its record is no build, and one that comes back whole has lost nothing.

Last use is the modification time of ``.last_used``, an empty file: setting it is one system
call, so that after a crash it holds the old time or the new.
"""

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from ...backends.stores.errors import CacheBusy, CacheFull
from ...config.settings import Cache as CacheSettings
from . import quota
from .boot import boot_id
from .cache import LEAVING_PREFIX, Cache, allocated_bytes, remove
from .journal import JOURNAL_NAME, load
from .manifest import folder_name
from .quota import GIB, Held, Room, Verdict
from .record import RECORD_NAME
from .verify import changed_files, place_of, read_record

USED_NAME = ".last_used"


def touch(cache: Cache, model: str, *, now_s: float | None = None) -> None:
    """Say that a build is used now; a folder that is gone stays so.

    Args:
        cache: Where it lies.
        model: The build's id.
        now_s: Seconds since the epoch; ``None``: now.
    """
    at_s = time.time() if now_s is None else now_s
    path = cache.folder(model) / USED_NAME
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError:
        return  # gone, or a disk that cannot be written to: no reason not to serve
    try:
        os.utime(fd, (at_s, at_s))
    finally:
        os.close(fd)


def held(cache: Cache) -> tuple[Held, ...]:
    """What every folder of the cache holds, sorted by name; reads no weights."""
    boot = boot_id()
    return tuple(_held(folder, boot) for folder in cache.orphans(()))


def room_of(cache: Cache, settings: CacheSettings) -> Room:
    """The disk under the cache, and its bounds.

    Raises:
        OSError: There is no such disk.
    """
    cache.models.mkdir(parents=True, exist_ok=True)
    return room_at(cache.models, settings)


def room_at(folder: Path, settings: CacheSettings) -> Room:
    """The same for any folder that is there; nothing is made.

    Raises:
        OSError: There is no such folder.
    """
    disk = os.statvfs(folder)
    disk_bytes = disk.f_blocks * disk.f_frsize
    return Room(
        disk_bytes=disk_bytes,
        free_bytes=disk.f_bavail * disk.f_frsize,
        reserve_bytes=quota.reserve_bytes(
            disk_bytes, asked_gib=settings.reserve_gib, asked_ratio=settings.reserve_ratio
        ),
        quota_bytes=None if settings.quota_gib is None else int(settings.quota_gib * GIB),
    )


def make_room(
    cache: Cache,
    model: str,
    size_bytes: int,
    *,
    settings: CacheSettings,
    protected: Collection[str],
    promised: Mapping[str, int] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Let builds leave until a model fits.

    Args:
        cache: Where it shall lie.
        model: The build's id.
        size_bytes: Of the whole build; what is here of it already is subtracted.
        settings: ``[cache]``.
        protected: Models that are loaded, pinned or being fetched: they stay.
        promised: By model, the size of builds that were let in and may not have begun to
            write; their room is taken.

    Returns:
        Folders that have left.

    Raises:
        CacheFull: It does not fit whoever leaves; nobody has left.
    """
    own = folder_name(model)
    found = held(cache)
    others = [one for one in _with(found, promised) if one.folder != own]
    here = next((one for one in found if one.folder == own), None)
    needs = size_bytes - (0 if here is None else here.size_bytes)
    room = room_of(cache, settings)
    verdict = quota.make_room(
        needs, room=_less(room, here), held=others, protected=_folders(protected)
    )
    if not verdict.fits:
        raise _full(verdict, needs, room)
    return leave(cache, verdict.leave)


def prune(
    cache: Cache,
    *,
    settings: CacheSettings,
    known: Collection[str] | None,
    protected: Collection[str],
    orphaned_before_s: float | None = None,
) -> tuple[str, ...]:
    """Sweep what is left of those who left, then orphans, then who is beyond the bounds.

    Args:
        cache: Where builds lie.
        settings: ``[cache]``.
        known: Models that may stay; every other one is an orphan. ``None``: nobody is.
        protected: Models that stay whatever happens.
        orphaned_before_s: An orphan that was used since then stays, in seconds since the
            epoch; ``None``: none does.

    Returns:
        Folders that have left.
    """
    sweep(cache)
    gone: list[str] = []
    if known is not None:
        stay = {*known, *protected}
        orphans = {path.name for path in cache.orphans(stay)}
        if orphaned_before_s is not None:
            found = [one for one in held(cache) if one.last_used_s < orphaned_before_s]
            orphans &= {one.folder for one in found}
        gone += leave(cache, sorted(orphans))
    room = room_of(cache, settings)
    gone += leave(
        cache, quota.over_quota(room=room, held=held(cache), protected=_folders(protected))
    )
    return tuple(gone)


def leave(cache: Cache, folders: Collection[str]) -> tuple[str, ...]:
    """Delete folders; one that is being written to stays.

    Returns:
        Those that are gone.
    """
    gone: list[str] = []
    for name in folders:
        try:
            remove(cache.models / name, model=name)
        except CacheBusy:
            continue
        gone.append(name)
    return tuple(gone)


def sweep(cache: Cache) -> int:
    """Delete what a kill left of folders on their way out; how many there were."""
    try:
        found = [path for path in cache.models.iterdir() if path.name.startswith(LEAVING_PREFIX)]
    except OSError:
        return 0
    import shutil  # noqa: PLC0415  # seldom needed, and no small thing in an idle agent

    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return len(found)


def _held(folder: Path, boot: str) -> Held:
    size_bytes = allocated_bytes(folder)
    signs = (USED_NAME, RECORD_NAME, JOURNAL_NAME)
    used_s = max(_changed_s(folder / name) for name in signs)
    record = read_record(folder)
    if record is not None and folder_name(record.model) == folder.name:
        is_whole = not changed_files(folder, record)
        lies_here = place_of(folder, record) == folder
        return Held(
            folder.name,
            record.model,
            size_bytes if lies_here else 0,
            last_used_s=used_s,
            is_whole=is_whole,
        )
    claims = load(folder / JOURNAL_NAME, boot_id=boot)
    total = 0 if claims is None else sum(file.size_bytes for file in claims.header.files)
    return Held(
        folder.name,
        None,
        size_bytes,
        pending_bytes=max(0, total - size_bytes),
        last_used_s=used_s,
        is_whole=False,
    )


def _with(found: Sequence[Held], promised: Mapping[str, int]) -> list[Held]:
    """The folders, with what was promised to builds on their way counted as still to come."""
    by_folder = {folder_name(model): size for model, size in promised.items()}
    here = {one.folder for one in found}
    fresh = [Held(name, None, 0, is_whole=False) for name in by_folder if name not in here]
    return [
        one
        if one.is_whole or one.folder not in by_folder
        else replace(
            one, pending_bytes=max(one.pending_bytes, by_folder[one.folder] - one.size_bytes)
        )
        for one in (*found, *fresh)
    ]


def _folders(models: Collection[str]) -> frozenset[str]:
    return frozenset(folder_name(model) for model in models)


def _changed_s(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _less(room: Room, here: Held | None) -> Room:
    """A quota counts what is here of the model itself; the disk has counted it already."""
    if room.quota_bytes is None or here is None:
        return room
    left = max(0, room.quota_bytes - here.size_bytes)
    return Room(room.disk_bytes, room.free_bytes, room.reserve_bytes, left)


def _full(verdict: Verdict, needs_bytes: int, room: Room) -> CacheFull:
    return CacheFull(
        needs_bytes=needs_bytes,
        lacking_bytes=verdict.lacking_bytes,
        free_bytes=room.free_bytes,
        bound=verdict.reason,
        bound_bytes=room.reserve_bytes if verdict.reason == "reserve" else room.quota_bytes or 0,
    )
