"""Checks of NVIDIA's boards: can they be opened, and who else computes on them?"""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import psutil

from ...backends.hosts.activity_gpu import OthersOnGpu, own_processes, sees_all_processes
from ...backends.hosts.nvml import Boards, open_boards
from .checks_told import Finding, Ground, fail, ok, skipped, warn
from .render import percent, size

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "gpu.driver": "where NVIDIA's driver is loaded, this user may open its boards",
        "gpu.memory": "each board's memory can be read, and is not taken by others already",
        "gpu.users": "no other program computes on them",
    }
)
_BUSY_RATIO = 0.05
_TAKEN_PART = 2
"""A board with less than half of its memory free is told of, if no agent runs that took it."""


def look(ground: Ground) -> Iterator[Finding]:
    """Open the boards as the agent does."""
    if ground.platform == "darwin":
        for check in ABOUT:
            yield skipped(check, "a Mac's GPU is read with the machine's memory")
        return
    boards = open_boards()
    yield from told_of(ground, boards, sees_all=sees_all_processes(ground.root))


def told_of(ground: Ground, boards: Boards | None, *, sees_all: bool) -> Iterator[Finding]:
    """What is found of boards that were opened, or were not.

    Args:
        ground: Where to look for a driver.
        boards: ``None`` if none could be opened.
        sees_all: Whether processes have the numbers here that the driver knows them by.
    """
    if boards is None:
        yield _without(ground)
        yield skipped("gpu.memory", "there is no board")
        yield skipped("gpu.users", "there is no board")
        return
    yield ok("gpu.driver", f"{len(boards.handles())} board(s) can be opened")
    yield _memory(ground, boards)
    if not sees_all:
        yield skipped("gpu.users", "inside a container the driver's process numbers mean nothing")
        return
    ratio = OthersOnGpu(boards, own=lambda: _ours(ground.pid)).ratio()
    if ratio is None:
        yield skipped("gpu.users", "the driver does not count by process")
    elif ratio > _BUSY_RATIO:
        cause = f"other programs keep a board {percent(ratio)} busy"
        remedy = 'Stop them, or let the node step aside: owner.yield_to = ["gpu"].'
        yield warn("gpu.users", cause, remedy)
    else:
        yield ok("gpu.users", "nobody else computes on them")


def _without(ground: Ground) -> Finding:
    version = ground.root / "proc/driver/nvidia/version"
    if not version.exists():
        return skipped("gpu.driver", "NVIDIA's driver is not loaded")
    cause = "NVIDIA's driver is loaded, but its library opens no board for this user"
    remedy = "Is libnvidia-ml.so.1 installed, and may this user open /dev/nvidia*?"
    return fail("gpu.driver", cause, remedy)


def _memory(ground: Ground, boards: Boards) -> Finding:
    told: list[str] = []
    taken: list[int] = []
    for index, handle in boards.handles().items():
        known = boards.memory_bytes(handle)
        if known is None:
            told.append(f"board {index} has none of its own" if boards.is_unified(handle) else "")
            continue
        total_bytes, free_bytes = known
        told.append(f"board {index}: {size(free_bytes)} of {size(total_bytes)} free")
        if free_bytes * _TAKEN_PART < total_bytes:
            taken.append(index)
    words = "; ".join(filter(None, told)) or "no board says"
    if taken and not ground.runs:
        return warn("gpu.memory", words, "See `nvidia-smi` for who has it.")
    return ok("gpu.memory", words)


def _ours(pid: int | None) -> Collection[int]:
    """This process, the agent, and all that descend from them."""
    ours = set(own_processes())
    if pid is not None:
        try:
            ours |= {pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))}
        except psutil.Error:
            ours.add(pid)
    return ours
