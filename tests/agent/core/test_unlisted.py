"""Models that a coordinator names and only its catalog may know."""

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.unlisted import unlisted
from poolhand.agent.wire.inbound import (
    Cancel,
    DesiredModels,
    Inbound,
    LoadModel,
    PrefetchModel,
)
from poolhand.agent.wire.outbound import LoadModelStatus, ModelsUpdate
from poolhand.agent.wire.types import DesiredModel
from poolhand.config.settings import ModelEntry, Settings
from tests.journeys.world import World, said, settings

CATALOG = {"builds": ["org/*"], "store": "s3://bucket"}
NEW = ModelEntry(id="org/new", ref="s3://bucket/v2/new/v1", weight_hash="0" * 64)
WISH = DesiredModels(
    models=(DesiredModel(model_name="tiny", desired_build="org/new", previous_build="org/a"),)
)


def with_new(chosen: Settings) -> Settings:
    return chosen.model_copy(update={"models": (*chosen.models, NEW)})


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        (LoadModel(model_id="org/new"), ("org/new",)),
        (PrefetchModel(model_id="org/new"), ("org/new",)),
        (WISH, ("org/new",)),
        (DesiredModels(), ()),
        (LoadModel(model_id="org/a"), ()),
        (LoadModel(model_id="other/new"), ()),
        (Cancel(request_id="org/new"), ()),
    ],
)
def test_what_is_asked_for(message: Inbound, asked: tuple[str, ...]) -> None:
    assert unlisted(message, settings(catalog=CATALOG)) == asked
    assert unlisted(message, settings()) == (), "nothing, if the operator named nothing"


def test_a_load_of_a_stranger_is_refused_and_looked_up() -> None:
    world = World(settings(catalog=CATALOG))
    world.start()
    effects = world.load_model("org/new")
    (told,) = (m for m in said(effects) if isinstance(m, LoadModelStatus))
    assert told.error is not None
    assert "not in advertised model list" in told.error
    assert do.ReadCatalog("org/new") in effects
    assert not any(isinstance(e, do.FetchWeights) for e in effects), "a refusal touches no disk"


def test_what_a_wish_named_is_fetched_once_it_is_offered() -> None:
    chosen = settings(catalog=CATALOG)
    world = World(chosen)
    world.start()
    assert do.ReadCatalog("org/new") in world.hear(WISH)
    world.tell(happened.SettingsChanged(with_new(chosen)))
    assert world.node.loads.pool.serves("org/new"), "its alias is the pool"
    effects = world.stock("org/a")
    assert do.FetchWeights("org/new") in effects
    updates = [m for m in said(world.effects) if isinstance(m, ModelsUpdate)]
    assert not any(model.id == "org/new" for u in updates for model in u.models)
    world.tell(happened.WeightsFetched("org/new"))
    (update,) = (m for m in said(world.stock("org/a", "org/new")) if isinstance(m, ModelsUpdate))
    assert "org/new" in [model.id for model in update.models], "told once it lies here"


def test_a_name_past_the_allow_list_is_offered_and_never_served() -> None:
    chosen = settings(catalog=CATALOG, pools={"assigned": "tiny", "allowed": ["org/a"]})
    world = World(chosen)
    world.start()
    world.hear(WISH)
    world.tell(happened.SettingsChanged(with_new(chosen)))
    effects = [*world.stock("org/a"), *world.load_model("org/new")]
    assert not any(isinstance(e, do.FetchWeights) for e in effects)
    assert not world.node.loads.pool.serves("org/new")


def test_a_catalog_adds_retired_builds_and_takes_aliases_that_are_gone() -> None:
    offered = [{"id": model, "ref": f"s3://models/{model}"} for model in ("org/old", "org/b")]
    world = World(settings(models=offered))
    world.start()
    world.tell(happened.CatalogRead({"big": ("org/b", "org/old"), "huge": ("org/elsewhere",)}))
    topology = world.node.choice.topology
    assert {topology.keys_of(e) for e in world.node.settings.models} == {frozenset({"big"})}
    world.tell(happened.CatalogRead({}))
    keys = {e.id: world.node.choice.topology.keys_of(e) for e in world.node.settings.models}
    assert keys == {"org/old": {"org/old"}, "org/b": {"org/b"}}


def test_an_alias_that_the_catalog_drops_keeps_what_is_in_memory() -> None:
    world = World(
        settings(pools={"assigned": None}, models=[{"id": "org/a", "ref": "s3://models/a"}])
    )
    world.tell(happened.CatalogRead({"big": ("org/a",)}))
    world.start()
    world.load_model("org/a")
    world.stage("org/a")
    world.loaded("org/a")
    world.tell(ordered.PoolSetAsked(1, "big"))
    world.effects.clear()
    world.tell(happened.CatalogRead({}))
    assert world.node.choice.assignment.pool == "org/a"
    assert not any(isinstance(e, do.StopEngine) for e in world.effects)
