"""What keeps a machine from spending its time on loading."""

from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.guard import BUCKET_HOURS, FIRST_PAUSE_S, LONGEST_PAUSE_S, Guard
from poolhand.agent.core.placement import reload_cost
from poolhand.agent.core.slots import SlotState, Stay
from poolhand.agent.wire.outbound import InferenceError, LoadModelStatus
from poolhand.backends.engines.base import Loaded
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.config.settings import Slots
from tests.journeys.world import World, only, said, settings, status

SLOTS = Slots(max_loads_per_h=6)
BURST = 6 * BUCKET_HOURS
BUSY = "all 1 model slot(s) are active; cannot load {!r}"


def lets(guard: Guard, model: str, now_s: float, *, slots: Slots = SLOTS) -> bool:
    return guard.objection(model, slots, now_s) is None


def test_a_bucket_empties_and_fills_slowly() -> None:
    guard = Guard()
    for _ in range(BURST):
        assert lets(guard, "a", 0.0)
        guard.began(SLOTS, 0.0)
    assert not lets(guard, "a", 599.0)
    assert lets(guard, "a", 600.0), "a sixth of an hour is one load"
    guard.began(SLOTS, 600.0)
    assert not lets(guard, "a", 600.0)
    two = Slots(max_loads_per_h=6, max_model_slots=2)
    assert lets(guard, "a", 600.0, slots=two), "each slot has one"


def test_a_clock_that_goes_back_fills_nothing() -> None:
    guard = Guard()
    for at_s in (100.0, 50.0):
        for _ in range(BURST):
            guard.began(SLOTS, at_s)
    assert not lets(guard, "a", 60.0)


def test_a_model_that_fails_again_and_again_pauses_longer_and_longer() -> None:
    guard = Guard()
    guard.ended("a", took_s=None, now_s=0.0)
    assert lets(guard, "a", 0.0), "once is an accident"
    pause_s, now_s = FIRST_PAUSE_S, 0.0
    for _ in range(9):
        guard.ended("a", took_s=None, now_s=now_s)
        assert not lets(guard, "a", now_s + pause_s - 1.0)
        assert lets(guard, "b", now_s), "others are not to blame"
        now_s += pause_s
        assert lets(guard, "a", now_s)
        pause_s = min(LONGEST_PAUSE_S, 2.0 * pause_s)
    guard.ended("a", took_s=3.0, now_s=now_s)
    guard.ended("a", took_s=None, now_s=now_s)
    assert lets(guard, "a", now_s), "a load that succeeds is forgiveness"


@given(gaps=st.lists(st.floats(0, 4000), min_size=1, max_size=200))
def test_over_time_no_more_loads_than_allowed(gaps: list[float]) -> None:
    guard, now_s, begun = Guard(), 0.0, 0
    for gap_s in gaps:
        now_s += gap_s
        if lets(guard, "a", now_s):
            guard.began(SLOTS, now_s)
            begun += 1
    assert begun <= BURST + now_s / 600.0 + 1e-6


def test_what_is_dear_to_reload_stays_longest() -> None:
    def idle(model: str, size_bytes: int, load_s: float, used_s: float) -> Stay:
        return Stay(
            model, SlotState.READY, holds_bytes=size_bytes, load_s=load_s, last_used_s=used_s
        )

    dear, cheap = idle("dear", 40, 60.0, 0.0), idle("cheap", 2, 1.0, 90.0)
    assert reload_cost(cheap, 100.0) < reload_cost(dear, 100.0), "by cost, not by age"
    assert reload_cost(dear, 1e6) < reload_cost(dear, 100.0)


# ── told to a node ────────────────────────────────────────────────────────────────────


def started(**tables: object) -> World:
    world = World(settings(**tables))
    world.start()
    return world


def answer_all(world: World) -> None:
    """The rooms do at once whatever they are asked for."""
    for stay in world.node.loads.stays.all():
        match stay.state:
            case SlotState.DOWNLOADING:
                world.stage(stay.model)
            case SlotState.UNLOADING:
                world.stopped(stay.model)
            case SlotState.LOADING:
                world.loaded(stay.model)
            case _:
                pass


def test_a_storm_of_loads_is_answered_and_the_served_model_never_flinches() -> None:
    world = started()
    world.resident("org/a")
    world.request("r1", "org/a")
    effects = [effect for _ in range(1000) for effect in world.load_model("org/b")]
    assert said(effects) == [status("org/b", "failed", BUSY.format("org/b"))] * 1000
    assert len(effects) == 1000, "a refusal costs one sentence and nothing else"
    assert only(effects, do.FetchWeights) == []
    assert world.state("org/a") == [SlotState.READY]
    assert len(said(world.answered("r1"))) == 1


def test_a_storm_on_an_idle_machine_is_refused_as_busy_but_for_a_few() -> None:
    world = started()
    refused = 0
    for number in range(1000):
        model = ("org/a", "org/b")[number % 2]
        words = [m for m in said(world.load_model(model)) if isinstance(m, LoadModelStatus)]
        refused += words[0].error == BUSY.format(model)
        for _ in range(3):
            answer_all(world)
        world.after(0.05)
    loads = only(world.effects, do.LoadEngine)
    assert len(loads) <= BURST + 1
    succeeded_at_once = 1000 - refused - len(loads)
    assert refused >= 950 - succeeded_at_once
    assert refused + succeeded_at_once >= 950


def test_a_model_stays_for_its_least_residency() -> None:
    world = started(slots={"min_residency_s": 60.0})
    world.resident("org/a")
    world.after(59.0)
    assert said(world.load_model("org/b")) == [status("org/b", "failed", BUSY.format("org/b"))]
    world.after(1.0)
    assert said(world.load_model("org/b")) == [status("org/b", "started")]


def test_a_failing_model_cools_down() -> None:
    world = started()
    for _ in range(2):
        world.load_model("org/a")
        error = StoreUnreachable(store="s3", reason="silence")
        world.tell(happened.WeightsFailed("org/a", error))
    assert said(world.load_model("org/a")) == [status("org/a", "failed", BUSY.format("org/a"))]
    assert said(world.load_model("org/b")) == [status("org/b", "started")]


def test_a_cold_request_that_would_wait_too_long_goes_elsewhere_at_once() -> None:
    world = started(requests={"cold_wait_s": 30.0})
    world.load_model("org/a")
    world.stage("org/a")
    world.tell(happened.EngineLoaded("org/a", Loaded(31.0, 1, 8192)))
    world.load_model("org/b")
    world.stage("org/b")
    world.stopped("org/a")
    world.loaded("org/b")
    (refused,) = said(world.request("r1", "org/a"))
    assert isinstance(refused, InferenceError)
    assert (refused.status_code, "not loaded" in refused.error) == (503, True)
    assert world.state("org/b") == [SlotState.READY]
    assert said(world.load_model("org/a")) == [status("org/a", "started")], "a load may take long"
