"""This machine -> its probe; an adapter is imported only when it is the one."""

from collections.abc import Collection
from pathlib import Path

from .base import ActivityProbe, HostProbe


def probe_for(platform: str, machine: str, *, root: Path = Path("/")) -> HostProbe:
    """Choose how this host is read.

    May open NVIDIA's library and wait for its driver, so call it in a thread.

    Args:
        platform: As ``sys.platform``.
        machine: As ``platform.machine()``.
        root: Where ``/proc`` and ``/sys`` are found; only tests name another.

    Returns:
        Apple's probe on a Mac with Apple silicon; NVIDIA's where its library opens at least
        one board; the generic one for everything else, Intel Macs included.
    """
    if platform == "darwin" and machine == "arm64":
        from .apple import AppleProbe  # noqa: PLC0415 - a Mac alone needs it

        return AppleProbe()
    from .generic import GenericProbe  # noqa: PLC0415 - psutil is not needed to choose
    from .nvml import open_boards  # noqa: PLC0415 - never on a Mac

    around = GenericProbe(root=root)
    if (boards := open_boards()) is None:
        return around
    from .nvidia import NvidiaProbe  # noqa: PLC0415 - only where there is a board

    return NvidiaProbe(boards, around=around)


def activity_for(platform: str, wanted: Collection[str]) -> ActivityProbe:
    """Choose how it is read what the machine's owner does with it.

    May open NVIDIA's library, so call it in a thread.

    Args:
        platform: As ``sys.platform``.
        wanted: Which signs are asked for, by the words of ``owner.yield_to``.
    """
    if platform == "darwin":
        from .activity_mac import MacActivity  # noqa: PLC0415 - a Mac alone needs it

        return MacActivity(wanted)
    from .activity_linux import LinuxActivity  # noqa: PLC0415 - only who asks for it needs it

    if "gpu" not in wanted:
        return LinuxActivity(wanted)
    from .activity_gpu import OthersOnGpu, sees_all_processes  # noqa: PLC0415 - as above
    from .nvml import open_boards  # noqa: PLC0415 - as above

    boards = open_boards() if sees_all_processes() else None
    others = None if boards is None else OthersOnGpu(boards).ratio
    return LinuxActivity(wanted, others_gpu_ratio=others)
