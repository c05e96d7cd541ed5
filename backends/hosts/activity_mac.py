"""Who uses a Mac: the time since the last input, the power source, the processor's limit.

How busy other programs keep the GPU is told to nobody without rights, so it is left out.
"""

import re
from collections.abc import Collection

from .base import Activity, ThermalState
from .tools import Command, Readings, run_tool

HID: Command = ("/usr/sbin/ioreg", "-r", "-d", "1", "-c", "IOHIDSystem")
BATTERY: Command = ("/usr/bin/pmset", "-g", "batt")
THERM: Command = ("/usr/bin/pmset", "-g", "therm")


class MacActivity:
    """Reads what is done with a Mac.

    Args:
        wanted: Which signs are asked for; no other is read.
        readings: Runs a command.
    """

    def __init__(self, wanted: Collection[str], *, readings: Readings = run_tool) -> None:
        self._wanted = wanted
        self._read = readings

    def read(self) -> Activity:
        """What is so now."""
        wanted = self._wanted
        return Activity(
            input_idle_s=hid_idle_s(self._read(HID)) if "input" in wanted else None,
            is_on_battery=is_on_battery(self._read(BATTERY)) if "battery" in wanted else None,
            thermal_state=slowed(self._read(THERM)) if "heat" in wanted else None,
        )


def hid_idle_s(text: str | None) -> float | None:
    """Seconds since the last input, out of what ``ioreg`` prints.

    Source:
        IOHIDSystem's property ``HIDIdleTime``, in nanoseconds.
    """
    found = re.search(r'"HIDIdleTime" = ([0-9]{1,20})\b', text or "")
    return None if found is None else int(found[1]) / 1e9


def is_on_battery(text: str | None) -> bool | None:
    """Whether ``pmset -g batt`` names a battery, or a UPS, as what is drawn from."""
    found = re.search(r"Now drawing from '(AC|Battery|UPS) Power'", text or "")
    return None if found is None else found[1] != "AC"


def slowed(text: str | None) -> ThermalState | None:
    """``serious`` while the processor is slowed down for heat, by ``pmset -g therm``.

    Returns:
        ``None`` if no limit was recorded, which is all that most Macs ever say.

    Source:
        pmset(1): ``CPU_Speed_Limit`` is a percentage, 100 without a limit.
    """
    found = re.search(r"CPU_Speed_Limit\s*=\s*([0-9]{1,3})\b", text or "")
    if found is None:
        return None
    return "nominal" if int(found[1]) >= 100 else "serious"  # noqa: PLR2004 - per cent
