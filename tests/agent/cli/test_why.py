"""``models why``: whether a request would come, and what is in its way."""

import json
from pathlib import Path

from poolhand.agent.cli.exits import Exit

from .conftest import Cli, Daemon

BLOCKED = {
    "code": "line_down",
    "words": "the line is \x1b[31mdown",
    "remedy": "Wait.",
    "certain": True,
}
DOUBTED = {"code": "backend", "words": "another is wanted", "remedy": "", "certain": False}
MODELS = {
    "/v1/models": {
        "models": [
            {"id": "org/a", "aliases": ["tiny"], "state": "on_disk", "blockers": []},
            {"id": "org/b", "aliases": ["tiny"], "state": "listed", "blockers": [BLOCKED, DOUBTED]},
        ]
    }
}


def test_one_that_would_be_answered(here: Cli, daemon: Daemon) -> None:
    ended = here("models", "why", "org/a", "--state-dir", daemon(MODELS))
    assert ended.returncode == Exit.OK
    assert ended.stdout == "org/a (on disk): a request for it would be answered here\n"


def test_one_that_would_not_says_why_and_what_helps(here: Cli, daemon: Daemon) -> None:
    state = daemon(MODELS)
    ended = here("models", "why", "org/b", "--state-dir", state)
    assert ended.returncode == Exit.NOT_SERVING
    assert ended.stdout.splitlines() == [
        "org/b (listed): a request for it would not reach this machine",
        "  line_down: the line is ?[31mdown",
        "  -> Wait.",
        "  backend: another is wanted (with a coordinator left at its defaults)",
    ]
    told = json.loads(here("models", "why", "org/b", "--json", "--state-dir", state).stdout)
    assert [each["code"] for each in told["models"][0]["blockers"]] == ["line_down", "backend"]


def test_an_alias_means_all_its_builds(here: Cli, daemon: Daemon) -> None:
    ended = here("models", "why", "tiny", "--state-dir", daemon(MODELS))
    assert ended.returncode == Exit.OK, "one of them is enough"
    assert ended.stdout.count("a request for it") == 2


def test_one_that_nobody_offers(here: Cli, daemon: Daemon) -> None:
    ended = here("models", "why", "x\x1b", "--state-dir", daemon(MODELS))
    assert ended.returncode == Exit.FAILURE
    assert ended.stdout.startswith("model 'x?' is not offered here")


def test_nobody_to_ask(here: Cli, tmp_path: Path) -> None:
    ended = here("models", "why", "org/a", "--state-dir", tmp_path)
    assert ended.returncode == Exit.NOT_RUNNING
    assert "agent is not running" in ended.stderr
