"""``poolhand service`` as its user types it, against stand-ins for systemctl and launchctl."""

import json
import plistlib
import stat
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.supervisors import LABEL
from poolhand.agent.cli.units import add_arguments, main
from poolhand.agent.cli.units_place import SupervisorFailed, place_of
from poolhand.config.errors import ConfigError

GOOD = '[coordinator]\nurl = "ws://127.0.0.1:1"\n'

SYSTEMCTL = """#!/bin/sh
# knows one unit: the file `active` is there while it runs
cd "$(dirname "$0")/.." || exit 9
echo "$*" >>said
[ "$1" = --user ] && shift
case "$1" in
is-active)
    [ -e leaving ] && { rm leaving; echo deactivating; exit 3; }
    [ -e active ] && { echo active; exit 0; }
    echo inactive; exit 3 ;;
start) [ -e broken ] && { echo "Job for it failed." >&2; exit 1; }
    [ -e active ] && exit 0
    touch active ;;
stop) rm -f active; touch leaving ;;
disable) rm -f active; touch leaving ;;
reset-failed) exit 1 ;;
esac
exit 0
"""

LAUNCHCTL = """#!/bin/sh
# knows one job: `loaded` is there while it is known, `active` while it runs
cd "$(dirname "$0")/.." || exit 9
echo "$*" >>said
case "$1" in
print)
    [ -e leaving ] && rm -f leaving loaded && echo "state = running" && exit 0
    [ -e loaded ] || { echo "Could not find service" >&2; exit 113; }
    [ -e active ] && echo "	state = running" || echo "	state = not running"
    exit 0 ;;
bootstrap) [ -e loaded ] && { echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; }
    touch loaded active ;;
kickstart) touch active ;;
kill) rm -f active ;;
bootout) rm -f active; touch leaving ;;
esac
exit 0
"""

Service = Callable[..., tuple[int, str]]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and stand-ins that are found before anything of this machine."""
    for name, text in (
        ("systemctl", SYSTEMCTL),
        ("launchctl", LAUNCHCTL),
        ("journalctl", '#!/bin/sh\necho "$*" >>"$(dirname "$0")/../said"\n'),
    ):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for name in ("POOLHAND_CONFIG", "SUDO_USER", "CONFIGURATION_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "agent.toml").write_text(GOOD)
    return tmp_path


def said(machine: Path) -> list[str]:
    """What the stand-in was told since the last look."""
    file = machine / "said"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


@pytest.fixture
def service(machine: Path, capsys: pytest.CaptureFixture[str]) -> Service:
    def run(*words: str, platform: str = "linux") -> tuple[int, str]:
        parser = ArgumentParser()
        add_arguments(parser)
        scope = [] if {"--system", "--user"} & set(words) else ["--user"]
        config = ["--config", str(machine / "agent.toml")]
        code = main(parser.parse_args([*words, *scope, *config]), platform)
        return code, capsys.readouterr().out

    return run


def parsed(*words: str, machine: Path) -> Namespace:
    """What a verb is given."""
    parser = ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([*words, "--config", str(machine / "agent.toml")])


def unit(machine: Path) -> Path:
    return machine / "xdg" / "systemd" / "user" / "poolhand.service"


def plist(machine: Path) -> Path:
    return machine / "home" / "Library" / "LaunchAgents" / f"{LABEL}.plist"


# ── systemd ───────────────────────────────────────────────────────────────────────────


def test_a_dry_run_shows_the_diff_and_the_commands_and_does_nothing(
    machine: Path, service: Service
) -> None:
    code, out = service("install", "--dry-run")
    assert code == Exit.OK
    assert "+++ " in out
    assert f"run --config {machine / 'agent.toml'}" in out
    assert "would run: systemctl --user start poolhand.service" in out
    assert not unit(machine).exists()
    assert said(machine) == []


def test_it_is_installed_and_a_second_time_left_as_it_is(machine: Path, service: Service) -> None:
    code, out = service("install")
    assert (code, out.splitlines()[-1]) == (Exit.OK, "poolhand.service runs")
    assert stat.S_IMODE(unit(machine).stat().st_mode) == 0o644
    assert [line for line in said(machine) if "is-active" not in line] == [
        "--user daemon-reload",
        "--user enable poolhand.service",
        "--user reset-failed poolhand.service",
        "--user start poolhand.service",
    ]
    before = unit(machine).stat()
    code, out = service("install")
    assert (code, out.splitlines()[0]) == (Exit.OK, f"as it was: {unit(machine)}")
    assert unit(machine).stat().st_ino == before.st_ino
    assert not [line for line in said(machine) if "stop" in line or "disable" in line]


def test_another_one_leaves_before_its_file_is_replaced(machine: Path, service: Service) -> None:
    service("install")
    unit(machine).write_text("[Service]\nExecStart=/old\n")
    said(machine)
    code, out = service("install", "--dry-run")
    assert "-ExecStart=/old" in out
    code, out = service("install")
    assert code == Exit.OK
    order = [line.split()[1] for line in said(machine)]
    gone = order.index("disable")
    assert order[gone : gone + 4] == ["disable", "is-active", "is-active", "daemon-reload"]
    assert order[-1] == "start"
    assert "/old" not in unit(machine).read_text()


def test_uninstall_stops_waits_deletes_and_may_be_repeated(machine: Path, service: Service) -> None:
    service("install")
    code, out = service("uninstall", "--dry-run")
    assert f"would delete {unit(machine)}" in out
    assert unit(machine).exists()
    code, out = service("uninstall")
    assert (code, unit(machine).exists(), (machine / "active").exists()) == (0, False, False)
    assert "weights stay" in out
    assert service("uninstall") == (0, f"{unit(machine)} is not there\n")


def test_start_stop_and_restart_may_be_repeated(machine: Path, service: Service) -> None:
    service("install")
    for verb, is_there in (("stop", False), ("stop", False), ("start", True), ("start", True)):
        assert service(verb)[0] == Exit.OK
        assert (machine / "active").exists() is is_there
    said(machine)
    assert service("restart")[0] == Exit.OK
    order = [line.split()[1] for line in said(machine)]
    assert order.index("stop") < order.index("start")


def test_what_is_not_installed_cannot_be_started(machine: Path, service: Service) -> None:
    with pytest.raises(SupervisorFailed, match="service install"):
        service("start")


def test_status_says_installed_running_and_drifted(machine: Path, service: Service) -> None:
    code, out = service("status", "--json")
    told = json.loads(out)
    assert (code, told["installed"], told["running"]) == (Exit.NOT_RUNNING, False, False)
    assert "-> poolhand service install" in service("status")[1]
    service("install")
    assert service("status")[0] == Exit.OK
    unit(machine).write_text(unit(machine).read_text() + "# mine\n")
    told = json.loads(service("status", "--json")[1])
    assert (told["running"], told["drifted"]) == (True, True)
    assert "not what this version would write" in service("status")[1]


def test_a_start_that_fails_says_what_systemd_said(machine: Path, service: Service) -> None:
    (machine / "broken").touch()
    with pytest.raises(SupervisorFailed, match=r"start poolhand\.service: Job for it failed\."):
        service("install")


def test_a_configuration_that_does_not_hold_is_said_before_anything_is_written(
    machine: Path, service: Service
) -> None:
    (machine / "agent.toml").write_text("[coordinator]\nurll = 1\n")
    with pytest.raises(ConfigError, match=r"coordinator\.url is missing"):
        service("install", "--dry-run")
    with pytest.raises(ConfigError, match=r"coordinator\.url is missing"):
        service("install")
    assert not unit(machine).exists()
    assert service("install", "--no-start")[0] == Exit.OK
    assert unit(machine).exists()


def test_logs_are_the_journal_s(machine: Path, service: Service) -> None:
    assert service("logs", "-n", "7")[0] == Exit.OK
    assert service("logs", "-f")[0] == Exit.OK
    assert said(machine) == [
        "--user-unit poolhand.service --output=cat --lines=7 --no-pager",
        "--user-unit poolhand.service --output=cat --lines=50 --follow",
    ]


def test_a_manager_that_is_not_there_is_a_sentence(
    machine: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(machine / "none"))
    with pytest.raises(SupervisorFailed, match="systemctl"):
        service("install")
    with pytest.raises(SupervisorFailed, match="no service manager is known on plan9"):
        service("status", platform="plan9")


@pytest.mark.parametrize("boards", [True, False])
def test_an_image_is_written_to_and_nothing_is_started(
    machine: Path, service: Service, *, boards: bool
) -> None:
    image = machine / "image"
    words = ("--system", "--root", str(image), "--gpu" if boards else "--no-gpu")
    assert service("install", *words)[0] == Exit.OK
    name = "poolhand-gpu.service" if boards else "poolhand.service"
    written = (image / "etc/systemd/system" / name).read_text()
    assert ("char-nvidia" in written) is boards
    assert said(machine) == []
    assert service("uninstall", *words)[0] == Exit.OK
    assert not (image / "etc/systemd/system" / name).exists()


def test_a_package_s_own_unit_is_left_to_it(machine: Path, service: Service) -> None:
    shipped = machine / "image" / "usr/lib/systemd/system/poolhand.service"
    shipped.parent.mkdir(parents=True)
    shipped.write_text("[Service]\n")
    words = ("--system", "--root", str(machine / "image"), "--no-gpu")
    code, out = service("install", *words)
    assert (code, out) == (Exit.OK, f"as it was: {shipped}\n")
    assert not (machine / "image" / "etc").exists()


# ── launchd ───────────────────────────────────────────────────────────────────────────


def test_of_two_units_of_a_package_the_one_that_starts_is_meant(
    machine: Path, service: Service
) -> None:
    root = machine / "image"
    shipped, own = root / "usr/lib/systemd/system", root / "etc/systemd/system"
    shipped.mkdir(parents=True)
    for name in ("poolhand.service", "poolhand-gpu.service"):
        (shipped / name).write_text("[Service]\n")
    where = ("--system", "--root", str(root))
    assert "poolhand.service" in service("status", *where, "--no-gpu")[1]
    wants = own / "multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "poolhand-gpu.service").symlink_to(shipped / "poolhand-gpu.service")
    assert "poolhand-gpu.service" in service("status", *where)[1]
    args = parsed("install", *where, "--no-gpu", machine=machine)
    job = place_of(args, "linux").job
    assert ("systemctl", "disable", "poolhand-gpu.service") in job.load, "one of them at a time"
    args = parsed("install", *where, "--gpu", machine=machine)
    assert not any("disable" in words for words in place_of(args, "linux").job.load)


def test_a_mac_s_agent_is_installed_once_and_replaced_when_it_has_vanished(
    machine: Path, service: Service
) -> None:
    assert service("install", platform="darwin")[0] == Exit.OK
    told = plistlib.loads(plist(machine).read_bytes())
    assert told["ProgramArguments"][1:] == ["run", "--config", str(machine / "agent.toml")] or (
        told["ProgramArguments"][-3:] == ["run", "--config", str(machine / "agent.toml")]
    )
    assert Path(told["StandardErrorPath"]).parent.is_dir()
    assert [line.split()[0] for line in said(machine)].count("bootstrap") == 1

    assert service("install", platform="darwin")[0] == Exit.OK
    assert "bootstrap" not in {line.split()[0] for line in said(machine)}

    plist(machine).write_text(plist(machine).read_text().replace("Interactive", "Background"))
    assert service("install", platform="darwin")[0] == Exit.OK
    order = [line.split()[0] for line in said(machine)]
    gone = order.index("bootout")
    assert order[gone + 1] == order[gone + 2] == "print", "asked until it was gone"
    assert order.index("bootstrap") > gone


def test_a_mac_s_agent_stops_starts_and_goes(machine: Path, service: Service) -> None:
    service("install", platform="darwin")
    assert service("stop", platform="darwin")[0] == Exit.OK
    assert ((machine / "active").exists(), (machine / "loaded").exists()) == (False, True)
    assert service("status", platform="darwin")[0] == Exit.NOT_RUNNING
    assert service("start", platform="darwin")[0] == Exit.OK
    assert service("status", platform="darwin")[0] == Exit.OK
    assert service("uninstall", platform="darwin")[0] == Exit.OK
    assert not plist(machine).exists()
    assert not (machine / "loaded").exists()
    assert service("uninstall", platform="darwin")[0] == Exit.OK


def test_a_mac_s_daemon_needs_an_owner(machine: Path, service: Service) -> None:
    words = ("install", "--system", "--root", str(machine / "image"))
    with pytest.raises(SupervisorFailed, match="--run-as"):
        service(*words, platform="darwin")
    assert service(*words, "--run-as", "ada", platform="darwin")[0] == Exit.OK
    written = machine / "image" / "Library" / "LaunchDaemons" / f"{LABEL}.plist"
    assert plistlib.loads(written.read_bytes())["UserName"] == "ada"
