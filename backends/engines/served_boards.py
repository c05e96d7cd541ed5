"""NVIDIA boards, as far as a server of ours is given some.

NVML counts boards in the order of their buses; ``CUDA_DEVICE_ORDER`` has CUDA do the same.
"""

from collections.abc import Sequence

from ..hosts.nvml import open_boards


def indices(gpus: str) -> tuple[int, ...]:
    """The numbers in ``0,1``."""
    return tuple(int(one) for one in gpus.split(",") if one)


def lack(gpus: str) -> str | None:
    """What is wrong with a choice of boards on this machine; ``None``: nothing.

    Where the library is missing nothing can be checked; the server itself will say so.
    """
    opened = open_boards()
    if opened is None:
        return None
    here = opened.handles()
    missing = [one for one in indices(gpus) if one not in here]
    if missing:
        return f"board {missing[0]}: this machine has {len(here)}, counted from 0"
    return None


def used_bytes(gpus: str) -> int | None:
    """What is in use on these boards by whomever, or on all if none is named.

    Returns:
        ``None`` if there are none, or one of them does not say.
    """
    opened = open_boards()
    if opened is None:
        return None
    handles = opened.handles()
    chosen: Sequence[int] = indices(gpus) or tuple(handles)
    told = [opened.memory_bytes(handles[one]) for one in chosen if one in handles]
    known = [total - free for total, free in filter(None, told)]
    return sum(known) if known and len(known) == len(told) else None
