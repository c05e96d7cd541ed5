"""What would be said to systemd and launchd, and what their files would say."""

import plistlib
import re
import shlex
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.cli.supervisors import (
    LABEL,
    Launchd,
    Supervisor,
    Systemd,
    plist_text,
    unit_text,
    unreachable,
)

UNITS = files("poolhand") / "packaging" / "units"
SYSTEM = Systemd("poolhand.service", Path("/etc/systemd/system/poolhand.service"), is_user=False)
USER = Systemd("poolhand.service", Path("/h/.config/systemd/user/p.service"), is_user=True)
AGENT = Launchd(LABEL, Path("/h/Library/LaunchAgents/a.plist"), "gui/501", Path("/h/l.log"))


@pytest.mark.parametrize("job", [SYSTEM, USER, AGENT])
def test_every_command_names_its_program_first(job: Supervisor) -> None:
    every = [*job.load, *job.start, *job.stop, *job.unload, *job.forget]
    every += [job.is_running, job.is_held, job.logs(5, is_followed=False)]
    assert {words[0] for words in every} <= {"systemctl", "journalctl", "launchctl", "tail"}
    assert all(all(word and word == word.strip() for word in words) for words in every)


def test_a_user_s_unit_is_always_its_own_manager_s() -> None:
    steps = [*USER.load, *USER.start, *USER.stop, *USER.unload, *USER.forget, USER.is_running]
    assert all(words[:2] == ("systemctl", "--user") for words in steps)
    assert "--user" not in {word for words in (*SYSTEM.load, *SYSTEM.start) for word in words}
    assert "--user-unit" in USER.logs(1, is_followed=False)
    assert "--unit" in SYSTEM.logs(1, is_followed=True)


def test_launchd_is_told_the_domain_and_the_label() -> None:
    assert AGENT.load[-1] == ("launchctl", "bootstrap", "gui/501", str(AGENT.path))
    assert AGENT.load[0] == ("launchctl", "enable", f"gui/501/{LABEL}"), "else it cannot be loaded"
    assert AGENT.unload == (("launchctl", "bootout", f"gui/501/{LABEL}"),)
    assert AGENT.logs(7, is_followed=True) == ("tail", "-n", "7", "-f", "/h/l.log")


@pytest.mark.parametrize(
    ("job", "code", "output", "runs"),
    [
        (SYSTEM, 0, "active\n", True),
        (SYSTEM, 3, "deactivating\n", True),
        (SYSTEM, 3, "activating\n", True),
        (SYSTEM, 3, "failed\n", False),
        (SYSTEM, 4, "inactive\n", False),
        (AGENT, 0, "\tpid = 7\n\tstate = running\n", True),
        (AGENT, 0, "\tstate = not running\n", False),
        (AGENT, 0, "\tstate = spawn scheduled\n", False),
        (AGENT, 113, "Could not find service", False),
    ],
)
def test_what_runs_is_read_from_the_manager_s_words(
    job: Supervisor, code: int, output: str, *, runs: bool
) -> None:
    assert job.runs(code, output) is runs


# ── their files ───────────────────────────────────────────────────────────────────────


def test_only_the_start_line_of_a_unit_is_ours_to_change() -> None:
    template = (UNITS / "poolhand.service").read_text()
    command = ("/opt/pool hand/bin/poolhand", "run", "--config", "/etc/100%/$a.toml")
    before, after = template.splitlines(), unit_text(template, command).splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    (line,) = [new for _, new in changed]
    assert line == ('ExecStart="/opt/pool hand/bin/poolhand" run --config /etc/100%%/$$a.toml')


@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1), min_size=1
    )
)
def test_a_command_comes_back_as_it_went_in(command: list[str]) -> None:
    """Read back as systemd reads it: a shell's quotes, and ``%%`` and ``$$`` for one."""
    (line,) = re.findall(r"(?m)^ExecStart=(.*)$", unit_text("ExecStart=x", command))
    plain = line.replace("%%", "%").replace("$$", "$")
    if not any("\\" in word for word in command):
        assert shlex.split(plain, comments=False) == command


def test_a_plist_says_what_it_was_given_and_keeps_the_rest() -> None:
    template = (UNITS / "poolhand.plist").read_bytes()
    command = ("/opt/p/bin/poolhand", "run", "--config", "/Users/ö/a & b.toml")
    told = plistlib.loads(plist_text(template, command, Path("/l.log")).encode())
    assert told["ProgramArguments"] == list(command)
    assert told["StandardErrorPath"] == told["StandardOutPath"] == "/l.log"
    assert "UserName" not in told
    kept = plistlib.loads(template)
    for key in set(kept) - {"ProgramArguments", "StandardErrorPath", "StandardOutPath"}:
        assert told[key] == kept[key]
    daemon = plistlib.loads(plist_text(template, command, Path("/l.log"), "ada").encode())
    assert daemon["UserName"] == "ada"


def test_what_a_service_could_not_open_is_found() -> None:
    homes = (Path("/home"), Path("/root"))
    assert unreachable(("/opt/p/bin/poolhand", "run"), homes) is None
    assert unreachable(("/opt/p/python", "/root/x.py"), homes) == "/root/x.py"
    assert unreachable(("/homes/ada/p",), homes) is None
    assert unreachable(("/home/ada/p",), homes) == "/home/ada/p"
