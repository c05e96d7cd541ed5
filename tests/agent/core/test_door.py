"""What is said at the door is what the node would say, and it is said of nobody else."""

import pytest
from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.core import ordered
from poolhand.agent.core.door import Door
from tests.journeys.world import World, settings

NAMES = ("org/a", "org/b", "org/c", "far/x", "x' is draining", "org/panic-7b")
CHOICES = {
    "one slot": settings(),
    "two slots": settings(slots={"max_model_slots": 2}),
    "few loads": settings(slots={"max_loads_per_h": 1}),
    "stays": settings(slots={"min_residency_s": 600.0}),
    "open": settings(pools={"enforce": False}),
    "follows": settings(pools={"follow_coordinator": True}),
}


def begun(chosen: str, loads: list[str], *, is_busy: bool, is_drained: bool) -> World:
    """A world in which these models were loaded one after the other, as far as they came."""
    world = World(CHOICES[chosen])
    world.start()
    for model in loads:
        world.load_model(model)
        world.stage(model)
        world.loaded(model)
    if is_busy and loads:
        world.request("r1", loads[-1])
    if is_drained:
        world.tell(ordered.DrainAsked(1, None))
    world.load_model("far/away")  # whatever was due has been done
    return world


@knobs(max_examples=80, deadline=None)
@given(
    chosen=st.sampled_from(sorted(CHOICES)),
    loads=st.lists(st.sampled_from(NAMES[:3]), max_size=3),
    is_busy=st.booleans(),
    is_drained=st.booleans(),
    model=st.sampled_from(NAMES),
)
def test_it_says_and_counts_what_the_node_would(
    chosen: str, loads: list[str], model: str, *, is_busy: bool, is_drained: bool
) -> None:
    ours = begun(chosen, loads, is_busy=is_busy, is_drained=is_drained)
    theirs = begun(chosen, loads, is_busy=is_busy, is_drained=is_drained)
    before = str(ours.node.snapshot(ours.now_s).stays)
    told = Door(ours.node, ours.now_s).refuses(ours.line, model, ours.now_s)
    assert str(ours.node.snapshot(ours.now_s).stays) == before
    if told is None:
        return
    assert str([*told[0]]) == str(theirs.load_model(model))
    counted, decided = ours.node.loads.refusals, theirs.node.loads.refusals
    assert (counted.total, dict(counted.by_reason)) == (decided.total, dict(decided.by_reason))
    assert str(counted.last) == str(decided.last)


@pytest.mark.parametrize("model", ["org/b", "far/x"])
def test_a_full_house_refuses_whoever_is_not_here(model: str) -> None:
    world = begun("one slot", ["org/a"], is_busy=True, is_drained=False)
    assert Door(world.node, world.now_s).refuses(world.line, model, world.now_s) is not None


def test_whoever_is_here_or_may_come_is_for_the_node() -> None:
    busy = begun("one slot", ["org/a"], is_busy=True, is_drained=False)
    assert Door(busy.node, busy.now_s).refuses(busy.line, "org/a", busy.now_s) is None
    idle = begun("one slot", ["org/a"], is_busy=False, is_drained=False)
    assert Door(idle.node, idle.now_s).refuses(idle.line, "org/b", idle.now_s) is None


def test_what_comes_from_another_line_is_not_answered() -> None:
    world = begun("one slot", ["org/a"], is_busy=True, is_drained=False)
    assert Door(world.node, world.now_s).refuses(world.line + 1, "far/x", world.now_s) is None
    total = world.node.loads.refusals.total
    world.drop()
    assert Door(world.node, world.now_s).refuses(world.line, "far/x", world.now_s) is None
    assert world.node.loads.refusals.total == total


@pytest.mark.parametrize(
    "more",
    [
        {"pools": {"follow_coordinator": True}},
        {"catalog": {"builds": ["far/*"]}},
    ],
)
def test_a_name_that_may_mean_more_is_for_the_node(more: dict[str, object]) -> None:
    world = World(settings(**more))
    world.start()
    assert Door(world.node, world.now_s).refuses(world.line, "far/x", world.now_s) is None
