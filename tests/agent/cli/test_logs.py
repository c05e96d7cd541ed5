"""``logs``: from a file, from the journal, and as it goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.logs import human

from .conftest import Cli, Daemon

LINE = {"at": "2026-11-21T15:41:09.466+00:00", "level": "info", "what": "Dial", "line": 1}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "agent.log"
    path.write_text("".join(json.dumps({**LINE, "line": n}) + "\n" for n in range(70)))
    return path


def node(log: Path) -> dict[str, object]:
    return {"/v1/status": {"node": {"log": {"kind": "file", "path": str(log)}}}}


def test_the_last_lines_of_the_file_that_the_agent_names(
    here: Cli, daemon: Daemon, log: Path
) -> None:
    state = daemon(node(log))
    ended = here("logs", "--state-dir", state)
    assert (ended.returncode, ended.stderr) == (Exit.OK, "")
    lines = ended.stdout.splitlines()
    assert len(lines) == 50
    assert lines[-1] == "2026-11-21 15:41:09.466 info    Dial line=69"
    ended = here("logs", "--state-dir", state, "-n", "2", "--json")
    assert [json.loads(line)["line"] for line in ended.stdout.splitlines()] == [68, 69]


def test_what_a_dead_agent_left(here: Cli, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "agent.log").write_text("Traceback\x1b[2J\n")
    ended = here("logs", "--state-dir", tmp_path / "s")
    assert (ended.returncode, ended.stdout) == (Exit.OK, "Traceback?[2J\n")


def test_an_agent_that_writes_to_a_terminal_leaves_nothing(here: Cli, daemon: Daemon) -> None:
    state = daemon({"/v1/status": {"node": {"log": {"kind": "terminal"}}}})
    ended = here("logs", "--state-dir", state)
    assert ended.returncode == Exit.FAILURE
    assert "neither to the journal nor to a file" in ended.stderr


def test_a_file_that_is_gone(here: Cli, daemon: Daemon, tmp_path: Path) -> None:
    ended = here("logs", "--state-dir", daemon(node(tmp_path / "none")))
    assert ended.returncode == Exit.FAILURE
    assert "No such file" in ended.stderr


@pytest.mark.parametrize("options", [[], ["-f", "-n", "7"], ["--json"]])
def test_the_journal_is_read_by_its_own_program(
    cli: Cli, daemon: Daemon, tmp_path: Path, options: list[str]
) -> None:
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s " "$@"\nexit 3\n')
    program.chmod(0o755)
    match = "_SYSTEMD_INVOCATION_ID=abc"
    state = daemon({"/v1/status": {"node": {"log": {"kind": "journal", "match": match}}}})
    path = f"{program.parent}:{os.environ['PATH']}"
    ended = cli("logs", *options, "--state-dir", state, PATH=path)
    assert ended.returncode == 3, "its own exit code"
    said = ended.stdout.split()
    assert said[0] == "--no-pager"
    assert said[-1] == match
    assert ("-f" in said) == ("-f" in options)
    assert ("json" in said) == ("--json" in options)


def test_it_goes_on_over_a_new_file_and_an_emptied_one(
    daemon: Daemon, log: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "poolhand.agent", "logs", "-f", "-n", "1", "--json"]
    with subprocess.Popen(  # noqa: S603  # our own command
        [*command, "--state-dir", str(daemon(node(log)))], stdout=subprocess.PIPE, text=True
    ) as following:
        try:
            assert following.stdout is not None
            assert '"line": 69' in following.stdout.readline()
            with log.open("a") as file:
                file.write('{"half": ')
                file.flush()
                file.write('"line"}\n')
            assert following.stdout.readline() == '{"half": "line"}\n'
            log.rename(tmp_path / "agent.log.1")
            log.write_text("after\n")
            assert following.stdout.readline() == "after\n"
        finally:
            following.kill()


@given(
    st.text(max_size=60)
    | st.dictionaries(st.text(max_size=5), st.text(max_size=9)).map(
        lambda facts: json.dumps({**LINE, **facts})
    )
)
@knobs(max_examples=100, deadline=None)
def test_law_no_line_steers_a_terminal(line: str) -> None:
    assert human(line).isprintable()
