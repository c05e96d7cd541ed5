"""Every order: what is sent for it, how its end is told, and the exit code."""

import json
from pathlib import Path

import pytest

from poolhand.agent.cli.drain import span_s
from poolhand.agent.cli.exits import Exit

from .conftest import Cli, Daemon

DONE = {"order": 1, "status": "done", "words": "all is well"}
COMING = {"order": 1, "status": "under_way", "words": "2 request(s) run"}
REFUSED = {"order": 1, "status": "refused", "words": "a move is under way"}
FAILED = {"order": 1, "status": "failed", "words": "undone: no room"}


def sent(state: Path) -> list[tuple[str, object]]:
    lines = (state / "orders").read_text().splitlines()
    return [(path, json.loads(body)) for path, _, body in (line.partition(" ") for line in lines)]


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (["pool", "set", "tiny"], "/v1/pool/set", {"pool": "tiny", "now": False}),
        (["pool", "set", "tiny", "--now"], "/v1/pool/set", {"pool": "tiny", "now": True}),
        (["pool", "release"], "/v1/pool/release", {}),
        (["pin", "org/a"], "/v1/pin", {"model": "org/a"}),
        (["unpin", "org/a"], "/v1/unpin", {"model": "org/a"}),
        (["models", "pin", "org/a"], "/v1/pin", {"model": "org/a"}),
        (["models", "unpin", "org/a"], "/v1/unpin", {"model": "org/a"}),
        (["drain"], "/v1/drain", {}),
        (["drain", "--deadline", "5m"], "/v1/drain", {"deadline_s": 300.0}),
        (["undrain"], "/v1/undrain", {}),
        (["reload"], "/v1/reload", {}),
    ],
    ids=str,
)
def test_each_verb_gives_its_order(
    here: Cli, daemon: Daemon, words: list[str], path: str, body: object
) -> None:
    state = daemon({path: DONE})
    ended = here(*words, "--state-dir", state)
    assert (ended.returncode, ended.stderr) == (Exit.OK, "")
    assert ended.stdout == "done: all is well\n"
    assert sent(state) == [(path, body)]


def test_what_takes_its_time_is_waited_for(here: Cli, daemon: Daemon) -> None:
    state = daemon({"/v1/drain": COMING, "/v1/orders?order=1": DONE})
    ended = here("drain", "--state-dir", state)
    assert ended.returncode == Exit.OK
    assert ended.stdout == "under way: 2 request(s) run\ndone: all is well\n"
    ended = here("drain", "--json", "--state-dir", state)
    assert json.loads(ended.stdout) == DONE, "one object, the last"


def test_nobody_has_to_wait(here: Cli, daemon: Daemon) -> None:
    state = daemon({"/v1/pool/set": COMING, "/v1/orders?order=1": FAILED})
    ended = here("pool", "set", "tiny", "--no-wait", "--state-dir", state)
    assert (ended.returncode, ended.stdout) == (Exit.OK, "under way: 2 request(s) run\n")
    ended = here("pool", "set", "tiny", "--state-dir", state)
    assert ended.returncode == Exit.FAILURE
    assert ended.stdout.endswith("failed: undone: no room\n")


def test_a_refusal_has_a_code_of_its_own(here: Cli, daemon: Daemon) -> None:
    told = {**REFUSED, "remedy": "Wait for it."}
    state = daemon({"/v1/pool/set": told})
    ended = here("pool", "set", "tiny", "--state-dir", state)
    assert ended.returncode == Exit.REFUSED
    assert ended.stdout == "refused: a move is under way\n  -> Wait for it.\n"
    ended = here("pool", "set", "tiny", "--json", "--state-dir", state)
    assert (ended.returncode, json.loads(ended.stdout)) == (Exit.REFUSED, told)


@pytest.mark.parametrize("body", [b"[]", b"x", b'{"status": 7}', b'{"words": "a\\u001b[2Jb"}'])
def test_an_answer_that_is_none_is_a_failure(here: Cli, daemon: Daemon, body: bytes) -> None:
    ended = here("undrain", "--state-dir", daemon({"/v1/undrain": body}))
    assert ended.returncode == Exit.FAILURE
    assert "\x1b" not in ended.stdout


def test_nobody_is_there_to_obey(here: Cli, tmp_path: Path) -> None:
    ended = here("drain", "--state-dir", tmp_path / "s")
    assert ended.returncode == Exit.NOT_RUNNING
    assert ended.stdout.startswith("failed: agent is not running")
    assert "  -> Start it" in ended.stdout
    ended = here("reload", "--json", "--state-dir", tmp_path / "s")
    assert ended.returncode == Exit.NOT_RUNNING
    assert json.loads(ended.stdout)["code"] == "agent_not_running"
    ended = here("pool", "status", "--state-dir", tmp_path / "s")
    assert ended.returncode == Exit.NOT_RUNNING


def test_the_pool_by_itself(here: Cli, daemon: Daemon) -> None:
    pool = {
        "assigned": "tiny",
        "source": "operator",
        "epoch": 3,
        "for_s": 10.0,
        "models": ["org/a"],
        "stays_because": "it is \x1b[31mbusy",
    }
    state = daemon({"/v1/status": {"pool": pool}})
    ended = here("pool", "status", "--state-dir", state)
    assert ended.returncode == Exit.OK
    assert ended.stdout.splitlines() == [
        "tiny  (chosen by its operator)  for 10 s  epoch 3",
        "stays because: it is ?[31mbusy",
        "  org/a",
    ]
    assert json.loads(here("pool", "status", "--json", "--state-dir", state).stdout) == pool


def test_a_status_without_a_pool(here: Cli, daemon: Daemon) -> None:
    ended = here("pool", "status", "--state-dir", daemon({"/v1/status": {}}))
    assert ended.returncode == Exit.FAILURE
    assert "told of no pool" in ended.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("30", 30), ("90s", 90), ("5m", 300), ("1.5h", 5400)]
)
def test_spans(text: str, seconds: float) -> None:
    assert span_s(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1d", "2 days", "25h", "nan", "inf", "s", "1e9"])
def test_what_is_no_span(here: Cli, text: str) -> None:
    ended = here("drain", "--deadline", text)
    assert ended.returncode == Exit.USAGE
    assert "is no span" in ended.stderr or "expected one argument" in ended.stderr
