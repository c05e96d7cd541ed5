"""Who uses a Mac, from what its tools print; no Mac takes part.

The outputs are of the tools' published forms.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.hosts.activity_mac import (
    BATTERY,
    HID,
    THERM,
    MacActivity,
    hid_idle_s,
    is_on_battery,
    slowed,
)
from poolhand.backends.hosts.base import Activity, ThermalState
from poolhand.backends.hosts.tools import Command

HID_TEXT = """+-o IOHIDSystem  <class IOHIDSystem, id 0x100000374, registered, matched, active>
    {
      "IOClass" = "IOHIDSystem"
      "HIDParameters" = {"HIDClickTime"=500000000,"HIDIdleTimeLike"=1}
      "HIDIdleTime" = 12345678901
      "IOProbeScore" = 0
    }
"""
BATTERY_TEXT = """Now drawing from '{} Power'
 -InternalBattery-0 (id=21233763)\t81%; discharging; 5:12 remaining present: true
"""
THERM_TEXT = """Note: No thermal warning level has been recorded
2026-11-21 10:00:00 +0100 CPU Power notify
\tCPU_Scheduler_Limit \t= 100
\tCPU_Available_CPUs \t= 8
\tCPU_Speed_Limit \t= {}
"""
QUIET = """Note: No thermal warning level has been recorded
Note: No performance warning level has been recorded
Note: No CPU power status has been recorded
"""


def test_the_time_since_the_last_input() -> None:
    assert hid_idle_s(HID_TEXT) == pytest.approx(12.345678901)
    assert hid_idle_s(None) is None
    assert hid_idle_s("HIDIdleTime") is None


@pytest.mark.parametrize(
    ("source", "expected"), [("AC", False), ("Battery", True), ("UPS", True), ("Solar", None)]
)
def test_the_power_source(source: str, expected: bool | None) -> None:  # noqa: FBT001 - a table
    assert is_on_battery(BATTERY_TEXT.format(source)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (THERM_TEXT.format(100), "nominal"),
        (THERM_TEXT.format(62), "serious"),
        (QUIET, None),
        (None, None),
    ],
)
def test_a_processor_that_is_slowed_down(text: str | None, expected: ThermalState | None) -> None:
    assert slowed(text) == expected


PLAIN = "Now drawing from 'AC Power'\n"
CHARGING = PLAIN + " -InternalBattery-0 (id=22806627)\t97%; finishing charge; 0:20 remaining\n"
UPS = "Now drawing from 'UPS Power'\n -Back-UPS ES 550G (id=6881280)\t100%; discharging\n"
NESTED = """+-o IOHIDSystem  <class IOHIDSystem, id 0x10000030f, registered, matched, active>
  | {
  |   "HIDKeyboardModifierMappingPairs" = ()
  |   "HIDIdleTime" = 62013375
  |   "HIDParameters" = {"HIDIdleTime"=1,"Clicking"=0}
  | }
"""


def test_a_desktop_a_charging_laptop_and_a_ups() -> None:
    """What ``pmset -g batt`` prints on machines without, with and beside a battery."""
    told = [is_on_battery(text) for text in (PLAIN, CHARGING, UPS, "", "-InternalBattery-0\t50%")]
    assert told == [False, False, True, None, None]


def test_the_time_is_the_systems_own_and_in_nanoseconds() -> None:
    """Nested dictionaries are printed without blanks around ``=``."""
    assert hid_idle_s(NESTED) == pytest.approx(0.062013375)


def test_only_what_is_wanted_is_read() -> None:
    told = {HID: HID_TEXT, BATTERY: BATTERY_TEXT.format("Battery"), THERM: THERM_TEXT.format(50)}
    ran: list[Command] = []

    def readings(command: Command) -> str | None:
        ran.append(command)
        return told[command]

    assert MacActivity((), readings=readings).read() == Activity()
    assert ran == []
    assert MacActivity({"battery"}, readings=readings).read() == Activity(is_on_battery=True)
    assert ran == [BATTERY]
    found = MacActivity({"input", "heat", "gpu"}, readings=readings).read()
    assert found == Activity(input_idle_s=12.345678901, thermal_state="serious")


@given(text=st.text())
def test_law_no_text_is_too_odd(text: str) -> None:
    assert hid_idle_s(text) is None or "HIDIdleTime" in text
    assert is_on_battery(text) is None or "drawing" in text
    assert slowed(text) is None or "CPU_Speed_Limit" in text
