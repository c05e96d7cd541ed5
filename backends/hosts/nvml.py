"""NVIDIA's management library as the few typed calls that the probe makes of it.

The module ``pynvml`` comes with the distribution ``nvidia-ml-py``. It is imported when this
machine is first looked at, never before: most machines have no such board.
"""

# The library's own names are kept, so that its manual can be read beside this file.
# ruff: noqa: N815

import ctypes
import importlib
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

T = TypeVar("T")

MEMORY_V2 = 0x02000028
"""The structure version that asks for ``reserved`` too. Source: nvml.h, nvmlMemory_v2."""
CLOCK_MEMORY = 2
"""Source: nvml.h, NVML_CLOCK_MEM."""
SENSOR_GPU = 0
"""Source: nvml.h, NVML_TEMPERATURE_GPU."""
THRESHOLD_SLOWDOWN = 1
"""Source: nvml.h, NVML_TEMPERATURE_THRESHOLD_SLOWDOWN."""
NOT_SUPPORTED = 3
"""Source: nvml.h, NVML_ERROR_NOT_SUPPORTED."""


class Handle(Protocol):
    """One board, to the library; opaque to us."""


class Memory(Protocol):
    """``nvmlMemory_t`` and ``nvmlMemory_v2_t``; all in bytes."""

    total: int
    free: int
    used: int


class MemoryWithReserve(Memory, Protocol):
    """``nvmlMemory_v2_t`` alone has ``reserved``: what the driver keeps for itself."""

    reserved: int


class Utilization(Protocol):
    """``nvmlUtilization_t``; in percent of the last sampling period."""

    gpu: int


class Nvml(Protocol):
    """The calls that are used, by the names that the library gives them."""

    NVMLError: type[Exception]
    nvmlInit: Callable[[], None]
    nvmlDeviceGetCount: Callable[[], int]
    nvmlDeviceGetHandleByIndex: Callable[[int], Handle]
    nvmlDeviceGetName: Callable[[Handle], str]
    nvmlDeviceGetMemoryInfo: Callable[..., Memory]
    nvmlDeviceGetNumGpuCores: Callable[[Handle], int]
    nvmlDeviceGetMemoryBusWidth: Callable[[Handle], int]
    nvmlDeviceGetMaxClockInfo: Callable[[Handle, int], int]
    nvmlDeviceGetCudaComputeCapability: Callable[[Handle], tuple[int, int]]
    nvmlDeviceGetUtilizationRates: Callable[[Handle], Utilization]
    nvmlDeviceGetTemperature: Callable[[Handle, int], int]
    nvmlDeviceGetTemperatureThreshold: Callable[[Handle, int], int]
    nvmlDeviceGetCurrentClocksEventReasons: Callable[[Handle], int]


class Boards:
    """The library, opened; each answer is a value or ``None``.

    Args:
        nvml: The library's module, initialised.
    """

    def __init__(self, nvml: Nvml) -> None:
        self.nvml = nvml

    def ask(self, question: Callable[[], T]) -> T | None:
        """The library's answer; ``None`` for whatever reason there is none."""
        try:
            return question()
        except self.nvml.NVMLError:
            return None

    def handles(self) -> dict[int, Handle]:
        """The boards that can be opened now, by index.

        A board that was lost, or that this user may not open, is left out.
        """
        count = self.ask(self.nvml.nvmlDeviceGetCount) or 0
        found = {
            index: self.ask(lambda index=index: self.nvml.nvmlDeviceGetHandleByIndex(index))
            for index in range(count)
        }
        return {index: handle for index, handle in found.items() if handle is not None}

    def memory_bytes(self, handle: Handle) -> tuple[int, int] | None:
        """A board's usable and free memory.

        Returns:
            ``None`` if the library does not say.
        """
        v2 = self.ask(lambda: self.nvml.nvmlDeviceGetMemoryInfo(handle, MEMORY_V2))
        if v2 is not None:
            memory = cast("MemoryWithReserve", v2)
            return int(memory.total - memory.reserved), int(memory.free)
        # a driver older than the second version of the structure
        v1 = self.ask(lambda: self.nvml.nvmlDeviceGetMemoryInfo(handle))
        return None if v1 is None else (int(v1.total), int(v1.free))

    def is_unified(self, handle: Handle) -> bool:
        """Whether the board has no memory of its own: the question itself is not supported."""
        try:
            self.nvml.nvmlDeviceGetMemoryInfo(handle)
        except self.nvml.NVMLError as error:
            return getattr(error, "value", None) == NOT_SUPPORTED
        return False


def open_boards() -> Boards | None:
    """Open the library.

    Returns:
        ``None`` if the Python module, the library or its driver is missing, or there is no
        board that this user may open.
    """
    if not _has_library():
        return None  # most machines: the module alone would cost them megabytes
    try:
        nvml = cast("Nvml", cast("object", importlib.import_module("pynvml")))
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    boards = Boards(nvml)
    return boards if boards.handles() else None


def _has_library() -> bool:
    """Whether the driver's library can be loaded; the same name that pynvml asks for."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True
