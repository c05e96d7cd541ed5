"""Keeps the process small: few heaps from the start, and what starting took given back.

Importing leaves some ten megabytes free inside the allocator, which keeps them: the C library
returns only what lies at its end. It has to be asked once.
"""

import ctypes
import gc

from ...backends.engines import manners

_M_ARENA_MAX = -8
"""Source: malloc.h of glibc."""


def keep_one_heap() -> bool:
    """Let every thread take from one heap: they are few here, and a heap each costs pages.

    Returns:
        Whether the C library can be told: glibc alone can.
    """
    choose = getattr(ctypes.CDLL(None), "mallopt", None)
    return choose is not None and bool(choose(_M_ARENA_MAX, 1))


def give_back() -> bool:
    """Give back what starting took; what is left stays, and later collections pass it by.

    Returns:
        Whether the C library can be asked: glibc alone can.
    """
    is_asked = manners.give_back()
    gc.freeze()
    return is_asked


def resident_bytes() -> int:
    """What this process holds of the machine's memory now."""
    import psutil  # noqa: PLC0415  # a tenth of a start, and asked for later

    return int(psutil.Process().memory_info().rss)
