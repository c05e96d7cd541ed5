"""The published document and schemas against what is really answered."""

from collections.abc import Mapping
from typing import cast

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from poolhand.agent.control import shapes
from poolhand.agent.control.asked import Answer, Asked, Long, NotAnswered, route_of
from poolhand.agent.control.desk import Desk
from poolhand.agent.control.gauges import Process
from poolhand.agent.control.openapi import CALLS, document
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.effects import TellOwner
from poolhand.agent.core.events import Event
from poolhand.agent.core.status import models, status
from poolhand.backends.stores.base import Progress, Survey
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.config.errors import ConfigInvalid
from tests.journeys.world import World


def holds(answer: object, schema: shapes.Schema) -> None:
    jsonschema.validate(answer, cast("Mapping[str, object]", schema))


def worlds() -> list[World]:
    """Nodes to which one thing or another has happened."""
    fresh, serving, coming, drained, lost = (World() for _ in range(5))
    for world in (serving, coming, drained, lost):
        world.start()
    serving.resident("org/a")
    serving.load_model("org/c")
    serving.request("r", "org/a")
    serving.tell(happened.CacheSurveyed(Survey(1, 0, 9, 1, None)))
    coming.load_model("org/a")
    coming.tell(happened.WeightsProgressed("org/a", Progress(1, 9, 0, 3.0, "fetch")))
    drained.tell(ordered.DrainAsked(1))
    lost.drop()
    lost.tell(happened.WeightsFailed("org/a", StoreUnreachable(store="s", reason="r")))
    lost.tell(happened.SettingsRejected(ConfigInvalid(path="p", line=1, problem="x")))
    return [fresh, serving, coming, drained, lost]


@pytest.mark.parametrize("number", range(5))
def test_a_status_is_as_published_and_no_more(number: int) -> None:
    world = worlds()[number]
    told = status(world.node, world.now_s)
    holds(told, shapes.shape(**shapes.NODE_PARTS))
    holds({"models": models(world.node, world.now_s)}, shapes.MODELS)
    with pytest.raises(jsonschema.ValidationError):
        holds({**told, "more": 1}, shapes.shape(**shapes.NODE_PARTS))
    with pytest.raises(jsonschema.ValidationError):
        holds({**told, "serving": None}, shapes.shape(**shapes.NODE_PARTS))


def test_the_document_is_one() -> None:
    made = document("1.2.3")
    OpenAPIV31SpecValidator(cast("dict[str, object]", made)).validate()
    assert len({(call.method, call.path) for call in CALLS}) == len(CALLS)


async def test_every_route_is_in_it_and_answers_as_it_says() -> None:
    world = worlds()[1]

    def tell(event: Event) -> None:
        for effect in world.tell(event):
            if isinstance(effect, TellOwner):
                desk.told(effect)

    desk = Desk(
        world.node,
        tell=tell,
        about=dict,
        reread=lambda: "nothing changed",
        clock_s=lambda: world.now_s,
        process=lambda: Process("1", 1.0),
    )
    routes = {(method, path) for path, by in desk.routes.items() for method in by}
    routes = {
        (method, f"{path}{{model}}" if path.endswith("/") else path) for method, path in routes
    }
    assert routes | {("GET", "/v1/config")} == {(call.method, call.path) for call in CALLS}
    bodies = {"/v1/pin": b'{"model": "org/a"}', "/v1/unpin": b'{"model": "org/a"}'}
    bodies["/v1/pool/set"] = b'{"pool": "tiny"}'
    for call in CALLS:
        if call.path in {"/v1/config", "/v1/status"}:
            continue  # the daemon tells of them what the desk cannot
        question = Asked(call.method, call.path, {"order": "1"}, body=bodies.get(call.path, b""))
        route = route_of(desk.routes, question)
        try:
            found = (route.route if isinstance(route, Long) else route)(question)
            answer = found if isinstance(found, Answer) else await found
        except NotAnswered as error:
            answer = error.answer
        schema = call.answers[answer.status]
        if schema is not None:
            holds(answer.body, schema)
