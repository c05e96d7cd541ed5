"""What a coordinator may command beyond the protocol."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.slots import COMING, SlotState
from poolhand.agent.wire.extensions import (
    AssignPool,
    AssignPoolStatus,
    CancelLoad,
    CancelLoadStatus,
    Drain,
    DrainStatus,
    Undrain,
    UnloadModel,
    UnloadModelStatus,
)
from poolhand.agent.wire.inbound import Inbound
from poolhand.agent.wire.outbound import InferenceError, LoadModelStatus, Outbound
from poolhand.backends.engines.errors import EngineStartFailed
from tests.journeys.world import World, beats, build, done, only, said, settings, status

UNIX_S = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
BAD = EngineStartFailed(engine="mlx", kind="bad_model", reason="odd tensors")


def at_tiny(*, dwell_s: float = 0.0, pinned: bool = False, **pools: object) -> World:
    """A machine of the pool ``tiny`` by its own choice; ``org/a`` is in memory."""
    models: list[Mapping[str, object]] = [
        {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a", "pinned": pinned},
        {"id": "org/b", "aliases": ["tiny"], "ref": "s3://models/b"},
        {"id": "org/c", "aliases": ["other"], "ref": "s3://models/c"},
    ]
    world = World(settings(pools={"min_dwell_s": dwell_s, **pools}, models=models))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    world.resident("org/a")
    return world


def hear(world: World, message: Inbound) -> list[do.Effect]:
    return world.tell(happened.Heard(world.line, message, UNIX_S))


def assign(world: World, pool: str | None, epoch: int, **more: object) -> list[do.Effect]:
    return hear(world, AssignPool.model_validate({"pool": pool, "epoch": epoch, **more}))


def told(effects: list[do.Effect]) -> list[tuple[str, int, str | None, str | None]]:
    words = [m for m in said(effects) if isinstance(m, AssignPoolStatus)]
    return [(m.status, m.epoch, m.error, m.assigned) for m in words]


def answer(effects: list[do.Effect]) -> Outbound:
    (only_one,) = [m for m in said(effects) if not isinstance(m, LoadModelStatus)]
    return only_one


# ── assign_pool ───────────────────────────────────────────────────────────────────────


def test_an_idle_machine_is_assigned_at_once() -> None:
    world = at_tiny()
    effects = assign(world, "other", 5)
    assert isinstance(effects[0], do.PersistAssignment)
    assert do.StopEngine("org/a") in effects
    assert told(world.stopped("org/a")) == [("applied", 5, None, "other")]
    assert world.node.loads.pool.models == ("org/c",)
    assert only(world.after(2.0), do.Dial), "what is not served any more is unsaid"


def test_a_busy_machine_drains_first_and_loses_nobody() -> None:
    world = at_tiny()
    world.request("r1", "org/a")
    assert told(assign(world, "other", 5, preload="org/c")) == [("draining", 5, None, "other")]
    (refused,) = said(world.request("r2", "org/a"))
    assert isinstance(refused, InferenceError)
    assert (refused.status_code, "not loaded" in refused.error) == (503, True)
    assert only(world.stage("org/c"), do.StopEngine) == []
    assert world.state("org/a") == [SlotState.DRAINING]
    assert do.StopEngine("org/a") in world.answered("r1")
    assert only(world.stopped("org/a"), do.LoadEngine)
    assert told(world.loaded("org/c")) == [("applied", 5, None, "other")]


def cold(request: str = "r1") -> World:
    """A machine with nothing in memory, which has accepted a request and loads for it."""
    world = World(settings(pools={"min_dwell_s": 0.0}))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    world.request(request, "org/a")
    return world


def test_an_accepted_request_that_waits_is_served_before_the_move() -> None:
    world = cold()
    assert told(assign(world, "other", 5, preload="org/c")) == [("draining", 5, None, "tiny")]
    assert world.state("org/a") == [SlotState.DOWNLOADING], "its load goes on"
    assert world.state("org/c") == []
    (refused,) = said(world.request("r2", "org/a"))
    assert isinstance(refused, InferenceError)
    assert (refused.status_code, refused.error) == (503, "provider draining for update")
    assert told(assign(world, "other", 5, preload="org/c")) == [("draining", 5, None, "tiny")]
    assert told(assign(world, "other", 5)) == [("draining", 5, None, "tiny")], "the same pool"
    assert told(assign(world, "tiny", 5))[0][2] == "epoch conflict"
    assert told(assign(world, "tiny", 6))[0][2] == "a move is under way"
    world.stage("org/a")
    effects = world.loaded("org/a")
    assert only(effects, do.StartGeneration)
    assert [e.assignment.pool for e in only(effects, do.PersistAssignment)] == ["other"]
    world.stage("org/c")
    assert do.StopEngine("org/a") in world.answered("r1")
    world.stopped("org/a")
    assert told(world.loaded("org/c")) == [("applied", 5, None, "other")]
    assert world.laws.is_square


def test_a_wait_that_is_too_long_leaves_everything_as_it_was() -> None:
    world = cold()
    soon = datetime.fromtimestamp(UNIX_S, UTC) + timedelta(seconds=30)
    assign(world, "other", 5, expires_at=soon.isoformat())
    effects = world.after(31.0)
    assert told(effects) == [("failed", 4, "the move was undone", "tiny")]
    assert only(effects, do.PersistAssignment) == []
    assert world.state("org/a") == [SlotState.DOWNLOADING]
    assert not world.node.loads.is_draining
    world.stage("org/a")
    assert only(world.loaded("org/a"), do.StartGeneration), "and whoever waits is served"


@pytest.mark.parametrize("end", ["cancel", "failure", "line"])
def test_a_wait_that_ends_otherwise_ends_it_for_the_move_too(end: str) -> None:
    world = cold()
    assign(world, "other", 5)
    match end:
        case "cancel":
            world.cancel("r1")
        case "failure":
            world.tell(happened.WeightsFailed("org/a", BAD))
        case _:
            world.drop()
    assert world.node.choice.assignment.pool == "other"
    assert world.laws.is_square


def test_the_operator_s_word_ends_a_move_that_still_waits() -> None:
    world = cold()
    assign(world, "other", 5)
    effects = world.choose(settings(pools={"assigned": "tiny", "min_dwell_s": 0.0}))
    assert [word for word, *_ in told(effects)] == ["failed"]
    assert world.node.loads.pool.assigned == "tiny"
    assert world.state("org/a") == [SlotState.DOWNLOADING]


def test_a_move_whose_model_cannot_load_leaves_the_old_assignment() -> None:
    world = at_tiny()
    assign(world, "other", 9, preload="org/c")
    world.stage("org/c")
    world.stopped("org/a")
    effects = world.tell(happened.EngineFailed("org/c", BAD))
    assert told(effects) == [("failed", 10, "the move was undone", "tiny")]
    assert do.FetchWeights("org/a") in effects


def test_a_repetition_changes_nothing() -> None:
    world = at_tiny()
    assign(world, "other", 5)
    world.stopped("org/a")
    before = world.node.choice.assignment
    effects = assign(world, "other", 5)
    assert told(effects) == [("applied", 5, None, "other")]
    assert only(effects, do.PersistAssignment) == []
    assert world.node.choice.assignment == before


@pytest.mark.parametrize(
    ("pool", "epoch", "more", "why"),
    [
        ("other", 3, {}, "stale epoch"),
        ("other", 4, {}, "epoch conflict"),
        ("other", 2**62 + 0, {"expires_at": "2020-01-01T00:00:00Z"}, "expired, or no date"),
        ("other", 5, {"expires_at": "tomorrow"}, "expired, or no date"),
        ("nowhere", 5, {}, "pool 'nowhere' not allowed by local policy"),
        ("other", 5, {"models": ["org/a"]}, "pool 'other' not allowed by local policy"),
        ("other", 5, {"preload": "org/a"}, "preload is not of this pool"),
        (None, 5, {"preload": "org/a"}, "preload is not of this pool"),
    ],
)
def test_what_is_refused_changes_nothing(
    pool: str | None, epoch: int, more: dict[str, object], why: str
) -> None:
    world = at_tiny()
    before = world.node.choice.assignment
    effects = assign(world, pool, epoch, **more)
    assert told(effects) == [("refused", 4, why, "tiny")]
    assert [type(effect) for effect in effects] == [do.Send]
    assert (world.node.choice.assignment, world.state("org/a")) == (before, [SlotState.READY])


@pytest.mark.parametrize(
    ("world", "why"),
    [
        (at_tiny(assigned="tiny"), "the pool is assigned by local configuration"),
        (at_tiny(enforce=False), "pools are not enforced here"),
        (at_tiny(pinned=True), "a resident model is pinned"),
        (at_tiny(allowed=["tiny"]), "pool 'other' not allowed by local policy"),
    ],
)
def test_local_policy_stands_before_any_message(world: World, why: str) -> None:
    ((word, _, error, assigned),) = told(assign(world, "other", 50))
    assert (word, error, assigned) == ("refused", why, "tiny")


def test_one_move_at_a_time_and_not_too_often() -> None:
    world = at_tiny(dwell_s=300.0)
    assign(world, "other", 5)
    assert told(assign(world, "tiny", 6))[0][2] == "a move is under way"
    world.stopped("org/a")
    ((word, _, error, _),) = told(assign(world, "tiny", 6))
    assert (word, error) == ("refused", "reassigned too recently, 300 s left")


def test_a_new_epoch_for_the_same_pool_is_taken_over_at_once() -> None:
    world = at_tiny(dwell_s=300.0)
    world.request("r1", "org/a")
    assert told(assign(world, "tiny", 40)) == [("applied", 40, None, "tiny")]
    assert world.state("org/a") == [SlotState.READY]


def test_a_command_that_expires_in_the_middle_is_undone() -> None:
    world = at_tiny()
    soon = datetime.fromtimestamp(UNIX_S, UTC) + timedelta(seconds=20)
    assign(world, "other", 5, preload="org/c", expires_at=soon.isoformat())
    assert told(world.after(19.0)) == []
    assert told(world.after(1.0)) == [("failed", 6, "the move was undone", "tiny")]


def test_a_line_that_is_gone_is_answered_no_more() -> None:
    world = at_tiny()
    assign(world, "other", 5)
    world.drop()
    world.redial()
    assert told(world.stopped("org/a")) == []
    assert world.node.loads.pool.assigned == "other"


def test_a_release_lets_the_machine_choose() -> None:
    world = at_tiny()
    assert told(assign(world, None, 5)) == [("applied", 5, None, "tiny")], "what is here"
    assert world.state("org/a") == [SlotState.READY]


# ── one model ─────────────────────────────────────────────────────────────────────────


def test_an_idle_model_is_unloaded() -> None:
    world = at_tiny()
    effects = hear(world, UnloadModel(model_id="org/a"))
    assert answer(effects) == UnloadModelStatus(model_id="org/a", status="unloading")
    assert done(effects) == [do.StopEngine("org/a")]
    assert answer(world.stopped("org/a")) == UnloadModelStatus(model_id="org/a", status="unloaded")
    again = hear(world, UnloadModel(model_id="org/a"))
    assert answer(again) == UnloadModelStatus(model_id="org/a", status="unloaded")


@pytest.mark.parametrize("pinned", [False, True])
def test_a_busy_or_pinned_model_is_not_unloaded(*, pinned: bool) -> None:
    world = at_tiny(pinned=pinned)
    if not pinned:
        world.request("r1", "org/a")
    refused = answer(hear(world, UnloadModel(model_id="org/a")))
    assert isinstance(refused, UnloadModelStatus)
    assert refused.status == "refused"
    assert world.state("org/a") == [SlotState.READY]


def test_a_load_is_given_up_and_its_bytes_and_the_resident_stay() -> None:
    world = at_tiny()
    world.load_model("org/b")
    effects = hear(world, CancelLoad(model_id="org/b"))
    assert answer(effects) == CancelLoadStatus(model_id="org/b", status="cancelled")
    assert done(effects) == [do.CancelFetch("org/b")]
    failed = status("org/b", "failed", "model load failed: request_cancelled")
    assert failed in said(effects), "whoever asked for the load is told, too"
    assert world.state("org/a") == [SlotState.READY]
    again = answer(hear(world, CancelLoad(model_id="org/b")))
    assert again == CancelLoadStatus(model_id="org/b", status="not_loading")


@pytest.mark.parametrize("phase", [s for s in SlotState if s in COMING])
def test_a_cancelled_load_is_acknowledged_before_anything_ends(phase: SlotState) -> None:
    world = at_tiny()
    world.load_model("org/b")
    if phase is not SlotState.DOWNLOADING:
        world.tell(happened.WeightsFetched("org/b"))
    if phase in {SlotState.STAGED, SlotState.LOADING}:
        world.tell(happened.WeightsVerified("org/b", build("org/b")))
    if phase is SlotState.LOADING:
        world.read_host()
        world.stopped("org/a")
    assert world.state("org/b") == [phase]
    effects = hear(world, CancelLoad(model_id="org/b"))
    first, *rest = effects
    assert first == do.Send(world.line, CancelLoadStatus(model_id="org/b", status="cancelled"))
    ends = {type(effect) for effect in done(rest)}
    back = {do.FetchWeights} if phase is SlotState.LOADING else set[type[do.Effect]]()
    assert ends <= {do.CancelFetch, do.StopEngine} | back
    assert do.StopEngine("org/a") not in effects
    assert any(isinstance(m, LoadModelStatus) and m.status == "failed" for m in said(rest))


def test_a_load_that_somebody_waits_for_goes_on() -> None:
    world = at_tiny()
    world.request("r1", "org/b")
    refused = answer(hear(world, CancelLoad(model_id="org/b")))
    assert isinstance(refused, CancelLoadStatus)
    assert refused.status == "refused"
    assert world.state("org/b") == [SlotState.DOWNLOADING]


# ── drain ─────────────────────────────────────────────────────────────────────────────


def test_a_drain_finishes_what_runs_and_ends_with_undrain() -> None:
    world = at_tiny()
    world.request("r1", "org/a")
    effects = hear(world, Drain())
    assert answer(effects) == DrainStatus(status="draining", in_flight=1)
    assert beats(effects), "told at once"
    (refused,) = said(world.load_model("org/b"))
    assert refused == status("org/b", "failed", "provider draining for update")
    assert DrainStatus(status="drained", in_flight=0) in said(world.answered("r1"))
    assert answer(hear(world, Undrain())) == DrainStatus(status="undrained", in_flight=0)
    assert said(world.load_model("org/a")) == [status("org/a", "succeeded")]


def test_a_drain_may_have_a_deadline() -> None:
    world = at_tiny()
    world.request("r1", "org/a")
    hear(world, Drain(deadline_s=10.0))
    assert done(world.after(9.0)) == []
    assert done(world.after(1.0)) == [do.CancelGeneration(world.key("r1"))]


def test_a_drain_ends_with_its_line_and_a_leaving_node_stays_closed() -> None:
    world = at_tiny()
    hear(world, Drain())
    world.drop()
    world.redial()
    assert not world.node.loads.is_draining
    world.request("r1", "org/a")
    world.tell(happened.StopAsked())
    assert answer(hear(world, Undrain())) == DrainStatus(status="refused", in_flight=1)
    assert answer(hear(world, Drain())) == DrainStatus(status="refused", in_flight=1)
    assert world.node.loads.is_draining


# ── laws ──────────────────────────────────────────────────────────────────────────────

MODELS = st.sampled_from(["org/a", "org/b", "org/c", "org/x"])
COMMANDS = st.one_of(
    st.builds(
        AssignPool,
        pool=st.none() | st.sampled_from(["tiny", "other", "org/c", "x"]),
        epoch=st.integers(0, 12),
        preload=st.none() | MODELS,
        models=st.lists(MODELS, max_size=2).map(tuple),
    ),
    st.builds(UnloadModel, model_id=MODELS),
    st.builds(CancelLoad, model_id=MODELS),
    st.builds(Drain, deadline_s=st.none() | st.floats(0, 5)),
    st.just(Undrain()),
)


@knobs(max_examples=150, deadline=None)
@given(story=st.lists(st.tuples(COMMANDS, st.integers(0, 4)), max_size=70))
def test_no_commands_widen_policy_or_lose_a_request(
    story: list[tuple[Inbound, int]],
) -> None:
    world = at_tiny(allowed=["tiny"])
    epochs = [world.node.choice.assignment.epoch]
    for number, (command, then) in enumerate(story):
        hear(world, command)
        if then == 1:
            world.request(f"r{number}", "org/a")
        elif then == 2:
            for key in list(world.laws.running):
                world.answered(key.id)
        elif then == 3:
            for stay in world.node.loads.stays.all():
                if stay.state is SlotState.UNLOADING:
                    world.stopped(stay.model)
                elif stay.state is SlotState.DOWNLOADING:
                    world.stage(stay.model)
        else:
            world.after(1.0)
        assert {*world.node.loads.pool.models} <= {"org/a", "org/b"}
        epochs.append(world.node.choice.assignment.epoch)
    assert epochs == sorted(epochs), "an epoch never goes back"
    assert {effect.model for effect in only(world.effects, do.LoadEngine)} <= {"org/a", "org/b"}


def test_a_pinned_model_on_its_way_keeps_the_machine_in_its_pool() -> None:
    world = at_tiny()
    world.stopped("org/a")
    world.tell(ordered.PinAsked(1, "org/b"))
    world.load_model("org/b")
    (told, *_) = said(hear(world, AssignPool(pool="other", epoch=50)))
    assert isinstance(told, AssignPoolStatus)
    assert (told.status, told.error) == ("refused", "a resident model is pinned")


def test_a_move_that_waits_is_given_up_when_a_model_that_would_go_is_pinned_meanwhile() -> None:
    world = World(settings(pools={"min_dwell_s": 0.0}, slots={"max_model_slots": 2}))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    world.resident("org/a")
    world.request("r", "org/b")
    hear(world, AssignPool(pool="other", epoch=9, preload="org/c"))
    assert world.node.moves.move is not None
    told = said(world.tell(ordered.PinAsked(1, "org/a")))
    failed = [m for m in told if isinstance(m, AssignPoolStatus)]
    assert [(m.status, m.error) for m in failed] == [("failed", "the move was undone")]
    world.stage("org/b")
    world.loaded("org/b")
    assert world.state("org/a") == [SlotState.READY]
    assert world.node.choice.assignment.pool == "tiny"


def test_a_release_with_a_load_on_its_way_stays_with_that_load() -> None:
    world = World(settings(pools={"assigned": None, "advertise": "all", "min_dwell_s": 0.0}))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    world.load_model("org/b")
    hear(world, AssignPool(pool=None, epoch=9))
    assert world.node.choice.assignment.pool == "tiny"
    told = said(world.load_model("org/c"))
    assert [m.status for m in told if isinstance(m, LoadModelStatus)] == ["failed"]
