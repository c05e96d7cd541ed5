"""A coordinator that means harm, or only repeats itself: local policy holds, and all ends alike."""

import random
from collections import Counter
from itertools import permutations

import pytest

from poolhand.agent.core import events as happened
from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.slots import SlotState
from poolhand.agent.wire.extensions import AssignPool
from tests.journeys.hostile import storm
from tests.journeys.world import World, settings

SEQUENCES, PARTS, STEPS = 10_000, 20, 6
LONG, LONG_STEPS = 100, 60
"""``python -m tests.journeys.hostile`` runs any others, as many and as long as one likes."""


@pytest.mark.parametrize("part", range(PARTS))
def test_no_hostile_sequence_widens_policy_or_kills_or_loses_anybody(part: int) -> None:
    """Each storm is ten sequences; the laws are held after every single event of them."""
    storms = SEQUENCES // PARTS // 10
    seen: Counter[str] = Counter()
    for seed in range(part * storms, (part + 1) * storms):
        seen += storm(seed, 10, STEPS)
    wanted = {"LoadEngine", "StopEngine", "StartGeneration", "Dial"}
    assert wanted <= seen.keys(), "it was one"


@pytest.mark.parametrize("part", range(2))
def test_no_long_one_does_so_either(part: int) -> None:
    for seed in range(part, LONG // 10, 2):
        storm(10**6 + seed, 10, LONG_STEPS)


COMMANDS = [("tiny", 5), ("other", 7), ("tiny", 9), ("other", 8)]


@pytest.mark.parametrize("order", list(permutations(COMMANDS)))
def test_any_order_and_repetition_of_commands_ends_in_the_same_pool(
    order: tuple[tuple[str, int], ...],
) -> None:
    world = World(settings(pools={"min_dwell_s": 0.0}))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    for pool, epoch in (*order, *order, order[0]):
        world.hear(AssignPool(pool=pool, epoch=epoch))
        world.hear(AssignPool(pool=pool, epoch=epoch))
        if world.laws.socket is not None and not world.laws.is_open:
            world.connect()
        world.after(2.0)
        if world.laws.socket is not None and not world.laws.is_open:
            world.connect()
    holds = world.node.choice.assignment
    assert (holds.pool, holds.epoch) == ("tiny", 9)


@pytest.mark.parametrize("seed", range(12))
def test_the_highest_epoch_holds_whatever_came_before_it_and_how_often(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # a story, no secret
    commands = [(chance.choice(("tiny", "other")), epoch) for epoch in range(5, 10)]
    said = chance.choices(commands, k=12)
    world = World(settings(pools={"min_dwell_s": 0.0}))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    for pool, epoch in [*said, max(said, key=lambda one: one[1])]:
        world.hear(AssignPool(pool=pool, epoch=epoch))
        world.after(2.0)
        if not world.laws.is_open:
            world.redial()
    expected = max(said, key=lambda one: one[1])
    holds = world.node.choice.assignment
    assert (holds.pool, holds.epoch) == expected


def test_repeated_loads_are_one_load() -> None:
    world = World(settings())
    world.start()
    for _ in range(50):
        world.load_model("org/a")
    world.stage("org/a")
    world.loaded("org/a")
    assert world.state("org/a") == [SlotState.READY]
    assert world.laws.is_square, "and everyone who asked was answered"
