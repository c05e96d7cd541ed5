"""This machine -> its probe; an adapter is imported only when it is the one."""

from pathlib import Path

from .base import HostProbe


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
