"""How far a node is with what a coordinator desires."""

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.ahead import WAITS_S
from poolhand.agent.core.convergence import Desired, Ignored, convergence
from poolhand.agent.wire.inbound import DesiredModel, DesiredModels
from poolhand.backends.stores.errors import StoreUnreachable
from tests.journeys.world import World, only, settings

AWAY = StoreUnreachable(store="s3", reason="silence")


@pytest.fixture
def world() -> World:
    """``org/b`` is desired in the place of ``org/a``, and is on its way."""
    world = World(settings(pools={"assigned": "tiny", "allowed": ["tiny"]}))
    world.start()
    wish(world, "org/b")
    return world


def wish(world: World, *models: str) -> None:
    rows = [DesiredModel(model_name="tiny", desired_build=m, previous_build="") for m in models]
    world.hear(DesiredModels(models=tuple(rows)))


def told(world: World) -> list[Desired]:
    return [*convergence(world.node.loads, world.node.machine.stocks)]


def states(world: World) -> list[str]:
    return [each.state for each in told(world)]


def test_from_the_wish_to_the_answer(world: World) -> None:
    assert states(world) == ["coming"]
    world.stage("org/b")
    world.stock("org/b")
    assert states(world) == ["on_disk"]
    world.resident("org/b")
    assert states(world) == ["answering"]
    wish(world)
    assert told(world) == []


def test_what_is_ignored_says_why(world: World) -> None:
    wish(world, "org/c", "org/x")
    assert [(each.state, each.why) for each in told(world)] == [
        ("ignored", "pools.allowed does not allow it"),
        ("ignored", "it is not offered here"),
    ]
    world.choose(settings())
    assert told(world)[0].why == "it is outside the pool 'tiny'"


def test_what_is_ignored_is_told_once(world: World) -> None:
    ignored = Ignored()
    wish(world, "org/b", "org/c", "org/x")
    assert [row.model for row in ignored.news(told(world))] == ["org/c", "org/x"]
    wish(world, "org/x", "org/x")
    assert ignored.news(told(world)) == []
    wish(world, "org/x", "org/c")
    assert [row.model for row in ignored.news(told(world))] == ["org/c"], "it was gone meanwhile"
    world.choose(settings())
    assert [row.why for row in ignored.news(told(world))] == ["it is outside the pool 'tiny'"]


def test_two_builds_come_one_after_the_other(world: World) -> None:
    wish(world, "org/a", "org/b")
    assert sorted(states(world)) == ["coming", "waiting"]


def test_what_fails_is_tried_for_ever_after_longer_and_longer_waits(world: World) -> None:
    """With chance at one half each wait is three quarters of the longest."""
    waits: list[float] = []
    for times in range(1, 12):
        world.tell(happened.WeightsFailed("org/b", AWAY))
        (row,) = told(world)
        assert (row.state, row.failures) == ("failed", times)
        assert row.again_s is not None
        waits.append(row.again_s - world.now_s)
        assert only(world.after(waits[-1] - 1.0), do.FetchWeights) == []
        assert only(world.after(1.0), do.FetchWeights) == [do.FetchWeights("org/b")]
        assert states(world) == ["coming"]
    longest = [*WAITS_S, *([WAITS_S[-1]] * 11)][:11]
    assert waits == pytest.approx([0.75 * each for each in longest], abs=0.01)
    world.tell(happened.WeightsFailed("org/b", AWAY))
    wish(world)
    assert only(world.after(4000.0), do.FetchWeights) == [], "nobody wants it any more"
