"""The checks of the agent's own folder, socket and state, well and ill."""

import json
import os
import socket
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from poolhand import __version__
from poolhand.agent.cli.checks_agent import ABOUT, hours, look, nearest
from poolhand.config.paths import MACHINE_FILE, control_socket

from .checks_world import PLAIN, RUNNING, by_id, ground, verdicts


def node(**facts: object) -> Mapping[str, object]:
    """A serving agent of this version, but for these facts."""
    about = {"pid": os.getpid(), "version": __version__, "uptime_s": 600.0, "log": {"kind": "pipe"}}
    return {"serving": True, "node": about, **facts}


def bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    path.chmod(0o600)
    return listening


def test_all_is_well(tmp_path: Path) -> None:
    here = ground(tmp_path, status=node())
    here.state_dir.mkdir(mode=0o700)
    (here.state_dir / MACHINE_FILE).write_text(json.dumps({"machine_id": "7"}))
    with closing(bound(control_socket(here.state_dir))):
        found = list(look(here))
    assert verdicts(found) == dict.fromkeys(ABOUT, "ok")
    assert by_id(found)["agent.running"].cause == f"process {os.getpid()} runs for 10 min"


def test_before_the_first_start(tmp_path: Path) -> None:
    found = verdicts(look(ground(tmp_path)))
    assert found == {
        "state.folder": "ok",
        "state.identity": "skipped",
        "control.socket": "skipped",
        "agent.running": "warn",
        "agent.version": "skipped",
        "agent.serving": "skipped",
        "agent.log": "skipped",
    }
    assert not (tmp_path / "state").exists(), "to look makes nothing"


def test_a_folder_that_others_may_write_to(tmp_path: Path) -> None:
    here = ground(tmp_path)
    here.state_dir.mkdir()
    here.state_dir.chmod(0o777)
    found = by_id(look(here))["state.folder"]
    assert (found.verdict, found.is_config) == ("fail", True)
    assert "chmod 700" in found.cause


@pytest.mark.parametrize("text", ["", "[]", '{"machine_id": ""}', '{"machine_id": 7}'])
def test_a_number_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    here = ground(tmp_path)
    here.state_dir.mkdir(mode=0o700)
    (here.state_dir / MACHINE_FILE).write_text(text)
    assert by_id(look(here))["state.identity"].verdict == "warn"


def test_a_number_that_others_may_write(tmp_path: Path) -> None:
    here = ground(tmp_path)
    here.state_dir.mkdir(mode=0o700)
    (here.state_dir / MACHINE_FILE).write_text('{"machine_id": "7"}')
    (here.state_dir / MACHINE_FILE).chmod(0o666)
    assert "0666" in by_id(look(here))["state.identity"].cause


def test_sockets_that_are_none_or_open_or_left_behind(tmp_path: Path) -> None:
    here = ground(tmp_path, status=RUNNING)
    here.state_dir.mkdir(mode=0o755)
    path = control_socket(here.state_dir)
    path.write_text("")
    assert "no socket" in by_id(look(here))["control.socket"].cause
    path.unlink()
    with closing(bound(path)):
        path.chmod(0o666)
        assert by_id(look(here))["control.socket"].verdict == "fail"
        here.state_dir.chmod(0o700)
        assert by_id(look(here))["control.socket"].verdict == "ok", "nobody can come near"
    assert by_id(look(ground(tmp_path)))["control.socket"].verdict == "warn"


def test_another_version(tmp_path: Path) -> None:
    found = by_id(look(ground(tmp_path, status=RUNNING)))["agent.version"]
    assert found.verdict == "warn"
    assert found.cause == f"the agent is 0, this command {__version__}"


@pytest.mark.parametrize(
    ("codes", "verdict"),
    [
        (("link_refused",), "fail"),
        (("no_model_loaded",), "warn"),
        (("outside_hours", "line_connecting"), "warn"),
        (("outside_hours", "untrusted"), "fail"),
        ((), "fail"),
    ],
)
def test_why_it_does_not_serve(tmp_path: Path, codes: tuple[str, ...], verdict: str) -> None:
    why = [
        {"code": code, "words": f"because of {code}", "remedy": f"mend {code}"} for code in codes
    ]
    told = node(serving=False, why_not=why)
    found = by_id(look(ground(tmp_path, status=told)))["agent.serving"]
    assert found.verdict == verdict
    assert all(code in found.cause for code in codes)
    if codes:
        assert found.remedy == f"mend {codes[0]}"


def test_a_log_that_was_taken_away(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("")
    told = {**RUNNING, "node": {"log": {"kind": "file", "path": str(log)}}}
    assert by_id(look(ground(tmp_path, status=told)))["agent.log"].verdict == "ok"
    log.unlink()
    assert by_id(look(ground(tmp_path, status=told)))["agent.log"].verdict == "warn"


def test_hours(tmp_path: Path) -> None:
    (none,) = hours(ground(tmp_path))
    assert (none.verdict, none.cause) == ("ok", "no hours are set: always")
    section = '[hours]\nwindows = ["00:00-24:00"]\n[owner]\nyield_to = ["input"]\n'
    (always,) = hours(ground(tmp_path, PLAIN + section))
    assert always.verdict == "ok"
    assert "steps aside for: input" in always.cause
    # a window of one minute on one day: whenever this runs, in one of these it is closed
    closed = [
        next(hours(ground(tmp_path, f'{PLAIN}[hours]\nwindows = ["{at}"]\nwake_before_s = 0\n')))
        for at in ("mon 03:00-03:01", "thu 03:00-03:01")
    ]
    assert "warn" in {one.verdict for one in closed}
    assert any("closed until" in one.cause for one in closed)


def test_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert nearest(tmp_path / "a" / "b") == tmp_path
    assert nearest(tmp_path) == tmp_path
