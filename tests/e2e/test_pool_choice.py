"""How machines choose their pool by themselves, and what holds them to it, with real processes."""

import json
import threading
from collections import Counter
from pathlib import Path

import pytest
from world import OTHER, A, B, World

from poolhand.agent.control.client import post
from poolhand.agent.core.assignment import winner
from poolhand.agent.dev.stage import at, each_of
from poolhand.config.paths import MACHINE_FILE, control_socket

pytestmark = pytest.mark.e2e

IDS = [f"{number:032x}" for number in range(200)]
BOTH, THREE = ("tiny", B), ("tiny", B, OTHER)
OUTSIDE = "model '{}' not in advertised model list: outside assigned pool '{}'"


def write(world: World, name: str, keys: tuple[str, ...], *more: str) -> Path:
    """A configuration that leaves the choice among these keys to the machine."""
    path = world.configure(name)
    allowed = ", ".join(f'"{key}"' for key in keys)
    lines = "\n".join([f"allowed = [{allowed}]", *more])
    text = path.read_text().replace('assigned = "tiny"\nallowed = ["tiny", "org/*"]', lines)
    text = text.replace(
        'aliases = ["tiny"]\nref = "s3://models/tiny-b"', 'ref = "s3://models/tiny-b"'
    )
    path.write_text(text)
    return path


def number(world: World, name: str, machine_id: str) -> None:
    """Have an agent be this machine."""
    folder = world.folder / f"{name}.state"
    folder.mkdir(mode=0o700)
    (folder / MACHINE_FILE).write_text(json.dumps({"machine_id": machine_id}))


def order(world: World, verb: str, **fields: object) -> None:
    """Give the agent an order, as its owner does."""
    code, body = post(control_socket(world.agent.state_dir), verb, fields, 20.0)
    assert code < 300, body


def test_machines_choose_by_their_numbers_and_a_new_pool_moves_few(world: World) -> None:
    """The law over 200 numbers, and three of them as processes: what the law says is done."""
    spread = Counter(winner(each, BOTH) for each in IDS)
    assert 80 <= spread["tiny"] <= 120
    movers = [each for each in IDS if winner(each, THREE) == OTHER]
    assert 50 <= len(movers) <= 85, "about a third"
    assert all(winner(each, THREE) in {winner(each, BOTH), OTHER} for each in IDS)
    stays_a, stays_b = (
        next(i for i in IDS if i not in movers and winner(i, BOTH) == key) for key in BOTH
    )
    chosen = [(stays_a, BOTH), (stays_b, THREE), (movers[0], BOTH), (movers[0], THREE)]
    for machine_id, keys in chosen:
        name = f"{machine_id[-3:]}of{len(keys)}"
        number(world, name, machine_id)
        world.join(write(world, name, keys), name)
        pool = at(world.actors[name].status(), "pool")
        assert at(pool, "assigned") == winner(machine_id, keys)
        assert (at(pool, "source"), at(pool, "epoch")) == ("hash", 1)


def test_nothing_moves_a_machine_while_a_model_is_on_its_way(world: World) -> None:
    """Not while it is fetched for a load, nor while a request waits for it."""
    config = write(world, "agent", BOTH, "follow_coordinator = true")
    config.write_text(config.read_text().replace("models/tiny-a", "models/large"))
    number(world, "agent", next(i for i in IDS if winner(i, BOTH) == "tiny"))
    world.join(config)
    world.throttle(200_000)
    told: list[object] = []
    asking = threading.Thread(target=lambda: told.append(world.answer()))
    asking.start()
    world.heard(lambda: at(world.stay(A), "state") == "downloading", "A is on its way")
    refused = world.load(B)
    assert (refused["status"], refused["error"]) == ("failed", OUTSIDE.format(B, "tiny"))
    loading = threading.Thread(target=lambda: told.append(world.load(A)["status"]))
    loading.start()
    world.heard(lambda: "started" in world.statuses(A), "the load joined it")
    assert world.load(B)["error"] == OUTSIDE.format(B, "tiny")
    assert at(world.agent.status(), "pool", "stays_because") == "a model is downloading"
    world.throttle(0)
    asking.join(30)
    loading.join(30)
    assert len(told) == 2, "both were answered"
    assert "succeeded" in told
    assert at(world.stay(A), "state") == "ready"
    assert at(world.agent.status(), "pool", "epoch") == 1


def test_a_pool_that_the_operator_sets_outlives_the_agent(world: World) -> None:
    config = write(world, "agent", BOTH)
    number(world, "agent", next(i for i in IDS if winner(i, BOTH) == "tiny"))
    world.join(config)
    assert world.load(A)["status"] == "succeeded"
    order(world, "/v1/pool/set", pool=B)
    world.heard(lambda: at(world.agent.status(), "pool", "assigned") == B, "it moves")
    order(world, "/v1/drain")
    world.agent.end()
    world.join(config)
    status = world.agent.status()
    assert (at(status, "pool", "assigned"), at(status, "pool", "source")) == (B, "persisted")
    assert [at(each, "reason") for each in each_of(status, "drains")] == ["operator"]
    assert world.load(B)["error"] == "provider draining for update"
    order(world, "/v1/undrain")
    assert world.load(B)["status"] == "succeeded"
