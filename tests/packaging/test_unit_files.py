"""The files that ship for systemd and launchd, held to their manuals and to systemd's own scale."""

import os
import plistlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UNITS = ROOT / "packaging" / "units"
ANALYSE = shutil.which("systemd-analyze")
SYSTEM = {"poolhand.service": 1.3, "poolhand-gpu.service": 1.8}
"""Units of the system, and how much each may leave open, of 10."""

EVERY = [*SYSTEM, "poolhand-user.service"]
YOUNGER = re.compile(r"Unknown key (?:name )?'Restart(?:Steps|MaxDelaySec)'")
"""What systemd before 254 says of the two keys that slow a crash loop down."""

needs_analyser = pytest.mark.skipif(ANALYSE is None, reason="systemd-analyze is not here")


def settings(name: str) -> dict[str, list[str]]:
    """Every key with all its values, in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if re.match(r"\w+=", line):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def analysed(*words: str, home: str = "/") -> "subprocess.CompletedProcess[str]":
    assert ANALYSE is not None
    return subprocess.run(  # noqa: S603  # the system's own check of our unit
        [ANALYSE, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        # a user's manager is asked for its folder, and then not needed
        env=os.environ | {"XDG_RUNTIME_DIR": home, "HOME": home},
    )


def exposure(unit: Path) -> float:
    ended = analysed("security", "--offline=true", "--no-pager", str(unit))
    (score,) = re.findall(r"exposure level for \S+: ([\d.]+)", ended.stdout)
    return float(score)


# ── systemd ───────────────────────────────────────────────────────────────────────────


@needs_analyser
@pytest.mark.parametrize(("name", "most"), SYSTEM.items())
def test_a_unit_leaves_little_open(name: str, most: float) -> None:
    assert exposure(UNITS / name) <= most


@needs_analyser
def test_the_scale_would_notice_what_is_left_out(tmp_path: Path) -> None:
    loose = tmp_path / "poolhand.service"
    text = (UNITS / "poolhand.service").read_text()
    loose.write_text(
        re.sub(r"(?m)^(SystemCallFilter|ProtectSystem|NoNewPrivileges)=.*\n", "", text)
    )
    assert exposure(loose) > SYSTEM["poolhand.service"]


@needs_analyser
@pytest.mark.parametrize("name", EVERY)
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    """Where the command lies is the machine's affair: here one that is surely there."""
    unit = tmp_path / name
    unit.write_text((UNITS / name).read_text().replace("/usr/bin/env poolhand", "/bin/true"))
    user = ["--user"] if "user" in name else []
    ended = analysed(
        "verify", "--man=no", "--recursive-errors=no", *user, str(unit), home=str(tmp_path)
    )
    about_us = [line for line in ended.stderr.splitlines() if name in line]
    assert [line for line in about_us if not YOUNGER.search(line)] == []
    unit.write_text(unit.read_text() + "WantedBuy=x\n")
    assert (
        "WantedBuy" in analysed("verify", "--man=no", *user, str(unit), home=str(tmp_path)).stderr
    )


@pytest.mark.parametrize("name", EVERY)
def test_a_unit_tells_is_watched_and_comes_back(name: str) -> None:
    keys = settings(name)
    assert keys["Type"] == ["notify"]
    assert int(keys["WatchdogSec"][0]) <= 30
    assert keys["Restart"] == ["on-failure"]
    assert keys["RestartPreventExitStatus"] == ["78"]
    assert float(keys["RestartSec"][0]) <= 3, "online again within five seconds"
    assert int(keys["RestartSteps"][0]) >= 4
    assert int(keys["RestartMaxDelaySec"][0]) >= 30
    assert keys["StartLimitIntervalSec"] == ["0"], "it never gives up"
    assert keys["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert int(keys["TimeoutStopSec"][0]) > 120, "requests.drain_s"
    assert keys["ExecStart"][0].startswith("/usr/bin/env poolhand run")


def shell_of(name: str, key: str) -> str:
    r"""The shell's own words in a line of a unit, as systemd hands them over.

    Source:
        systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers" and ``\\`` at an end.
    """
    text = (UNITS / name).read_text().replace("\\\n", " ")
    (line,) = re.findall(rf"(?m)^{key}=-/bin/sh -c '([^']*)'$", text)
    assert re.search(r"(?<![$])[$](?![$(])", line.replace("$$", "")) is None
    assert "%" not in line.replace("%%", "")
    return str(line.replace("$$", "$").replace("%%", "%"))


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's tools, as where systemd is")
@pytest.mark.parametrize("name", EVERY)
def test_a_crash_loop_gets_slower_where_systemd_is_old(name: str, tmp_path: Path) -> None:
    """RestartSteps is not known before systemd 254; two lines of shell do the same."""
    sleep, crashes = tmp_path / "bin" / "sleep", tmp_path / "run" / "crashes"
    for folder in (sleep.parent, crashes.parent):
        folder.mkdir()
    sleep.write_text(f"#!/bin/sh\necho $1 >>{tmp_path}/slept\n")
    sleep.chmod(0o755)

    def run(key: str, result: str = "") -> None:
        subprocess.run(  # noqa: S603  # the unit's own words
            ["/bin/sh", "-c", shell_of(name, key)],
            env={
                "PATH": f"{sleep.parent}:{os.environ['PATH']}",
                "RUNTIME_DIRECTORY": str(crashes.parent),
                "SERVICE_RESULT": result,
            },
            check=False,
            timeout=20,
        )

    def changed(after_s: float) -> None:
        at_s = time.time() + after_s
        os.utime(crashes, (at_s, at_s))

    def slept() -> list[int]:
        run("ExecStartPre")
        file = tmp_path / "slept"
        text = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        return [int(one) for one in text.split()]

    assert slept() == [], "a first start waits for nothing"
    waits: list[int] = []
    for _ in range(9):
        run("ExecStopPost", "core-dump")
        changed(1)  # so that a slow machine counts as well
        waits += slept()
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    changed(9e6)
    assert slept() == [60], "whatever a clock does"
    changed(-61)
    assert slept() == [], "where systemd has waited, nothing is added"
    changed(-700)
    run("ExecStopPost", "watchdog")
    assert crashes.stat().st_size == 1, "ten quiet minutes forget"
    run("ExecStopPost", "success")
    assert not crashes.exists()


@pytest.mark.parametrize("name", SYSTEM)
def test_a_unit_of_the_system_owns_what_it_needs_and_no_more(name: str) -> None:
    keys = settings(name)
    for kind in ("State", "Cache", "Runtime", "Configuration"):
        assert keys[f"{kind}Directory"] == ["poolhand"]
    assert keys["DynamicUser"] == ["yes"]
    assert keys["LoadCredential"] == ["token:/etc/poolhand/token"]
    assert keys["SetCredential"] == ["token:\\n"], "a machine without a token starts, too"
    assert keys["CapabilityBoundingSet"] == [""]
    (other,) = set(SYSTEM) - {name}
    assert keys["Conflicts"] == [other], "two of one state folder would refuse each other"


def test_the_two_differ_in_devices_and_in_code_that_is_made_as_it_runs() -> None:
    core, boards = settings("poolhand.service"), settings("poolhand-gpu.service")
    differ = {key for key in core | boards if core.get(key) != boards.get(key)}
    assert differ == {
        *("After", "Wants", "Conflicts", "Description"),
        *("PrivateDevices", "DeviceAllow", "PrivateUsers", "MemoryDenyWriteExecute"),
    }
    assert boards["DevicePolicy"] == core["DevicePolicy"] == ["closed"]


# ── launchd ───────────────────────────────────────────────────────────────────────────

LAUNCHD = {
    "Label": str,
    "Program": str,
    "ProgramArguments": list,
    "RunAtLoad": bool,
    "KeepAlive": (bool, dict),
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "SoftResourceLimits": dict,
    "HardResourceLimits": dict,
    "Umask": (int, str),
    "StandardOutPath": str,
    "StandardErrorPath": str,
    "UserName": str,
    "WorkingDirectory": str,
    "EnvironmentVariables": dict,
}
"""Keys and types, of those that a job like ours may have. Source: launchd.plist(5)."""

KEEP_ALIVE = {"SuccessfulExit", "Crashed", "PathState", "OtherJobEnabled", "NetworkState"}
PROCESS = {"Background", "Standard", "Adaptive", "Interactive"}
LIMITS = {"Core", "CPU", "Data", "FileSize", "MemoryLock", "NumberOfFiles", "NumberOfProcesses"}


def test_the_property_list_is_one_that_launchd_reads() -> None:
    raw = (UNITS / "poolhand.plist").read_bytes()
    told: dict[str, object] = plistlib.loads(raw)
    for key, value in told.items():
        kinds = LAUNCHD[key]
        assert isinstance(value, kinds), key
        assert not (kinds is int and isinstance(value, bool)), key
    assert raw.count(b"<key>") == len(re.findall(rb"<key>\w+</key>", raw))


def test_a_mac_keeps_it_running_after_failures_only() -> None:
    told = plistlib.loads((UNITS / "poolhand.plist").read_bytes())
    assert told["KeepAlive"] == {"SuccessfulExit": False}
    assert set(told["KeepAlive"]) <= KEEP_ALIVE
    assert told["RunAtLoad"] is True
    assert 1 <= told["ThrottleInterval"] <= 4, "online again within five seconds"
    assert told["ExitTimeOut"] > 120, "requests.drain_s"
    assert told["ProcessType"] in PROCESS
    assert told["ProcessType"] not in {"Background", "Adaptive"}, "those are throttled"
    assert set(told["SoftResourceLimits"]) <= LIMITS
    assert told["SoftResourceLimits"]["NumberOfFiles"] >= 1024, "a Mac gives 256"
    assert told["Umask"] == 0o077
    for key in ("StandardOutPath", "StandardErrorPath"):
        assert Path(told[key]).is_absolute()
