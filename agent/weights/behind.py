"""Has the kernel begin to write out what just arrived, so that the last sync finds little left.

Dirty pages that pile up are all written when the file is synced, after the last byte; begun at
once they go out while others still arrive. Only Linux knows the call, and it is a hint: where
it is missing or refused, the sync at the end does all of it.
"""

import ctypes
import sys
from collections.abc import Callable

_WRITE = 2
"""SYNC_FILE_RANGE_WRITE. Source: sync_file_range(2)."""

Begin = Callable[[int, int, int], None]
"""Takes the file, the first byte and how many."""


def writing_behind() -> Begin:
    """The hint, as this platform has it; does nothing where there is none."""
    call = _call() if sys.platform == "linux" else None
    if call is None:
        return lambda _fd, _start, _count: None

    def begin(fd: int, start: int, count: int) -> None:
        _ = call(fd, start, count, _WRITE)

    return begin


def _call() -> "Callable[[int, int, int, int], int] | None":
    try:
        found = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found
