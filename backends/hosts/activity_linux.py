"""Who uses a Linux machine: logind's word, X11's where it is to be had, power supplies, heat.

Nothing here needs a right that a plain user has not. A session over the network has no keyboard
here, and the greeter's session is nobody's; neither counts.
"""

import time
from collections.abc import Callable, Collection
from pathlib import Path

from .base import Activity
from .heat_linux import thermal_state
from .tools import Command, Readings, run_tool

X11_IDLE: Command = ("/usr/bin/xprintidle",)
"""Milliseconds since the last input at the display of our environment, if there is one."""

SESSIONS: Command = ("/usr/bin/loginctl", "list-sessions", "--no-legend", "--no-pager")

PROPERTIES = ("Type", "Class", "Remote", "IdleHint", "IdleSinceHintMonotonic")

_MOST_SESSIONS = 64


class LinuxActivity:
    """Reads what is done with a Linux machine.

    Args:
        wanted: Which signs are asked for; no other is read.
        others_gpu_ratio: How busy the GPU is with others; ``None`` if that cannot be told.
        readings: Runs a command.
        root: Where ``/sys`` is found; only tests name another.
        clock_s: The clock that logind's monotonic times are on.
    """

    def __init__(
        self,
        wanted: Collection[str],
        *,
        others_gpu_ratio: Callable[[], float | None] | None = None,
        readings: Readings = run_tool,
        root: Path = Path("/"),
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted = wanted
        self._others_gpu_ratio = others_gpu_ratio
        self._read = readings
        self._root = root
        self._clock_s = clock_s

    def read(self) -> Activity:
        """What is so now."""
        gpu = self._others_gpu_ratio if "gpu" in self._wanted else None
        return Activity(
            input_idle_s=self._input_idle_s() if "input" in self._wanted else None,
            is_on_battery=is_on_battery(self._root) if "battery" in self._wanted else None,
            others_gpu_ratio=gpu() if gpu is not None else None,
            thermal_state=thermal_state(self._root) if "heat" in self._wanted else None,
        )

    def _input_idle_s(self) -> float | None:
        """By X11, which counts keys; else by logind, which a desktop tells after minutes."""
        idle_s = x11_idle_s(self._read(X11_IDLE))
        if idle_s is not None:
            return idle_s
        names = session_names(self._read(SESSIONS))
        if not names:
            return None
        told = self._read(show_sessions(names))
        return logind_idle_s(told, now_s=self._clock_s())


def show_sessions(names: Collection[str]) -> Command:
    """The command that shows what matters of these sessions."""
    asked = tuple(f"--property={name}" for name in PROPERTIES)
    return ("/usr/bin/loginctl", "show-session", "--no-pager", *asked, "--", *names)


def x11_idle_s(text: str | None) -> float | None:
    """Seconds out of what ``xprintidle`` prints."""
    digits = (text or "").strip()
    return int(digits) / 1000 if digits.isascii() and digits.isdigit() else None


def session_names(text: str | None) -> tuple[str, ...]:
    """The first column of ``loginctl list-sessions``."""
    rows = [line.split() for line in (text or "").splitlines()]
    return tuple(row[0] for row in rows if row and row[0].isalnum())[:_MOST_SESSIONS]


def logind_idle_s(text: str | None, *, now_s: float) -> float | None:
    """How long nobody has been at this machine's own keyboards.

    Args:
        text: What ``loginctl show-session`` prints: a block of ``Key=value`` per session.
        now_s: The monotonic clock.

    Returns:
        0 while a desktop says no more than that it is in use; ``None`` if no session says
        anything.

    Source:
        org.freedesktop.login1(5). Of a terminal, the time is when it was last typed at; of a
        desktop, when its hint changed, so that it counts only if the hint is ``yes``.
    """
    idles_s: list[float] = []
    for block in (text or "").split("\n\n"):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if said.get("Class") != "user" or said.get("Remote") != "no":
            continue
        since = said.get("IdleSinceHintMonotonic", "")
        is_known = since.isascii() and since.isdigit() and int(since) > 0
        if said.get("Type") != "tty" and said.get("IdleHint") == "no":
            idles_s.append(0.0)
        elif is_known:
            idles_s.append(max(0.0, now_s - int(since) / 1e6))
    return min(idles_s, default=None)


def is_on_battery(root: Path) -> bool | None:
    """Whether the machine draws on a battery; ``None`` if the kernel does not say.

    Args:
        root: Where ``/sys`` is found.

    Source:
        Documentation/ABI/testing/sysfs-class-power: ``type``, ``scope`` and ``status``. A supply
        of scope ``Device`` is a mouse's or a keyboard's.
    """
    try:
        supplies = list((root / "sys/class/power_supply").iterdir())
    except OSError:
        return None
    batteries = [
        supply
        for supply in supplies
        if _word(supply / "type") in {"battery", "ups"} and _word(supply / "scope") != "device"
    ]
    return any(_word(battery / "status") == "discharging" for battery in batteries)


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().lower()
    except OSError:
        return ""
