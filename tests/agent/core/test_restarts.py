"""Engines that ended unasked: when their model comes back, and when no more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.restarts import (
    FIRST_S,
    LONGEST_S,
    MOST,
    STEADY_S,
    WITHIN_S,
    Restarts,
)
from poolhand.agent.core.slots import SlotState
from poolhand.agent.core.status import status
from poolhand.agent.wire.outbound import InferenceError
from poolhand.backends.engines.errors import EngineDied
from tests.journeys.world import World, only, said
from tests.journeys.world import settings as chosen

DEAD = EngineDied(engine="vllm", exit_code=-9)


def latest() -> float:
    return 1.0


@pytest.fixture
def world() -> World:
    world = World(chance=lambda: 0.999999)
    world.start()
    world.resident("org/a")
    return world


def crash(world: World) -> None:
    world.tell(happened.EngineFailed("org/a", DEAD))
    world.stopped("org/a")


def back(world: World) -> None:
    world.stage("org/a")
    world.loaded("org/a")
    assert world.state("org/a") == [SlotState.READY]


def test_a_pause_doubles_and_a_steady_engine_begins_anew() -> None:
    restarts, now_s, pauses = Restarts(latest), 0.0, list[float]()
    for _ in range(9):
        restarts.crashed("a", now_s)
        deadline_s = restarts.deadline_s
        assert deadline_s is not None
        pauses.append(deadline_s - now_s)
        now_s += WITHIN_S / (MOST - 1)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    now_s += STEADY_S
    restarts.crashed("a", now_s)
    assert restarts.deadline_s == now_s + FIRST_S


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1000), st.sampled_from("ab")), max_size=30),
    st.floats(0, 1, exclude_max=True),
)
def test_no_pause_is_too_long_and_none_is_named_twice(
    crashes: list[tuple[float, str]], chance: float
) -> None:
    restarts, now_s = Restarts(lambda: chance), 0.0
    for after_s, model in crashes:
        now_s += after_s
        restarts.crashed(model, now_s)
        one = restarts.waiting()[model]
        recent = [at_s for at_s in one.at_s if now_s - at_s < WITHIN_S]
        assert (one.again_s is None) == (len(recent) >= MOST)
        if one.again_s is not None:
            assert FIRST_S / 2 <= one.again_s - now_s <= LONGEST_S
        named = restarts.due(now_s + LONGEST_S)
        assert len({*named}) == len(named)
        assert restarts.due(now_s + LONGEST_S) == []


def test_a_model_whose_engine_died_comes_back_by_itself(world: World) -> None:
    crash(world)
    assert world.state("org/a") == []
    told = status(world.node, world.now_s)["restarts"]
    assert isinstance(told, list)
    (row,) = told
    assert isinstance(row, dict)
    assert row["model"] == "org/a"
    assert row["code"] == "model_crashed"
    assert row["remedy"]
    assert do.FetchWeights("org/a") in world.after(FIRST_S + 0.1)
    back(world)
    assert status(world.node, world.now_s)["restarts"] == []


def test_a_request_brings_it_back_at_once_but_not_again_and_again(world: World) -> None:
    crash(world)
    assert do.FetchWeights("org/a") in world.request("r1", "org/a")
    back(world)
    world.answered("r1")
    crash(world)
    (error,) = [
        one for one in said(world.request("r2", "org/a")) if isinstance(one, InferenceError)
    ]
    assert error.status_code == 503
    assert "not loaded" in error.error
    assert do.FetchWeights("org/a") in world.after(2.1)


def test_three_crashes_are_enough_until_somebody_asks(world: World) -> None:
    for _ in range(MOST - 1):
        crash(world)
        world.after(LONGEST_S / 20)
        back(world)
    crash(world)
    assert not only(world.after(2 * LONGEST_S), do.FetchWeights)
    told = status(world.node, world.now_s)["restarts"]
    assert isinstance(told, list)
    assert [row["in_s"] for row in told if isinstance(row, dict)] == [None]
    assert do.FetchWeights("org/a") in world.load_model("org/a")
    back(world)


def test_whoever_took_its_place_keeps_it(world: World) -> None:
    crash(world)
    world.resident("org/b")
    world.request("r", "org/b")
    assert not only(world.after(LONGEST_S), do.FetchWeights)
    assert world.state("org/b") == [SlotState.READY]


def test_a_model_outside_the_pool_stays_away(world: World) -> None:
    crash(world)
    world.choose(chosen(pools={"assigned": "other"}))
    assert not only(world.after(LONGEST_S), do.FetchWeights)


def test_a_node_that_leaves_brings_nobody_back(world: World) -> None:
    world.request("r", "org/a")
    world.tell(happened.StopAsked())
    crash(world)
    assert not only(world.after(LONGEST_S), do.FetchWeights)
