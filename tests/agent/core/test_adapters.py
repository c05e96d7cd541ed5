"""Adapters by name, told to a whole node: on the line they look like models."""

from dataclasses import replace

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.wire.outbound import InferenceError, ModelsUpdate, Register
from poolhand.backends.stores.base import Build
from poolhand.config.settings import Settings
from tests.journeys.world import World, beats, build, done, only, said, settings, status

LEGAL, TERSE = "org/a-legal", "org/a-terse"


def offering(*names: str) -> Settings:
    serving = {"adapters": [f"{name}=s3://loras/{name}" for name in names]}
    one = {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a", "serving": serving}
    return settings(models=[one, {"id": "org/b", "aliases": ["tiny"], "ref": "s3://models/b"}])


def whole(*names: str) -> Build:
    return replace(build("org/a"), adapters=tuple((name, f"/cache/{name}") for name in names))


def begun(*names: str) -> World:
    world = World(offering(*names))
    world.start()
    return world


def stage(world: World, *names: str) -> list[do.Effect]:
    world.tell(happened.WeightsFetched("org/a"))
    return [*world.tell(happened.WeightsVerified("org/a", whole(*names))), *world.read_host()]


def resident(*names: str) -> World:
    world = begun(*names)
    world.load_model("org/a")
    stage(world, *names)
    world.loaded("org/a")
    return world


def test_they_are_offered_beside_their_model_and_by_no_hash_of_its() -> None:
    world = World(offering(LEGAL))
    (who,) = [one for one in said(world.start()) if isinstance(one, Register)]
    assert [one.id for one in who.models] == ["org/a", "org/b", LEGAL]
    effects = world.stock("org/a")
    (news,) = [one for one in said(effects) if isinstance(one, ModelsUpdate)]
    told = {one.id: one for one in news.models}
    assert told["org/a"].weight_hash is not None
    assert told[LEGAL].weight_hash is None
    assert told[LEGAL].size_bytes == told["org/a"].size_bytes


def test_a_load_under_an_adapters_name_loads_its_model_and_is_answered_by_that_name() -> None:
    world = begun(LEGAL, TERSE)
    effects = world.load_model(LEGAL)
    assert said(effects) == [status(LEGAL, "started")]
    assert done(effects) == [do.FetchWeights("org/a")]
    assert said(world.load_model("org/a")) == [status("org/a", "started")]
    assert said(world.load_model(TERSE)) == [status(TERSE, "started")]
    stage(world, LEGAL, TERSE)
    effects = world.loaded("org/a")
    ended = [status(name, "succeeded") for name in (LEGAL, "org/a", TERSE)]
    assert said(effects) == ended
    (beat,) = beats(effects)
    assert beat.warm_models == ("org/a", LEGAL, TERSE)
    assert beat.backend_capacity is not None
    assert [slot.model for slot in beat.backend_capacity.slots] == ["org/a", LEGAL, TERSE]
    assert said(world.load_model(TERSE)) == [status(TERSE, "succeeded")], "it is here already"


def test_a_request_for_one_is_its_models_to_answer() -> None:
    world = resident(LEGAL)
    effects = world.request("r1", LEGAL)
    assert only(effects, do.StartGeneration) == [
        do.StartGeneration(world.key("r1"), "org/a", max_tokens=64)
    ]
    assert world.node.answers.ledger.busy() == {"org/a"}


def test_a_request_for_one_brings_its_model() -> None:
    world = begun(LEGAL)
    assert do.FetchWeights("org/a") in world.request("r1", LEGAL)
    stage(world, LEGAL)
    assert len(only(world.loaded("org/a"), do.StartGeneration)) == 1


def test_one_that_did_not_come_with_its_model_is_refused() -> None:
    world = resident(LEGAL)
    effects = world.choose(offering(LEGAL, TERSE))
    (news,) = [one for one in said(effects) if isinstance(one, ModelsUpdate)]
    assert [one.id for one in news.models] == [LEGAL, TERSE]
    assert said(world.choose(offering(LEGAL, TERSE))) == [], "said once"
    (error,) = [one for one in said(world.request("r", TERSE)) if isinstance(one, InferenceError)]
    assert error.status_code == 503
    (refused,) = said(world.load_model(TERSE))
    assert refused == status(TERSE, "failed", getattr(refused, "error", None))
    assert only(world.request("r2", LEGAL), do.StartGeneration), "the others are not concerned"


def test_who_asked_on_a_line_that_is_gone_is_told_on_the_next_each_name_once() -> None:
    world = begun(LEGAL)
    for name in (LEGAL, "org/a", LEGAL):
        world.load_model(name)
    world.drop()
    stage(world, LEGAL)
    world.loaded("org/a")
    told = [one for one in said(world.redial()) if not isinstance(one, Register | ModelsUpdate)]
    assert told == [status(LEGAL, "succeeded"), status("org/a", "succeeded")]
    assert said(world.load_model(LEGAL)) == [status(LEGAL, "succeeded")]


def test_a_load_that_fails_is_told_under_the_name_it_was_asked_for() -> None:
    world = World(
        settings(
            models=[
                {
                    "id": "org/x",
                    "aliases": ["other"],
                    "ref": "s3://models/x",
                    "serving": {"adapters": [f"{LEGAL}=s3://loras/x"]},
                },
                {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a"},
            ]
        )
    )
    world.start()
    (refused,) = said(world.load_model(LEGAL))
    assert refused == status(LEGAL, "failed", getattr(refused, "error", None))
    assert "outside assigned pool" in str(getattr(refused, "error", ""))
