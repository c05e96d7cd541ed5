"""The owner's desk over a real node: questions as it stands, orders by their numbers."""

import asyncio
import json
from collections.abc import Mapping
from typing import cast

import pytest

from poolhand.agent.control.asked import Answer, Asked, Long, NotAnswered, route_of
from poolhand.agent.control.desk import MOST_ORDERS, Desk
from poolhand.agent.control.gauges import Process
from poolhand.agent.core.effects import TellOwner
from poolhand.agent.core.events import Event
from poolhand.config.errors import AgentError, ConfigInvalid
from tests.journeys.world import World, settings


class Room:
    """A desk before a node whose effects are carried out by hand."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.reread: AgentError | str = "nothing changed"
        self.desk = Desk(
            self.world.node,
            tell=self.tell,
            about=lambda: {"config": {"path": "/a.toml"}, "node": {"pid": 7}},
            reread=lambda: self.reread,
            clock_s=lambda: self.world.now_s,
            process=lambda: Process("1.2.3", 9.0),
        )

    def tell(self, event: Event) -> None:
        for effect in self.world.tell(event):
            if isinstance(effect, TellOwner):
                self.desk.told(effect)

    async def ask(
        self, method: str, path: str, body: object = None, **query: str
    ) -> tuple[int, dict[str, object]]:
        raw = b"" if body is None else json.dumps(body).encode()
        question = Asked(method, path, query, body=raw)
        try:
            route = route_of(self.desk.routes, question)
            assert not isinstance(route, Long)
            found = route(question)
            answer = found if isinstance(found, Answer) else await found
        except NotAnswered as error:
            answer = error.answer
        return answer.status, cast("dict[str, object]", json.loads(answer.encoded()))


@pytest.fixture
def room() -> Room:
    """A node that is connected and holds org/a."""
    made = Room()
    made.world.start()
    made.world.resident("org/a")
    return made


async def test_the_status_is_the_node_s_and_the_process_s(room: Room) -> None:
    code, told = await room.ask("GET", "/v1/status")
    assert (code, told["serving"]) == (200, True)
    assert told["node"] == {"pid": 7}
    assert told["config"] == {"rejected": None, "path": "/a.toml"}
    _, told = await room.ask("GET", "/v1/models")
    rows = cast("list[dict[str, object]]", told["models"])
    assert [row["id"] for row in rows] == ["org/a", "org/b", "org/c"]


async def test_alive_is_not_ready() -> None:
    room = Room()
    assert await room.ask("GET", "/healthz") == (200, {"status": "ok"})
    code, told = await room.ask("GET", "/readyz")
    assert (code, told["status"]) == (503, "unready")
    why_not = cast("list[Mapping[str, object]]", told["why_not"])
    assert next(each["code"] for each in why_not) == "line_connecting"
    room.world.start()
    room.world.resident("org/a")
    assert await room.ask("GET", "/readyz") == (200, {"status": "ok", "why_not": []})
    room.world.drop()
    assert (await room.ask("GET", "/healthz"))[0] == 200
    assert (await room.ask("GET", "/readyz"))[0] == 503


async def test_a_drain_is_under_way_then_done_and_taken_back(room: Room) -> None:
    room.world.request("r", "org/a")
    code, told = await room.ask("POST", "/v1/drain", {"deadline_s": 60})
    assert (code, told["status"]) == (202, "under_way")
    number = str(told["order"])
    assert (await room.ask("GET", "/v1/orders", order=number))[1]["status"] == "under_way"
    assert (await room.ask("GET", "/readyz"))[0] == 503
    for effect in room.world.answered("r"):
        if isinstance(effect, TellOwner):
            room.desk.told(effect)
    code, told = await room.ask("GET", "/v1/orders", order=number)
    assert (code, told["status"]) == (200, "done")
    code, told = await room.ask("POST", "/v1/undrain")
    assert (code, told["status"]) == (200, "done")
    assert (await room.ask("GET", "/readyz"))[0] == 200


async def test_pins_by_id_and_by_an_alias_of_one(room: Room) -> None:
    code, told = await room.ask("POST", "/v1/pin", {"model": "other"})
    assert (code, told["status"]) == (200, "done")
    assert room.world.node.loads.pins.added == ("org/c",)
    assert (await room.ask("POST", "/v1/unpin", {"model": "org/c"}))[0] == 200
    assert room.world.node.loads.pins.added == ()
    code, told = await room.ask("POST", "/v1/pin", {"model": "tiny"})
    assert (code, told["status"]) == (409, "refused"), "an alias of two is not one model"


async def test_a_pool_is_set_refused_and_released() -> None:
    room = Room(World(settings(pools={})))
    room.world.start()
    code, told = await room.ask("POST", "/v1/pool/set", {"pool": "nowhere"})
    assert (code, told["status"]) == (409, "refused")
    code, told = await room.ask("POST", "/v1/pool/set", {"pool": "other", "now": False})
    assert code in {200, 202}, told
    assert room.world.node.choice.assignment.scope == ("other",)
    assert (await room.ask("POST", "/v1/pool/release"))[0] == 200


async def test_a_reload_tells_what_became_of_it(room: Room) -> None:
    told = {"status": "done", "words": "nothing changed"}
    assert await room.ask("POST", "/v1/reload") == (200, told)
    room.reread = ConfigInvalid(path="/a.toml", line=4, problem="no such key")
    code, refused = await room.ask("POST", "/v1/reload")
    assert (code, refused["status"], refused["code"]) == (409, "refused", "config_invalid")
    assert refused["remedy"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/pin", {}),
        ("/v1/pin", {"model": ""}),
        ("/v1/pin", {"model": "a\x1bb"}),
        ("/v1/pin", {"model": "x" * 257}),
        ("/v1/pool/set", {"now": True}),
        ("/v1/pool/set", {"pool": "tiny", "now": 1}),
        ("/v1/drain", {"deadline_s": -1}),
        ("/v1/drain", {"deadline_s": True}),
        ("/v1/drain", {"deadline_s": 1e9}),
        ("/v1/undrain", {"deadline_s": 1}),
        ("/v1/reload", {"path": "/etc/passwd"}),
        ("/v1/pool/release", [1]),
    ],
)
async def test_an_order_that_is_none_changes_nothing(room: Room, path: str, body: object) -> None:
    before = room.desk.status()
    code, told = await room.ask("POST", path, body)
    assert (code, told["code"]) == (400, "bad_request")
    assert room.desk.status() == before


@pytest.mark.parametrize("number", ["", "7", "-1", "x", "²", "9" * 30])
async def test_an_order_that_nobody_gave(room: Room, number: str) -> None:
    assert (await room.ask("GET", "/v1/orders", order=number))[0] == 404


async def test_old_answers_are_forgotten(room: Room) -> None:
    for ask in range(1, MOST_ORDERS + 2):
        room.desk.told(TellOwner(ask, "done", "x"))
    assert (await room.ask("GET", "/v1/orders", order="1"))[0] == 404
    assert (await room.ask("GET", "/v1/orders", order="2"))[0] == 200


async def test_an_answer_that_takes_its_time_is_waited_for() -> None:
    asked: asyncio.Queue[Event] = asyncio.Queue()
    world = World()
    desk = Desk(
        world.node,
        tell=asked.put_nowait,
        about=dict,
        reread=lambda: "",
        clock_s=lambda: 0.0,
        process=lambda: Process("1.2.3", 9.0),
    )
    route = route_of(desk.routes, Asked("POST", "/v1/undrain"))
    assert not isinstance(route, Long)
    found = route(Asked("POST", "/v1/undrain"))
    assert not isinstance(found, Answer)
    waiting = asyncio.ensure_future(found)
    await asked.get()
    desk.told(TellOwner(99, "done", "another's"))
    await asyncio.sleep(0)
    assert not waiting.done()
    desk.told(TellOwner(1, "done", "mine"))
    answer = await waiting
    assert answer.body == {"order": 1, "status": "done", "words": "mine"}
