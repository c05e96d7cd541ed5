"""Bytes ahead of time: how far they are, and who is told how much of it."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.slots import SlotState
from poolhand.agent.core.status import status as told_to_owner
from poolhand.agent.core.wishes import percent
from poolhand.agent.wire.extensions import CancelLoad, UnloadModel
from poolhand.agent.wire.inbound import DesiredModels, PrefetchModel
from poolhand.agent.wire.outbound import PrefetchModelStatus
from poolhand.agent.wire.types import DesiredModel
from poolhand.backends.engines.errors import EngineStartFailed
from poolhand.backends.stores.base import Progress
from poolhand.backends.stores.errors import StoreUnreachable
from tests.journeys.world import World, build, only, said, settings

GONE = StoreUnreachable(store="s3", reason="silence")


@pytest.fixture
def world() -> World:
    world = World()
    world.start()
    return world


def far(world: World, done: int, total: int = 1000, rate: float | None = 50.0) -> list[Effect]:
    """So much of ``org/c`` is here."""
    eta_s = None if rate is None else (total - done) / rate
    progress = Progress(done, total, rate_bytes_s=rate, eta_s=eta_s)
    return world.tell(happened.WeightsProgressed("org/c", progress))


def words(effects: list[Effect]) -> list[PrefetchModelStatus]:
    return [word for word in said(effects) if isinstance(word, PrefetchModelStatus)]


def test_a_stock_coordinator_hears_stock_fields_alone(world: World) -> None:
    world.hear(PrefetchModel(model_id="org/c"))
    (word,) = words(far(world, 100))
    assert word == PrefetchModelStatus(
        model_id="org/c", status="downloading", bytes_done=100, bytes_total=1000
    )


def test_whoever_knows_more_hears_percent_rate_and_time_left(world: World) -> None:
    world.hear(CancelLoad(model_id="org/x"))
    world.hear(PrefetchModel(model_id="org/c"))
    (word,) = words(far(world, 100))
    assert (word.percent, word.rate_bytes_s, word.eta_s) == (10.0, 50, 18)
    (word,) = words(far(world, 200, rate=None))
    assert (word.percent, word.rate_bytes_s, word.eta_s) == (20.0, None, None), "not measured"
    world.drop()
    world.redial()
    world.hear(PrefetchModel(model_id="org/c"))
    (word,) = words(far(world, 300))
    assert word.percent is None, "another line, another coordinator"


def test_at_most_every_two_seconds_or_five_percent(world: World) -> None:
    world.hear(PrefetchModel(model_id="org/c"))
    told = 0
    for done in range(1001):
        world.now_s += 0.001
        told += len(words(far(world, done)))
    assert told in {19, 20}
    world.now_s += 2.0
    assert len(words(far(world, 1000))) == 1


def test_the_owner_sees_how_far_and_how_long(world: World) -> None:
    world.hear(PrefetchModel(model_id="org/c"))
    far(world, 250)
    (stay,) = cast("list[dict[str, object]]", told_to_owner(world.node, world.now_s)["slots"])
    assert (stay["percent"], stay["eta_s"]) == (25.0, 15)


def test_what_fails_is_tried_for_ever_at_longer_and_longer_intervals() -> None:
    world = World(settings(pools={"assigned": "other"}))
    world.start()
    row = DesiredModel(model_name="other", desired_build="org/c")
    world.hear(DesiredModels(models=(row,)))
    waits: list[float] = []
    for _ in range(9):
        failed_s = world.now_s
        world.tell(happened.WeightsFailed("org/c", GONE))
        while not only(world.after(5.0), do.FetchWeights):
            assert world.now_s - failed_s < 4000
        waits.append(world.now_s - failed_s)
    assert waits == sorted(waits)
    assert waits[0] < 60.0
    assert 900.0 <= waits[-1] <= 1805.0, "at a long interval"


def test_repeated_pushes_are_one_wish() -> None:
    world = World(settings(pools={"assigned": "other"}))
    world.start()
    row = DesiredModel(model_name="other", desired_build="org/c")
    effects = [e for _ in range(50) for e in world.hear(DesiredModels(models=(row,)))]
    assert only(effects, do.FetchWeights) == [do.FetchWeights("org/c")]


sizes = st.integers(0, 2**62)


@given(done=sizes, total=sizes)
def test_a_percentage_is_one_or_nothing(done: int, total: int) -> None:
    part = percent(Progress(done, total))
    assert (part is None) == (total == 0)
    assert part is None or 0.0 <= part <= 100.0


# ── a desired build takes the place of the previous one ───────────────────────────────


REPOINTED = DesiredModels(
    models=(DesiredModel(model_name="tiny", desired_build="org/b", previous_build="org/a"),)
)


def test_the_desired_build_comes_into_memory_once_the_previous_one_is_idle(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    world.hear(REPOINTED)
    world.tell(happened.WeightsFetched("org/b"))
    world.tell(happened.WeightsVerified("org/b", build("org/b")))
    world.stock("org/a", "org/b")
    assert world.state("org/b") == [], "it is on disk, and the previous one answers"
    assert only(world.answered("r1"), do.FetchWeights) == [do.FetchWeights("org/b")]
    assert do.StopEngine("org/a") in world.stage("org/b")
    assert only(world.stopped("org/a"), do.LoadEngine) != []
    world.loaded("org/b")
    assert (world.state("org/a"), world.state("org/b")) == ([], [SlotState.READY])
    assert world.node.loads.pool.assigned == "tiny"
    assert only(world.after(60.0), do.StopEngine) == [], "and stays"


def swapping(world: World) -> None:
    world.resident("org/a")
    world.stock("org/a", "org/b")
    assert do.FetchWeights("org/b") in world.hear(REPOINTED)


def test_a_previous_build_that_is_asked_again_meanwhile_stays(world: World) -> None:
    swapping(world)
    world.request("r1", "org/a")
    world.stage("org/b")
    assert world.state("org/a") == [SlotState.READY], "nobody is disturbed"
    assert world.state("org/b") == []
    assert only(world.answered("r1"), do.FetchWeights) == [do.FetchWeights("org/b")], "once more"


def test_a_desired_build_that_cannot_load_gives_the_place_back(world: World) -> None:
    swapping(world)
    world.stage("org/b")
    world.stopped("org/a")
    bad = EngineStartFailed(engine="mlx", kind="bad_model", reason="odd tensors")
    effects = world.tell(happened.EngineFailed("org/b", bad))
    assert do.FetchWeights("org/a") in effects
    world.stopped("org/b")
    world.stage("org/a")
    world.loaded("org/a")
    assert world.state("org/a") == [SlotState.READY]
    assert only(world.after(600.0), do.FetchWeights) == [], "each wish is tried once"


def test_a_pinned_build_is_not_swapped_and_an_empty_wish_takes_a_swap_back(world: World) -> None:
    world.resident("org/a")
    world.tell(ordered.PinAsked(1, "org/a"))
    world.stock("org/a", "org/b")
    assert only(world.hear(REPOINTED), do.FetchWeights) == []
    assert do.FetchWeights("org/b") in world.tell(ordered.UnpinAsked(2, "org/a"))
    assert do.CancelFetch("org/b") in world.hear(DesiredModels())
    assert (world.state("org/a"), world.state("org/b")) == ([SlotState.READY], [])
    assert only(world.after(60.0), do.FetchWeights) == []


def test_a_previous_build_that_was_asked_for_since_is_not_swapped(world: World) -> None:
    world.stock("org/a", "org/b")
    world.hear(REPOINTED)
    world.after(1.0)
    world.resident("org/a")
    assert only(world.after(60.0), do.FetchWeights) == [], "the newer word counts"


# ── with several slots ────────────────────────────────────────────────────────────────


def rolled_out(**slots: object) -> World:
    """Two slots; ``org/a`` is in memory, and its alias is repointed to ``org/b``, on disk."""
    world = World(settings(slots={"max_model_slots": 2, **slots}))
    world.start()
    world.resident("org/a")
    world.after(1.0)
    world.stock("org/a", "org/b")
    world.hear(REPOINTED)
    return world


def test_with_a_free_slot_the_previous_build_leaves_once_the_desired_one_answers() -> None:
    world = rolled_out()
    world.stage("org/b")
    assert world.state("org/a") == [SlotState.READY], "it answers until then"
    assert do.StopEngine("org/a") in world.loaded("org/b")
    world.stopped("org/a")
    assert (world.state("org/a"), world.state("org/b")) == ([], [SlotState.READY])


def test_a_busy_previous_build_leaves_when_it_has_answered() -> None:
    world = rolled_out()
    world.stage("org/b")
    world.request("r1", "org/a")
    assert only(world.loaded("org/b"), do.StopEngine) == []
    assert only(world.after(5.0), do.StopEngine) == []
    assert do.StopEngine("org/a") in world.answered("r1")
    assert world.laws.is_square


def test_a_previous_build_that_is_loaded_again_stays() -> None:
    world = rolled_out()
    world.stage("org/b")
    world.loaded("org/b")
    world.stopped("org/a")
    world.after(1.0)
    world.resident("org/a")
    assert only(world.after(60.0), do.StopEngine) == [], "somebody wanted it since"


@pytest.mark.parametrize("why", ["pinned", "desired too"])
def test_a_previous_build_that_others_want_stays(why: str) -> None:
    world = rolled_out()
    if why == "pinned":
        world.tell(ordered.PinAsked(1, "org/a"))
    else:
        other = DesiredModel(model_name="old", desired_build="org/a")
        world.hear(DesiredModels(models=(*REPOINTED.models, other)))
    world.stage("org/b")
    assert only(world.loaded("org/b"), do.StopEngine) == []
    assert only(world.after(60.0), do.StopEngine) == []


def test_a_model_that_leaves_takes_no_busy_one_with_it() -> None:
    world = World(settings(slots={"max_model_slots": 2}, pools={"min_dwell_s": 0.0}))
    world.start()
    world.resident("org/a")
    world.resident("org/b")
    world.request("r1", "org/a")
    world.choose(settings(slots={"max_model_slots": 2}, pools={"allowed": ["org/b"]}))
    assert world.state("org/a") == [SlotState.DRAINING]
    effects = world.hear(UnloadModel(model_id="org/b"))
    assert only(effects, do.StopEngine) == [do.StopEngine("org/b")]
    assert do.StopEngine("org/a") in world.answered("r1")
