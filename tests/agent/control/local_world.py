"""A node that answers this machine's own programs: real core, relay, socket; engines to choose."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from poolhand.agent.control.access import guard
from poolhand.agent.control.api import Api, control_socket
from poolhand.agent.control.desk import Desk
from poolhand.agent.control.gauges import Process
from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.events import Event
from poolhand.agent.runtime.local import Local
from poolhand.agent.runtime.relay import Relay
from poolhand.agent.runtime.sealed import Lane
from poolhand.agent.wire.sealing import NodeKey
from poolhand.backends.engines.base import Engine
from poolhand.config.secrets import Secret
from tests.journeys.world import World, settings

MODEL, ALIAS, COLD, OUTSIDE = "org/a", "tiny", "org/b", "org/c"
KEY = "k" * 40
CANARY = "canary-41c2"


class Over(Exception):  # a test's way to end a task group
    """The test is over."""


class Rig:
    """The node, and everyone who answers one of its requests."""

    def __init__(
        self, tasks: asyncio.TaskGroup, engines: Mapping[str, Engine], **tables: object
    ) -> None:
        self.world = World(settings(**{"control": {"openai_api": True}, **tables}))
        self.world.start()
        self.told: list[Event] = []
        self.done: list[Effect] = []
        self.relay = Relay(
            NodeKey(bytes(range(32))),
            engine=engines.get,
            lane=_no_lane,
            tell=self.tell,
            tasks=tasks,
        )
        self.local = Local(take=self.relay.take, tell=self.tell)
        self.desk = Desk(
            self.world.node,
            tell=self.tell,
            about=dict,
            reread=lambda: "nothing changed",
            clock_s=lambda: self.world.now_s,
            process=lambda: Process("1", 1.0),
        )
        self.desk.ask = self.local.ask
        self.news = asyncio.Event()

    def tell(self, event: Event) -> None:
        """One turn of the loop."""
        self.told.append(event)
        self.desk.happened(event, self.world.now_s)
        for effect in self.world.tell(event):
            self.desk.done(effect, self.world.now_s)
            self.perform(effect)
        self.news.set()

    def perform(self, effect: Effect) -> None:
        """What the runtime would do, as far as it is about requests."""
        self.done.append(effect)
        match effect:
            case do.StartGeneration(request, model, most):
                self.relay.start(request, model, most)
            case do.CancelGeneration(request):
                self.relay.cancel(request)
            case do.ForgetRequest(request):
                self.relay.forget(request)
            case do.EndLocal(request, error):
                self.local.end(request, error)
            case do.TellOwner():
                self.desk.told(effect)
            case _:
                pass

    async def until(self, kind: type[Event], nth: int = 1) -> None:
        """Wait until so many events of a kind were told."""
        async with asyncio.timeout(20):
            while sum(isinstance(event, kind) for event in self.told) < nth:
                self.news.clear()
                await self.news.wait()

    def ended(self) -> list[happened.GenerationEnded]:
        """How answers ended, in order."""
        return [event for event in self.told if isinstance(event, happened.GenerationEnded)]


def _no_lane(line: int) -> Lane:
    raise AssertionError(line)  # nothing of a local request goes over a line


@asynccontextmanager
async def served(
    folder: Path, engines: Mapping[str, Engine], *, is_ready: bool = True, **tables: object
) -> AsyncGenerator[tuple[Rig, AsyncOpenAI]]:
    """The rig, and the official client on its Unix socket."""

    def end() -> NoReturn:
        raise Over

    path = folder / "state" / "control.sock"
    ready = asyncio.Event()
    try:
        with control_socket(path) as bound:
            async with asyncio.TaskGroup() as tasks:
                for engine in engines.values():
                    await engine.start()
                rig = Rig(tasks, engines, **tables)
                if is_ready:
                    rig.world.resident(MODEL)
                tasks.create_task(Api(rig.desk.routes).serve(bound, ready.set))
                await ready.wait()
                async with client(httpx2.AsyncHTTPTransport(uds=str(path))) as openai:
                    yield rig, openai
                end()
    except* Over:
        pass


@asynccontextmanager
async def on_port(rig: Rig, bound: socket.socket, number: int) -> AsyncGenerator[None]:
    """The same node on a port of loopback, behind the key."""
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        api = Api(rig.desk.routes, guard=guard(Secret(KEY), number))
        serving = tasks.create_task(api.serve(bound, ready.set))
        await ready.wait()
        yield
        serving.cancel()


@asynccontextmanager
async def client(
    transport: httpx2.AsyncHTTPTransport | None, base: str = "http://localhost/v1", key: str = "x"
) -> AsyncGenerator[AsyncOpenAI]:
    """The official client; no second try hides the first."""
    line = DefaultAsyncHttpxClient(transport=transport, trust_env=False)
    async with line:
        yield AsyncOpenAI(base_url=base, api_key=key, max_retries=0, timeout=30, http_client=line)
