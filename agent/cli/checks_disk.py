"""Checks of the cache's disk, by the rules that the agent makes room by."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from ...backends.stores.base import Stock
from ...config.paths import SERVICE_CACHE, SERVICE_STATE, cache_dir
from ..weights import quota, shelves
from ..weights.cache import Cache
from ..weights.inventory import inventory
from .checks_agent import nearest
from .checks_told import Finding, Ground, fail, ok, skipped, warn
from .render import size

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "cache.disk": "the cache's disk is there, can be written to, and has more than its reserve",
        "cache.inodes": "it has room for more files",
        "cache.quota": "all builds together keep to `cache.quota_gib`",
        "cache.room": "each model that is not here has room, if others leave",
        "cache.orphans": "nothing lies in the cache that no model needs",
    }
)
_FEW_INODES, _LOW_INODES = 1_000, 10_000
"""A build is some hundred files at most; our choice."""


def cache_of(ground: Ground) -> Path:
    """The cache folder that the agent would use, absolute."""
    named = ground.settings.cache.dir
    if named:
        return Path(named)
    if ground.state_dir == SERVICE_STATE:
        return SERVICE_CACHE
    return cache_dir(ground.platform, ground.environ, ground.home)


def stocks_of(ground: Ground) -> tuple[Stock, ...]:
    """How much of each model is here."""
    return inventory(Cache(cache_of(ground)), ground.settings.models)


def look(ground: Ground) -> Iterator[Finding]:
    """Look at the disk; nothing is written, and no folder is made."""
    folder = cache_of(ground)
    above = nearest(Cache(folder).models)
    try:
        room = shelves.room_at(above, ground.settings.cache)
        disk = os.statvfs(above)
    except OSError as error:
        yield fail("cache.disk", f"{above}: {error.strerror}", "Look at the disk of cache.dir.")
        for check in (*ABOUT,)[1:]:
            yield skipped(check, "the disk cannot be read")
        return
    yield _disk(above, room)
    yield _inodes(above, disk)
    held = shelves.held(Cache(folder))
    yield _quota(room, held)
    yield from _rooms(ground, room, held)
    yield _orphans(ground, folder)


def _disk(above: Path, room: quota.Room) -> Finding:
    free, reserve = size(room.free_bytes), size(room.reserve_bytes)
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        cause = f"{above} cannot be written to by this user"
        return fail("cache.disk", cause, "Mend its owner or mode, or move cache.dir.")
    if room.free_bytes <= room.reserve_bytes:
        cause = f"{free} free below {above}, and {reserve} have to stay: nothing can be fetched"
        return fail("cache.disk", cause, "Free disk space, or move cache.dir.")
    return ok("cache.disk", f"{free} free below {above}, {reserve} of them reserved")


def _inodes(above: Path, disk: os.statvfs_result) -> Finding:
    if disk.f_files == 0:
        return skipped("cache.inodes", "this file system has no bound of files")
    if disk.f_favail < _LOW_INODES:
        told = fail if disk.f_favail < _FEW_INODES else warn
        cause = f"room for {disk.f_favail} more files below {above}"
        return told("cache.inodes", cause, "Delete many small files, or move cache.dir.")
    return ok("cache.inodes", f"room for {disk.f_favail} more files")


def _quota(room: quota.Room, held: tuple[quota.Held, ...]) -> Finding:
    used = sum(one.size_bytes for one in held)
    if room.quota_bytes is None:
        return ok("cache.quota", f"{size(used)} in use, no quota")
    told = f"{size(used)} of {size(room.quota_bytes)} in use"
    if used > room.quota_bytes:
        remedy = "The longest unused leave at the next look, or say `poolhand models prune`."
        return warn("cache.quota", told, remedy)
    return ok("cache.quota", told)


def _rooms(ground: Ground, room: quota.Room, held: tuple[quota.Held, ...]) -> Iterator[Finding]:
    cache = Cache(cache_of(ground))
    offered = [entry for entry in ground.settings.models if not entry.is_elsewhere]
    if not offered:
        yield skipped("cache.room", "no model with a ref is offered")
    for entry, stock in zip(ground.settings.models, stocks_of(ground), strict=True):
        if entry.is_elsewhere:
            continue
        if stock.state == "here" or entry.place.scheme == "file":
            yield ok("cache.room", "it is here, or stays where it lies", entry.id)
        elif stock.size_bytes is None:
            why = "its size is not known before it was listed once: `poolhand models fetch`"
            yield skipped("cache.room", why, entry.id)
        else:
            own = cache.folder(entry.id).name
            others = [one for one in held if one.folder != own]
            needs = stock.size_bytes - stock.here_bytes
            verdict = quota.make_room(needs, room=room, held=others, protected=())
            yield _room(entry.id, verdict, needs)


def _room(model: str, verdict: quota.Verdict, needs_bytes: int) -> Finding:
    if not verdict.fits:
        lacking = size(verdict.lacking_bytes)
        cause = f"{size(needs_bytes)} to come, {lacking} beyond the cache's {verdict.reason}"
        remedy = "Free disk space, or change cache.quota_gib or cache.reserve_gib."
        return fail("cache.room", cause, remedy, model)
    leaving = f" once {len(verdict.leave)} other(s) left" if verdict.leave else ""
    return ok("cache.room", f"{size(needs_bytes)} to come fit{leaving}", model)


def _orphans(ground: Ground, folder: Path) -> Finding:
    orphans = Cache(folder).orphans([entry.id for entry in ground.settings.models])
    if orphans:
        cause = f"{len(orphans)} folder(s) that no [[models]] names, such as {orphans[0].name}"
        remedy = "They leave a week after their last use, or say `poolhand models prune`."
        return warn("cache.orphans", cause, remedy)
    return ok("cache.orphans", "none")
