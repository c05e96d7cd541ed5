"""Who uses a Linux machine, from what its tools print and its kernel says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.hosts.activity_linux import (
    SESSIONS,
    X11_IDLE,
    LinuxActivity,
    is_on_battery,
    logind_idle_s,
    session_names,
    show_sessions,
    x11_idle_s,
)
from poolhand.backends.hosts.base import Activity
from poolhand.backends.hosts.tools import Command

LIST = """      2 1000 ann  seat0 tty2  active no -
     14 1000 ann  -     pts/0 active no -
     c1  120 gdm  seat0 tty1  active no -
"""
DESKTOP = "Type=wayland\nRemote=no\nClass=user\nIdleHint={hint}\nIdleSinceHintMonotonic={since}\n"
TERMINAL = "Type=tty\nRemote={remote}\nClass=user\nIdleHint=no\nIdleSinceHintMonotonic={since}\n"
GREETER = "Type=wayland\nRemote=no\nClass=greeter\nIdleHint=no\nIdleSinceHintMonotonic=0\n"


@pytest.mark.parametrize(
    ("blocks", "idle_s"),
    [
        ([], None),
        ([DESKTOP.format(hint="no", since=1)], 0.0),
        ([DESKTOP.format(hint="yes", since=400_000_000)], 600.0),
        ([DESKTOP.format(hint="yes", since=0)], None),
        ([TERMINAL.format(remote="no", since=970_000_000)], 30.0),
        ([TERMINAL.format(remote="no", since=2_000_000_000)], 0.0),
        ([TERMINAL.format(remote="yes", since=999_000_000)], None),
        ([GREETER], None),
        (
            [
                DESKTOP.format(hint="yes", since=400_000_000),
                GREETER,
                TERMINAL.format(remote="no", since=990_000_000),
            ],
            10.0,
        ),
        (["Type=tty\nnonsense\n"], None),
    ],
)
def test_the_busiest_keyboard_counts(blocks: list[str], idle_s: float | None) -> None:
    assert logind_idle_s("\n".join(blocks), now_s=1000.0) == idle_s


def test_sessions_are_named_and_shown_in_one_call() -> None:
    assert session_names(LIST) == ("2", "14", "c1")
    assert session_names(None) == session_names("\n \n-x --option\n") == ()
    command = show_sessions(("2", "c1"))
    assert command[-3:] == ("--", "2", "c1")
    assert "--property=IdleHint" in command


@given(text=st.text())
def test_law_no_text_is_too_odd(text: str) -> None:
    idle_s = logind_idle_s(text, now_s=5.0)
    assert idle_s is None or idle_s >= 0.0
    assert all(name.isalnum() for name in session_names(text))
    assert x11_idle_s(text) is None or text.strip().isdigit()


def test_x11_counts_keys_and_comes_first() -> None:
    told: dict[Command, str] = {
        X11_IDLE: "61250\n",
        SESSIONS: LIST,
        show_sessions(("2", "14", "c1")): DESKTOP.format(hint="no", since=1),
    }
    assert LinuxActivity({"input"}, readings=told.get).read() == Activity(input_idle_s=61.25)
    del told[X11_IDLE]
    assert LinuxActivity({"input"}, readings=told.get).read() == Activity(input_idle_s=0.0)
    del told[SESSIONS]
    assert LinuxActivity({"input"}, readings=told.get).read() == Activity()


def test_nothing_is_run_that_nobody_asked_for() -> None:
    ran: list[Command] = []

    def readings(command: Command) -> str | None:
        ran.append(command)
        return None

    probe = LinuxActivity((), readings=readings, others_gpu_ratio=lambda: 1.0)
    assert probe.read() == Activity()
    assert ran == []
    busy = LinuxActivity({"gpu"}, readings=readings, others_gpu_ratio=lambda: 0.5)
    assert busy.read() == Activity(others_gpu_ratio=0.5)
    assert LinuxActivity({"gpu"}, readings=readings).read() == Activity(), "no board to ask"


def supply(root: Path, name: str, **words: str) -> None:
    folder = root / "sys/class/power_supply" / name
    folder.mkdir(parents=True)
    for file, word in words.items():
        (folder / file).write_text(word + "\n")


def test_a_battery_that_is_drawn_on(tmp_path: Path) -> None:
    assert is_on_battery(tmp_path) is None, "no such class: nothing is known"
    supply(tmp_path, "AC", type="Mains", online="0")
    assert is_on_battery(tmp_path) is False, "no battery: none is drawn on"
    supply(tmp_path, "mouse", type="Battery", scope="Device", status="Discharging")
    assert is_on_battery(tmp_path) is False, "a mouse's own"
    supply(tmp_path, "BAT0", type="Battery", status="Full")
    assert is_on_battery(tmp_path) is False
    (tmp_path / "sys/class/power_supply/BAT0/status").write_text("Discharging\n")
    assert is_on_battery(tmp_path) is True
    assert LinuxActivity({"battery"}, root=tmp_path).read() == Activity(is_on_battery=True)


def test_this_machine_can_be_asked() -> None:
    found = LinuxActivity({"input", "battery", "gpu", "heat"}).read()
    assert found.input_idle_s is None or found.input_idle_s >= 0.0
    assert found.others_gpu_ratio is None
