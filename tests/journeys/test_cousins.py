"""The journeys' cousins: loads and requests beside the way."""

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.slots import SlotState
from poolhand.agent.wire.extensions import CancelLoad, CancelLoadStatus
from poolhand.agent.wire.inbound import (
    InferenceRequest,
)
from poolhand.agent.wire.outbound import (
    InferenceAccepted,
    InferenceComplete,
    InferenceError,
    LoadModelStatus,
    Register,
)
from poolhand.backends.engines.base import Usage
from poolhand.backends.engines.errors import EngineDied, EngineStartFailed
from poolhand.backends.stores.errors import StoreUnreachable
from tests.journeys.world import (
    GIB,
    SEALED,
    World,
    beats,
    build,
    done,
    only,
    said,
    settings,
    status,
)

DEAD = EngineDied(engine="mlx", exit_code=9)
BAD = EngineStartFailed(engine="mlx", kind="bad_model", reason="odd tensors")


@pytest.fixture
def world() -> World:
    """A node that is known, connected and empty."""
    world = World()
    world.start()
    return world


def refusal(message: object) -> tuple[int, str]:
    assert isinstance(message, InferenceError)
    return message.status_code, message.error


def told(effects: list[do.Effect]) -> list[LoadModelStatus]:
    return [message for message in said(effects) if isinstance(message, LoadModelStatus)]


# ── loads ─────────────────────────────────────────────────────────────────────────────


def loading(world: World) -> None:
    """``org/a`` has gone for ``org/b``, whose engine is being loaded."""
    world.resident("org/a")
    world.load_model("org/b")
    world.stage("org/b")
    world.stopped("org/a")
    assert world.state("org/b") == [SlotState.LOADING]


def come_back(world: World, effects: list[do.Effect]) -> None:
    assert do.FetchWeights("org/a") in effects
    world.stopped("org/b")
    world.stage("org/a")
    world.loaded("org/a")
    assert (world.state("org/a"), world.state("org/b")) == ([SlotState.READY], [])


def test_who_went_for_a_load_that_is_cancelled_comes_back(world: World) -> None:
    loading(world)
    effects = world.hear(CancelLoad(model_id="org/b"))
    assert said(effects)[0] == CancelLoadStatus(model_id="org/b", status="cancelled")
    come_back(world, effects)


def test_who_went_for_a_model_that_does_not_start_comes_back(world: World) -> None:
    loading(world)
    come_back(world, world.tell(happened.EngineFailed("org/b", BAD)))


def test_nobody_comes_back_to_a_node_that_drains_or_into_a_slot_that_is_promised() -> None:
    world = World(settings())
    world.start()
    loading(world)
    world.tell(ordered.DrainAsked(1, None))
    assert not only(world.tell(happened.EngineFailed("org/b", BAD)), do.FetchWeights)
    both = World(settings(slots={"max_model_slots": 2}))
    both.start()
    both.available_bytes = 6 * GIB
    both.resident("org/a")
    both.load_model("org/b")
    both.stage("org/b")
    both.stopped("org/a")
    both.load_model("org/a")
    fetched = only(both.tell(happened.EngineFailed("org/b", BAD)), do.FetchWeights)
    assert fetched == [], "it was asked for again already"


def test_a_load_that_ended_while_the_line_was_down_is_told_once(world: World) -> None:
    world.load_model("org/a")
    world.load_model("org/a")
    world.drop()
    world.stage("org/a")
    assert said(world.loaded("org/a")) == []
    effects = world.redial()
    assert isinstance(said(effects)[0], Register), "who we are comes first"
    assert told(effects) == [status("org/a", "succeeded")]
    world.drop()
    assert told(world.redial()) == []


def test_a_model_that_was_loaded_and_is_gone_again_has_not_succeeded(world: World) -> None:
    world.load_model("org/a")
    world.drop()
    world.stage("org/a")
    world.loaded("org/a")
    world.tell(happened.EngineFailed("org/a", DEAD))
    (late,) = told(world.redial())
    assert (late.status, late.error) == ("failed", "model load failed: model_not_ready")


def test_a_load_asked_for_twice_is_one_load_and_two_answers(world: World) -> None:
    world.load_model("org/a")
    again = world.load_model("org/a")
    assert said(again) == [status("org/a", "started")]
    assert done(again) == []
    world.stage("org/a")
    assert said(world.loaded("org/a")) == [status("org/a", "succeeded")] * 2
    assert said(world.load_model("org/a")) == [status("org/a", "succeeded")], "it is here"


def test_a_model_that_is_too_large_evicts_nobody(world: World) -> None:
    world.resident("org/a")
    world.load_model("org/b")
    (refused,) = said(world.stage("org/b", weights_bytes=80 * GIB))
    assert isinstance(refused, LoadModelStatus)
    assert refused.error is not None
    assert refused.error.startswith("insufficient memory to load model 'org/b'")
    assert world.state("org/a") == [SlotState.READY]
    assert only(world.effects, do.StopEngine) == []


def test_memory_that_is_not_back_yet_is_waited_for(world: World) -> None:
    world.resident("org/a")
    world.load_model("org/b")
    world.stage("org/b")
    world.available_bytes = GIB
    assert said(world.stopped("org/a")) == [], "an old reading refuses nobody"
    world.available_bytes = 60 * GIB
    assert do.LoadEngine("org/b", build("org/b")) in world.read_host()


def test_memory_that_does_not_come_back_is_not_waited_for_long(world: World) -> None:
    world.resident("org/a")
    world.load_model("org/b")
    world.stage("org/b")
    world.available_bytes = GIB
    world.stopped("org/a")
    world.after(9.5)
    assert told(world.read_host()) == []
    world.after(0.5)
    (refused,) = told(world.read_host())
    assert "insufficient memory" in (refused.error or "")


def test_nothing_is_admitted_without_a_reading(world: World) -> None:
    world.available_bytes = None
    world.load_model("org/a")
    (refused,) = told(world.stage("org/a"))
    assert refused.status == "failed"


def test_the_bytes_stay_when_the_slot_is_busy(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    busy = "all 1 model slot(s) are active; cannot load 'org/b'"
    effects = world.load_model("org/b")
    assert said(effects) == [status("org/b", "failed", busy)]
    assert done(effects) == [], "nothing is fetched for a slot that cannot be had"


def test_a_load_in_progress_pins_its_slot(world: World) -> None:
    world.load_model("org/a")
    (refused,) = told(world.load_model("org/b"))
    assert refused.error == "all 1 model slot(s) are active; cannot load 'org/b'"


def test_a_free_second_slot_is_used() -> None:
    world = World(settings(slots={"max_model_slots": 2}))
    world.start()
    world.resident("org/a")
    world.request("r1", "org/a")
    world.resident("org/b")
    assert only(world.effects, do.StopEngine) == []


def test_fewer_slots_send_the_longest_idle_away() -> None:
    world = World(settings(slots={"max_model_slots": 2}))
    world.start()
    world.resident("org/a")
    world.after(1.0)
    world.resident("org/b")
    world.request("r1", "org/a")
    world.answered("r1")
    world.request("r2", "org/a")
    assert done(world.choose(settings())) == [do.StopEngine("org/b")]
    assert world.state("org/a") == [SlotState.READY]


def test_weights_that_do_not_come_end_the_load(world: World) -> None:
    world.load_model("org/a")
    error = StoreUnreachable(store="s3", reason="silence")
    (failed,) = said(world.tell(happened.WeightsFailed("org/a", error)))
    assert failed == status("org/a", "failed", "model load failed: store_unreachable")
    assert world.state("org/a") == []


def test_an_engine_that_dies_is_stopped_and_the_model_can_come_again(world: World) -> None:
    world.resident("org/a")
    effects = world.tell(happened.EngineFailed("org/a", DEAD))
    assert done(effects) == [do.StopEngine("org/a")]
    assert beats(effects)[0].warm_models == ()
    world.stopped("org/a")
    world.resident("org/a")


# ── requests ──────────────────────────────────────────────────────────────────────────


def test_a_cold_request_is_accepted_loads_and_is_answered(world: World) -> None:
    effects = world.request("r1", "org/a")
    assert said(effects) == [InferenceAccepted(request_id="r1")]
    assert only(effects, do.FetchWeights) == [do.FetchWeights("org/a")]
    world.stage("org/a")
    effects = world.loaded("org/a")
    assert said(effects) == [], "no load was asked for, so none is told"
    assert done(effects) == [do.StartGeneration(world.key("r1"), "org/a", 64)]
    (complete,) = said(world.answered("r1"))
    assert isinstance(complete, InferenceComplete)


def test_a_cold_request_joins_a_load_and_the_other_way_round(world: World) -> None:
    world.load_model("org/a")
    assert done(world.request("r1", "org/a"))[1:] == [], "it waits for the load that runs"
    world.stage("org/a")
    effects = world.loaded("org/a")
    assert told(effects) == [status("org/a", "succeeded")]
    assert only(effects, do.StartGeneration)


def test_a_cold_request_for_a_busy_slot_goes_elsewhere(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    effects = world.request("r2", "org/b")
    text = "model 'org/b' not loaded: all 1 model slot(s) are active"
    assert refusal(said(effects)[0]) == (503, text)
    assert do.ForgetRequest(world.key("r2")) in effects


def test_a_request_outside_the_pool_goes_elsewhere(world: World) -> None:
    text = "model 'org/c' not loaded: outside assigned pool"
    assert refusal(said(world.request("r1", "org/c"))[0]) == (503, text)


@pytest.mark.parametrize("is_loading", [False, True])
def test_whoever_waits_for_a_load_that_fails_goes_elsewhere(
    world: World, *, is_loading: bool
) -> None:
    world.request("r1", "org/a")
    error = StoreUnreachable(store="s3", reason="silence")
    event: happened.Event = happened.WeightsFailed("org/a", error)
    if is_loading:
        world.stage("org/a")
        event = happened.EngineFailed("org/a", BAD)
    (message,) = said(world.tell(event))
    code, text = refusal(message)
    assert code == 503
    assert "not loaded" in text


def test_whoever_waits_when_the_node_leaves_is_told_so(world: World) -> None:
    world.request("r1", "org/a")
    (message,) = said(world.tell(happened.StopAsked()))
    assert refusal(message) == (503, "provider draining for update")


def test_a_cancel_while_it_is_opened(world: World) -> None:
    world.hear(InferenceRequest(request_id="r1", encrypted_body=SEALED))
    effects = world.cancel("r1")
    assert refusal(said(effects)[0]) == (499, "request cancelled")
    assert done(effects) == [do.ForgetRequest(world.key("r1"))]
    late = happened.RequestOpened(world.key("r1"), "org/a")
    assert world.tell(late) == [do.ForgetRequest(world.key("r1"))], "the relay may let go"


def test_a_cancel_while_it_waits_leaves_the_load_to_the_others(world: World) -> None:
    world.request("r1", "org/a")
    world.request("r2", "org/a")
    effects = world.cancel("r1")
    assert refusal(said(effects)[0]) == (499, "request cancelled")
    assert done(effects) == [do.ForgetRequest(world.key("r1"))]
    world.stage("org/a")
    assert done(world.loaded("org/a")) == [do.StartGeneration(world.key("r2"), "org/a", 64)]
    stats = world.node.snapshot(world.now_s).stats
    assert (stats.cancel_during_model_load, stats.cancellations_before_output) == (1, 1)


def test_a_cancel_before_the_first_token(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    world.cancel("r1")
    ended = happened.GenerationEnded(world.key("r1"), "cancelled", Usage(5, 0))
    assert refusal(said(world.tell(ended))[0]) == (499, "request cancelled")


def test_an_answer_that_ended_before_its_cancel_was_heard_is_whole(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    world.cancel("r1")
    (message,) = said(world.answered("r1"))
    assert isinstance(message, InferenceComplete)


def test_a_model_that_comes_back_into_the_pool_is_not_waited_for_by_itself() -> None:
    """A resident drains for the old pool; a request waits for the same model's next stay."""
    two = {"max_model_slots": 2}
    world = World(settings(slots=two))
    world.start()
    world.resident("org/a")
    world.request("r1", "org/a")
    world.choose(settings(slots=two, pools={"assigned": "other"}))
    world.choose(settings(slots=two))
    world.request("r2", "org/a")
    assert world.state("org/a") == [SlotState.DRAINING, SlotState.DOWNLOADING]
    world.stage("org/a")
    assert do.StopEngine("org/a") in world.answered("r1")
    effects = world.stopped("org/a")
    assert only(effects, do.LoadEngine)
    assert do.StartGeneration(world.key("r2"), "org/a", 64) in world.loaded("org/a")


def test_fewer_slots_give_up_a_load_and_tell_who_asked_for_it() -> None:
    world = World(settings(slots={"max_model_slots": 2}))
    world.start()
    world.resident("org/a")
    world.request("r1", "org/a")
    world.load_model("org/b")
    world.stage("org/b")
    effects = world.choose(settings())
    assert done(effects) == [do.StopEngine("org/b")]
    busy = "all 1 model slot(s) are active; cannot load 'org/b'"
    assert said(effects) == [status("org/b", "failed", busy)]
    assert world.state("org/a") == [SlotState.READY]
