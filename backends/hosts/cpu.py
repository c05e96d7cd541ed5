"""The CPU's share of a host: cores we may use, and how busy they are."""

import os
import sys

import psutil

from .base import CpuCores


def usable_cores() -> CpuCores:
    """Logical cores this process may run on; the kinds are not told apart."""
    if sys.platform == "linux":
        return CpuCores(total=len(os.sched_getaffinity(0)))
    return CpuCores(total=psutil.cpu_count())


class CpuMeter:
    """How busy the machine's CPU was between one question and the next.

    psutil's own ``cpu_percent`` answers 0.0 to each thread's first question, and samples are
    taken in whatever thread is free; so the last reading is kept here.
    """

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None

    def usage_ratio(self) -> float | None:
        """Busy time over all time since the last call, 0 to 1; ``None`` the first time."""
        now, before = _busy_and_total_s(), self._before
        self._before = now
        if before is None or now[1] <= before[1]:
            return None
        return min(1.0, max(0.0, (now[0] - before[0]) / (now[1] - before[1])))


def _busy_and_total_s() -> tuple[float, float]:
    times = psutil.cpu_times()._asdict()
    # Linux counts a guest's time in `user` and `nice` already
    total_s = sum(s for name, s in times.items() if name not in {"guest", "guest_nice"})
    return total_s - times["idle"] - times.get("iowait", 0.0), total_s
