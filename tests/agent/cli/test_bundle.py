"""The bundle: listed before it is written, redacted, private, and never sent anywhere."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from poolhand.agent.cli.exits import Exit

from .conftest import Cli, Daemon

CANARY = "Kanarie7vogel"

CONFIG = """[coordinator]
url = "wss://coordinator.example"
token_file = "token"
"""


@pytest.fixture
def asked(daemon: Daemon, tmp_path: Path) -> list[str | Path]:
    """The arguments that lead to an agent which has said too much."""
    (tmp_path / "agent.toml").write_text(CONFIG)
    (tmp_path / "token").write_text(CANARY)
    (tmp_path / "token").chmod(0o600)
    log = tmp_path / "agent.log"
    log.write_text(f'{{"what": "Dial", "words": "with {CANARY}"}}\n')
    status = {"serving": True, "node": {"log": {"kind": "file", "path": str(log)}}}
    state = daemon(
        {
            "/v1/status": status,
            "/v1/models": {"models": []},
            "/metrics": f'poolhand_build_info{{version="{CANARY}"}} 1\n'.encode(),
        }
    )
    (state / "identity.key").write_text(CANARY)
    return ["--state-dir", state, "--config", tmp_path / "agent.toml"]


def read(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    with tarfile.open(path) as archive:
        for entry in archive.getmembers():
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name.partition("/")[2]] = file.read().decode()
    return found


def test_everything_is_listed_written_for_the_owner_alone_and_holds_no_secret(
    here: Cli, asked: list[str | Path], tmp_path: Path
) -> None:
    path = tmp_path / "out.tar.gz"
    ended = here("support-bundle", *asked, "--output", path, "--yes")
    assert ended.returncode == Exit.OK
    assert path.stat().st_mode & 0o777 == 0o600
    files = read(path)
    assert set(files) == {
        *("about.json", "status.json", "models.json", "metrics.txt"),
        *("config/agent.toml", "state-folder.txt", "agent.log"),
    }
    assert [line.split()[-1] for line in ended.stdout.splitlines()] == [*files]
    assert CANARY not in "".join(files.values())
    assert "identity.key" in files["state-folder.txt"]
    assert 'token_file = "token"' in files["config/agent.toml"]
    assert json.loads(files["about.json"])["packages"]["pydantic"]


def test_what_is_shown_is_what_is_written(
    here: Cli, asked: list[str | Path], tmp_path: Path
) -> None:
    ended = here("support-bundle", *asked, "--list", "--show")
    assert ended.returncode == Exit.OK
    assert "==> agent.log <==" in ended.stdout
    assert CANARY not in ended.stdout
    assert list(tmp_path.glob("*.tar.gz")) == []
    ended = here("support-bundle", *asked, "--list", "--json")
    told = json.loads(ended.stdout)
    assert told["uploaded"] is False
    assert {"name": "models.json", "bytes": 14} in told["files"]


def test_nobody_to_ask_is_no_yes(cli: Cli, asked: list[str | Path], tmp_path: Path) -> None:
    ended: subprocess.CompletedProcess[str] = cli(
        "support-bundle", *asked, "--output", tmp_path / "x.tar.gz"
    )
    assert ended.returncode == Exit.FAILURE
    assert "--yes writes it" in ended.stderr
    assert not (tmp_path / "x.tar.gz").exists()


def test_a_file_that_is_there_is_not_written_over(
    here: Cli, asked: list[str | Path], tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("mine")
    ended = here("support-bundle", *asked, "--output", tmp_path / "x", "--yes")
    assert ended.returncode == Exit.FAILURE
    assert (tmp_path / "x").read_text() == "mine"


def test_it_helps_without_an_agent_and_without_a_file(here: Cli, tmp_path: Path) -> None:
    words = ["--state-dir", tmp_path / "s", "--config", tmp_path / "none.toml"]
    ended = here("support-bundle", *words, "--output", tmp_path / "x.tar.gz", "--yes")
    assert ended.returncode == Exit.OK
    files = read(tmp_path / "x.tar.gz")
    assert files["not-running.txt"].startswith("agent is not running")
    assert "No such file" in files["config/none.toml"]
