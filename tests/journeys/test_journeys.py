"""The six journeys of the house, told to the node; no network, no engine, no sleep."""

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.slots import SlotState
from poolhand.agent.wire.outbound import (
    InferenceAccepted,
    InferenceComplete,
    InferenceError,
    ModelsUpdate,
    Register,
)
from poolhand.agent.wire.types import Usage
from poolhand.backends.engines.base import Usage as Spent
from poolhand.config.errors import ConfigInvalid
from tests.journeys.world import (
    World,
    beats,
    build,
    done,
    only,
    said,
    settings,
    status,
)


@pytest.fixture
def world() -> World:
    """A node that is known, connected and empty."""
    world = World()
    world.start()
    return world


def test_a_the_second_model_of_the_pool_replaces_the_idle_first(world: World) -> None:
    world.resident("org/a")
    effects = world.load_model("org/b")
    assert said(effects) == [status("org/b", "started")]
    assert done(effects) == [do.FetchWeights("org/b")]
    assert world.state("org/a") == [SlotState.READY], "the old model answers on"

    assert done(world.tell(happened.WeightsFetched("org/b"))) == [do.VerifyWeights("org/b")]
    verified = world.tell(happened.WeightsVerified("org/b", build("org/b")))
    assert do.SampleHost() in verified, "memory is judged on a fresh reading"
    assert done(world.read_host()) == [do.StopEngine("org/a")]
    assert world.state("org/a") == [SlotState.UNLOADING]
    assert done(world.stopped("org/a")) == [do.LoadEngine("org/b", build("org/b"))]

    effects = world.loaded("org/b")
    assert said(effects) == [status("org/b", "succeeded")]
    (beat,) = beats(effects)
    assert beat.warm_models == ("org/b",)
    assert beat.active_model == "org/b"


def test_a_an_answering_resident_is_not_disturbed(world: World) -> None:
    world.resident("org/a")
    world.load_model("org/b")
    world.request("r1", "org/a")  # it came while the bytes did
    busy = "all 1 model slot(s) are active; cannot load 'org/b'"
    effects = world.stage("org/b")
    assert said(effects) == [status("org/b", "failed", busy)]
    assert done(effects) == []
    assert world.state("org/a") == [SlotState.READY]


def test_b_a_load_outside_the_pool_is_refused_and_disturbs_nobody(world: World) -> None:
    world.resident("org/a")
    before = world.node.snapshot(world.now_s)
    for _ in range(2):
        (refused,) = said(world.load_model("org/c"))
        text = "model 'org/c' not in advertised model list: outside assigned pool 'tiny'"
        assert refused == status("org/c", "failed", text)
    assert world.node.snapshot(world.now_s) == before
    refusal = world.node.loads.refusals.last
    assert refusal is not None
    assert (refusal.model, refusal.count) == ("org/c", 2)
    assert only(world.effects, do.FetchWeights) == [do.FetchWeights("org/a")]


def test_c_a_request_streams_and_is_cancelled(world: World) -> None:
    world.resident("org/a")
    effects = world.request("r1", "org/a")
    assert said(effects) == [InferenceAccepted(request_id="r1")]
    assert only(effects, do.StartGeneration) == [do.StartGeneration(world.key("r1"), "org/a", 64)]
    assert done(world.cancel("r1")) == [do.CancelGeneration(world.key("r1"))]
    assert world.cancel("r1") == [], "a second cancel is dropped"
    assert world.cancel("nobody") == [], "an unknown id is normal"
    ended = happened.GenerationEnded(world.key("r1"), "cancelled", Spent(7, 3), has_output=True)
    assert said(world.tell(ended)) == [
        InferenceComplete(request_id="r1", usage=Usage(prompt_tokens=7, completion_tokens=3))
    ]
    assert world.tell(ended) == [], "nothing comes after the end"
    stats = world.node.snapshot(world.now_s).stats
    assert (stats.cancellations_received, stats.cancellations_partial_complete) == (2, 1)


def test_d_an_edit_of_the_pool_drains_the_resident_and_moves_to_a_new_line(world: World) -> None:
    world.stock("org/a", "org/b")
    world.resident("org/a")
    world.request("r1", "org/a")
    effects = world.choose(settings(pools={"assigned": "other"}))
    assert do.RefreshInventory(("org/c",)) in effects
    assert done(effects) == [], "its request may finish"
    assert world.state("org/a") == [SlotState.DRAINING]
    (refused,) = said(world.request("r2", "org/a"))
    assert isinstance(refused, InferenceError)
    assert refused.status_code == 503

    effects = world.answered("r1")
    assert [type(effect) for effect in done(effects)] == [do.StopEngine, do.HangUp, do.Dial]
    (who,) = [m for m in said(world.connect()) if isinstance(m, Register)]
    assert [model.id for model in who.models] == ["org/c"], "what left the pool is unsaid"


def test_d_an_edit_that_only_adds_is_told_on_the_same_line() -> None:
    world = World(settings(pools={"assigned": "tiny", "allowed": ["org/a"]}))
    world.start()
    world.choose(settings())
    (update,) = said(world.stock("org/b"))
    assert isinstance(update, ModelsUpdate)
    assert [model.id for model in update.models] == ["org/b"]
    assert said(world.stock("org/b")) == [], "nothing is told twice"
    assert world.line == 1


def test_d_a_download_outside_the_new_pool_ends(world: World) -> None:
    world.load_model("org/a")
    effects = world.choose(settings(pools={"assigned": "other"}))
    assert do.CancelFetch("org/a") in effects
    text = "model 'org/a' not in advertised model list: outside assigned pool 'other'"
    assert status("org/a", "failed", text) in said(effects)


def test_d_an_edit_that_is_wrong_changes_nothing(world: World) -> None:
    wrong = ConfigInvalid(path="poolhand.toml", line=3, problem="odd")
    assert world.tell(happened.SettingsRejected(wrong)) == []
    assert world.node.rejected is wrong
    assert world.node.settings == settings()
    world.choose(settings())
    assert world.node.rejected is None


def test_e_the_line_drops_in_the_middle_of_a_download(world: World) -> None:
    world.load_model("org/a")
    assert world.drop() == [], "the fetch does not notice"
    effects = world.redial()
    (who,) = said(effects)
    assert isinstance(who, Register)
    assert beats(effects), "registered, and at once how things are"
    world.stage("org/a")
    assert said(world.loaded("org/a")) == [status("org/a", "succeeded")]


def test_e_running_requests_are_cancelled_and_nobody_is_told(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    key = world.key("r1")
    assert done(world.drop()) == [do.CancelGeneration(key)]
    assert world.state("org/a") == [SlotState.READY], "resident models are kept"
    world.redial()
    ended = happened.GenerationEnded(key, "cancelled", Spent(1, 1), has_output=True)
    assert said(world.tell(ended)) == []


def test_f_sigterm_drains_and_leaves(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    world.tell(happened.StopAsked())
    (refused,) = said(world.load_model("org/b"))
    assert refused == status("org/b", "failed", "provider draining for update")
    (turned,) = said(world.request("r2", "org/a"))
    assert isinstance(turned, InferenceError)
    assert (turned.status_code, turned.error) == (503, "provider draining for update")
    assert beats(world.after(5.0)), "heartbeats go on"

    assert done(world.answered("r1")) == [do.StopEngine("org/a")]
    assert done(world.stopped("org/a")) == [do.HangUp(1, is_polite=True)]
    assert not world.node.is_done
    world.drop(1000)
    assert world.node.is_done


def test_f_patience_ends(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    world.tell(happened.StopAsked())
    assert done(world.after(119.0)) == []
    assert done(world.after(1.0)) == [do.CancelGeneration(world.key("r1"))]
    assert done(world.after(5.0)) == [do.HangUp(1, is_polite=True)]
    assert done(world.after(15.0)) == [do.HangUp(1, is_polite=False)]
    assert world.node.is_done


def test_f_a_second_signal_ends_patience(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    world.tell(happened.StopAsked())
    world.after(1.0)
    effects = world.tell(happened.StopAsked(now=True))
    assert done(effects) == [do.CancelGeneration(world.key("r1"))]
    ended = happened.GenerationEnded(world.key("r1"), "cancelled", Spent(1, 1), has_output=True)
    assert done(world.tell(ended)) == [do.StopEngine("org/a")]
    assert do.HangUp(1) in world.stopped("org/a")


def test_f_a_third_signal_does_not_bring_patience_back(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    world.tell(happened.StopAsked(now=True))
    world.after(4.0)
    world.tell(happened.StopAsked())
    assert do.HangUp(1) in world.after(1.0)


def test_f_a_load_on_its_way_is_given_up(world: World) -> None:
    world.load_model("org/a")
    effects = world.tell(happened.StopAsked())
    assert done(effects) == [do.CancelFetch("org/a"), do.HangUp(1)]
    assert status("org/a", "failed", "provider draining for update") in said(effects)


def test_f_nothing_to_leave_yet() -> None:
    world = World()
    world.tell(happened.StopAsked())
    assert world.node.is_done
