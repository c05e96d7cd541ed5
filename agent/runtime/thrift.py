"""Keeps the process small: few heaps from the start, and what starting took given back.

Importing leaves some ten megabytes free inside the allocator, which keeps them: the C library
returns only what lies at its end. It has to be asked once.
"""

import ctypes
import gc

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
    """Collect garbage, and ask the C library to return what is free; takes some 20 ms.

    Returns:
        Whether it can be asked: glibc alone can.

    Source:
        malloc_trim(3); since glibc 2.8 it returns free pages from the middle of a heap too.
    """
    gc.collect()
    # what is here after the start stays: later collections need not look at it
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True
