"""What a machine tells: :class:`HostFacts` once, :class:`HostSample` often.

The one rule: what cannot be read is ``None`` (or the word ``"unknown"`` for a chip's family),
never a default, for every value here may travel to a coordinator that plans with it. Sizes are
raw bytes; rounding for the wire is the report's business.
"""

from collections.abc import Iterable
from typing import Literal, Protocol

from ...config.frozen import frozen

HostKind = Literal["apple", "nvidia", "generic"]
ThermalState = Literal["nominal", "fair", "serious", "critical"]

THERMAL_STATES: tuple[ThermalState, ...] = ("nominal", "fair", "serious", "critical")
"""From cool to too hot; the words are the wire's."""

UNKNOWN_FAMILY = "unknown"


@frozen
class CpuCores:
    """How many logical cores this process may run on.

    Attributes:
        total: All of them, after affinity.
        performance: Fast ones; ``None`` where the machine does not tell them apart.
        efficiency: Slow ones; ``None`` where the machine does not tell them apart.
    """

    total: int | None = None
    performance: int | None = None
    efficiency: int | None = None


@frozen
class GpuFacts:
    """One graphics board, as it is built.

    Attributes:
        index: Its number at the driver, from 0.
        memory_total_bytes: Memory that programs can use; ``None`` for a board that shares the
            machine's memory.
        bandwidth_gbs: Its memory's peak rate, in 10^9 bytes a second.
    """

    index: int
    name: str | None
    family: str = UNKNOWN_FAMILY
    memory_total_bytes: int | None = None
    cores: int | None = None
    bandwidth_gbs: float | None = None


@frozen
class GpuSample:
    """One graphics board, as it is now; a board that was lost has nothing but its index."""

    index: int
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    usage_ratio: float | None = None
    temperature_c: int | None = None
    thermal_state: ThermalState | None = None


@frozen
class HostFacts:
    """What does not change while the process lives.

    Attributes:
        machine_model: The maker's name for the machine, such as ``Mac16,5``.
        chip_name: The chip that computes: Apple's, the first graphics board's, or the CPU's.
        chip_family: Such as ``m4`` or ``hopper``; ``unknown`` if it is not known here.
        chip_tier: ``base``, ``pro``, ``max`` or ``ultra`` for an Apple chip, else ``None``.
        memory_total_bytes: The memory in which weights will live: unified memory on Apple
            silicon, the usable memory of all boards on a GPU host, and elsewhere the
            machine's memory as far as its control group lets us have it.
        gpu_cores: Of all boards; 0 where there certainly is none.
        memory_bandwidth_gbs: Peak rate of that memory, in 10^9 bytes a second; of the
            slowest board where there are several.
        sip_enabled: Whether System Integrity Protection is on; Apple only.
        secure_boot_enabled: Whether full secure boot is on; ``None`` unless it was measured.
        rdma_disabled: Whether remote memory access is off; ``None`` unless it was measured.
    """

    kind: HostKind
    machine_model: str | None = None
    chip_name: str | None = None
    chip_family: str = UNKNOWN_FAMILY
    chip_tier: str | None = None
    memory_total_bytes: int | None = None
    cpu_cores: CpuCores = CpuCores()
    gpu_cores: int | None = None
    memory_bandwidth_gbs: float | None = None
    gpus: tuple[GpuFacts, ...] = ()
    sip_enabled: bool | None = None
    secure_boot_enabled: bool | None = None
    rdma_disabled: bool | None = None


@frozen
class HostSample:
    """What is so at this moment.

    Attributes:
        memory_total_bytes: As in :class:`HostFacts`, but without boards that were lost.
        memory_available_bytes: What a new program could take of it without swapping.
        memory_used_ratio: The part of it that is not available, from 0 to 1.
        cpu_usage_ratio: Of all cores since the sample before, from 0 to 1; ``None`` in a
            probe's first sample.
        thermal_state: The hottest part's.
    """

    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    memory_used_ratio: float | None = None
    cpu_usage_ratio: float | None = None
    thermal_state: ThermalState | None = None
    gpus: tuple[GpuSample, ...] = ()


@frozen
class Activity:
    """What shows that somebody needs the machine; what cannot be read is ``None``.

    Attributes:
        input_idle_s: Since keyboard or mouse were last touched; 0 while the system says no
            more than that somebody is at it.
        is_on_battery: Whether the machine draws on a battery.
        others_gpu_ratio: How busy the busiest board is with programs that are not ours, 0 to 1.
        thermal_state: How hot it is, where only this probe can say.
    """

    input_idle_s: float | None = None
    is_on_battery: bool | None = None
    others_gpu_ratio: float | None = None
    thermal_state: ThermalState | None = None


class ActivityProbe(Protocol):
    """Reads what the machine's owner does with it. Blocks, and never raises."""

    def read(self) -> Activity:
        """What is so now; a matter of milliseconds."""
        ...


class HostProbe(Protocol):
    """Reads one machine.

    Both calls block, so they are made in a thread, by one caller and one after the other:
    ``facts`` when the daemon starts, ``sample`` once a heartbeat for as long as it lives.
    Neither raises for anything that a machine can do: what fails to be read is ``None``.
    """

    def facts(self) -> HostFacts:
        """What does not change; the same at each call. May take seconds the first time."""
        ...

    def sample(self) -> HostSample:
        """What is so now; a matter of milliseconds."""
        ...


def used_ratio(total_bytes: int | None, available_bytes: int | None) -> float | None:
    """The part of a memory that is not available, from 0 to 1.

    Returns:
        ``None`` if either is unknown, or there is no memory at all.
    """
    if not total_bytes or available_bytes is None:
        return None
    return min(1.0, max(0.0, 1.0 - available_bytes / total_bytes))


def hottest(states: Iterable[ThermalState | None]) -> ThermalState | None:
    """The worst state that was read; ``None`` if none was."""
    known = {state for state in states if state is not None}
    return next((state for state in reversed(THERMAL_STATES) if state in known), None)
