"""The journeys' cousins on the line, and those that bring bytes ahead of time."""

from itertools import pairwise

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.wire.inbound import (
    AttestationChallenge,
    DesiredModels,
    PrefetchModel,
)
from poolhand.agent.wire.outbound import (
    AttestationResponse,
    Heartbeat,
    LoadModelStatus,
    ModelsUpdate,
    PrefetchModelStatus,
)
from poolhand.agent.wire.types import DesiredModel, SlotCapacity
from poolhand.backends.engines.base import Loaded
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.stores.base import Progress, Stock
from poolhand.backends.stores.errors import DiskFailed, StoreUnreachable
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

DEAD = EngineDied(engine="mlx", exit_code=9)


@pytest.fixture
def world() -> World:
    """A node that is known, connected and empty."""
    world = World()
    world.start()
    return world


def told(effects: list[do.Effect]) -> list[LoadModelStatus]:
    return [message for message in said(effects) if isinstance(message, LoadModelStatus)]


def updates(effects: list[do.Effect]) -> list[list[str]]:
    return [[m.id for m in u.models] for u in said(effects) if isinstance(u, ModelsUpdate)]


def test_a_build_is_news_once_it_is_here_and_is_told_with_its_like(world: World) -> None:
    listed = happened.InventoryChanged((Stock("org/a", "listed", 5), Stock("org/b", "listed", 6)))
    assert updates(world.tell(listed)) == [], "a size alone takes no other build off the list"
    assert updates(world.stock("org/b")) == [["org/b"]]
    assert updates(world.stock("org/b")) == []
    assert updates(world.stock("org/a", "org/b")) == [["org/a", "org/b"]], "one with the other"


# ── the line ──────────────────────────────────────────────────────────────────────────


def test_the_beat_is_fixed_whatever_else_happens(world: World) -> None:
    start_s, at_s = world.now_s, list[float]()
    world.load_model("org/a")
    for tick in range(1, 201):
        world.now_s = start_s + tick * 0.1
        progress = happened.WeightsProgressed("org/a", Progress(tick, 200))
        if beats(world.tell(progress)):
            at_s.append(round(world.now_s - start_s, 3))
    assert at_s == [5.0, 10.0, 15.0, 20.0]


def test_every_change_of_a_slot_is_told_at_once(world: World) -> None:
    world.load_model("org/a")
    assert [s.state for b in beats(world.stage("org/a")) for s in _slots(b)] == ["reloading"]
    assert [s.state for b in beats(world.loaded("org/a")) for s in _slots(b)] == ["idle"]
    (beat,) = beats(world.tell(happened.EngineFailed("org/a", DEAD)))
    assert [s.state for s in _slots(beat)] == ["reloading"]
    (beat,) = beats(world.stopped("org/a"))
    assert _slots(beat) == ()


def _slots(beat: Heartbeat) -> tuple[SlotCapacity, ...]:
    return beat.backend_capacity.slots if beat.backend_capacity else ()


@pytest.mark.parametrize(("chance", "wait_s"), [(0.0, 0.1), (0.5, 15.0), (0.99, 29.7)])
def test_a_coordinator_that_goes_away_is_given_time(chance: float, wait_s: float) -> None:
    world = World(chance=lambda: chance)
    world.start()
    world.drop(1012)
    assert world.node.deadline_s - world.now_s == pytest.approx(wait_s)


def test_failures_are_forgiven_after_a_minute(world: World) -> None:
    for lived_s, wait_s in ((0.0, 0.5), (0.0, 1.0), (59.0, 2.0), (60.0, 0.5)):
        world.after(lived_s)
        world.drop()
        assert world.node.deadline_s - world.now_s == pytest.approx(wait_s)
        world.redial()


def test_a_machine_that_slept_dials_at_once(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    key = world.key("r1")
    world.now_s += 11.0
    effects = done(world.tell(happened.Due()))
    assert effects == [do.HangUp(1, is_polite=False), do.CancelGeneration(key), do.Dial(2)]


def test_an_answer_that_comes_with_the_awakening_is_kept_for_the_next_line(world: World) -> None:
    world.load_model("org/a")
    world.stage("org/a")
    world.now_s += 11.0
    effects = world.loaded("org/a")
    assert done(effects) == [do.HangUp(1, is_polite=False), do.Dial(2)]
    assert told(effects) == []
    assert told(world.connect()) == [status("org/a", "succeeded")]


def test_a_challenge_is_answered_while_a_model_loads(world: World) -> None:
    world.load_model("org/a")
    world.stage("org/a")
    (answer,) = said(world.hear(AttestationChallenge(nonce="n" * 44, timestamp="now")))
    assert isinstance(answer, AttestationResponse)
    assert answer.nonce == "n" * 44
    assert answer.model_hashes is None, "it is not loaded yet"
    world.loaded("org/a")
    (answer,) = said(world.hear(AttestationChallenge(nonce="m" * 44)))
    assert isinstance(answer, AttestationResponse)
    assert answer.model_hashes == {"org/a": build("org/a").weight_hash}


def test_a_new_address_is_dialled_once_nobody_is_harmed(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    elsewhere = settings(coordinator={"url": "ws://127.0.0.1:9090"})
    assert done(world.choose(elsewhere)) == []
    effects = done(world.answered("r1"))
    assert effects == [do.HangUp(1, is_polite=True), do.Dial(2)]
    assert done(world.connect()) == [], "once is enough"


def test_another_beat_needs_no_new_line(world: World) -> None:
    quick = {"url": "ws://127.0.0.1:8080", "heartbeat_interval_s": 1.0}
    assert done(world.choose(settings(coordinator=quick))) == []
    world.after(5.0)
    assert len(beats(world.after(3.0))) == 3


# ── bytes ahead of time ───────────────────────────────────────────────────────────────


def wanted(*models: str) -> DesiredModels:
    return DesiredModels(
        models=tuple(DesiredModel(model_name="tiny", desired_build=model) for model in models)
    )


def test_a_desired_build_is_fetched_and_not_loaded(world: World) -> None:
    assert done(world.hear(wanted("org/a", "org/b", "org/c"))) == [do.FetchWeights("org/a")]
    assert world.stage("org/a")
    assert only(world.effects, do.LoadEngine) == []
    assert done(world.stock("org/a")) == [do.FetchWeights("org/b")], "one at a time"
    world.stage("org/b")
    assert done(world.stock("org/a", "org/b")) == [], "and none that is not ours"


def test_nothing_desired_stops_what_is_on_its_way(world: World) -> None:
    world.hear(wanted("org/a"))
    assert done(world.hear(DesiredModels())) == [do.CancelFetch("org/a")]
    assert done(world.stock()) == []


def test_nothing_desired_stops_no_load(world: World) -> None:
    world.hear(wanted("org/a"))
    world.load_model("org/a")
    assert done(world.hear(DesiredModels())) == []
    world.stage("org/a")
    assert told(world.loaded("org/a")) == [status("org/a", "succeeded")]


def test_a_desired_build_that_does_not_come_is_tried_again_later_and_later(
    world: World,
) -> None:
    world.hear(wanted("org/a"))
    error = StoreUnreachable(store="s3", reason="silence")
    for longest_s in (30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 1800.0):
        world.tell(happened.WeightsFailed("org/a", error))
        assert done(world.stock()) == []
        assert done(world.hear(wanted("org/a"))) == [], "saying it again hurries nothing"
        wait_s = longest_s * 0.75
        assert only(world.after(wait_s - 1.0), do.FetchWeights) == []
        assert only(world.after(1.0), do.FetchWeights) == [do.FetchWeights("org/a")]
    world.tell(happened.WeightsFailed("org/a", error))
    assert done(world.hear(wanted("org/a", "org/b"))) == [do.FetchWeights("org/a")], "a new wish"


@pytest.mark.parametrize("is_prefetch", [False, True])
def test_after_a_failure_it_is_looked_what_is_still_here(
    world: World, *, is_prefetch: bool
) -> None:
    """Whoever removed the cache's folder shall not read for long that the model is here."""
    if is_prefetch:
        world.hear(PrefetchModel(model_id="org/a"))
    else:
        world.load_model("org/a")
    error = DiskFailed(path="/cache/models", reason="No such file or directory")
    effects = world.tell(happened.WeightsFailed("org/a", error))
    assert only(effects, do.RefreshInventory) == [do.RefreshInventory()]


def test_after_a_model_has_left_it_is_looked_what_is_still_here(world: World) -> None:
    world.resident("org/a")
    effects = world.tell(happened.EngineStopped("org/a"))
    assert only(effects, do.RefreshInventory) == [do.RefreshInventory()]


def test_prefetches_come_one_at_a_time_and_the_most_wanted_first(world: World) -> None:
    world.hear(PrefetchModel(model_id="org/a"))
    for model, priority in (("org/b", 1), ("org/c", 5), ("org/b", 0)):
        effects = world.hear(PrefetchModel(model_id=model, priority=priority))
        assert said(effects) == [PrefetchModelStatus(model_id=model, status="started")]
        assert done(effects) == []
    assert do.FetchWeights("org/c") in world.stage("org/a")
    assert do.FetchWeights("org/b") in world.stage("org/c")
    world.stage("org/b")
    assert len(only(world.effects, do.FetchWeights)) == 3


def test_a_desired_build_that_answers_already_is_not_fetched(world: World) -> None:
    world.resident("org/a")
    assert done(world.hear(wanted("org/a"))) == []


def test_a_prefetch_is_reported_now_and_then(world: World) -> None:
    prefetch = PrefetchModel(model_id="org/c")
    assert said(world.hear(prefetch)) == [PrefetchModelStatus(model_id="org/c", status="started")]
    reports = list[tuple[float, int | None]]()
    start_s = world.now_s
    for step in range(1, 101):
        world.now_s = start_s + 0.3 * step
        bytes_done = step if step < 60 else 60 + (step - 60) * 4
        event = happened.WeightsProgressed("org/c", Progress(bytes_done, 1000))
        for message in said(world.tell(event)):
            assert isinstance(message, PrefetchModelStatus)
            reports.append((world.now_s, message.bytes_done))
    pairs = list(pairwise(reports))
    assert len(pairs) > 10
    for (before_s, before), (after_s, after) in pairs:
        grew = (after or 0) - (before or 0)
        assert after_s - before_s >= 2.0 - 1e-9 or grew >= 50
    world.tell(happened.WeightsFetched("org/c"))
    effects = world.tell(happened.WeightsVerified("org/c", build("org/c")))
    assert said(effects) == [PrefetchModelStatus(model_id="org/c", status="verified")]
    assert only(world.effects, do.LoadEngine) == [], "bytes are no membership"


def test_a_prefetch_that_jumps_is_reported_at_once(world: World) -> None:
    world.hear(PrefetchModel(model_id="org/b"))
    assert said(world.tell(happened.WeightsProgressed("org/b", Progress(49, 1000)))) == []
    (message,) = said(world.tell(happened.WeightsProgressed("org/b", Progress(50, 1000))))
    assert isinstance(message, PrefetchModelStatus)
    assert (message.bytes_done, message.bytes_total) == (50, 1000)


def test_a_prefetch_of_what_is_not_allowed_is_refused() -> None:
    world = World(settings(pools={"assigned": "tiny", "allowed": ["tiny"]}))
    world.start()
    effects = world.hear(PrefetchModel(model_id="org/c"))
    (message,) = said(effects)
    assert isinstance(message, PrefetchModelStatus)
    assert (message.status, done(effects)) == ("failed", [])


def test_a_prefetch_becomes_a_load(world: World) -> None:
    world.hear(PrefetchModel(model_id="org/b"))
    assert done(world.load_model("org/b")) == []
    world.stage("org/b")
    words = said(world.tell(happened.EngineLoaded("org/b", Loaded(1.0, None, None))))
    assert words == [
        status("org/b", "succeeded"),
        PrefetchModelStatus(model_id="org/b", status="verified"),
    ]
