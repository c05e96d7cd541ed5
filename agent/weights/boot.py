"""Which boot of the machine this is: after another one, unsynced writes may be gone."""

import subprocess
import sys
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """An id that changes with every boot; empty if the machine has none to tell."""
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            told = subprocess.run(command, capture_output=True, check=True, timeout=5)  # noqa: S603  # fixed words
            return told.stdout.decode("ascii", "replace").strip()
        return _LINUX.read_text("ascii").strip()
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
