"""Any machine, by psutil: memory within its control group, CPU, and what the firmware says."""

from pathlib import Path

import psutil

from .base import HostFacts, HostSample, used_ratio
from .cgroups import memory_room
from .cpu import CpuMeter, usable_cores

_MODEL_FILES = ("sys/class/dmi/id/product_name", "proc/device-tree/model")
"""The firmware's name for the machine: of a PC, and of a board with a device tree."""


class GenericProbe:
    """Reads any machine that psutil runs on.

    Args:
        root: Where ``/proc`` and ``/sys`` are found; only tests name another.
    """

    def __init__(self, *, root: Path = Path("/")) -> None:
        self._root = root
        self._cpu = CpuMeter()
        self._facts: HostFacts | None = None

    def facts(self) -> HostFacts:
        """The machine as a CPU host: weights would live in its memory."""
        if self._facts is None:
            self._facts = self._read_facts()
        return self._facts

    def _read_facts(self) -> HostFacts:
        total_bytes, _ = self._memory_bytes()
        return HostFacts(
            kind="generic",
            machine_model=_machine_model(self._root),
            chip_name=_cpu_name(self._root),
            memory_total_bytes=total_bytes,
            cpu_cores=usable_cores(),
            rdma_disabled=rdma_disabled(self._root),
        )

    def sample(self) -> HostSample:
        """Memory and CPU; a generic machine's heat is not known."""
        total_bytes, available_bytes = self._memory_bytes()
        return HostSample(
            memory_total_bytes=total_bytes,
            memory_available_bytes=available_bytes,
            memory_used_ratio=used_ratio(total_bytes, available_bytes),
            cpu_usage_ratio=self._cpu.usage_ratio(),
        )

    def _memory_bytes(self) -> tuple[int, int]:
        """Total and available, both bounded by the control groups around us."""
        memory = psutil.virtual_memory()
        room = memory_room(self._root, total_bytes=memory.total)
        if room is None:
            return memory.total, memory.available
        return room.limit_bytes, min(memory.available, room.available_bytes)


def rdma_disabled(root: Path) -> bool | None:
    """Whether nothing on a Linux machine can do remote memory access.

    Args:
        root: Where ``/sys`` is found.

    Returns:
        ``False`` if the kernel lists one adapter or more (InfiniBand, RoCE or iWARP), ``None``
        if its list cannot be read, or there is none to read.

    Source:
        Documentation/ABI/stable/sysfs-class-infiniband: one entry per RDMA device.
    """
    classes = root / "sys/class"
    try:
        if not classes.is_dir():
            return None
        return not any((classes / "infiniband").iterdir())
    except FileNotFoundError:
        # a kernel without its RDMA core has no such class
        return True
    except OSError:
        return None


def _machine_model(root: Path) -> str | None:
    for name in _MODEL_FILES:
        # a device tree's strings end in NUL
        if text := _first_line(root / name).strip("\0 "):
            return text
    return None


def _cpu_name(root: Path) -> str | None:
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return None


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return lines[0].strip() if lines else ""
