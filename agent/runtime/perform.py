"""Turns an effect into work; the one file that knows the other doers.

Each effect is handed to the room that does it and is not waited for, but for what is kept on the
disk. What becomes of it comes back through the inbox.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.engines.base import EarlyEngine, Endpoint, Engine
from ...backends.engines.catalog import engine_for, hosted_engine
from ...backends.engines.errors import EngineMissing
from ...backends.hosts.base import HostProbe
from ...backends.stores.base import Build
from ...config.frozen import frozen
from ...config.settings import Settings
from ..core import effects
from ..core.effects import Effect
from ..core.events import Event, Heard
from ..core.status import Json
from ..core.wanted import Wanted
from ..weights.cache import Cache
from ..wire.sealing import NodeKey
from .activity import ActivityReader
from .assignment_file import AssignmentFile, MeasuredFile, OrdersFile
from .early import Early
from .link import Link, Traffic
from .local import Call, Local
from .relay import Relay
from .residents import Residents
from .sampler import Sampler
from .shelf import Shelf
from .state_files import Pen

if TYPE_CHECKING:
    from .peer_port import PeerPort


@frozen
class World:
    """What the doers need to know.

    Attributes:
        key: Opens requests.
        cache_dir: Where weights lie.
        state_dir: This agent's own folder.
        tell_owner: Hands an order's answer to whoever gave the order.
        read_catalog: Has the public catalog read soon.
    """

    settings: Settings
    key: NodeKey
    probe: HostProbe
    cache_dir: Path
    state_dir: Path
    tell_owner: Callable[[effects.TellOwner], None] = lambda _: None
    read_catalog: Callable[[], None] = lambda: None


class Performer:
    """All doers, behind one call.

    Args:
        world: What they need to know.
        tell: Puts an event into the inbox.
        hear: The same for what the coordinator says, but waits while the inbox is full.
        tasks: Parent of everything that runs.
        wanted: Which models' weights have to stay on the disk now.
    """

    def __init__(
        self,
        world: World,
        *,
        tell: Callable[[Event], None],
        hear: Callable[[Sequence[Heard]], Awaitable[None]],
        tasks: asyncio.TaskGroup,
        wanted: Callable[[], Wanted] = Wanted,
    ) -> None:
        self._settings = world.settings
        self._state_dir = world.state_dir
        self._probe = world.probe
        self._cache = Cache(world.cache_dir)
        self._link = Link(world.settings.coordinator, tell=tell, hear=hear, tasks=tasks)
        self._residents = Residents(self._make, tell=tell, tasks=tasks)
        self._relay = Relay(
            world.key,
            engine=self._residents.engine,
            lane=self._link.lanes,
            tell=tell,
            tasks=tasks,
        )
        self._local = Local(take=self._relay.take, tell=tell)
        pen = Pen(tell)
        self._assignment = AssignmentFile(world.state_dir, tell=tell, pen=pen)
        self._orders = OrdersFile(world.state_dir, tell=tell, pen=pen)
        self._measured = MeasuredFile(world.state_dir, tell=tell, pen=pen)
        self._tell_owner = world.tell_owner
        self._read_catalog = world.read_catalog
        self._early = Early(self._cache, self._make_early, free_bytes=self._free_bytes, tasks=tasks)
        self._port = _peer_port(world, tasks)
        self._shelf = Shelf(
            world.settings,
            world.cache_dir,
            tell=tell if self._port is None else self._port.overhear(tell),
            tasks=tasks,
            wanted=wanted,
            follower=self._early,
        )
        self._sampler = Sampler(world.probe, loads=self._residents.loads, tell=tell, tasks=tasks)
        self._activity = ActivityReader(tell=tell, tasks=tasks)

    def recall(self) -> None:
        """Read what an earlier run has left; ``AssignmentRead`` follows, after all the others."""
        self._measured.recall()
        self._orders.recall()
        self._assignment.recall()

    def resettle(self, settings: Settings) -> None:
        """Work by these settings from now on; what is under way goes on as it began."""
        self._settings = settings
        self._link.resettle(settings.coordinator)
        self._shelf.resettle(settings)

    def peers(self) -> dict[str, Json] | None:
        """How it stands with answering peers; ``None``: this node answers none."""
        return None if self._port is None else self._port.facts()

    def peer_counts(self) -> dict[str, int] | None:
        """What was counted in answering peers; ``None``: this node answers none."""
        return None if self._port is None else self._port.counts

    def traffic(self) -> Traffic:
        """What goes over the lines."""
        seen = self._link.traffic
        return replace(seen, chunks=seen.chunks + self._local.chunks)

    def ask(self, model: str, endpoint: Endpoint, body: Mapping[str, object]) -> Call:
        """Ask for this machine's own programs."""
        return self._local.ask(model, endpoint, body)

    async def settled(self, patience_s: float) -> None:
        """Wait until this machine's own programs have read to the end, or too long."""
        await self._local.settled(patience_s)

    def perform(self, effect: Effect) -> Awaitable[None] | None:
        """Start the work that the effect asks for.

        Returns:
            What has to be over before anything else is done: what is kept has to be on the disk
            before anybody acts on it. Most often nothing.
        """
        match effect:  # what a busy node does all the time comes first
            case effects.Send(line, message):
                self._link.send(line, message)
            case (
                effects.OpenRequest()
                | effects.StartGeneration()
                | effects.CancelGeneration()
                | effects.ForgetRequest()
                | effects.EndLocal()
            ):
                self._answer(effect)
            case effects.Dial(line):
                self._link.dial(line)
            case effects.HangUp(line, is_polite):
                self._link.hang_up(line, is_polite=is_polite)
            case effects.SampleHost() | effects.ReadActivity():
                self._look(effect)
            case effects.PersistAssignment() | effects.PersistOrders() | effects.PersistMeasured():
                return self._keep(effect)
            case effects.TellOwner():
                self._tell_owner(effect)
            case effects.LoadEngine(model, build):
                self._shelf.used(model)
                self._residents.load(model, build)
            case effects.StopEngine(model):
                self._shelf.used(model)
                self._residents.stop(model)
            case _:
                self._bring(effect)
        return None

    def _keep(
        self,
        effect: effects.PersistAssignment | effects.PersistOrders | effects.PersistMeasured,
    ) -> Awaitable[None]:
        match effect:
            case effects.PersistAssignment():
                return self._assignment.persist(effect)
            case effects.PersistOrders():
                return self._orders.persist(effect)
            case effects.PersistMeasured():
                return self._measured.persist(effect)

    def _look(self, effect: effects.HostEffect) -> None:
        match effect:
            case effects.SampleHost():
                self._sampler.ask()
            case effects.ReadActivity(wanted):
                self._activity.ask(wanted)

    def _answer(self, effect: effects.RequestEffect) -> None:
        match effect:
            case effects.OpenRequest(request, message):
                self._relay.open(request, message)
            case effects.StartGeneration(request, model, max_tokens):
                self._relay.start(request, model, max_tokens)
            case effects.CancelGeneration(request):
                self._relay.cancel(request)
            case effects.ForgetRequest(request):
                self._relay.forget(request)
            case effects.EndLocal(request, error):
                self._local.end(request, error)

    def _bring(self, effect: effects.WeightsEffect) -> None:
        match effect:
            case effects.FetchWeights(model):
                self._shelf.fetch(model)
            case effects.CancelFetch(model):
                self._early.drop(model)
                self._shelf.cancel(model)
            case effects.VerifyWeights(model):
                self._shelf.verify(model)
            case effects.RefreshInventory(sizes_of):
                self._shelf.refresh(sizes_of)
            case effects.ReadCatalog():
                self._read_catalog()

    def _make(self, model: str, build: Build, slot: int) -> Engine:
        entry = self._settings.entry(model)
        if entry is None:
            raise EngineMissing(engine="any", needs=f"a [[models]] entry for '{model}'")
        if entry.external is not None:
            return hosted_engine(entry, entry.external, self._state_dir)
        early = self._early.take(model)
        return early or engine_for(
            entry, build.folder, self._settings, slot, adapters=dict(build.adapters)
        )

    def _make_early(self, model: str) -> Engine | None:
        """An engine whose model is still arriving, where that is worth it."""
        entry, settings = self._settings.entry(model), self._settings
        is_apart = settings.engines.mlx.isolation == "child"
        if entry is None or entry.engine not in {"auto", "mlx"} or entry.external is not None:
            return None
        if entry.adapters:
            return None
        if not settings.weights.overlap or not is_apart:
            return None
        engine = engine_for(entry, str(self._cache.folder(model)), settings, 0)
        return engine if isinstance(engine, EarlyEngine) else None

    async def _free_bytes(self) -> int:
        """Memory that is free now for a first model; 0 if it is not the first, or unknown."""
        if not self._residents.is_empty:
            return 0
        sample = await asyncio.to_thread(self._probe.sample)
        reserve_bytes = int(self._settings.memory.reserve_gib * 2**30)
        return (sample.memory_available_bytes or 0) - reserve_bytes


def _peer_port(world: World, tasks: asyncio.TaskGroup) -> "PeerPort | None":
    if world.settings.peers.listen is None:
        return None
    from .peer_port import PeerPort  # noqa: PLC0415  # only where peers are answered

    return PeerPort(world.settings.peers, world.cache_dir, tasks=tasks)


def cache_folder(settings: Settings, default: Path) -> Path:
    """Where weights lie: what the operator chose, else the platform's place."""
    return Path(os.fspath(settings.cache.dir)) if settings.cache.dir else default
