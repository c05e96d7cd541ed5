"""Gives back the memory that starting took.

Importing leaves some ten megabytes free inside the allocator, which keeps them: the C library
returns only what lies at its end. It has to be asked once.
"""

import ctypes
import gc


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
