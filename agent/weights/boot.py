"""Which boot of the machine this is: after another one, unsynced writes may be gone."""

import sys
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """An id that changes with every boot; empty if the machine has none to tell."""
    try:
        return _mac_id() if sys.platform == "darwin" else _LINUX.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _mac_id() -> str:
    import subprocess  # noqa: PLC0415  # a good part of the child's start, and for Macs only

    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        told = subprocess.run(command, capture_output=True, check=True, timeout=5)  # noqa: S603  # fixed words
    except subprocess.SubprocessError:
        return ""
    return told.stdout.decode("ascii", "replace").strip()
