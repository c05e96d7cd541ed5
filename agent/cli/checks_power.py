"""Checks of what puts a machine to sleep: settings, the lid, the power source."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ...backends.hosts import activity_linux, activity_mac
from ...backends.hosts.tools import Command
from .checks_told import Finding, Ground, ok, skipped, warn

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "power.sleep": "the machine does not fall asleep by itself",
        "power.lid": "closing its lid does not put it to sleep",
        "power.source": "it draws on the mains, not on a battery",
    }
)
PMSET: Command = ("/usr/bin/pmset", "-g")
"""The settings in force. Source: pmset(1)."""

_DROP_INS = (
    "usr/lib",
    "run",
    "etc",
)


def look(ground: Ground) -> Iterator[Finding]:
    """Look at the power's settings, as far as the system tells."""
    if ground.platform == "darwin":
        yield from _mac(ground)
        return
    yield skipped("power.sleep", "only a desktop session puts such a machine to sleep by itself")
    yield _lid(ground)
    yield _source(activity_linux.is_on_battery(ground.root))


def _mac(ground: Ground) -> Iterator[Finding]:
    told = settings_of(ground.readings(PMSET))
    yield _mac_sleep(told)
    yield _mac_lid(told, ground.readings(activity_mac.BATTERY))
    yield _source(activity_mac.is_on_battery(ground.readings(activity_mac.BATTERY)))


def settings_of(text: str | None) -> Mapping[str, int]:
    """The numbers that ``pmset -g`` prints, by name; empty if it said nothing."""
    found = re.findall(r"(?m)^\s*([A-Za-z]+)\s+([0-9]{1,9})\b", text or "")
    return {name: int(number) for name, number in found}


def _mac_sleep(told: Mapping[str, int]) -> Finding:
    minutes = told.get("sleep")
    if told.get("SleepDisabled") == 1:
        return ok("power.sleep", "sleep is disabled")
    if minutes is None:
        return skipped("power.sleep", "pmset does not say")
    if minutes > 0:
        cause = f"this Mac sleeps after {minutes} min without input, and the line goes down"
        return warn("power.sleep", cause, "Say `sudo pmset -c sleep 0`.")
    return ok("power.sleep", "this Mac never sleeps by itself")


def _mac_lid(told: Mapping[str, int], batteries: str | None) -> Finding:
    if "InternalBattery" not in (batteries or ""):
        return skipped("power.lid", "this Mac has no lid")
    if told.get("SleepDisabled") == 1:
        return ok("power.lid", "sleep is disabled, the lid's among it")
    cause = "closing the lid puts this Mac to sleep, unless a display is connected"
    return warn("power.lid", cause, "Leave it open, or say `sudo pmset -a disablesleep 1`.")


def _lid(ground: Ground) -> Finding:
    try:
        lids = list((ground.root / "proc/acpi/button/lid").iterdir())
    except OSError:
        lids = []
    if not lids:
        return skipped("power.lid", "this machine shows no lid")
    handled = _lid_switch(ground)
    if handled in {"ignore", "lock"}:
        return ok("power.lid", f"HandleLidSwitch={handled}")
    cause = f"closing the lid suspends this machine (HandleLidSwitch={handled})"
    return warn("power.lid", cause, "Set HandleLidSwitch=ignore in /etc/systemd/logind.conf.")


def _lid_switch(ground: Ground) -> str:
    """What logind does; a later file wins, and its own default is to suspend.

    Source:
        logind.conf(5).
    """
    files = [ground.root / "etc/systemd/logind.conf"]
    for folder in _DROP_INS:
        files += sorted((ground.root / folder / "systemd/logind.conf.d").glob("*.conf"))
    word = "suspend"
    for path in files:
        try:
            said = re.findall(r"(?m)^\s*HandleLidSwitch\s*=\s*(\S+)", path.read_text())
        except (OSError, ValueError):
            continue
        word = said[-1] if said else word
    return word


def _source(is_on_battery: bool | None) -> Finding:  # noqa: FBT001  # a reading, not a switch
    if is_on_battery is None:
        return skipped("power.source", "the system does not say")
    if is_on_battery:
        return warn("power.source", "it draws on a battery", "Connect it to the mains.")
    return ok("power.source", "it draws on the mains")
