"""The doctor beside a running agent, a coordinator and a store, all of them real."""

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from world import A, B, World

from poolhand.agent.cli.checks_table import ABOUT
from poolhand.agent.dev.stage import at, each_of

pytestmark = pytest.mark.e2e


def configured(world: World) -> Path:
    """A configuration whose first model is answered by echo, which loads at once."""
    config = world.configure()
    text = config.read_text().replace(f'id = "{A}"', f'id = "{A}"\nengine = "echo"')
    config.write_text(text)
    config.chmod(0o600)
    return config


def looked(world: World, *words: str) -> tuple[int, dict[str, object]]:
    """What the doctor says, and its exit code."""
    config = world.folder / "agent.toml"
    where = ("--config", str(config), "--state-dir", str(world.agent.state_dir))
    ended = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "poolhand.agent", "doctor", "--json", *words, *where],
        capture_output=True,
        text=True,
        check=False,
        timeout=40,
        env=world.environ,
    )
    assert ended.stderr == ""
    return ended.returncode, cast("dict[str, object]", json.loads(ended.stdout))


def verdicts(told: dict[str, object]) -> dict[str, object]:
    """By id; of checks that are made for each model, the first."""
    found: dict[str, object] = {}
    for one in each_of(told, "checks"):
        found.setdefault(str(at(one, "id")), at(one, "verdict"))
    return found


def test_a_node_that_serves_until_its_store_is_gone(world: World) -> None:
    world.join(configured(world))
    assert world.load(A)["status"] == "succeeded"
    code, told = looked(world, A)
    found = verdicts(told)
    assert set(found) == set(ABOUT)
    wanted = (
        "config.valid", "config.pending", "state.folder", "state.identity", "control.socket",
        "agent.running", "agent.version", "agent.serving", "line.dns", "line.tcp", "line.upgrade",
        "clock.skew", "store.endpoint", "cache.quota", "memory.fits",
    )  # fmt: skip
    assert {check: found[check] for check in wanted} == dict.fromkeys(wanted, "ok")
    listable = [one for one in each_of(told, "checks") if at(one, "id") == "store.listable"]
    assert [at(one, "verdict") for one in listable] == ["ok"] * 3
    (model,) = each_of(told, "models")
    assert at(model, "model") == A
    assert code == at(told, "exit")
    assert len(world.providers()) == 1, "to look leaves no line behind"

    _, told = looked(world, "--offline")
    assert [at(one, "model") for one in each_of(told, "models")] == [A, B, "org/other"]

    world.store.end()
    code, told = looked(world)
    assert code == 1
    assert verdicts(told)["store.listable"] == "fail"
    assert verdicts(told)["line.upgrade"] == "ok"
