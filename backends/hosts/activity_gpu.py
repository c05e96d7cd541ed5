"""How busy NVIDIA boards are with programs that are not ours, by NVML's count per process.

A process is ours if it is this one or descends from it. Inside a container's own numbering of
processes the driver's numbers mean nothing, and then nothing is said.
"""

# The library's own names are kept, so that its manual can be read beside this file.
# ruff: noqa: N815

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol, cast

import psutil

from .nvml import Boards, Handle

NOT_FOUND = 6
"""No process was seen at work. Source: nvml.h, NVML_ERROR_NOT_FOUND."""

FIRST_NAMESPACE = "pid:[4026531836]"
"""The machine's own numbering of processes. Source: Linux, PROC_PID_INIT_INO in proc_ns.h."""

LOOK_BACK_S = 10.0
"""What a process did longer ago does not count; the driver samples several times a second."""

_MOST_PERCENT = 100


class Use(Protocol):
    """``nvmlProcessUtilizationSample_t``: one process at one moment; in percent."""

    pid: int
    timeStamp: int
    smUtil: int


class ProcessNvml(Protocol):
    """The calls that are used, by the names that the library gives them."""

    NVMLError: type[Exception]
    nvmlDeviceGetProcessUtilization: Callable[[Handle, int], Sequence[Use]]


class OthersOnGpu:
    """Reads what others do with the boards.

    Args:
        boards: The library, opened.
        own: Numbers of our own processes, and of whoever descends from them.
        now: The wall clock, which the driver's times are on.
    """

    def __init__(
        self,
        boards: Boards,
        *,
        own: Callable[[], Collection[int]] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._boards = boards
        self._own = own or own_processes
        self._now = now

    def ratio(self) -> float | None:
        """How busy the busiest board is with others, from 0 to 1; ``None`` if none says."""
        own = self._own()
        told = [self._on(handle, own) for handle in self._boards.handles().values()]
        return max((ratio for ratio in told if ratio is not None), default=None)

    def _on(self, handle: Handle, own: Collection[int]) -> float | None:
        nvml = cast("ProcessNvml", cast("object", self._boards.nvml))
        since_us = int(max(0.0, self._now() - LOOK_BACK_S) * 1e6)
        try:
            uses = nvml.nvmlDeviceGetProcessUtilization(handle, since_us)
        except nvml.NVMLError as error:
            return 0.0 if getattr(error, "value", None) == NOT_FOUND else None
        return others_ratio(uses, own)


def others_ratio(uses: Sequence[Use], own: Collection[int]) -> float:
    """The share of a board that processes other than ``own`` had in their last samples."""
    latest: dict[int, Use] = {}
    for use in uses:
        # the library fills what it has no sample for with zeros, or with nonsense
        is_real = use.pid > 0 and 0 <= use.smUtil <= _MOST_PERCENT
        if is_real and (use.pid not in latest or latest[use.pid].timeStamp <= use.timeStamp):
            latest[use.pid] = use
    percent = sum(use.smUtil for pid, use in latest.items() if pid not in own)
    return min(1.0, percent / _MOST_PERCENT)


def own_processes() -> frozenset[int]:
    """This process and all that descend from it."""
    here = psutil.Process()
    children = here.children(recursive=True)
    return frozenset({here.pid, *(child.pid for child in children)})


def sees_all_processes(root: Path = Path("/")) -> bool:
    """Whether processes have the numbers here that the driver knows them by."""
    try:
        return str((root / "proc/self/ns/pid").readlink()) == FIRST_NAMESPACE
    except OSError:
        return False
