"""``poolhand bench`` as users run it: a process, a cache, the tiny model in its engine."""

import json
import sys
from pathlib import Path

import pytest

from poolhand.agent.cli.exits import Exit
from poolhand.agent.dev.checkpoint import make_model
from tests.contract.gguf_of import write_gguf

from .conftest import Cli

CONFIG = """\
[coordinator]
url = "ws://127.0.0.1:1"

[cache]
dir = "cache"

[[models]]
id = "org/nano"
aliases = ["nano"]
ref = "{ref}"

[[models]]
id = "org/gap"

[models.external]
dialect = "openai"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    make_model(tmp_path / "nano", preset="nano", name="nano")
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(ref=(tmp_path / "nano").as_uri()))
    return path


@pytest.mark.engine
def test_figures_for_programs_and_a_table_for_people(cli: Cli, config: Path) -> None:
    fetched = cli("models", "fetch", "nano", "--config", config)
    assert fetched.returncode == Exit.OK, fetched.stderr
    common = ("bench", "nano", "--config", config, "--seconds", "0.2")
    done = cli(*common, "--json")
    assert done.returncode == Exit.OK, done.stderr
    told = json.loads(done.stdout)
    assert (told["model"], told["engine"]) == ("org/nano", "mlx")
    assert told["load_s"] > 0
    assert told["memory_bytes"] > told["weights_bytes"] > 0
    assert min(told["decode_tps"], told["prefill_tps"]) > 1
    assert [level["streams"] for level in told["levels"]] == [1, 8, 32]
    for level in told["levels"]:
        assert level["tokens"] >= level["streams"], "all of them ran, not only as many as serve"
        assert level["tokens_per_s"] > 1
        assert 0 < level["first_token_median_s"] <= level["first_token_worst_s"]
    table = cli(*common, "--streams", "2")
    assert table.returncode == Exit.OK, table.stderr
    head, columns, row = table.stdout.splitlines()
    assert head.startswith("org/nano on mlx: loaded in ")
    assert columns.split() == [
        "streams",
        "tokens/s",
        "a",
        "stream",
        "first",
        "token",
        "the",
        "worst",
    ]
    assert row.split()[0] == "2"
    assert row.endswith(" ms")


def test_what_is_not_here_is_not_measured(here: Cli, config: Path) -> None:
    done = here("bench", "nano", "--config", config)
    assert done.returncode == Exit.FAILURE
    assert "nothing verified lies in the cache" in done.stderr


def test_a_provider_is_not_asked(here: Cli, config: Path) -> None:
    done = here("bench", "org/gap", "--config", config)
    assert done.returncode == Exit.CONFIG
    assert "there is nothing to fetch" in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ("--streams", "0"),
        ("--streams", "1,x"),
        ("--streams", "257"),
        ("--streams", ""),
        ("--seconds", "0"),
        ("--seconds", "nan"),
        ("--seconds", "x"),
        ("--seconds", "3601"),
    ],
)
def test_figures_that_make_no_sense(here: Cli, wrong: tuple[str, str]) -> None:
    assert here("bench", "m", *wrong).returncode == Exit.USAGE


def served_by(script: str, tmp_path: Path) -> Path:
    """A configuration with one model for llama.cpp, whose server is this script."""
    program = tmp_path / "llama-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    build = tmp_path / "gguf"
    make_model(tmp_path / "nano", preset="nano", name="nano")
    build.mkdir()
    write_gguf(tmp_path / "nano", build / "model.gguf")
    (build / "plan").write_text("steady")
    path = tmp_path / "agent.toml"
    path.write_text(
        f'[coordinator]\nurl = "ws://127.0.0.1:1"\n[cache]\ndir = "cache"\n'
        f'[engines.llamacpp]\nprogram = "{program}"\n'
        f'[[models]]\nid = "org/g"\nref = "{build.as_uri()}"\nengine = "llamacpp"\n'
    )
    return path


def test_what_a_server_said_before_it_left_is_shown(cli: Cli, tmp_path: Path) -> None:
    path = served_by("echo this board is full >&2; exit 3", tmp_path)
    assert cli("models", "fetch", "org/g", "--config", path).returncode == Exit.OK
    done = cli("bench", "org/g", "--config", path)
    assert done.returncode == Exit.FAILURE
    assert done.stderr.startswith("this board is full\npoolhand: engine 'llamacpp' could not load")


def test_more_streams_than_a_server_serves_wait_in_it(cli: Cli, tmp_path: Path) -> None:
    stub = Path(__file__).parents[2] / "contract" / "stub_server.py"
    path = served_by(f'exec "{sys.executable}" -P "{stub}" "$@"', tmp_path)
    assert cli("models", "fetch", "org/g", "--config", path).returncode == Exit.OK
    done = cli("bench", "org/g", "--config", path, "--seconds", "0.2", "--json")
    assert done.returncode == Exit.OK, done.stderr
    assert [level["streams"] for level in json.loads(done.stdout)["levels"]] == [1, 8, 32]
