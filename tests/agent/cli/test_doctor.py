"""``poolhand doctor`` as a command: its lines, its JSON, its exit codes, its patience."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from poolhand.agent.cli import doctor
from poolhand.agent.cli.checks_table import ABOUT, Group
from poolhand.agent.cli.checks_told import Finding, Ground, fail, ok, skipped, warn
from poolhand.agent.cli.doctor_verdict import Chance
from poolhand.agent.cli.exits import Exit

from .checks_world import PLAIN, ground
from .conftest import Cli, Daemon

TOKEN = "canary-token-3c90"  # noqa: S105  # a made-up one
MODEL = '[[models]]\nid = "org/a"\naliases = ["a"]\nref = "s3://models/a"\nengine = "echo"\n'
SERVING: Mapping[str, object] = {
    "serving": True,
    "node": {"pid": 1, "version": "0", "uptime_s": 9.0},
    "slots": [{"model": "org/a", "state": "ready"}],
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(f'{PLAIN}{MODEL}[cache]\ndir = "cache"\nreserve_gib = 0\n')
    return path


def checks(text: str) -> dict[str, dict[str, object]]:
    told = cast("list[dict[str, object]]", json.loads(text)["checks"])
    return {str(one["id"]): one for one in told}


def test_every_check_has_a_finding_whatever_the_machine(
    here: Cli, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLHAND_TOKEN", TOKEN)
    words = ("doctor", "--offline", "--config", config, "--state-dir", tmp_path / "state")
    ended = here(*words, "--json")
    found = checks(ended.stdout)
    assert set(found) == set(ABOUT)
    assert set(found["cache.disk"]) == {
        "id", "verdict", "cause", "remedy", "subject", "is_config",
    }  # fmt: skip
    assert found["line.tcp"]["cause"] == "--offline"
    assert found["token.source"]["cause"] == "read from environment variable POOLHAND_TOKEN"
    assert json.loads(ended.stdout)["exit"] == ended.returncode
    people = here(*words)
    assert people.returncode == ended.returncode
    assert TOKEN not in ended.stdout + people.stdout + people.stderr
    lines = people.stdout.splitlines()
    assert lines[0].startswith("ok       config.readable")
    assert "  agent_not_running: no agent runs" in lines
    assert " skipped" in lines[-1]
    quiet = here(*words, "--quiet").stdout
    assert "\nok " not in quiet
    assert "agent.running" in quiet


def test_a_model_that_is_named(here: Cli, config: Path, daemon: Daemon) -> None:
    blocker = {"code": "slots_busy", "words": "busy", "remedy": "Wait.", "certain": True}
    reached: dict[str, object] = {"id": "org/a", "blockers": []}
    answers: dict[str, object] = {"/v1/status": SERVING, "/v1/models": {"models": [reached]}}
    state = daemon(answers)
    words = ("doctor", "--offline", "--config", config, "--state-dir", state)
    ended = here(*words, "a", "--json")
    assert json.loads(ended.stdout)["models"] == [
        {"model": "org/a", "answered": True, "blockers": []}
    ]
    reached["blockers"] = [blocker]
    ended = here(*words, "s3://models/a")
    assert ended.returncode == Exit.FAILURE
    assert "org/a: a request would not reach this machine\n  slots_busy: busy" in ended.stdout
    blocker["certain"] = False
    ended = here(*words, "org/a", "--quiet")
    assert "may not reach this machine" in ended.stdout
    assert "not_offered" in here(*words, "nobody").stdout


def test_exit_codes(here: Cli, cli: Cli, config: Path, tmp_path: Path) -> None:
    state = ("--state-dir", tmp_path / "state")
    assert here("doctor", "--config", tmp_path / "no", *state).returncode == Exit.CONFIG
    config.write_text(PLAIN + "[slot]\nx = 1\n")
    ended = here("doctor", "--config", config, *state)
    assert ended.returncode == Exit.CONFIG
    assert "fail     config.valid" in ended.stdout
    assert here("doctor", "org/a", "more").returncode == Exit.USAGE
    config.write_text(PLAIN)
    ended = cli("doctor", "--config", config, *state, "--quiet")
    assert ended.returncode == Exit.FAILURE
    assert "fail     line.tcp" in ended.stdout
    ended = here("doctor", "--offline", "--config", config, *state)
    assert ended.returncode in {Exit.OK, Exit.FAILURE}, "as this machine is"


def group(
    name: str, *found: Finding, waits: bool = False, until: threading.Event | None = None
) -> Group:
    """Checks with these findings; the last comes once it may."""

    def look(_: Ground) -> Iterator[Finding]:
        yield from found[:-1]
        if until is not None:
            assert until.wait(30)
        yield from found[-1:]

    about = {one.id: "it" for one in found}
    return Group(name, about, look, needs_settings=False, waits=waits)


def test_what_waits_waits_side_by_side_and_the_order_stays(tmp_path: Path) -> None:
    gate = threading.Event()

    def opened(_: Ground) -> Iterator[Finding]:
        gate.set()
        yield ok("c.c", "it")

    slow = group("slow", ok("a.a", "it"), warn("b.b", "odd", "look"), waits=True, until=gate)
    groups = [slow, Group("opens", {"c.c": "it"}, opened, needs_settings=False)]
    found = doctor.found_of(ground(tmp_path), groups)
    assert [one.id for one in found] == ["a.a", "b.b", "c.c"]


def test_nobody_is_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.2)
    gate = threading.Event()
    slow = group("slow", ok("a.a", "it"), ok("b.b", "it"), waits=True, until=gate)
    found = doctor.found_of(ground(tmp_path), [slow])
    gate.set()
    assert [(one.id, one.verdict) for one in found] == [("a.a", "ok"), ("b.b", "fail")]
    assert "no answer within" in found[1].cause


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_check_that_breaks_off_is_not_called_late(tmp_path: Path) -> None:
    def broken(_: Ground) -> Iterator[Finding]:
        yield ok("a.a", "it")
        raise RuntimeError

    group = Group("broken", {"a.a": "it", "b.b": "it"}, broken, needs_settings=False, waits=True)
    found = doctor.found_of(ground(tmp_path), [group])
    assert [(one.id, one.verdict) for one in found] == [("a.a", "ok"), ("b.b", "fail")]
    assert found[1].cause == "the check itself broke off"


def test_what_needs_settings_is_left_out_without(tmp_path: Path) -> None:
    needy = Group("needy", {"a.a": "it"}, lambda _: iter(()))
    (found,) = doctor.found_of(ground(tmp_path, ""), [needy])
    assert (found.verdict, found.cause) == ("skipped", "the configuration cannot be used")


def test_nothing_steers_the_terminal() -> None:
    found = [fail("a.b", "bad\x1b[2J", "mend\x07"), skipped("c.d", "none")]
    lines = list(doctor.drawn(found, [Chance("m\x1b", ())], is_brief=False, is_coloured=False))
    assert "\x1b" not in "".join(lines)
    assert lines[0] == "fail     a.b  bad?[2J"
    assert lines[1] == "              -> mend?"
    assert lines[-1] == "1 fail, 1 skipped"
    (coloured, *_) = doctor.drawn(found, [], is_brief=False, is_coloured=True)
    assert coloured.startswith("\x1b[1;31mfail")
