"""How much memory the control groups around this process leave it.

A process is bound by its own group and by each group above it. The file system is read below a
root that is an argument, so that a test can lay out any machine in a folder.

Sources: the kernel's admin-guide/cgroup-v2.rst (memory.max, memory.high, memory.current,
memory.stat) and cgroup-v1/memory.rst; the files of a container's own group stand at the mount
point while /proc/self/cgroup may name a path that only the host can see.
"""

from pathlib import Path, PurePosixPath

from ...config.frozen import frozen

_MOUNT = Path("sys/fs/cgroup")


@frozen
class MemoryRoom:
    """What the groups allow, all levels considered.

    Attributes:
        limit_bytes: The smallest limit on the way up.
        available_bytes: The least that any limited level has left, its page cache counted as
            free; 0 or more.
    """

    limit_bytes: int
    available_bytes: int


@frozen
class _Names:
    """The same four things under the names of one version of the interface."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: frozenset[str]


_V2 = _Names(
    limits=("memory.max", "memory.high"),
    usage="memory.current",
    # what MemAvailable counts on for a whole machine: file pages and slab that can be dropped
    reclaimable=frozenset({"active_file", "inactive_file", "slab_reclaimable"}),
)
_V1 = _Names(
    limits=("memory.limit_in_bytes",),
    usage="memory.usage_in_bytes",
    reclaimable=frozenset({"total_active_file", "total_inactive_file"}),
)


def memory_room(root: Path, *, total_bytes: int) -> MemoryRoom | None:
    """The memory that the control groups leave to this process.

    Args:
        root: Where ``/proc`` and ``/sys`` are found; ``/`` on a real machine.
        total_bytes: The machine's memory. A limit that is not below it limits nothing: version
            1 writes "no limit" as a very large number.

    Returns:
        ``None`` if no group limits us, or none can be read.
    """
    levels = [
        (limit_bytes, max(0, limit_bytes - _held_bytes(folder, names)))
        for folder, names in _folders(root)
        for limit_bytes in _limits(folder, names)
        if limit_bytes < total_bytes
    ]
    if not levels:
        return None
    limits, lefts = zip(*levels, strict=True)
    return MemoryRoom(limit_bytes=min(limits), available_bytes=min(*lefts, *limits))


def _folders(root: Path) -> list[tuple[Path, _Names]]:
    """Our group's folder and all above it, of whichever versions are mounted."""
    found: list[tuple[Path, _Names]] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            found += [(folder, _V2) for folder in _upwards(root / _MOUNT, path)]
        elif "memory" in controllers.split(","):
            found += [(folder, _V1) for folder in _upwards(root / _MOUNT / "memory", path)]
    return found


def _upwards(mount: Path, path: str) -> list[Path]:
    # ".." appears when the reader lives in another namespace; it points out of what we can see
    parts = [part for part in PurePosixPath(path.lstrip("/")).parts if part != ".."]
    return [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _limits(folder: Path, names: _Names) -> list[int]:
    texts = (_text(folder / name).strip() for name in names.limits)
    return [int(text) for text in texts if text.isdecimal()]


def _held_bytes(folder: Path, names: _Names) -> int:
    """What the group cannot give back; all that may be known is that it is not negative."""
    usage = _text(folder / names.usage).strip()
    lines = (line.split() for line in _text(folder / "memory.stat").splitlines())
    reclaimable_bytes = sum(
        int(line[1])
        for line in lines
        if len(line) == len(("name", "bytes"))
        and line[0] in names.reclaimable
        and line[1].isdecimal()
    )
    return max(0, int(usage) - reclaimable_bytes) if usage.isdecimal() else 0


def _text(path: Path) -> str:
    """A small file's text; empty if it is not there or not ours to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # a name with NUL in it is no name, and raises the second
        return ""
