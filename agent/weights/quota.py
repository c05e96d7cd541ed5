"""Who has to leave the cache so that a model fits: a rule over sizes and times (pure).

Two bounds hold at once. The *quota* bounds what all builds together take; the *reserve* is
what stays free on the disk for everybody else. Whatever a fetch that has begun still needs
is counted as taken already: it was promised. Builds leave in the order of their last use,
the longest unused first, and never more than needed; what is protected never leaves.
"""

from collections.abc import Collection, Sequence

from ...config.frozen import frozen

GIB = 2**30
RESERVE_BYTES = 10 * GIB
"""Left free on the disk at least, unless the operator says otherwise."""


@frozen
class Room:
    """The disk and its bounds.

    Attributes:
        disk_bytes: Size of the file system.
        free_bytes: What an unprivileged process could still write to it.
        reserve_bytes: What has to stay free.
        quota_bytes: Most that the cache may take; ``None``: as much as the disk gives.
    """

    disk_bytes: int
    free_bytes: int
    reserve_bytes: int
    quota_bytes: int | None = None


@frozen
class Held:
    """One folder of the cache.

    Attributes:
        folder: The folder's name.
        model: Whose it is; ``None`` if it says nothing that could be read.
        size_bytes: What it takes on the disk.
        pending_bytes: What its unfinished fetch still has to write.
        last_used_s: Seconds since the epoch; 0 if never.
        is_whole: Whether it is a verified build.
    """

    folder: str
    model: str | None
    size_bytes: int
    pending_bytes: int = 0
    last_used_s: float = 0.0
    is_whole: bool = True


@frozen
class Verdict:
    """What has to happen for a model to fit.

    Attributes:
        leave: Folders to be dropped, in this order.
        lacking_bytes: What is missing even then; 0: it fits.
        reason: ``quota`` or ``reserve``, whichever is short; empty if it fits.
    """

    leave: tuple[str, ...]
    lacking_bytes: int = 0
    reason: str = ""

    @property
    def fits(self) -> bool:
        """Whether the model has room once the leaving have left."""
        return self.lacking_bytes == 0


def reserve_bytes(disk_bytes: int, *, asked_gib: float | None, asked_ratio: float) -> int:
    """What has to stay free on a disk.

    Args:
        disk_bytes: Size of the file system.
        asked_gib: ``cache.reserve_gib``; ``None``: the larger of 10 GiB and the ratio.
        asked_ratio: ``cache.reserve_ratio``, 0 to 1.
    """
    part = int(disk_bytes * asked_ratio)
    return max(RESERVE_BYTES, part) if asked_gib is None else max(int(asked_gib * GIB), part)


def make_room(
    needs_bytes: int, *, room: Room, held: Sequence[Held], protected: Collection[str]
) -> Verdict:
    """Choose who leaves so that ``needs_bytes`` more can be written.

    Args:
        needs_bytes: What the model still has to write, 0 or more.
        room: The disk as it is.
        held: Every folder of the cache, but not the one that wants room.
        protected: Folders of models that are loaded, pinned or being fetched.

    Returns:
        If it does not fit even then, nobody leaves: to evict for nothing helps no one.
    """
    if needs_bytes <= 0:
        return Verdict(())
    disk, quota = _short_bytes(needs_bytes, room, held)
    leave, lacking = _leaving(max(disk, quota), held, protected)
    if lacking <= 0:
        return Verdict(leave)
    return Verdict((), lacking, "quota" if quota >= disk else "reserve")


def over_quota(*, room: Room, held: Sequence[Held], protected: Collection[str]) -> tuple[str, ...]:
    """Folders that have to leave for the bounds to hold again, the longest unused first.

    Unlike :func:`make_room` it does what can be done, whether or not that is enough.
    """
    leave, _ = _leaving(max(_short_bytes(0, room, held)), held, protected)
    return leave


def _short_bytes(needs_bytes: int, room: Room, held: Sequence[Held]) -> tuple[int, int]:
    """By how much the disk and the quota fall short; negative: by how much they do not."""
    pending = sum(one.pending_bytes for one in held)
    taken = sum(one.size_bytes for one in held) + pending
    disk = needs_bytes + pending + room.reserve_bytes - room.free_bytes
    # without a quota it can never be the tighter bound
    quota = disk - 1 if room.quota_bytes is None else taken + needs_bytes - room.quota_bytes
    return disk, quota


def _leaving(
    short_bytes: int, held: Sequence[Held], protected: Collection[str]
) -> tuple[tuple[str, ...], int]:
    """Who leaves to make up for a shortage, and what of it remains."""
    leave: list[str] = []
    may_leave = [one for one in held if one.folder not in protected]
    for one in sorted(may_leave, key=_goes_first):
        gives = one.size_bytes + one.pending_bytes
        if short_bytes > 0 and gives:
            leave.append(one.folder)
            short_bytes -= gives
    return tuple(leave), short_bytes


def _goes_first(one: Held) -> tuple[bool, float, str]:
    """What is unfinished or damaged, then by last use."""
    return (one.is_whole, one.last_used_s, one.folder)
