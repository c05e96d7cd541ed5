"""What the read verbs really print with ``--json``, held to what is published."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest

from poolhand.agent.cli import shapes
from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.main import whole_parser
from poolhand.agent.cli.words import tree
from poolhand.config.paths import control_socket

from .conftest import Cli

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
CONFIG = """
[coordinator]
url = "ws://127.0.0.1:9"
[[models]]
id = "org/toy"
ref = "file://{place}"
[cache]
dir = "cache"
"""
DOERS = {
    *("models fetch", "models rm", "models prune", "models pin", "models unpin", "bench"),
    *("pool set", "pool release", "pin", "unpin", "drain", "undrain", "reload", "config set"),
    *("support-bundle", "config schema"),
}
"""They take ``--json``, and do something; the last one's is a schema itself."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A configuration with one model that lies beside it."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "config.json").write_text('{"model_type": "toy"}')
    (place / "tokenizer.json").write_text("{}" * 1000)
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(place=place))
    return path


@pytest.fixture
def state(files: Path) -> Iterator[Path]:
    """A real agent that reads it, and writes its log to a file."""
    folder = files.parent / "state"
    folder.mkdir(mode=0o700)
    words = ["run", "--config", str(files), "--state-dir", str(folder)]
    with (folder / "agent.log").open("wb") as log:
        agent = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-m", "poolhand.agent", *words],
            stderr=log,
            env=os.environ | {"HOME": str(files.parent)},
        )
    try:
        yield folder
    finally:
        agent.terminate()
        agent.wait(30)


Held = Callable[..., object]


@pytest.fixture
def held(here: Cli) -> Held:
    """Run a verb with ``--json``, hold what it prints to its schema, and give it back."""

    def run(verb: str, *words: str | Path, code: int | None = Exit.OK) -> object:
        ended = here(*verb.split(), *words, "--json")
        assert code is None or ended.returncode == code, (verb, ended)
        said: object = json.loads(ended.stdout.splitlines()[-1] if verb == "logs" else ended.stdout)
        schema: dict[str, object] = json.loads((SCHEMAS / shapes.file_of(verb)).read_text())
        jsonschema.Draft202012Validator(schema).validate(said)  # pyright: ignore[reportUnknownMemberType]
        return said

    return run


def test_every_verb_that_only_looks_has_a_schema() -> None:
    words = tree(whole_parser())
    known = {path.removeprefix("poolhand ") for path in words if "--json" in words[path].options}
    assert known - DOERS == set(shapes.PRINTED) - {"doctor s3"}
    for verb in shapes.PRINTED:
        schema = json.loads((SCHEMAS / shapes.file_of(verb)).read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema == shapes.published(verb)


def test_with_no_agent(held: Held, files: Path) -> None:
    config, nobody = ("--config", files), ("--state-dir", files.parent / "none")
    for verb in ("status", "top", "pool status"):
        held(verb, *nobody, code=Exit.NOT_RUNNING)
    held("models why", "org/toy", *nobody, code=Exit.NOT_RUNNING)
    listed = held("models list", *config, *nobody)
    assert isinstance(listed, dict)
    assert listed["models"]
    for verb in ("config check", "config show", "engines"):
        held(verb, *config)
    held("config show", "--effective", *config)
    held("config get", "slots", *config)
    held("models manifest", files.parent / "place", "--id", "org/toy")
    held("doctor", "--offline", *config, *nobody, code=None)  # it is this machine's
    held("doctor s3", f"file://{files.parent / 'none'}", *config, code=Exit.FAILURE)
    files.write_text("[coordinator]\nurl = 5\n")
    held("config check", *config, code=Exit.CONFIG)


def test_of_the_cache(held: Held, here: Cli, files: Path) -> None:
    config = ("--config", files)
    assert here("models", "fetch", "org/toy", *config).returncode == Exit.OK
    shown = held("models show", "org/toy", *config)
    assert isinstance(shown, dict)
    assert shown["state"] == "here"
    held("models verify", *config)
    weights = files.parent / "place" / "config.json"
    weights.write_text(weights.read_text().replace("toy", "tay"))
    held("models verify", *config, code=Exit.FAILURE)
    held("models show", "org/toy", *config)


def test_with_a_running_agent(held: Held, here: Cli, files: Path, state: Path) -> None:
    agent = ("--state-dir", state)
    while here("status", *agent).returncode == Exit.NOT_RUNNING:
        assert not (state / "failed").exists()
    assert control_socket(state).exists()
    for verb in ("status", "top"):
        held(verb, *agent, code=Exit.NOT_SERVING)
    for verb in ("models list", "pool status", "config diff", "logs"):
        held(verb, *agent)
    held("models why", "org/toy", *agent, code=Exit.NOT_SERVING)
    held("models why", "org/none", *agent, code=Exit.FAILURE)
    files.write_text(files.read_text() + "[log]\nformat = 'json'\n")
    held("config diff", *agent)


def test_a_service_that_is_not_installed(cli: Cli) -> None:
    said = json.loads(cli("service", "status", "--user", "--json").stdout)
    jsonschema.validate(said, dict(shapes.published("service status")))
