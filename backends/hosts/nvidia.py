"""NVIDIA boards, by NVML: memory, load and heat of each.

The machine around the boards is read by another probe, which is also where the memory of a
board without its own (a unified one, such as GB10) is found.
"""

from collections.abc import Iterable
from dataclasses import replace

from .base import (
    UNKNOWN_FAMILY,
    GpuFacts,
    GpuSample,
    HostFacts,
    HostProbe,
    HostSample,
    ThermalState,
    hottest,
    used_ratio,
)
from .nvml import CLOCK_MEMORY, SENSOR_GPU, THRESHOLD_SLOWDOWN, Boards, Handle

_FAMILIES = {
    (6, 0): "pascal", (6, 1): "pascal", (6, 2): "pascal",
    (7, 0): "volta", (7, 2): "volta", (7, 5): "turing",
    (8, 0): "ampere", (8, 6): "ampere", (8, 7): "ampere", (8, 9): "ada",
    (9, 0): "hopper",
    (10, 0): "blackwell", (10, 3): "blackwell", (11, 0): "blackwell",
    (12, 0): "blackwell", (12, 1): "blackwell",
}  # fmt: skip
"""Compute capability -> architecture. Source: NVIDIA's table of CUDA GPUs and nvcc's manual."""

_HW_THERMAL = 0x40
_SW_THERMAL = 0x20
_HW_SLOWDOWN = 0x08
_HW_POWER_BRAKE = 0x80
"""Why clocks are held down. Source: nvml.h, nvmlClocksEventReasons."""

_NEAR_SLOWDOWN_C = 5
"""A board this near to its slowdown temperature is not cool any more; our choice."""


class NvidiaProbe:
    """Reads a host whose weights will live on NVIDIA boards.

    Args:
        boards: The library, opened.
        around: Reads the machine itself.
    """

    def __init__(self, boards: Boards, *, around: HostProbe) -> None:
        self._boards = boards
        self._around = around
        self._facts: HostFacts | None = None

    def facts(self) -> HostFacts:
        """The boards as they were found first; a board lost later keeps its facts."""
        if self._facts is None:
            self._facts = self._read_facts()
        return self._facts

    def sample(self) -> HostSample:
        """Memory, load and heat over all boards that answer."""
        handles = self._boards.handles()
        gpus = tuple(
            self._gpu_sample(gpu.index, handles.get(gpu.index)) for gpu in self.facts().gpus
        )
        around = self._around.sample()
        thermal_state = hottest([around.thermal_state, *(gpu.thermal_state for gpu in gpus)])
        if self._is_unified(handles):
            return replace(around, thermal_state=thermal_state, gpus=gpus)
        total_bytes = _sum([gpu.memory_total_bytes for gpu in gpus])
        available_bytes = _sum([gpu.memory_available_bytes for gpu in gpus])
        return HostSample(
            memory_total_bytes=total_bytes,
            memory_available_bytes=available_bytes,
            memory_used_ratio=used_ratio(total_bytes, available_bytes),
            cpu_usage_ratio=around.cpu_usage_ratio,
            thermal_state=thermal_state,
            gpus=gpus,
        )

    def _is_unified(self, handles: dict[int, Handle]) -> bool:
        """Whether the weights will live in the machine's memory: no board has its own.

        Asked anew for each sample: a unified board that was lost answers nothing, and a machine
        without a board has no memory to offer.
        """
        if any(gpu.memory_total_bytes is not None for gpu in self.facts().gpus):
            return False
        return any(map(self._boards.is_unified, handles.values()))

    def _read_facts(self) -> HostFacts:
        handles = self._boards.handles()
        gpus = tuple(self._gpu_facts(index, handle) for index, handle in handles.items())
        around = self._around.facts()
        memory_total_bytes = _sum([gpu.memory_total_bytes for gpu in gpus])
        if memory_total_bytes is None and any(map(self._boards.is_unified, handles.values())):
            memory_total_bytes = around.memory_total_bytes
        rates = [gpu.bandwidth_gbs for gpu in gpus if gpu.bandwidth_gbs is not None]
        families = {gpu.family for gpu in gpus}
        return HostFacts(
            kind="nvidia",
            machine_model=around.machine_model,
            chip_name=gpus[0].name if gpus else None,
            chip_family=families.pop() if len(families) == 1 else UNKNOWN_FAMILY,
            memory_total_bytes=memory_total_bytes,
            cpu_cores=around.cpu_cores,
            gpu_cores=_sum([gpu.cores for gpu in gpus]),
            memory_bandwidth_gbs=min(rates, default=None),
            gpus=gpus,
            rdma_disabled=around.rdma_disabled,
        )

    def _gpu_facts(self, index: int, handle: Handle) -> GpuFacts:
        ask, nvml = self._boards.ask, self._boards.nvml
        memory_bytes = self._boards.memory_bytes(handle)
        capability = ask(lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
        return GpuFacts(
            index=index,
            name=ask(lambda: nvml.nvmlDeviceGetName(handle)),
            family=_FAMILIES.get(capability or (0, 0), UNKNOWN_FAMILY),
            memory_total_bytes=memory_bytes[0] if memory_bytes else None,
            cores=ask(lambda: nvml.nvmlDeviceGetNumGpuCores(handle)),
            bandwidth_gbs=bandwidth_gbs(
                ask(lambda: nvml.nvmlDeviceGetMemoryBusWidth(handle)),
                ask(lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, CLOCK_MEMORY)),
            ),
        )

    def _gpu_sample(self, index: int, handle: Handle | None) -> GpuSample:
        if handle is None:
            return GpuSample(index=index)
        ask, nvml = self._boards.ask, self._boards.nvml
        memory_bytes = self._boards.memory_bytes(handle)
        usage = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        temperature_c = ask(lambda: nvml.nvmlDeviceGetTemperature(handle, SENSOR_GPU))
        return GpuSample(
            index=index,
            memory_total_bytes=memory_bytes[0] if memory_bytes else None,
            memory_available_bytes=memory_bytes[1] if memory_bytes else None,
            usage_ratio=None if usage is None else min(1.0, usage.gpu / 100),
            temperature_c=temperature_c,
            thermal_state=thermal_state(
                ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),
                temperature_c=temperature_c,
                slowdown_c=ask(
                    lambda: nvml.nvmlDeviceGetTemperatureThreshold(handle, THRESHOLD_SLOWDOWN)
                ),
            ),
        )


def bandwidth_gbs(bus_bits: int | None, clock_mhz: int | None) -> float | None:
    """A board's peak memory rate, in 10^9 bytes a second.

    Args:
        bus_bits: Width of its memory bus.
        clock_mhz: Highest clock of its memory, which moves two words a beat. NVML reports
            the faster generations' clocks so that this holds for them too.

    Source:
        5120 bits at 2619 MHz give 3352 GB/s; the H100 SXM's data sheet says 3.35 TB/s.
    """
    if not bus_bits or not clock_mhz:
        return None
    return bus_bits / 8 * clock_mhz * 2 / 1000


def thermal_state(
    reasons: int | None, *, temperature_c: int | None, slowdown_c: int | None
) -> ThermalState | None:
    """How hot a board is, in the words of the wire.

    Args:
        reasons: NVML's bits for what holds the clocks down.
        temperature_c: The board's temperature.
        slowdown_c: Where its hardware begins to slow down.

    Returns:
        ``critical`` when the hardware slows it down for heat, ``serious`` when the driver
        does, ``fair`` near to that, ``None`` if there is nothing to judge by.
    """
    is_near = (
        temperature_c is not None
        and slowdown_c is not None
        and temperature_c >= slowdown_c - _NEAR_SLOWDOWN_C
    )
    if reasons is None:
        return "fair" if is_near else None
    # the general bit covers heat and the power brake; older boards set no other for heat
    if reasons & _HW_THERMAL or (reasons & _HW_SLOWDOWN and not reasons & _HW_POWER_BRAKE):
        return "critical"
    if reasons & _SW_THERMAL:
        return "serious"
    return "fair" if is_near else "nominal"


def _sum(numbers: Iterable[int | None]) -> int | None:
    """The sum of what is known; ``None`` if nothing is."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
