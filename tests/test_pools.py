"""The rules of pools, each told to a node by its number."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.pool import Topology, pool_for
from poolhand.agent.core.slots import SlotState
from poolhand.agent.core.status import status as told_to_owner
from poolhand.agent.wire.inbound import DesiredModels, PrefetchModel
from poolhand.agent.wire.outbound import (
    InferenceError,
    LoadModelStatus,
    PrefetchModelStatus,
    Register,
)
from poolhand.agent.wire.types import DesiredModel, ModelInfo
from poolhand.backends.engines.errors import EngineStartFailed
from poolhand.backends.hosts.base import HostFacts
from poolhand.backends.stores.base import Stock
from poolhand.config.errors import StateDamaged
from poolhand.config.settings import Settings
from tests.journeys.world import FACTS, GIB, World, beats, done, identity, only, said, status
from tests.journeys.world import settings as usual

BAD = EngineStartFailed(engine="mlx", kind="bad_model", reason="odd tensors")
BUSY = "all 1 model slot(s) are active; cannot load {!r}"
OUTSIDE = "model {!r} not in advertised model list: outside assigned pool {!r}"

Offered = Sequence[Mapping[str, object]]

MODELS: list[dict[str, object]] = [
    {"id": "a", "aliases": ["x"], "ref": "s3://models/a"},
    {"id": "b", "aliases": ["y"], "ref": "s3://models/b"},
    {"id": "ab", "aliases": ["x", "y"], "ref": "s3://models/ab"},
    {"id": "solo", "ref": "s3://models/solo"},
]


def chosen(*, slots: int = 1, models: Offered | None = None, **pools: object) -> Settings:
    """Two aliases that share a build, and a build without any."""
    offered = MODELS if models is None else models
    return usual(pools=pools, slots={"max_model_slots": slots}, models=offered)


def started(settings: Settings | None = None, kept: Assignment | None = None) -> World:
    world = World(settings or chosen(assigned="x"))
    world.tell(happened.AssignmentRead(kept))
    world.start()
    return world


def free(world: World) -> Assignment:
    return world.node.choice.assignment


def rows(*rows: tuple[str, str] | tuple[str, str, str]) -> DesiredModels:
    return DesiredModels(
        models=tuple(
            DesiredModel(model_name=row[0], desired_build=row[1], previous_build=(*row, None)[2])
            for row in rows
        )
    )


def load_error(effects: list[do.Effect]) -> str | None:
    (answer,) = [m for m in said(effects) if isinstance(m, LoadModelStatus)]
    return answer.error


def following(models: Offered | None = None, **pools: object) -> Settings:
    return chosen(slots=1, models=models, follow_coordinator=True, **pools)


def at_x(models: Offered | None = None, **pools: object) -> World:
    """A machine of the pool x that nobody assigned by configuration; ``a`` is in memory."""
    world = started(following(models, **pools), Assignment(("x",), "hash", 4, -1000.0))
    world.resident("a")
    return world


# ── keys and choice ───────────────────────────────────────────────────────────────────


def test_p01_membership_is_decided_by_key_sets() -> None:
    pool = started(chosen(assigned="x")).node.loads.pool
    assert pool.models == ("a", "ab"), "each build of the alias, and none of another"
    told = Topology({"x": frozenset({"solo"}), "z": frozenset({"a"})})
    after = pool_for(Assignment(("x",)), chosen(), told)
    assert after.models == ("a", "ab", "solo"), "a roll-out needs no reassignment"


def test_p02_one_pool_at_a_time_and_more_slots_are_limited_by_it_too() -> None:
    world = started(chosen(assigned="x", slots=2))
    world.resident("a")
    world.resident("ab")
    assert load_error(world.load_model("b")) == OUTSIDE.format("b", "x")
    assert len(world.node.choice.assignment.scope) == 1


@pytest.mark.parametrize("is_enforced", [True, False])
def test_p03_nothing_from_the_line_widens_the_allow_list(*, is_enforced: bool) -> None:
    world = started(chosen(allowed=["x", "a"], enforce=is_enforced, follow_coordinator=True))
    world.hear(rows(("x", "solo"), ("a", "b")))
    for model in ("b", "solo", "nowhere"):
        assert "outside assigned pool" in (load_error(world.load_model(model)) or "")
        (answer,) = said(world.hear(PrefetchModel(model_id=model)))
        assert isinstance(answer, PrefetchModelStatus)
        assert answer.status == "failed"
    assert only(world.effects, do.FetchWeights) == []


def test_p04_the_order_in_which_a_pool_is_chosen() -> None:
    kept = Assignment(("y",), "load", 9, -60.0)
    configured = free(started(chosen(assigned="x"), kept))
    assert (configured.scope, configured.source, configured.epoch) == (("x",), "config", 10)
    persisted = free(started(chosen(), kept))
    assert (persisted.scope, persisted.source, persisted.epoch) == (("y",), "persisted", 9)
    gone = free(started(chosen(), Assignment(("removed",), "load", 9, -60.0)))
    assert (gone.source, gone.epoch) == ("hash", 10)
    sole = free(started(chosen(models=MODELS[:1])))
    assert (sole.scope, sole.source) == (("x",), "sole")
    nothing = free(started(chosen(allowed=["none"])))
    assert (nothing.scope, nothing.source) == ((), "none")


def test_p04_what_is_in_memory_beats_chance() -> None:
    world = at_x()
    after = world.choose(following(allowed=["solo", "b"]))
    assert only(after, do.PersistAssignment)
    assert free(world).source == "hash", "it is not allowed any more"
    world = at_x()
    renamed = [{**MODELS[0], "aliases": ["new"]}, *MODELS[1:2], MODELS[3]]
    world.choose(following(models=renamed))
    assert (free(world).scope, free(world).source) == (("new",), "resident")
    assert world.state("a") == [SlotState.READY]


def test_p05_two_hundred_machines_spread_and_a_new_key_moves_a_third() -> None:
    def keys(*names: str) -> list[str | None]:
        offered: list[dict[str, object]] = [{"id": n, "ref": f"s3://models/{n}"} for n in names]
        settings = chosen(models=offered)
        found: list[str | None] = []
        for number in range(200):
            world = World(settings)
            who = identity()
            object.__setattr__(who, "machine_id", f"machine-{number}")
            world.node = type(world.node)(settings, who, chance=lambda: 0.5)
            found.append(world.node.loads.pool.assigned)
        return found

    two, again, three = keys("p", "q"), keys("q", "p"), keys("p", "q", "r")
    assert two == again, "no order decides"
    assert 80 <= two.count("p") <= 120
    moved = [after for before, after in zip(two, three, strict=True) if before != after]
    assert 40 <= len(moved) <= 95
    assert set(moved) == {"r"}


def test_p05_what_cannot_fit_is_not_chosen_by_chance() -> None:
    offered: list[dict[str, object]] = [{"id": n, "ref": f"s3://models/{n}"} for n in ("p", "q")]
    world = started(chosen(models=offered))
    first = free(world).pool
    assert first is not None
    world.tell(happened.InventoryChanged((Stock(first, "listed", 90 * GIB),)))
    assert {free(world).pool, first} == {"p", "q"}
    both = tuple(Stock(name, "listed", 90 * GIB) for name in ("p", "q"))
    before = free(world)
    world.tell(happened.InventoryChanged(both))
    assert free(world) == before, "where nothing fits, nothing is better"


def test_p06_a_shared_build_keeps_both_keys_until_something_narrows_them() -> None:
    world = started(chosen(advertise="all"))
    world.load_model("ab")
    assert (free(world).scope, free(world).pool, free(world).source) == (("x", "y"), None, "load")
    world.stage("ab")
    world.loaded("ab")
    world.request("r1", "a")
    assert (free(world).scope, free(world).source) == (("x",), "request")
    refused = said(world.request("r2", "b"))[-1]
    assert isinstance(refused, InferenceError)
    assert refused.error == "model 'b' not loaded: outside assigned pool"


def test_p06_a_desired_list_that_names_one_key_narrows() -> None:
    world = started(chosen(advertise="all"))
    world.load_model("ab")
    world.hear(rows(("y", "b", "ab"), ("z", "solo")))
    assert (free(world).scope, free(world).source) == (("y",), "desired")


# ── changing it ───────────────────────────────────────────────────────────────────────


def test_p07_what_keeps_a_machine_where_it_is() -> None:
    world = at_x()
    world.request("r1", "a")
    assert load_error(world.load_model("b")) == OUTSIDE.format("b", "x")
    world.answered("r1")
    world.load_model("ab")
    assert load_error(world.load_model("b")) == OUTSIDE.format("b", "x"), "a load pins the pool"
    assert free(world).epoch == 4

    pinned = [{**MODELS[0], "pinned": True}, *MODELS[1:]]
    assert load_error(at_x(models=pinned).load_model("b")) == OUTSIDE.format("b", "x")
    world = started(chosen(follow_coordinator=True, assigned="x"))
    assert load_error(world.load_model("b")) == OUTSIDE.format("b", "x"), "the owner said so"


def test_p07_a_machine_that_was_moved_stays_for_a_while() -> None:
    world = at_x()
    move(world, "a", "b")
    assert load_error(world.load_model("a")) == OUTSIDE.format("a", "y")
    assert "too recently" in str(world.node.moves.obstacle(world.now_s))
    world.after(300.0)
    assert load_error(world.load_model("a")) is None
    assert free(world).pool == "x"


def move(world: World, before: str, model: str) -> None:
    """Move a machine for a model, the whole way."""
    world.load_model(model)
    world.stage(model)
    world.stopped(before)
    world.loaded(model)
    world.after(2.0)
    if world.laws.socket is not None and not world.laws.is_open:
        world.connect()


def test_p08_a_move_reserves_persists_unloads_loads_and_publishes_in_this_order() -> None:
    world = at_x()
    world.stock("a", "ab", "b")
    before = len(world.effects)
    effects = world.load_model("b")
    assert [type(e) for e in effects[:1]] == [do.PersistAssignment]
    assert said(effects) == [status("b", "started")]
    assert world.state("a") == [SlotState.READY], "it leaves when the other one could come"
    (refused,) = said(world.request("r1", "a"))
    assert isinstance(refused, InferenceError), "nothing new for the old pool"
    assert (refused.status_code, "not loaded" in refused.error) == (503, True)
    assert do.StopEngine("a") in world.stage("b")
    assert any(isinstance(e, do.LoadEngine) for e in world.stopped("a"))
    effects = world.loaded("b")
    assert said(effects) == [status("b", "succeeded")]
    assert only(effects, do.Dial) == [], "what waited for the model comes on this line"
    steps = (do.PersistAssignment, do.StopEngine, do.LoadEngine, do.Dial)
    assert only(world.after(2.0), do.Dial), "the old pool is unsaid on a new line"
    order = [type(e) for e in world.effects[before:] if isinstance(e, steps)]
    assert order == [do.PersistAssignment, do.StopEngine, do.LoadEngine, do.Dial]
    (who,) = [word for word in said(world.connect()) if isinstance(word, Register)]
    assert {model.id for model in who.models} == {"b", "ab"}, "what a new line hears"


def test_p08_a_move_whose_model_cannot_load_is_undone() -> None:
    world = at_x()
    world.load_model("b")
    world.stage("b")
    world.stopped("a")
    effects = world.tell(happened.EngineFailed("b", BAD))
    assert "model load failed" in (load_error(effects) or "")
    assert (free(world).pool, free(world).epoch) == ("x", 6), "back, and it is a change"
    assert do.FetchWeights("a") in effects, "what was here comes back"
    world.stopped("b")
    world.stage("a")
    world.loaded("a")
    assert beats(world.after(5.0))[-1].warm_models == ("a",)


def test_p08_a_move_that_fails_before_anything_left_costs_nothing() -> None:
    world = at_x()
    world.load_model("b")
    effects = world.tell(happened.WeightsFailed("b", BAD))
    assert free(world).pool == "x"
    assert only(effects, do.StopEngine) == []
    assert world.state("a") == [SlotState.READY]


def test_p08_a_move_has_a_deadline() -> None:
    world = at_x(move_deadline_s=30.0)
    world.load_model("b")
    world.after(29.0)
    assert free(world).pool == "y"
    effects = world.after(1.0)
    assert do.CancelFetch("b") in effects
    assert free(world).pool == "x"
    assert world.laws.is_square, "whoever asked was told"


def test_p09_the_assignment_outlives_the_process_and_a_bad_file_is_told_of() -> None:
    world = started(chosen(), Assignment(("y",), "load", 7, -60.0, moved_s=-60.0))
    assert (free(world).epoch, free(world).since_s) == (7, world.now_s - 60.0)
    assert "too recently" in str(world.node.moves.obstacle(world.now_s))
    (wanted, *_) = only(world.effects, do.PersistAssignment)
    assert wanted.assignment == free(world)
    world = World(chosen())
    world.tell(happened.AssignmentRead(error=StateDamaged(path="p", reason="no JSON")))
    assert (free(world).source, free(world).epoch) == ("hash", 1)
    assert world.node.failed.recent[-1][1].code == "state_damaged"
    world.tell(happened.StateUnsaved(StateDamaged(path="p", reason="full")))
    assert len(world.node.failed.recent) == 2


def test_p10_every_change_has_the_next_epoch() -> None:
    world = at_x()
    move(world, "a", "b")
    assert free(world).epoch == 5
    world.choose(chosen(assigned="x"))
    assert (free(world).epoch, free(world).source) == (6, "config")
    world.choose(chosen(assigned="x", min_dwell_s=1.0))
    assert free(world).epoch == 6, "no change, no epoch"
    epochs = [effect.assignment.epoch for effect in only(world.effects, do.PersistAssignment)]
    assert epochs == sorted(set(epochs))


# ── refusing ──────────────────────────────────────────────────────────────────────────


def test_p11_a_refusal_changes_nothing() -> None:
    world = at_x()
    world.request("r1", "a")
    before, assigned = world.node.snapshot(world.now_s), free(world)
    effects = [effect for model in ("b", "solo", "gone") for effect in world.load_model(model)]
    assert {type(effect) for effect in effects} == {do.Send}
    assert (world.node.snapshot(world.now_s), free(world)) == (before, assigned)


def test_p12_a_refusal_for_the_pool_bears_no_word_of_another_class() -> None:
    error = load_error(started().load_model("b")) or ""
    assert "not in advertised" in error
    assert not any(word in error for word in ("slot", "insufficient memory", "not loaded"))


def test_p13_only_the_pool_is_advertised_unless_the_owner_wants_all() -> None:
    assert [m.id for m in advertised(started())] == ["a", "ab"]
    world = started(chosen(advertise="all"))
    assert [m.id for m in advertised(world)] == ["a", "b", "ab", "solo"]
    assert free(world).scope == (), "the list chooses nothing"
    world.load_model("solo")
    assert (free(world).pool, free(world).source) == ("solo", "load")
    assert load_error(world.load_model("a")) == OUTSIDE.format("a", "solo")


def advertised(world: World) -> tuple[ModelInfo, ...]:
    (who, *_) = said(world.effects)
    assert isinstance(who, Register)
    return who.models


def test_p14_what_is_in_memory_is_reported_whatever_the_pool() -> None:
    world = at_x()
    world.request("r1", "a")
    world.choose(chosen(assigned="y"))
    (beat,) = beats(world.after(5.0))[-1:]
    assert beat.warm_models == ("a",)
    assert beat.backend_capacity is not None
    assert [slot.state for slot in beat.backend_capacity.slots] == ["reloading"], "not on offer"


# ── what coordinators tell ────────────────────────────────────────────────────────────

PLAIN: list[dict[str, object]] = [
    {"id": n, "ref": f"s3://models/{n}"} for n in ("one", "two", "three")
]


def rolled_out() -> World:
    """A machine of an alias that only a coordinator knows; ``one`` is in memory."""
    kept = Assignment(("one",), "hash", 1, -1000.0)
    world = started(chosen(models=PLAIN), kept)
    world.resident("one")
    world.hear(rows(("alias", "one")))
    assert (free(world).scope, free(world).source) == (("one",), "hash")
    return world


def test_p15_an_alias_that_is_repointed_stays_one_pool() -> None:
    world = started(chosen(models=PLAIN), Assignment(("alias",), "message", 3, -1000.0))
    assert free(world).source == "hash", "nobody has told of the alias in this life"
    world = started(chosen(assigned="alias", models=PLAIN))
    world.hear(rows(("alias", "one")))
    world.resident("one")
    epoch = free(world).epoch
    effects = world.hear(rows(("alias", "two", "one")))
    assert only(effects, do.FetchWeights) == [do.FetchWeights("two")], "it converges"
    assert (free(world).epoch, world.state("one")) == (epoch, [SlotState.READY])
    assert world.node.loads.pool.models == ("one", "two")


def test_p15_an_alias_that_is_removed_leaves_its_build_in_the_pool() -> None:
    world = started(chosen(models=PLAIN, advertise="all"))
    world.hear(rows(("alias", "one"), ("other", "two")))
    world.resident("one")
    assert free(world).scope == ("alias",)
    world.request("r1", "one")
    effects = world.hear(rows(("other", "two")))
    assert (free(world).scope, free(world).source) == (("one",), "resident")
    assert only(effects, do.StopEngine) == []
    assert len(said(world.answered("r1"))) == 1
    assert world.state("one") == [SlotState.READY]


def test_p15_an_empty_list_keeps_the_assignment_and_stops_what_comes() -> None:
    world = started(chosen(models=PLAIN, advertise="all"))
    world.hear(rows(("alias", "one")))
    world.resident("one")
    world.hear(rows(("alias", "two", "one")))
    assigned = free(world)
    effects = world.hear(DesiredModels())
    assert do.CancelFetch("two") in effects
    assert free(world) == assigned


def test_p16_what_is_not_named_on_a_new_line_is_not_gone() -> None:
    world = started(chosen(models=PLAIN, advertise="all"))
    world.hear(rows(("alias", "one"), ("other", "two")))
    world.resident("one")
    world.drop()
    world.redial()
    world.hear(rows(("other", "two")))
    assert free(world).scope == ("alias",)
    world.hear(rows(("other", "three")))
    assert free(world).scope == ("alias",), "it did not stand in the one before either"


def test_p16_with_no_topology_every_build_is_its_own_pool() -> None:
    world = started(chosen(models=PLAIN))
    assert len(world.node.loads.pool.models) == 1


def test_p17_the_switch_turns_refusals_off_and_no_limit() -> None:
    world = started(chosen(assigned="x"))
    world.resident("a")
    assigned = free(world)
    world.choose(chosen(assigned="x", enforce=False))
    world.request("r1", "a")
    assert load_error(world.load_model("b")) == BUSY.format("b"), "slots are slots"
    world.answered("r1")
    assert load_error(world.load_model("b")) is None
    assert free(world) == assigned, "computed and shown, so that switching back is nothing"
    world.choose(chosen(assigned="x", enforce=False, allowed=["x"]))
    assert "outside" in (load_error(world.load_model("solo")) or "")


# ── slots ─────────────────────────────────────────────────────────────────────────────


def test_p18_during_a_roll_out_the_slot_decides() -> None:
    world = started(chosen(assigned="x"))
    world.resident("a")
    world.request("r1", "a")
    assert load_error(world.load_model("ab")) == BUSY.format("ab")
    world.answered("r1")
    assert load_error(world.load_model("ab")) is None
    assert do.StopEngine("a") in world.stage("ab")


def test_p18_a_pinned_model_makes_way_for_nobody() -> None:
    pinned = [{**MODELS[0], "pinned": True}, *MODELS[1:]]
    world = started(chosen(assigned="x", models=pinned))
    world.resident("a")
    assert load_error(world.load_model("ab")) == BUSY.format("ab")
    assert only(world.effects, do.StopEngine) == []


def test_p19_a_busy_slot_blocks_no_free_one() -> None:
    world = started(chosen(assigned="x", slots=2))
    world.resident("a")
    world.request("r1", "a")
    assert load_error(world.load_model("ab")) is None
    world.stage("ab")
    assert said(world.loaded("ab")) == [status("ab", "succeeded")]
    assert world.state("a") == [SlotState.READY]


def test_p20_the_owner_moves_a_busy_machine_without_killing_anything() -> None:
    world = at_x()
    world.request("r1", "a")
    effects = world.choose(chosen(assigned="y"))
    assert done(effects) == []
    assert world.state("a") == [SlotState.DRAINING]
    assert do.StopEngine("a") in world.answered("r1")
    assert (free(world).pool, free(world).source) == ("y", "config")


def test_p20_pool_set_drains_first_and_pool_release_takes_it_back() -> None:
    world = at_x()
    world.request("r1", "a")
    effects = world.tell(ordered.PoolSetAsked(1, "y"))
    assert [each.status for each in only(effects, do.TellOwner)] == ["under_way"]
    assert only(effects, do.CancelGeneration) == [], "without --now nothing is ended"
    (refused,) = said(world.request("r2", "a"))
    assert isinstance(refused, InferenceError)
    assert (refused.status_code, refused.error) == (503, "provider draining for update")
    world.answered("r1")
    effects = world.stopped("a")
    assert [each.status for each in only(effects, do.TellOwner)] == ["done"]
    assert (free(world).pool, free(world).source, free(world).epoch) == ("y", "operator", 5)
    world.tell(ordered.PoolReleased(2))
    assert free(world).source in {"hash", "sole"}


def test_p20_now_ends_requests_and_a_drain_sticks() -> None:
    world = at_x()
    world.request("r1", "a")
    effects = world.tell(ordered.PoolSetAsked(1, "y", now=True))
    assert only(effects, do.CancelGeneration) == [do.CancelGeneration(world.key("r1"))]
    assert do.PersistOrders((), is_drained=True) in world.tell(ordered.DrainAsked(2))
    world.drop()
    world.redial()
    assert load_error(world.load_model("b")) == "provider draining for update"


def test_p20_a_pin_keeps_a_model_and_the_pool_with_it() -> None:
    world = at_x()
    assert do.PersistOrders(("a",), is_drained=False) in world.tell(ordered.PinAsked(1, "a"))
    (answer,) = only(world.tell(ordered.PoolSetAsked(2, "y")), do.TellOwner)
    assert (answer.status, answer.words) == ("refused", "a resident model is pinned")
    world.tell(ordered.UnpinAsked(3, "a"))
    assert world.node.moves.obstacle(world.now_s) is None


def test_p21_the_status_explains() -> None:
    world = at_x()
    world.request("r1", "a")
    world.load_model("b")
    world.load_model("b")
    pool = told_to_owner(world.node, world.now_s)["pool"]
    assert isinstance(pool, dict)
    wanted = {"assigned", "scope", "source", "epoch", "for_s", "stays_because", "last_refusal"}
    assert wanted <= pool.keys()
    assert (pool["assigned"], pool["source"], pool["epoch"]) == ("x", "persisted", 4)
    assert pool["stays_because"] == "1 request(s) in flight"
    assert pool["refusals_by_reason"] == {"model_not_in_pool": 2}


# ── laws ──────────────────────────────────────────────────────────────────────────────


@knobs(max_examples=100, deadline=None)
@given(
    commands=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", "ab", "solo", "gone"])),
        max_size=100,
    ),
    follows=st.booleans(),
)
def test_hostile_commands_never_widen_what_the_owner_allows(
    commands: list[tuple[int, str]], *, follows: bool
) -> None:
    world = started(chosen(allowed=["x"], follow_coordinator=follows, min_dwell_s=0.0))
    allowed = {"a", "ab"}
    for verb, model in commands:
        if verb == 0:
            world.load_model(model)
        elif verb == 1:
            world.hear(PrefetchModel(model_id=model))
        elif verb == 2:
            world.hear(rows(("x", model), (model, "b")))
        elif verb == 3:
            world.hear(DesiredModels())
        elif verb == 4 and SlotState.DOWNLOADING in world.state(model):
            world.stage(model)
        else:
            world.after(1.0)
        assert {*world.node.loads.pool.models} <= allowed
        assert {*world.node.loads.pool.advertised} <= allowed
    assert {effect.model for effect in only(world.effects, do.FetchWeights)} <= allowed
    assert {effect.model for effect in only(world.effects, do.LoadEngine)} <= allowed


def test_a_machine_is_known_before_it_is_called() -> None:
    world = World(chosen())
    world.tell(happened.AssignmentRead())
    assert only(world.effects, do.Dial) == []
    facts: HostFacts = FACTS
    assert only(world.tell(happened.HostKnown(facts)), do.Dial)
