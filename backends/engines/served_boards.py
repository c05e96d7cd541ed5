"""NVIDIA boards, as far as a server of ours is given some.

NVML counts boards in the order of their buses; ``CUDA_DEVICE_ORDER`` has CUDA do the same.
"""

from collections.abc import Sequence

from ..hosts.nvml import Boards


def indices(gpus: str) -> tuple[int, ...]:
    """The numbers in ``0,1``."""
    return tuple(int(one) for one in gpus.split(",") if one)


def lack(gpus: str, boards: Boards | None) -> str | None:
    """What is wrong with a choice of boards on this machine; ``None``: nothing.

    Args:
        gpus: The choice, as ``0,1``; empty: all.
        boards: This machine's; ``None``: there is no library to ask, and the server itself will
            say what it finds.
    """
    if boards is None:
        return None
    here = boards.handles()
    missing = [one for one in indices(gpus) if one not in here]
    if missing:
        return f"board {missing[0]}: this machine has {len(here)}, counted from 0"
    return None


def used_bytes(gpus: str, boards: Boards | None) -> int | None:
    """What is in use on these boards by whomever, or on all if none is named.

    Returns:
        ``None`` if there are none, or one of them does not say.
    """
    if boards is None:
        return None
    handles = boards.handles()
    chosen: Sequence[int] = indices(gpus) or tuple(handles)
    told = [boards.memory_bytes(handles[one]) for one in chosen if one in handles]
    known = [total - free for total, free in filter(None, told)]
    return sum(known) if known and len(known) == len(told) else None
