"""What the operator orders at run time is answered by its number, and outlives the process."""

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.slots import SlotState
from poolhand.agent.wire.inbound import DesiredModels
from poolhand.agent.wire.outbound import InferenceError
from poolhand.agent.wire.types import DesiredModel
from poolhand.backends.engines.errors import EngineStartFailed
from tests.journeys.world import World, done, only, said, settings, status

DRAINING = "provider draining for update"
BAD = EngineStartFailed(engine="mlx", kind="bad_model", reason="odd tensors")


@pytest.fixture
def world() -> World:
    """``org/a`` and ``org/b`` are ``tiny``, ``org/c`` is ``other``; ``org/a`` answers."""
    world = World(settings(pools={}))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0, moved_s=-1.0)))
    world.start()
    world.resident("org/a")
    return world


def told(effects: list[Effect]) -> list[tuple[int, str]]:
    return [(each.ask, each.status) for each in only(effects, do.TellOwner)]


def holds(world: World) -> tuple[str | None, str, int]:
    assignment = world.node.choice.assignment
    return assignment.pool, assignment.source, assignment.epoch


def refusal(effects: list[Effect]) -> tuple[int, str]:
    (error,) = said(effects)
    assert isinstance(error, InferenceError)
    return error.status_code, error.error


# ── pool set ──────────────────────────────────────────────────────────────────────────


def test_an_idle_machine_moves_at_once_though_it_moved_lately(world: World) -> None:
    assert "too recently" in str(world.node.moves.obstacle(world.now_s))
    effects = world.tell(ordered.PoolSetAsked(7, "other"))
    assert isinstance(effects[0], do.PersistAssignment), "before anything that follows from it"
    assert told(effects) == [(7, "under_way")]
    assert done(effects) == [
        do.TellOwner(7, "under_way", "the machine moves"),
        do.StopEngine("org/a"),
    ]
    assert holds(world) == ("other", "operator", 5)
    assert told(world.stopped("org/a")) == [(7, "done")]


def test_what_lies_here_is_loaded_and_the_old_model_answers_until_then(world: World) -> None:
    world.stock("org/c")
    effects = world.tell(ordered.PoolSetAsked(7, "other"))
    assert do.FetchWeights("org/c") in effects
    assert world.state("org/a") == [SlotState.READY]
    world.stage("org/c")
    world.stopped("org/a")
    assert told(world.loaded("org/c")) == [(7, "done")]
    assert world.state("org/c") == [SlotState.READY]


def test_a_busy_machine_finishes_first_and_takes_nothing_meanwhile(world: World) -> None:
    world.request("r1", "org/a")
    effects = world.tell(ordered.PoolSetAsked(7, "other"))
    assert told(effects) == [(7, "under_way")]
    assert only(effects, do.CancelGeneration) == []
    assert refusal(world.request("r2", "org/a")) == (503, DRAINING)
    assert said(world.load_model("org/c")) == [status("org/c", "failed", DRAINING)]
    assert do.StopEngine("org/a") in world.answered("r1")
    assert told(world.stopped("org/a")) == [(7, "done")]
    assert said(world.load_model("org/c")) == [status("org/c", "started")], "work is taken again"


def test_now_ends_what_runs_of_the_old_pool_alone(world: World) -> None:
    world.request("r1", "org/a")
    effects = world.tell(ordered.PoolSetAsked(7, "other", now=True))
    assert only(effects, do.CancelGeneration) == [do.CancelGeneration(world.key("r1"))]


def test_a_move_whose_model_cannot_load_is_undone_and_told(world: World) -> None:
    world.stock("org/c")
    world.request("r1", "org/a")
    world.tell(ordered.PoolSetAsked(7, "other"))
    world.answered("r1")
    world.stage("org/c")
    world.stopped("org/a")
    effects = world.tell(happened.EngineFailed("org/c", BAD))
    (answer,) = only(effects, do.TellOwner)
    assert (answer.ask, answer.status) == (7, "failed")
    assert "undone" in answer.words
    assert (holds(world)[0], holds(world)[2]) == ("tiny", 6)
    assert not world.node.loads.is_draining
    assert do.FetchWeights("org/a") in effects, "what was here comes back"


def test_the_desired_build_of_an_alias_comes_first() -> None:
    offered = [
        {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a"},
        {"id": "org/c", "aliases": ["other"], "ref": "s3://models/c"},
        {"id": "org/d", "aliases": ["other"], "ref": "s3://models/d"},
    ]
    world = World(settings(pools={}, models=offered))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    world.stock("org/c", "org/d")
    row = DesiredModel(model_name="other", desired_build="org/d")
    world.hear(DesiredModels(models=(row,)))
    assert do.FetchWeights("org/d") in world.tell(ordered.PoolSetAsked(2, "other"))


@pytest.mark.parametrize("pool", ["nobody", "org/x"])
def test_a_pool_that_nothing_belongs_to_is_refused(world: World, pool: str) -> None:
    before = holds(world)
    assert told(world.tell(ordered.PoolSetAsked(7, pool))) == [(7, "refused")]
    assert holds(world) == before


def test_what_the_file_assigns_is_not_overruled() -> None:
    world = World(settings())
    world.start()
    assert told(world.tell(ordered.PoolSetAsked(1, "other"))) == [(1, "refused")]
    assert told(world.tell(ordered.PoolReleased(2))) == [(2, "refused")]
    for asked in (ordered.PoolSetAsked(3, "other"), ordered.PoolReleased(4)):
        (answer,) = only(world.tell(asked), do.TellOwner)
        assert "change pools.assigned" in answer.words, "it says what helps"
    assert told(world.tell(ordered.PoolSetAsked(3, "tiny"))) == [(3, "done")]
    assert holds(world)[1] == "config"


def test_requests_that_wait_for_their_model_are_not_sent_away() -> None:
    world = World(settings(pools={}))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    world.request("r1", "org/a")
    assert told(world.tell(ordered.PoolSetAsked(1, "other"))) == [(1, "under_way")]
    assert holds(world) == ("tiny", "persisted", 4), "nothing moves while somebody waits"
    world.stage("org/a")
    assert holds(world)[0] == "tiny"
    world.loaded("org/a")
    assert holds(world)[0] == "other"
    world.answered("r1")
    assert told(world.stopped("org/a")) == [(1, "done")]
    assert world.laws.is_square


def test_unless_its_operator_says_so_and_then_they_are_told() -> None:
    world = World(settings(pools={}))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    world.request("r1", "org/a")
    effects = world.tell(ordered.PoolSetAsked(2, "other", now=True))
    assert told(effects) == [(2, "under_way"), (2, "done")]
    (lost,) = (m for m in said(effects) if isinstance(m, InferenceError))
    assert (lost.status_code, "not loaded" in lost.error) == (503, True), "asked elsewhere"
    assert world.laws.is_square


def test_the_pool_that_holds_is_the_operators_from_now_on(world: World) -> None:
    assert told(world.tell(ordered.PoolSetAsked(7, "tiny"))) == [(7, "done")]
    assert holds(world) == ("tiny", "operator", 4)


def test_a_choice_is_taken_back_and_what_is_in_memory_decides(world: World) -> None:
    world.tell(ordered.PoolSetAsked(1, "other"))
    world.stopped("org/a")
    world.load_model("org/c")
    world.stage("org/c")
    world.loaded("org/c")
    assert told(world.tell(ordered.PoolReleased(2))) == [(2, "done")]
    assert holds(world) == ("other", "resident", 6)
    assert world.state("org/c") == [SlotState.READY]


def test_one_move_at_a_time(world: World) -> None:
    world.request("r1", "org/a")
    world.tell(ordered.PoolSetAsked(1, "other"))
    assert told(world.tell(ordered.PoolSetAsked(2, "org/b"))) == [(2, "refused")]
    assert told(world.tell(ordered.PoolReleased(3))) == [(3, "refused")]


# ── pins ──────────────────────────────────────────────────────────────────────────────


def test_a_pinned_model_makes_way_for_nobody_until_it_is_unpinned(world: World) -> None:
    effects = world.tell(ordered.PinAsked(1, "org/a"))
    assert done(effects)[0] == do.PersistOrders(("org/a",), is_drained=False)
    assert told(effects) == [(1, "done")]
    full = "all 1 model slot(s) are active; cannot load 'org/b'"
    assert said(world.load_model("org/b")) == [status("org/b", "failed", full)]
    assert world.node.snapshot(world.now_s).free_for_load_bytes == 0, "nor does it promise to"
    assert told(world.tell(ordered.PoolSetAsked(2, "other"))) == [(2, "refused")]
    assert told(world.tell(ordered.UnpinAsked(3, "org/a"))) == [(3, "done")]
    assert said(world.load_model("org/b")) == [status("org/b", "started")]


def test_pins_that_mean_nothing_are_refused(world: World) -> None:
    assert told(world.tell(ordered.PinAsked(1, "org/x"))) == [(1, "refused")]
    pinned = {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a", "pinned": True}
    world.choose(settings(pools={}, models=[pinned]))
    assert told(world.tell(ordered.UnpinAsked(2, "org/a"))) == [(2, "refused")], "the file's"


# ── drain ─────────────────────────────────────────────────────────────────────────────


def test_a_drain_finishes_what_runs_and_lasts_until_it_is_taken_back(world: World) -> None:
    world.request("r1", "org/a")
    effects = world.tell(ordered.DrainAsked(1))
    assert done(effects)[0] == do.PersistOrders((), is_drained=True)
    assert told(effects) == [(1, "under_way")]
    assert refusal(world.request("r2", "org/a")) == (503, DRAINING)
    assert told(world.answered("r1")) == [(1, "done")]
    assert world.state("org/a") == [SlotState.READY], "the model stays"
    world.drop()
    world.redial()
    assert refusal(world.request("r3", "org/a")) == (503, DRAINING), "whatever the line does"
    effects = world.tell(ordered.UndrainAsked(2))
    assert done(effects)[0] == do.PersistOrders((), is_drained=False)
    assert only(world.request("r4", "org/a"), do.StartGeneration) != []


def test_a_drain_ends_what_runs_only_at_its_own_deadline(world: World) -> None:
    world.request("r1", "org/a")
    world.tell(ordered.DrainAsked(1, deadline_s=30.0))
    assert only(world.after(29.0), do.CancelGeneration) == []
    assert only(world.after(1.0), do.CancelGeneration) == [do.CancelGeneration(world.key("r1"))]


def test_an_idle_node_is_drained_at_once(world: World) -> None:
    assert told(world.tell(ordered.DrainAsked(1))) == [(1, "under_way"), (1, "done")]


def test_whoever_waits_for_a_drain_is_told_when_it_is_taken_back(world: World) -> None:
    world.request("r1", "org/a")
    world.tell(ordered.DrainAsked(1))
    assert told(world.tell(ordered.UndrainAsked(2))) == [(1, "failed"), (2, "done")]


def test_orders_outlive_the_process() -> None:
    world = World(settings(pools={}))
    world.tell(happened.OrdersRead(("org/a",), is_drained=True))
    world.start()
    assert "org/a" in world.node.snapshot(world.now_s).pinned
    assert said(world.load_model("org/a")) == [status("org/a", "failed", DRAINING)]
    world.tell(ordered.UndrainAsked(1))
    assert said(world.load_model("org/a")) == [status("org/a", "started")]
