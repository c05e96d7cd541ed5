"""A configuration that does not hold, and a status that tells everything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from world import OTHER, A, World

from poolhand.agent.dev.stage import at, each_of

pytestmark = pytest.mark.e2e


def poolhand(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "poolhand.agent", *words]
    return subprocess.run(  # noqa: S603  # our own words
        command, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[coordinator]\nurl = "ws://127.0.0.1:1"\nheartbeat_intervals = 5\n', 3, "heartbeat_"),
        ('[coordinator]\nurl = "ws://127.0.0.1:1"\n[slots]\nmax_model_slot = 2\n', 4, "did you"),
        ('[coordinator\nurl = "ws://127.0.0.1:1"\n', 1, ""),
        ('[coordinator]\nurl = "ws://example.org"\n', 2, "wss://"),
        ("[slots]\nmax_model_slots = 0\n", 2, ""),
    ],
)
def test_a_wrong_line_stops_the_start_and_is_named(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(text)
    ended = poolhand("run", "--config", str(config), "--state-dir", str(tmp_path / "state"))
    assert ended.returncode == 78
    assert f"{config}:{line}" in ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "state").exists()


def test_the_status_tells_everything_and_its_exit_code_the_rest(serving: World) -> None:
    where = ("--state-dir", str(serving.agent.state_dir))
    serving.load(OTHER)
    told = poolhand("status", "--json", *where)
    assert told.returncode == 0
    status = json.loads(told.stdout)
    wanted = [
        "serving",
        "why_not",
        "line",
        "pool",
        "slots",
        "requests",
        "memory",
        "cache",
        "config",
    ]
    assert status.keys() >= set(wanted)
    assert (status["serving"], status["why_not"]) == (True, [])
    assert at(status, "line", "state") == "online"
    assert at(status, "slots", 0, "state") == "ready"
    assert at(status, "config", "path") == str(serving.folder / "agent.toml")
    assert at(status, "pool", "last_refusal", "code") == "model_not_in_pool"
    drawn = poolhand("status", *where)
    assert drawn.stdout.startswith("serving: yes")
    assert A in drawn.stdout
    assert OTHER in drawn.stdout
    listed = json.loads(poolhand("models", "list", "--json", *where).stdout)
    in_pool = {at(row, "id"): at(row, "in_pool") for row in each_of(listed, "models")}
    assert (in_pool[A], in_pool[OTHER]) == (True, False)


def test_an_agent_without_a_coordinator_says_what_it_lacks(world: World) -> None:
    config = world.configure()
    config.write_text(config.read_text().replace(world.coordinator.url, "ws://127.0.0.1:9"))
    agent = world.open_agent(config)
    world.heard(
        lambda: at(agent.status(), "why_not", 0, "code") == "link_refused", "it says so", 20
    )
    told = poolhand("status", "--json", "--state-dir", str(agent.state_dir))
    assert told.returncode == 4
    assert agent.end() == 0
    assert poolhand("status", "--state-dir", str(agent.state_dir)).returncode == 3
