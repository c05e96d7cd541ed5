"""The list of models, from a running agent or from the file alone."""

import json
from pathlib import Path

from poolhand.agent.cli.exits import Exit

from .conftest import Cli, Daemon

CONFIG = """\
[coordinator]
url = "ws://127.0.0.1:1"
[[models]]
id = "org/tiny-a"
aliases = ["tiny", "small"]
ref = "S3://models/tiny-a"
"""


def test_a_running_agent_is_asked(cli: Cli, daemon: Daemon) -> None:
    one = {"id": "org/a", "aliases": ["x"], "ref": "s3://b/a", "state": "ready",
           "size_bytes": 5 * 2**20, "in_pool": True}  # fmt: skip
    state = daemon({"/v1/models": {"models": [one, {"id": "org/b"}]}})
    ended = cli("models", "list", "--state-dir", state)
    assert (ended.returncode, ended.stderr) == (Exit.OK, "")
    assert ended.stdout.splitlines() == [
        "model  state  size     pool  aliases  ref",
        "org/a  ready  5.0 MiB  yes   x        s3://b/a",
        "org/b  -      -        -     -        -",
    ]
    ended = cli("models", "list", "--json", "--state-dir", state)
    assert json.loads(ended.stdout) == {"models": [one, {"id": "org/b"}]}


def test_without_an_agent_the_file_is_read(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(CONFIG)
    args = ("models", "list", "--config", path, "--state-dir", tmp_path / "none")
    ended = cli(*args)
    assert ended.returncode == Exit.OK
    assert "agent is not running" in ended.stderr
    assert "org/tiny-a  unknown" in ended.stdout
    (one,) = json.loads(cli(*args, "--json").stdout)["models"]
    assert one == {
        "id": "org/tiny-a",
        "aliases": ["tiny", "small"],
        "ref": "s3://models/tiny-a",
        "state": "unknown",
    }


def test_an_answer_that_is_none(cli: Cli, daemon: Daemon) -> None:
    ended = cli("models", "list", "--state-dir", daemon({}))
    assert ended.returncode == Exit.FAILURE
    assert ended.stderr == "poolhand: the agent gave no models (HTTP 404)\n"
