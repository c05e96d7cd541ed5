"""Who holds which engine.

One task a resident lives as long as its engine: it starts it, watches it, stops it, and says
each time what became of it. Nobody else starts or stops an engine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import TypeVar

from ...backends.engines.base import Engine, Load
from ...backends.stores.base import Build
from ...config.errors import AgentError
from ..core.events import EngineFailed, EngineLoaded, EngineStopped, Event

T = TypeVar("T")

LAST_STOP_S = 30.0
"""How long an engine may take to stop when this process is on its way out."""


class Residents:
    """The running engines, by model.

    Args:
        make: Builds the engine for a model in a slot, 0 for the first; may raise
            ``EngineMissing``.
        tell: Puts an event into the inbox.
        tasks: Parent of the residents.
    """

    def __init__(
        self,
        make: Callable[[str, Build, int], Engine],
        *,
        tell: Callable[[Event], None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._make = make
        self._tell = tell
        self._tasks = tasks
        self._engines: dict[str, Engine] = {}
        self._leave: dict[str, asyncio.Event] = {}
        self._slots: set[int] = set()

    def load(self, model: str, build: Build) -> None:
        """Start an engine; ``EngineLoaded`` or ``EngineFailed`` follows, unless it is stopped.

        It waits for nobody: an engine of the same model may still be on its way out.
        """
        leave = self._leave[model] = asyncio.Event()
        self._tasks.create_task(self._live(model, build, leave), name=f"engine {model}")

    def stop(self, model: str) -> None:
        """Stop the engine, however far it is; one ``EngineStopped`` follows for each load."""
        leave = self._leave.get(model)
        if leave is None:
            self._tell(EngineStopped(model))
        else:
            leave.set()

    @property
    def is_empty(self) -> bool:
        """Whether no engine is here, on its way, or on its way out."""
        return not self._leave

    def engine(self, model: str) -> Engine | None:
        """The model's engine, while it can answer."""
        return self._engines.get(model)

    def loads(self) -> Mapping[str, Load]:
        """How busy each engine is."""
        return {model: engine.load() for model, engine in self._engines.items()}

    async def _live(self, model: str, build: Build, leave: asyncio.Event) -> None:
        slot = next(slot for slot in count() if slot not in self._slots)
        self._slots.add(slot)
        try:
            engine = self._make(model, build, slot)
        except AgentError as error:
            self._tell(EngineFailed(model, error))
            await leave.wait()
        else:
            await self._keep(model, engine, leave)
        finally:
            self._slots.discard(slot)
        if self._leave.get(model) is leave:
            del self._leave[model]
        self._tell(EngineStopped(model))

    async def _keep(self, model: str, engine: Engine, leave: asyncio.Event) -> None:
        """Run an engine, and stop it whatever happens."""
        try:
            await self._serve(model, engine, leave)
        except asyncio.CancelledError:
            # the process is on its way out; an engine that stays is killed with it
            self._gone(model, engine)
            async with asyncio.timeout(LAST_STOP_S):
                await engine.stop()
            raise
        self._gone(model, engine)
        await engine.stop()

    async def _serve(self, model: str, engine: Engine, leave: asyncio.Event) -> None:
        """Start and watch until somebody wants it to leave, or it leaves by itself."""
        loaded = await _unless(leave, engine.start)
        if loaded is None:
            return
        if isinstance(loaded, AgentError):
            self._tell(EngineFailed(model, loaded))
            await leave.wait()
            return
        self._engines[model] = engine
        self._tell(EngineLoaded(model, loaded))
        death = await _unless(leave, engine.died)
        if death is not None:
            self._gone(model, engine)
            self._tell(EngineFailed(model, death))
            await leave.wait()

    def _gone(self, model: str, engine: Engine) -> None:
        """It answers no more; a later engine of the same model is left alone."""
        if self._engines.get(model) is engine:
            del self._engines[model]


async def _unless(leave: asyncio.Event, work: Callable[[], Awaitable[T]]) -> T | AgentError | None:
    """What ``work`` returns or fails with; ``None`` if ``leave`` came first and ended it."""
    async with asyncio.TaskGroup() as both:
        working = both.create_task(_outcome(work))
        leaving = both.create_task(leave.wait())
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        working.cancel()
    return None if working.cancelled() else working.result()


async def _outcome(work: Callable[[], Awaitable[T]]) -> T | AgentError:
    try:
        return await work()
    except AgentError as error:
        return error
