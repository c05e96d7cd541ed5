"""Apple silicon: unified memory, heat and what the chip is, from the system's own tools.

Every tool is called by its absolute path, for a launchd job has next to no PATH, and all go
through one :data:`Readings` callable, so that recorded answers can stand in for a Mac.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from .base import (
    UNKNOWN_FAMILY,
    CpuCores,
    HostFacts,
    HostSample,
    ThermalState,
    used_ratio,
)
from .cpu import CpuMeter
from .tools import Command, Readings, run_tool

SYSCTL: Command = (
    "/usr/sbin/sysctl", "hw.model", "hw.memsize", "machdep.cpu.brand_string", "hw.logicalcpu",
    "hw.nperflevels", "hw.perflevel0.logicalcpu", "hw.perflevel1.logicalcpu",
)  # fmt: skip
VM_STAT: Command = ("/usr/bin/vm_stat",)
DISPLAYS: Command = ("/usr/sbin/system_profiler", "SPDisplaysDataType", "-json")
CSRUTIL: Command = ("/usr/bin/csrutil", "status")
RDMA: Command = ("/usr/bin/rdma_ctl", "status")
THERMAL: Command = ("/usr/bin/notifyutil", "-g", "com.apple.system.thermalpressurelevel")

_CHIP = re.compile(r"Apple (?P<family>M\d+)(?: (?P<tier>Pro|Max|Ultra))?")

_BANDWIDTH_GBS: Mapping[tuple[str, str], float | Mapping[int, float]] = {
    ("m1", "base"): 68.25, ("m1", "pro"): 200.0, ("m1", "max"): 400.0, ("m1", "ultra"): 800.0,
    ("m2", "base"): 100.0, ("m2", "pro"): 200.0, ("m2", "max"): 400.0, ("m2", "ultra"): 800.0,
    ("m3", "base"): 100.0, ("m3", "pro"): 150.0, ("m3", "ultra"): 819.0,
    ("m3", "max"): {30: 300.0, 40: 400.0},
    ("m4", "base"): 120.0, ("m4", "pro"): 273.0, ("m4", "max"): {32: 410.0, 40: 546.0},
    ("m5", "base"): 153.0,
}  # fmt: skip
"""10^9 bytes a second; by GPU cores where one name covers two chips. Source: Apple's
technical specifications of the machines that have them. A chip that is not here is unknown."""

_THERMAL_LEVELS: tuple[ThermalState, ...] = ("nominal", "fair", "serious", "critical", "critical")
"""Source: OSThermalNotification.h on macOS: nominal, moderate, heavy, trapping, sleeping."""


class AppleProbe:
    """Reads a Mac with Apple silicon.

    Args:
        readings: Runs a command.
        has_tool: Whether this Mac has a tool at all, by its path.
    """

    def __init__(
        self,
        readings: Readings | None = None,
        *,
        has_tool: Callable[[str], bool] = lambda path: Path(path).exists(),
    ) -> None:
        self._read = readings or run_tool
        self._has_tool = has_tool
        self._cpu = CpuMeter()
        self._facts: HostFacts | None = None

    def facts(self) -> HostFacts:
        """The machine; the first call takes seconds, the others none."""
        if self._facts is None:
            self._facts = self._read_facts()
        return self._facts

    def sample(self) -> HostSample:
        """Memory, CPU and heat now."""
        total_bytes = self.facts().memory_total_bytes
        available_bytes = available_memory_bytes(self._read(VM_STAT))
        if total_bytes is not None and available_bytes is not None:
            available_bytes = min(total_bytes, available_bytes)
        return HostSample(
            memory_total_bytes=total_bytes,
            memory_available_bytes=available_bytes,
            memory_used_ratio=used_ratio(total_bytes, available_bytes),
            cpu_usage_ratio=self._cpu.usage_ratio(),
            thermal_state=thermal_state(self._read(THERMAL)),
        )

    def _read_facts(self) -> HostFacts:
        said = sysctl_values(self._read(SYSCTL))
        chip_name = said.get("machdep.cpu.brand_string") or None
        family, tier = chip_family_and_tier(chip_name)
        gpu_cores = displays_gpu_cores(self._read(DISPLAYS))
        return HostFacts(
            kind="apple",
            machine_model=said.get("hw.model") or None,
            chip_name=chip_name,
            chip_family=family,
            chip_tier=tier,
            memory_total_bytes=_count(said.get("hw.memsize")),
            cpu_cores=_cpu_cores(said),
            gpu_cores=gpu_cores,
            memory_bandwidth_gbs=bandwidth_gbs(family, tier, gpu_cores=gpu_cores),
            sip_enabled=sip_enabled(self._read(CSRUTIL)),
            rdma_disabled=self._rdma_disabled(),
        )

    def _rdma_disabled(self) -> bool | None:
        """A system without the tool is from before remote memory access came to Macs."""
        if not self._has_tool(RDMA[0]):
            return True
        return rdma_disabled(self._read(RDMA))


def sysctl_values(text: str | None) -> dict[str, str]:
    """``key: value`` lines as a mapping; keys that this system has not are not in it."""
    pairs = (line.partition(":") for line in (text or "").splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def available_memory_bytes(vm_stat: str | None) -> int | None:
    """What a new program could take without swapping, in bytes.

    Free, speculative and inactive pages. ``vm_stat`` prints its free pages without the
    speculative ones, which the kernel counts as free.

    Source:
        vm_stat.c of Apple's system_cmds; the same sum as psutil's for macOS.
    """
    text = vm_stat or ""
    size = re.search(r"page size of (\d+) bytes", text)
    said = sysctl_values(text)
    names = ("Pages free", "Pages speculative", "Pages inactive")
    pages = [_count(said.get(name, "").rstrip("."), least=0) for name in names]
    known = [count for count in pages if count is not None]
    if size is None or len(known) < len(names):
        return None
    return sum(known) * int(size[1])


def chip_family_and_tier(chip_name: str | None) -> tuple[str, str | None]:
    """``Apple M4 Max`` -> ``("m4", "max")``; a chip without a suffix is of tier ``base``."""
    # a word that we do not know may be a tier that we do not know
    found = _CHIP.fullmatch((chip_name or "").strip())
    if found is None:
        return UNKNOWN_FAMILY, None
    return found["family"].lower(), (found["tier"] or "base").lower()


def bandwidth_gbs(family: str, tier: str | None, *, gpu_cores: int | None) -> float | None:
    """A chip's memory rate in 10^9 bytes a second; ``None`` for one that is not in the table."""
    rate = _BANDWIDTH_GBS.get((family, tier or ""))
    if isinstance(rate, Mapping):
        return rate.get(gpu_cores or 0)
    return rate


def displays_gpu_cores(text: str | None) -> int | None:
    """GPU cores out of ``system_profiler SPDisplaysDataType -json``."""
    try:
        report = cast("object", json.loads(text or ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(report, dict):
        return None
    boards = cast("dict[str, object]", report).get("SPDisplaysDataType")
    for board in cast("list[object]", boards) if isinstance(boards, list) else []:
        if isinstance(board, dict):
            cores = _count(str(cast("dict[str, object]", board).get("sppci_cores")))
            if cores is not None:
                return cores
    return None


def thermal_state(text: str | None) -> ThermalState | None:
    """``com.apple.system.thermalpressurelevel N`` in the words of the wire."""
    found = re.fullmatch(r"com\.apple\.system\.thermalpressurelevel (\d+)", (text or "").strip())
    level = _count(found[1], least=0) if found else None
    if level is None or level >= len(_THERMAL_LEVELS):
        return None
    return _THERMAL_LEVELS[level]


def sip_enabled(text: str | None) -> bool | None:
    """Whether System Integrity Protection is on, from what ``csrutil status`` prints.

    Returns:
        ``None`` for a custom configuration too: parts of it are on and parts are off.
    """
    found = re.search(r"System Integrity Protection status:\s*(\w+)\s*(\(?)", text or "")
    if found is None or found[2]:
        return None
    return {"enabled": True, "disabled": False}.get(found[1])


def rdma_disabled(text: str | None) -> bool | None:
    """Whether remote memory access is off, from what ``rdma_ctl status`` prints."""
    return {"disabled": True, "enabled": False}.get((text or "").strip().lower())


def _cpu_cores(said: Mapping[str, str]) -> CpuCores:
    """The first level of performance is the fast one; a third kind is not told apart."""
    is_told_apart = said.get("hw.nperflevels") == "2"
    return CpuCores(
        total=_count(said.get("hw.logicalcpu")),
        performance=_count(said.get("hw.perflevel0.logicalcpu")) if is_told_apart else None,
        efficiency=_count(said.get("hw.perflevel1.logicalcpu")) if is_told_apart else None,
    )


def _count(text: str | None, *, least: int = 1) -> int | None:
    digits = text or ""
    # 18 digits are more than any machine has of anything
    if not re.fullmatch(r"[0-9]{1,18}", digits):
        return None
    return int(digits) if int(digits) >= least else None
