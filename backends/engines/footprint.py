"""How much memory one process holds for itself alone."""

import ctypes
import sys

_PHYS_FOOTPRINT_AT = 72
"""Source: sys/resource.h, ``rusage_info_v0``: a 16-byte uuid, seven u64, ``ri_phys_footprint``."""

_RUSAGE_BYTES = 256


def footprint_bytes(pid: int) -> int | None:
    """What would be free again if the process ended; ``None`` if that cannot be read.

    On macOS the physical footprint, for the resident size misses Metal's memory; elsewhere
    the unique set size. It reads page tables, which takes a while. Of a process that keeps
    debuggers away only that process itself, and root, can read it.
    """
    if sys.platform == "darwin":
        return _phys_footprint_bytes(pid)
    import psutil  # noqa: PLC0415 - only where an engine runs

    try:
        return psutil.Process(pid).memory_full_info().uss
    except psutil.Error:
        return None


def _phys_footprint_bytes(pid: int) -> int | None:
    room = ctypes.create_string_buffer(_RUSAGE_BYTES)
    try:
        status = ctypes.CDLL("/usr/lib/libproc.dylib").proc_pid_rusage(pid, 0, room)
    except (OSError, AttributeError):
        return None
    if status != 0:
        return None
    return int.from_bytes(room.raw[_PHYS_FOOTPRINT_AT : _PHYS_FOOTPRINT_AT + 8], "little")
