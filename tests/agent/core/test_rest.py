"""When a node rests: told to a whole node, with two clocks that the test moves."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.schedule import Phase
from poolhand.agent.core.slots import COMING, SlotState
from poolhand.agent.core.status import status as status_of
from poolhand.agent.wire.inbound import DesiredModel, DesiredModels, InferenceRequest
from poolhand.agent.wire.outbound import InferenceComplete, InferenceError, LoadModelStatus
from poolhand.agent.wire.types import BackendCapacity
from poolhand.backends.engines.base import Loaded
from poolhand.backends.hosts.base import Activity
from tests.journeys.world import SEALED, World, beats, done, only, said, settings, status

NIGHT = {
    "windows": ["22:00-06:00"],
    "timezone": "UTC",
    "drain_before_s": 120.0,
    "wake_before_s": 60.0,
}
RESTING = "provider draining: resting"
TOUCHED, LEFT = Activity(input_idle_s=2.0), Activity(input_idle_s=900.0)
OWNER = {"yield_to": ["input"], "yield_after_s": 10.0, "resume_after_s": 60.0}


def world_at(text: str, **tables: object) -> World:
    """A connected node at a time of day."""
    world = World(settings(**tables))
    set_clock(world, text)
    world.start()
    world.stock("org/a")
    return world


def set_clock(world: World, text: str) -> None:
    """Put the wall clock to a time, UTC; the node's own clock goes on."""
    unix_s = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    world.wall_s = unix_s - world.now_s


def until(world: World, text: str) -> list[do.Effect]:
    """Let both clocks run to a time; the hours before its last minutes are left out."""
    assert world.wall_s is not None
    unix_s = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    if unix_s - world.wall_s - world.now_s > 600.0:
        world.wall_s = unix_s - 100.0 - world.now_s
    return world.after(unix_s - world.wall_s - world.now_s)


def refusal(effects: list[do.Effect]) -> tuple[int, str]:
    (message,) = [m for m in said(effects) if isinstance(m, InferenceError)]
    return message.status_code, message.error


def capacity(effects: list[do.Effect]) -> BackendCapacity:
    """What the last heartbeat says of the slots."""
    found = beats(effects)[-1].backend_capacity
    assert found is not None
    return found


def why_not(world: World) -> list[Mapping[str, object]]:
    found = status_of(world.node, world.now_s)["why_not"]
    assert isinstance(found, list)
    return [one for one in found if isinstance(one, dict)]


# ── hours ─────────────────────────────────────────────────────────────────────────────


def test_a_window_ends_while_a_request_runs_and_the_model_is_back_for_the_next_one() -> None:
    world = world_at("2026-11-21T05:50:00", hours=NIGHT)
    world.resident("org/a")
    world.request("r1", "org/a")
    effects = until(world, "2026-11-21T05:58:00")
    assert world.state("org/a") == [SlotState.DRAINING], "what runs is finished"
    assert capacity(effects).slots[0].state == "reloading", "told at once"
    assert capacity(effects).free_for_load_gb == 0
    assert refusal(world.request("r2", "org/a")[:1]) == (503, RESTING)
    assert said(world.load_model("org/a")) == [status("org/a", "failed", RESTING)]
    effects = world.answered("r1")
    assert any(isinstance(m, InferenceComplete) for m in said(effects))
    assert done(effects) == [do.StopEngine("org/a")], "nobody is cut before its answer is whole"
    world.stopped("org/a")
    assert only(until(world, "2026-11-21T21:58:59"), do.FetchWeights) == []
    assert world.state("org/a") == []
    effects = until(world, "2026-11-21T21:59:00")
    assert only(effects, do.FetchWeights) == [do.FetchWeights("org/a")], "a minute before"
    world.stage("org/a")
    world.loaded("org/a")
    assert refusal(world.request("r3", "org/a")) == (503, RESTING), "not a second early"
    effects = until(world, "2026-11-21T22:00:00")
    assert capacity(effects).slots[0].state == "idle", "told at once"
    assert only(world.request("r4", "org/a"), do.StartGeneration)


def test_an_answer_that_outlives_window_and_patience_is_ended() -> None:
    world = world_at("2026-11-21T05:50:00", hours=NIGHT, requests={"drain_s": 30.0})
    world.resident("org/a")
    world.request("r1", "org/a")
    assert only(until(world, "2026-11-21T06:00:29"), do.CancelGeneration) == []
    effects = until(world, "2026-11-21T06:00:31")
    assert only(effects, do.CancelGeneration) == [do.CancelGeneration(world.key("r1"))]


def test_an_idle_model_leaves_when_the_drain_begins_and_a_load_on_its_way_is_given_up() -> None:
    world = world_at("2026-11-21T05:57:00", hours=NIGHT, slots={"max_model_slots": 2})
    world.resident("org/a")
    world.load_model("org/b")
    effects = until(world, "2026-11-21T05:58:00")
    assert do.StopEngine("org/a") in effects
    assert do.CancelFetch("org/b") in effects
    told = [m for m in said(effects) if isinstance(m, LoadModelStatus)]
    assert told == [status("org/b", "failed", RESTING)]
    world.stopped("org/a")
    effects = until(world, "2026-11-21T21:59:00")
    assert only(effects, do.FetchWeights) == [do.FetchWeights("org/a"), do.FetchWeights("org/b")]


def test_a_request_that_waits_for_its_model_is_sent_elsewhere() -> None:
    world = world_at("2026-11-21T05:57:30", hours=NIGHT)
    world.request("r1", "org/a")
    effects = until(world, "2026-11-21T05:58:00")
    assert refusal(effects) == (503, RESTING)
    assert world.state("org/a") == []


def test_a_request_that_nobody_has_read_yet_is_sent_elsewhere_too() -> None:
    world = world_at("2026-11-21T05:57:30", hours=NIGHT)
    world.resident("org/a")
    world.hear(InferenceRequest(request_id="r1", encrypted_body=SEALED))
    assert refusal(until(world, "2026-11-21T05:58:00")) == (503, RESTING)
    late = world.tell(happened.RequestOpened(world.key("r1"), "org/a", 64))
    assert done(late) == [do.ForgetRequest(world.key("r1"))]


def test_a_node_that_its_operator_drained_wakes_when_he_undrains_it() -> None:
    world = world_at("2026-11-21T05:50:00", hours=NIGHT)
    world.resident("org/a")
    until(world, "2026-11-21T12:00:00")
    world.stopped("org/a")
    world.tell(ordered.DrainAsked(1))
    assert only(until(world, "2026-11-21T22:01:00"), do.FetchWeights) == []
    effects = world.tell(ordered.UndrainAsked(2))
    assert only(effects, do.FetchWeights) == [do.FetchWeights("org/a")]


def test_a_node_that_starts_outside_its_hours_keeps_its_line_and_says_why() -> None:
    world = world_at("2026-11-21T12:00:00", hours=NIGHT)
    assert world.node.session.is_online
    assert said(world.load_model("org/a")) == [status("org/a", "failed", RESTING)]
    assert why_not(world) == [
        {
            "code": "outside_hours",
            "words": "its serving hours begin at 2026-11-21T22:00:00+00:00",
            "remedy": "Wait, or change [hours]; SIGHUP has the file read again.",
        }
    ]
    rest = status_of(world.node, world.now_s)["rest"]
    assert isinstance(rest, dict)
    assert (rest["phase"], rest["turns_at"]) == ("closed", "2026-11-21T22:00:00+00:00")


def test_bytes_that_are_wanted_wait_for_the_end_of_the_rest() -> None:
    world = world_at("2026-11-21T05:57:00", hours=NIGHT)
    wish = DesiredModels(models=(DesiredModel(model_name="tiny", desired_build="org/b"),))
    assert only(world.hear(wish), do.FetchWeights) == [do.FetchWeights("org/b")]
    assert do.CancelFetch("org/b") in until(world, "2026-11-21T05:58:00"), "what is here stays"
    assert only(until(world, "2026-11-21T21:59:59"), do.FetchWeights) == []
    assert world.node.rest.asleep == (), "no model of this was in memory"
    assert do.RefreshInventory() in until(world, "2026-11-21T22:00:00")
    assert only(world.stock("org/a"), do.FetchWeights) == [do.FetchWeights("org/b")]


def test_a_pool_that_its_operator_sets_during_a_rest_does_not_wake_it() -> None:
    offered = {"pools": {}, "hours": NIGHT}
    world = world_at("2026-11-21T12:00:00", **offered)
    world.stock("org/a", "org/c")
    other = "other" if world.node.loads.pool.serves("org/a") else "tiny"
    effects = world.tell(ordered.PoolSetAsked(1, other))
    assert only(effects, do.LoadEngine) == []
    assert not [stay for stay in world.node.loads.stays.all() if stay.state in COMING]
    told = only(effects + world.after(5.0), do.TellOwner)
    assert told[-1].status in {"done", "failed"}, "an answer in any case"


def test_the_deadline_is_the_next_turn_however_far() -> None:
    world = world_at("2026-11-21T12:00:00", hours=NIGHT)
    world.drop()
    turn_s = world.node.rest.deadline_s
    assert turn_s is not None
    assert turn_s - world.now_s == pytest.approx(9 * 3600 + 59 * 60), "a minute before 22:00"


def test_a_clock_that_jumps_is_only_another_time_of_day() -> None:
    world = world_at("2026-11-21T23:00:00", hours=NIGHT)
    world.resident("org/a")
    set_clock(world, "2031-07-01T12:00:00")
    assert only(world.after(2.0), do.StopEngine) == [do.StopEngine("org/a")]
    world.stopped("org/a")
    set_clock(world, "1970-01-01T00:00:00")
    assert only(world.after(2.0), do.FetchWeights) == [do.FetchWeights("org/a")], "midnight then"
    world.stage("org/a")
    world.loaded("org/a")
    set_clock(world, "2026-11-21T23:00:00")
    assert done(world.after(10.0)) == []
    assert world.node.rest.moment.phase is Phase.OPEN


def test_hours_are_taken_over_while_the_agent_runs() -> None:
    world = world_at("2026-11-21T12:00:00")
    world.resident("org/a")
    assert do.StopEngine("org/a") in world.choose(settings(hours=NIGHT))
    world.stopped("org/a")
    effects = world.choose(settings(hours=NIGHT | {"windows": ["11:00-13:00"]}))
    assert only(effects, do.FetchWeights) == [do.FetchWeights("org/a")]
    assert why_not(world)[0]["code"] == "model_coming"


def test_what_the_machine_may_no_longer_serve_does_not_come_back() -> None:
    world = world_at("2026-11-21T23:00:00", hours=NIGHT)
    world.resident("org/a")
    set_clock(world, "2026-11-22T12:00:00")
    world.after(2.0)
    world.stopped("org/a")
    assert world.node.rest.asleep == ("org/a",)
    world.choose(settings(hours=NIGHT, pools={"assigned": "other"}))
    set_clock(world, "2026-11-22T23:00:00")
    assert only(world.after(2.0), do.FetchWeights) == []
    assert world.node.rest.asleep == ()


def test_a_rest_ends_with_the_node() -> None:
    world = world_at("2026-11-21T12:00:00", hours=NIGHT)
    effects = world.tell(happened.StopAsked())
    assert only(effects, do.HangUp), "nothing is left to wait for"


# ── the machine's owner ───────────────────────────────────────────────────────────────


def reading(world: World, activity: Activity) -> list[do.Effect]:
    """Five seconds pass, and the machine is read."""
    effects = world.after(5.0)
    assert only(effects, do.ReadActivity) == [do.ReadActivity(("input",))], "once in five seconds"
    return effects + world.tell(happened.ActivityRead(activity))


def test_the_owner_comes_and_goes() -> None:
    world = world_at("2026-11-21T12:00:00", owner=OWNER)
    world.resident("org/a")
    world.request("r1", "org/a")
    for _ in range(2):
        reading(world, TOUCHED)
        assert world.state("org/a") == [SlotState.READY], "who passes by costs nothing"
    reading(world, TOUCHED)
    assert world.state("org/a") == [SlotState.DRAINING]
    assert refusal(world.request("r2", "org/a")[:1]) == (503, RESTING)
    assert why_not(world)[0] == {
        "code": "owner_active",
        "words": "its owner needs the machine: keyboard or mouse used 2 s ago",
        "remedy": "Wait, or change [owner]; SIGHUP has the file read again.",
    }
    assert do.StopEngine("org/a") in world.answered("r1")
    world.stopped("org/a")
    effects: list[do.Effect] = []
    for _ in range(12):
        effects += reading(world, LEFT)
    assert only(effects, do.FetchWeights) == [], "a pause for thought"
    assert only(reading(world, LEFT), do.FetchWeights) == [do.FetchWeights("org/a")]
    assert status_of(world.node, world.now_s)["drains"] == []


def test_nobody_is_asked_about_an_owner_who_is_not_heeded() -> None:
    world = world_at("2026-11-21T12:00:00")
    world.resident("org/a")
    assert only(world.after(30.0), do.ReadActivity) == []
    world.tell(happened.ActivityRead(TOUCHED))
    assert world.node.rest.verdict.is_owners is False


def test_an_owner_who_is_no_longer_heeded_gives_the_machine_back() -> None:
    world = world_at("2026-11-21T12:00:00", owner=OWNER | {"yield_after_s": 0.0})
    world.resident("org/a")
    reading(world, TOUCHED)
    world.stopped("org/a")
    assert only(world.choose(settings()), do.FetchWeights) == [do.FetchWeights("org/a")]


def test_the_owner_within_the_hours_and_the_hours_within_his_absence() -> None:
    both = {"hours": NIGHT, "owner": OWNER | {"yield_after_s": 0.0, "resume_after_s": 0.0}}
    world = world_at("2026-11-21T05:57:00", **both)
    world.resident("org/a")
    reading(world, TOUCHED)
    world.stopped("org/a")
    until(world, "2026-11-21T05:59:00")
    assert only(world.tell(happened.ActivityRead(LEFT)), do.FetchWeights) == [], "the hours rest"
    world.tell(happened.ActivityRead(TOUCHED))
    assert only(until(world, "2026-11-21T22:10:00"), do.FetchWeights) == [], "the owner is there"
    effects = world.tell(happened.ActivityRead(LEFT))
    assert only(effects, do.FetchWeights) == [do.FetchWeights("org/a")]


# ── idle ──────────────────────────────────────────────────────────────────────────────

IDLE = {"slots": {"max_model_slots": 2, "idle_unload_s": 60.0}}


def test_each_slots_model_leaves_to_the_second_when_it_has_been_idle_for_long_enough() -> None:
    world = world_at("2026-11-21T12:00:00", **IDLE)
    world.resident("org/a")
    world.after(20.0)
    world.resident("org/b")
    ends_s = world.node.loads.stays.all()[0].last_used_s + 60.0
    assert world.node.rest.deadline_s == ends_s
    world.after(ends_s - world.now_s - 0.001)
    assert world.state("org/a") == [SlotState.READY]
    assert only(world.after(0.001), do.StopEngine) == [do.StopEngine("org/a")]
    assert world.state("org/b") == [SlotState.READY], "each by its own clock"
    assert only(world.after(19.9), do.StopEngine) == []
    assert only(world.after(0.2), do.StopEngine) == [do.StopEngine("org/b")]
    assert world.node.rest.asleep == (), "it comes back when it is asked for, not before"


def test_who_sleeps_by_itself_keeps_its_slot_until_somebody_wants_that() -> None:
    world = world_at("2026-11-21T12:00:00", slots={"max_model_slots": 1, "idle_unload_s": 60.0})
    world.load_model("org/a")
    world.stage("org/a")
    world.tell(happened.EngineLoaded("org/a", Loaded(1.0, 1, 4096, sleeps=True)))
    assert only(world.after(600.0), do.StopEngine) == []
    assert world.state("org/a") == [SlotState.READY]
    world.load_model("org/b")
    world.stage("org/b")
    assert do.StopEngine("org/a") in world.effects, "it makes way as any idle one does"


def test_a_request_sets_the_clock_back_and_a_running_one_stops_it() -> None:
    world = world_at("2026-11-21T12:00:00", **IDLE)
    world.resident("org/a")
    world.after(50.0)
    world.request("r1", "org/a")
    assert only(world.after(300.0), do.StopEngine) == []
    world.answered("r1")
    assert only(world.after(59.9), do.StopEngine) == []
    assert only(world.after(0.2), do.StopEngine) == [do.StopEngine("org/a")]


def test_nobody_leaves_while_a_request_may_turn_out_to_be_its_own() -> None:
    world = world_at("2026-11-21T12:00:00", **IDLE)
    world.resident("org/a")
    world.after(59.0)
    world.hear(InferenceRequest(request_id="r1", encrypted_body=SEALED))
    assert only(world.after(5.0), do.StopEngine) == []
    opened = happened.RequestOpened(world.key("r1"), "org/a", 64)
    assert only(world.tell(opened), do.StartGeneration)


def test_a_pinned_model_never_leaves_for_being_idle() -> None:
    pinned = [{"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a", "pinned": True}]
    world = world_at("2026-11-21T12:00:00", models=pinned, **IDLE)
    world.resident("org/a")
    assert only(world.after(7200.0), do.StopEngine) == []


# ── a law ─────────────────────────────────────────────────────────────────────────────

STEPS = st.lists(
    st.sampled_from(["tick", "touch", "leave", "load", "ask", "answer", "jump", "back"]),
    max_size=30,
)


def took(world: World, step: str, asked: list[str]) -> list[do.Effect]:
    """One thing happens to the node."""
    match step:
        case "touch" | "leave":
            return world.tell(happened.ActivityRead(TOUCHED if step == "touch" else LEFT))
        case "load":
            return world.load_model("org/a")
        case "ask":
            asked.append(f"r{len(asked)}")
            return world.request(asked[-1], "org/a")
        case "answer":
            running = [e for e in world.node.answers.ledger.entries() if e.state == "running"]
            return world.answered(running[0].key.id) if running else []
        case "jump" | "back":
            set_clock(world, f"2026-11-21T{21 if step == 'jump' else 23}:59:30")
            return world.after(1.0)
        case _:
            return world.after(1.0)


def carry_on(world: World) -> None:
    """What was begun goes its way."""
    for stay in world.node.loads.stays.all():
        if stay.state is SlotState.UNLOADING:
            world.stopped(stay.model)
        elif stay.state is SlotState.DOWNLOADING:
            world.stage(stay.model)
        elif stay.state is SlotState.LOADING:
            world.loaded(stay.model)


@given(steps=STEPS, hour=st.integers(0, 23))
@trying(max_examples=60)
def test_law_nobody_comes_to_memory_or_is_answered_while_it_rests(
    steps: list[str], hour: int
) -> None:
    owner = OWNER | {"yield_after_s": 0.0, "resume_after_s": 0.0}
    world = world_at(f"2026-11-21T{hour:02}:57:59", hours=NIGHT, owner=owner)
    asked: list[str] = []
    for step in steps:
        effects = took(world, step, asked)
        rest, here = world.node.rest, world.node.loads.stays.all()
        if rest.moment.phase in {Phase.CLOSED, Phase.CLOSING} or rest.verdict.is_owners:
            assert not only(effects, do.LoadEngine)
            assert all(s.state in {SlotState.DRAINING, SlotState.UNLOADING} for s in here)
        if rest.moment.phase is not Phase.OPEN or rest.verdict.is_owners:
            assert not only(effects, do.StartGeneration)
        assert world.node.deadline_s > world.now_s, "the loop never spins"
        carry_on(world)
