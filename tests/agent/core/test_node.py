"""The node itself: what joins the machines. The stories are in ``tests/journeys``."""

import math

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.leaving import GRACE_S
from poolhand.agent.core.session import State
from poolhand.agent.wire.inbound import LoadModel
from poolhand.agent.wire.later import DrainAck, ProviderDrain
from poolhand.agent.wire.outbound import Register
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.config.errors import LinkLost
from tests.journeys.world import FACTS, World, beats, build, done, only, said, settings, status


@pytest.fixture
def world() -> World:
    """A node that is known, connected and empty."""
    world = World()
    world.start()
    return world


def test_nothing_is_dialled_before_the_host_is_known() -> None:
    world = World()
    assert math.isinf(world.node.deadline_s)
    assert world.tell(happened.Due()) == []
    assert world.tell(happened.HostKnown(FACTS)) == [
        do.SampleHost(),
        do.RefreshInventory(("org/a", "org/b")),
        do.Dial(1),
    ]


def test_register_first_then_how_we_are_then_what_is_owed() -> None:
    world = World()
    world.tell(happened.HostKnown(FACTS))
    effects = world.tell(happened.LinkOpened(1))
    words = [effect.message.type for effect in effects if isinstance(effect, do.Send)]
    assert words == ["register", "heartbeat"]
    assert effects[-1] == do.SampleHost()


def test_every_heartbeat_reads_the_host(world: World) -> None:
    effects = world.after(5.0)
    assert len(beats(effects)) == 1
    assert only(effects, do.SampleHost) == [do.SampleHost()]


def test_words_of_another_line_are_not_heard(world: World) -> None:
    late = happened.Heard(0, LoadModel(model_id="org/a"))
    assert world.tell(late) == []
    lost = LinkLost(close_code=1006, reason="")
    assert world.tell(happened.LinkClosed(0, 1006, lost)) == []
    assert world.node.session.state is State.ONLINE
    world.drop()
    assert world.hear(LoadModel(model_id="org/a")) == [], "nor of one that is gone"


def test_a_store_that_cannot_be_listed_is_remembered(world: World) -> None:
    error = StoreUnreachable(store="s3", reason="silence")
    assert world.tell(happened.ListingFailed("org/a", error)) == []
    died = EngineDied(engine="mlx", exit_code=1)
    world.tell(happened.EngineFailed("org/a", died))
    assert [each for _, each in world.node.failed.recent] == [error, died]


def test_the_news_of_the_disk_are_told_once(world: World) -> None:
    (update,) = said(world.stock("org/a", "org/c"))
    assert update.model_dump(exclude_none=True)["models"][0]["id"] == "org/a"
    assert said(world.stock("org/a", "org/c")) == []
    world.drop()
    assert said(world.stock("org/a", "org/b")) == []
    effects = world.redial()
    (who,) = said(effects)
    assert isinstance(who, Register)
    assert [model.weight_hash for model in who.models] == [
        build("org/a").weight_hash,
        build("org/b").weight_hash,
    ]
    assert said(world.stock("org/a", "org/b")) == []


def test_an_edit_that_is_taken_back_needs_no_new_line(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    world.choose(settings(pools={"assigned": "tiny", "allowed": ["org/a"]}))
    world.choose(settings())
    world.answered("r1")
    assert world.line == 1


def test_what_is_owed_is_told_once_a_model_and_the_last_word_counts(world: World) -> None:
    world.load_model("org/a")
    world.drop()
    world.tell(happened.WeightsFailed("org/a", StoreUnreachable(store="s3", reason="silence")))
    assert said(world.redial())[1:] == [
        status("org/a", "failed", "model load failed: store_unreachable")
    ]


def test_a_died_engine_is_gone_from_the_figures(world: World) -> None:
    world.resident("org/a")
    world.tell(happened.EngineFailed("org/a", EngineDied(engine="mlx", exit_code=1)))
    world.tell(happened.EngineStopped("org/a"))
    assert world.node.snapshot(world.now_s).loads == {}


def test_a_drain_has_an_end_whatever_happens(world: World) -> None:
    world.resident("org/a")
    world.tell(happened.StopAsked())
    world.tell(happened.Due())
    limit_s = settings().requests.drain_s + GRACE_S + world.node.session.patience_s
    world.after(limit_s)
    assert world.node.is_done
    assert world.tell(happened.HostKnown(FACTS))[2:] == [], "a node that left dials nobody"


def test_a_node_that_is_down_leaves_at_once(world: World) -> None:
    world.drop()
    assert done(world.tell(happened.StopAsked())) == []
    assert world.node.is_done


def test_a_longer_patience_is_taken_over(world: World) -> None:
    slow = {"url": "ws://127.0.0.1:8080", "dial_timeout_s": 40.0}
    world.choose(settings(coordinator=slow))
    assert world.node.session.patience_s == 45.0


KNOWS = settings(wire={"drain_barrier": True})


def test_a_node_that_leaves_waits_until_all_is_settled_where_that_is_known() -> None:
    world = World(KNOWS)
    world.start()
    world.resident("org/a")
    world.request("r1", "org/a")
    (barrier,) = said(world.tell(happened.StopAsked()))
    assert isinstance(barrier, ProviderDrain)
    assert said(world.tell(happened.StopAsked())) == [], "one barrier a line"
    world.answered("r1")
    world.stopped("org/a")
    assert not world.node.is_done
    assert only(world.hear(DrainAck(request_id="another")), do.HangUp) == []
    assert only(world.hear(DrainAck(request_id=barrier.request_id)), do.HangUp) != []


def test_a_coordinator_that_settles_nothing_keeps_nobody() -> None:
    world = World(KNOWS)
    world.start()
    world.tell(happened.StopAsked())
    effects = world.after(KNOWS.requests.drain_s + GRACE_S + 0.1)
    assert only(effects, do.HangUp) != []


def test_nobody_hears_of_a_barrier_who_is_not_said_to_know_it(world: World) -> None:
    assert said(world.tell(happened.StopAsked())) == []
