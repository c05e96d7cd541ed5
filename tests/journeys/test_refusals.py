"""Every refusal that a node says, and what the public coordinator does with it."""

from collections.abc import Callable, Mapping

import pytest

from poolhand.agent.core import events as happened
from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.drains import Drains
from poolhand.agent.dev.classes import LoadClass, classify_load, client_error, is_hopeless
from poolhand.agent.wire.extensions import Drain
from poolhand.agent.wire.inbound import InferenceRequest, PrefetchModel
from poolhand.agent.wire.outbound import InferenceError, LoadModelStatus, PrefetchModelStatus
from poolhand.backends.engines.errors import EngineDied, EngineStartFailed
from poolhand.backends.stores.errors import ModelMissing, StoreUnreachable, WeightsCorrupt
from tests.journeys.world import GIB, World, said, settings

Told = list[object]
Situation = Callable[[World], object]


def node(**tables: object) -> World:
    world = World(settings(**tables))
    world.tell(happened.AssignmentRead(Assignment(("tiny",), "hash", 4, -1000.0)))
    world.start()
    return world


def resident(world: World) -> None:
    world.resident("org/a")


def busy(world: World) -> None:
    resident(world)
    world.request("r0", "org/a")


def draining(world: World) -> None:
    world.hear(Drain())


def leaving(world: World) -> None:
    busy(world)
    world.tell(happened.StopAsked())


def nothing(_: World) -> None:
    """A node with nothing to do."""


PERMANENT = LoadClass.MODEL_NOT_FOUND
PINNED: Mapping[str, object] = {
    "models": [
        {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a", "pinned": True},
        {"id": "org/b", "aliases": ["tiny"], "ref": "s3://models/b"},
    ]
}


@pytest.mark.parametrize(
    ("tables", "before", "model", "expected"),
    [
        ({}, nothing, "org/c", PERMANENT),
        ({}, nothing, "nobody/knows", PERMANENT),
        ({}, nothing, "org/panic oom slot cap", PERMANENT),
        ({"pools": {"assigned": "tiny", "allowed": ["org/a"]}}, nothing, "org/b", PERMANENT),
        ({}, busy, "org/b", LoadClass.SLOT_CAP),
        (PINNED, resident, "org/b", LoadClass.SLOT_CAP),
        ({"slots": {"min_residency_s": 300.0}}, resident, "org/b", LoadClass.SLOT_CAP),
        ({}, draining, "org/a", LoadClass.DRAINING_FOR_UPDATE),
        ({}, leaving, "org/a", LoadClass.DRAINING_FOR_UPDATE),
    ],
)
def test_a_refused_load_is_put_into_the_class_that_was_meant(
    tables: dict[str, object], before: Situation, model: str, expected: LoadClass
) -> None:
    world = node(**tables)
    before(world)
    effects = world.load_model(model)
    (told,) = (m for m in said(effects) if isinstance(m, LoadModelStatus))
    assert told.status == "failed"
    assert classify_load(told.error or "") is expected, told.error
    again_s = {LoadClass.MODEL_NOT_FOUND: 120}.get(expected, 30)
    assert expected.back_off_s == again_s
    assert expected.keeps_queue == (expected is LoadClass.DRAINING_FOR_UPDATE)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (happened.WeightsFailed("org/a", ModelMissing(model="org/a", reason="404")), PERMANENT),
        (
            happened.WeightsFailed("org/a", WeightsCorrupt(model="org/a", file="x", reason="sha")),
            PERMANENT,
        ),
        (
            happened.WeightsFailed("org/a", StoreUnreachable(store="s3", reason="full slot cap")),
            LoadClass.OTHER,
        ),
        (
            happened.EngineFailed(
                "org/a", EngineStartFailed(engine="mlx", kind="bad_model", reason="draining oom")
            ),
            LoadClass.OTHER,
        ),
        (happened.EngineFailed("org/a", EngineDied(engine="mlx", exit_code=9)), LoadClass.OTHER),
    ],
)
def test_a_load_that_fails_later_is_put_into_the_class_that_was_meant(
    event: happened.Event, expected: LoadClass
) -> None:
    world = node()
    world.load_model("org/a")
    if isinstance(event, happened.EngineFailed):
        world.stage("org/a")
    (told,) = (m for m in said(world.tell(event)) if isinstance(m, LoadModelStatus))
    assert classify_load(told.error or "") is expected, told.error


def test_a_model_that_does_not_fit_is_told_as_memory() -> None:
    world = node()
    world.available_bytes = 2 * GIB
    world.load_model("org/a")
    world.after(30.0)
    effects = world.stage("org/a")
    (told,) = (m for m in said(effects) if isinstance(m, LoadModelStatus))
    assert classify_load(told.error or "") is LoadClass.INSUFFICIENT_MEMORY


@pytest.mark.parametrize(
    ("tables", "before", "model"),
    [
        ({}, nothing, "org/c"),
        ({}, nothing, "nobody/knows"),
        ({}, nothing, "org/panic internal error"),
        ({}, busy, "org/b"),
        (PINNED, resident, "org/b"),
        ({}, draining, "org/a"),
        ({}, leaving, "org/a"),
        ({"requests": {"max_concurrent": 1}}, busy, "org/a"),
    ],
)
def test_a_refused_request_is_asked_elsewhere_and_costs_no_reputation(
    tables: dict[str, object], before: Situation, model: str
) -> None:
    world = node(**tables)
    before(world)
    effects = world.request("r1", model)
    (told,) = (m for m in said(effects) if isinstance(m, InferenceError))
    assert told.status_code == 503, "400 and 404 would cost reputation, 500 a breaker's strike"
    assert client_error(told.status_code, told.error).status == 429, told.error
    assert not is_hopeless(told.error), "another node may serve it"


@pytest.mark.parametrize(
    "failure",
    [
        happened.WeightsFailed("org/a", StoreUnreachable(store="s3", reason="silence")),
        happened.WeightsFailed("org/a", ModelMissing(model="org/a", reason="404")),
        happened.EngineFailed("org/a", EngineDied(engine="mlx", exit_code=9)),
    ],
)
def test_a_request_whose_cold_load_fails_is_asked_elsewhere(failure: happened.Event) -> None:
    world = node()
    world.request("r1", "org/a")
    if isinstance(failure, happened.EngineFailed):
        world.stage("org/a")
    (told,) = (m for m in said(world.tell(failure)) if isinstance(m, InferenceError))
    assert (told.status_code, client_error(503, told.error).status) == (503, 429), told.error


def test_only_a_wrong_request_and_a_wish_of_its_client_are_told_as_such() -> None:
    world = node()
    wrong = InferenceRequest(request_id="r1", has_plain_body=True)
    (told,) = (m for m in said(world.hear(wrong)) if isinstance(m, InferenceError))
    assert told.status_code == client_error(told.status_code, told.error).status == 400
    world.request("r2", "org/a")
    (told,) = (m for m in said(world.cancel("r2")) if isinstance(m, InferenceError))
    assert (told.status_code, told.error) == (499, "request cancelled")


def test_a_prefetch_is_refused_without_a_word_of_another_class() -> None:
    world = node(pools={"assigned": "tiny", "allowed": ["org/a"]})
    for model in ("org/b", "nobody/knows"):
        effects = world.hear(PrefetchModel(model_id=model))
        (told,) = (m for m in said(effects) if isinstance(m, PrefetchModelStatus))
        assert classify_load(told.error or "") is PERMANENT
    draining(world)
    effects = world.hear(PrefetchModel(model_id="org/a"))
    (told,) = (m for m in said(effects) if isinstance(m, PrefetchModelStatus))
    assert classify_load(told.error or "") is LoadClass.DRAINING_FOR_UPDATE


def test_a_rest_lets_the_queue_go_and_spares_the_reputation() -> None:
    drains = Drains()
    drains.begin("hours", 0.0)
    assert classify_load(drains.refusal.load_text) is LoadClass.DRAINING
    assert client_error(drains.refusal.wire_status, drains.refusal.request_text).status == 429
