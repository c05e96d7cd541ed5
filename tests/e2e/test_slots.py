"""Two models for one slot, an engine that dies, and two agents on one machine."""

import subprocess
import sys

import openai
import pytest
from world import A, B, World, begun, text_of

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.stage import at, each_of

pytestmark = pytest.mark.e2e

FULL = f"all 1 model slot(s) are active; cannot load '{B}'"


def way_in(world: World, model: str) -> list[str]:
    """Lines of the log about loads, from the first word about a model on."""
    names = {"FetchWeights", "WeightsVerified", "StopEngine", "EngineStopped", "LoadEngine"}
    said = [line for line in world.log() if line["what"] in names]
    first = next(i for i, line in enumerate(said) if line["model"] == model)
    return [f"{line['what']} {line['model']}" for line in said[first:]]


def test_a_full_slot_refuses_until_it_is_idle_and_then_passes_through_staged(
    world: World,
) -> None:
    world.join(world.configure())
    assert world.load(A)["status"] == "succeeded"
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    told = world.load(B)
    assert (told["status"], told["error"], told["class"]) == ("failed", FULL, "slot_cap")
    assert text_of(next(stream))
    stream.close()
    world.ended()  # the slot is idle from here on, whatever the last heartbeat said
    assert world.load(B)["status"] == "succeeded"
    assert way_in(world, B) == [
        f"FetchWeights {B}",
        f"WeightsVerified {B}",
        f"StopEngine {A}",
        f"EngineStopped {A}",
        f"LoadEngine {B}",
    ]
    assert len(world.engines()) == 1
    assert world.answer(model=B) == expected_text("beta")
    # the client's router knows where the first one is: nowhere, so it is loaded again
    assert world.answer(model=A) == expected_text("alpha")


def test_an_engine_that_dies_fails_its_request_and_nothing_else(world: World) -> None:
    provider = world.join(world.configure())
    assert world.load(A)["status"] == "succeeded"
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    (engine,) = world.engines()
    engine.kill()
    with pytest.raises(openai.APIError, match="engine died"):
        for _ in stream:
            pass
    record = world.ended()
    assert (at(record, "terminals"), at(record, "status_code")) == (1, 500)
    assert at(record, "error") == "engine died"
    world.heard(
        lambda: each_of(world.provider(), "heartbeat", "backend_capacity", "slots") == [],
        "the slot is gone from the heartbeat",
    )
    assert at(world.agent.status(), "why_not", 0, "code") == "engine_died"
    assert world.load(A)["status"] == "succeeded"
    assert world.answer() == expected_text("alpha")
    assert list(world.providers()) == [provider]


def test_two_agents_share_a_machine_and_nothing_else(world: World) -> None:
    first = world.join(world.configure())
    second = world.join(world.configure("second"), "second")
    assert world.load(A, provider=first)["status"] == "succeeded"
    assert world.load(B, provider=second)["status"] == "succeeded"
    assert world.answer(model=A) == expected_text("alpha")
    assert world.answer(model=B) == expected_text("beta")
    keys = {at(each, "register", "public_key") for each in world.providers().values()}
    assert len(keys) == 2
    assert world.agent.end() == 0
    assert world.answer(model=B) == expected_text("beta")
    state = world.actors["second"].state_dir
    config = world.folder / "second.toml"
    third = subprocess.run(  # noqa: S603  # our own words
        [
            *(sys.executable, "-m", "poolhand.agent", "run"),
            *("--config", str(config), "--state-dir", str(state)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert third.returncode == 78
    assert "another agent runs with this state folder" in third.stderr
