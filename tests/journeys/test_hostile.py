"""A coordinator that means harm, or only repeats itself: local policy holds, and all ends alike."""

import random
from collections import Counter
from itertools import permutations

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.node import Node
from poolhand.agent.core.slots import SlotState, residents
from poolhand.agent.wire.extensions import AssignPool, CancelLoad, Drain, Undrain, UnloadModel
from poolhand.agent.wire.inbound import (
    Cancel,
    DesiredModels,
    Inbound,
    InferenceRequest,
    LoadModel,
    PrefetchModel,
)
from poolhand.agent.wire.types import DesiredModel
from poolhand.backends.engines.base import Loaded, Usage
from tests.journeys.hostile import storm
from tests.journeys.world import FACTS, SEALED, World, build, identity, sample, settings

SEQUENCES, PARTS, LENGTH = 1_500, 3, 6
STORMS, STEPS = 40, 80
"""A sample of them; ``python -m tests.journeys.hostile`` runs ten thousand, and any others."""

MODELS = ("org/a", "org/b", "org/c", "org/../x", "tiny")
ALLOWED = {"org/a", "org/b"}


def told(chance: random.Random) -> Inbound:
    """One command; alias names, builds and strangers in every place."""
    model, other = chance.choice(MODELS), chance.choice(MODELS)
    row = DesiredModel(model_name=other, desired_build=model, previous_build="org/c")
    choices: list[Inbound] = [
        LoadModel(model_id=model),
        PrefetchModel(model_id=model, priority=chance.randint(-5, 5)),
        DesiredModels(models=(row, DesiredModel(model_name="tiny", desired_build="org/c"))),
        DesiredModels(),
        AssignPool(pool=other, epoch=chance.randint(0, 9), preload=model, models=(model,)),
        AssignPool(pool=other, epoch=chance.randint(0, 9)),
        AssignPool(epoch=chance.randint(0, 2**62)),
        UnloadModel(model_id=model),
        CancelLoad(model_id=model),
        Drain(deadline_s=0.0),
        Undrain(),
        InferenceRequest(request_id=str(chance.randint(0, 3)), encrypted_body=SEALED),
        Cancel(request_id=str(chance.randint(0, 3))),
    ]
    return chance.choice(choices)


def rooms(effect: do.Effect, chance: random.Random) -> happened.Event | None:
    """What the rooms tell, on a good day."""
    match effect:
        case do.FetchWeights(model):
            return happened.WeightsFetched(model)
        case do.VerifyWeights(model):
            return happened.WeightsVerified(model, build(model))
        case do.SampleHost():
            return happened.HostSampled(sample())
        case do.LoadEngine(model):
            return happened.EngineLoaded(model, Loaded(1.0, 5, 8192))
        case do.StopEngine(model):
            return happened.EngineStopped(model)
        case do.OpenRequest(key):
            return happened.RequestOpened(key, chance.choice(MODELS), 8)
        case do.CancelGeneration(key):
            return happened.GenerationEnded(key, "cancelled", Usage(1, 1), has_output=True)
        case _:
            return None


@pytest.mark.parametrize("part", range(PARTS))
def test_hostile_sequences_widen_nothing(part: int) -> None:
    chance = random.Random(part)  # noqa: S311  # a story, no secret
    chosen = settings(
        pools={"allowed": ["tiny"], "follow_coordinator": True, "min_dwell_s": 0.0},
        slots={"max_model_slots": 1, "max_loads_per_h": 3600},
    )
    who = identity()
    for _ in range(SEQUENCES // PARTS):
        node, now_s, busy = Node(chosen, who, chance=chance.random), 1000.0, set[str]()
        node.handle(happened.HostKnown(FACTS), now_s)
        open_ones = node.handle(happened.LinkOpened(1), now_s)
        for _ in range(LENGTH):
            now_s += chance.choice((0.0, 0.1, 1.0))
            effects = node.handle(happened.Heard(1, told(chance), 1.0), now_s)
            open_ones += effects
            for _ in range(chance.randint(0, 6)):
                if not open_ones:
                    break
                effect = open_ones.pop(0)
                answer = rooms(effect, chance)
                more = [] if answer is None else node.handle(answer, now_s)
                effects += more
                open_ones += more
            busy = set(node.answers.ledger.busy())
            assert {*node.loads.pool.models, *node.loads.pool.advertised} <= ALLOWED
            here = residents(node.loads.stays.all())
            assert len(here) <= 1, "one slot, one resident"
            for effect in effects:
                if isinstance(effect, do.FetchWeights | do.LoadEngine):
                    assert effect.model in ALLOWED
                if isinstance(effect, do.StopEngine):
                    assert effect.model not in busy, "nothing is killed"


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
    holds = world.node.moves.assignment
    assert (holds.pool, holds.epoch) == ("tiny", 9)


@pytest.mark.parametrize("part", range(3))
def test_no_storm_breaks_a_law_or_loses_anybody(part: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(part * STORMS, (part + 1) * STORMS):
        seen += storm(seed, STEPS)
    wanted = {"LoadEngine", "StopEngine", "StartGeneration", "CancelFetch", "Dial"}
    assert wanted <= seen.keys(), "it was one"


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
    holds = world.node.moves.assignment
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
