"""What puts machines to sleep: recorded readings of Macs, and Linux machines in a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from poolhand.agent.cli.checks_power import ABOUT, PMSET, look, settings_of
from poolhand.backends.hosts.activity_mac import BATTERY
from poolhand.backends.hosts.tools import Command

from .checks_world import by_id, ground, verdicts

LAPTOP = """\
System-wide power settings:
Currently in use:
 standby              1
 Sleep On Power Button 1
 hibernatefile        /var/vm/sleepimage
 powernap             1
 networkoversleep     0
 disksleep            10
 sleep                1 (sleep prevented by sharingd, powerd)
 hibernatemode        3
 ttyskeepawake        1
 displaysleep         10
 tcpkeepalive         1
 lowpowermode         0
 womp                 1
"""
"""``pmset -g`` of a laptop on macOS 14."""

DESKTOP = LAPTOP.replace("sleep                1 (", "sleep                0 (")
ON_BATTERY = """\
Now drawing from 'Battery Power'
 -InternalBattery-0 (id=12345678)\t87%; discharging; 4:12 remaining present: true
"""
ON_MAINS = "Now drawing from 'AC Power'\n"


def mac(settings: str | None, source: str | None) -> Callable[[Command], str | None]:
    return {PMSET: settings, BATTERY: source}.get


@pytest.mark.parametrize(
    ("settings", "source", "verdict"),
    [
        (LAPTOP, ON_BATTERY, ("warn", "warn", "warn")),
        (f"{LAPTOP} SleepDisabled        1\n", ON_BATTERY, ("ok", "ok", "warn")),
        (DESKTOP, ON_MAINS, ("ok", "skipped", "ok")),
        (None, None, ("skipped", "skipped", "skipped")),
        ("", "", ("skipped", "skipped", "skipped")),
    ],
)
def test_macs(
    tmp_path: Path, settings: str | None, source: str | None, verdict: tuple[str, str, str]
) -> None:
    found = look(ground(tmp_path, platform="darwin", readings=mac(settings, source)))
    assert verdicts(found) == dict(zip(ABOUT, verdict, strict=True))


def test_the_numbers_of_pmset() -> None:
    told = settings_of(LAPTOP)
    assert (told["sleep"], told["displaysleep"], told["disksleep"]) == (1, 10, 10)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("", "warn"),
        ("[Login]\n#HandleLidSwitch=ignore\n", "warn"),
        ("[Login]\nHandleLidSwitch=ignore\n", "ok"),
        ("[Login]\nHandleLidSwitchExternalPower=ignore\n", "warn"),
    ],
)
def test_a_linux_laptop(tmp_path: Path, text: str, verdict: str) -> None:
    here = ground(tmp_path)
    (here.root / "proc/acpi/button/lid/LID0").mkdir(parents=True)
    (here.root / "etc/systemd").mkdir(parents=True)
    (here.root / "etc/systemd/logind.conf").write_text(text)
    supply = here.root / "sys/class/power_supply/BAT0"
    supply.mkdir(parents=True)
    for name, said in (("type", "Battery"), ("status", "Discharging")):
        (supply / name).write_text(f"{said}\n")
    found = verdicts(look(here))
    assert found == {"power.sleep": "skipped", "power.lid": verdict, "power.source": "warn"}
    drop_in = here.root / "etc/systemd/logind.conf.d/lid.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Login]\nHandleLidSwitch=ignore\n")
    assert by_id(look(here))["power.lid"].verdict == "ok", "a later file wins"


def test_a_server_shows_nothing(tmp_path: Path) -> None:
    assert verdicts(look(ground(tmp_path)))["power.lid"] == "skipped"
