"""An engine that begins while its model is still being fetched.

The engine's library is imported and tensors are read as their bytes arrive, so that when the
build is whole and verified only the rest is left to be done. Nothing else changes: the model
counts as loaded when a load was asked for, granted and done, and a fetch that fails, changes
its mind or takes too long costs only this head start.

Memory is judged by whoever grants slots, on a reading that has this engine's memory in it
already. So an early one is begun only where the model would fit twice, and beside nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ...backends.engines.base import EarlyEngine, Engine
from ...config.errors import AgentError
from ..weights.cache import PARTIAL_NAME, Cache
from ..weights.lines import Tensors

PATIENCE_S = 60.0
"""From the last byte to the load that was expected; then its memory is given back."""

_FIT_TIMES = 2
_BESIDE_BYTES = 2**29


@dataclass(slots=True)
class _Beginning:
    """One engine that was begun."""

    engine: Engine | None = None
    waiting: list[Tensors] = field(default_factory=list[Tensors])
    is_whole: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    is_taken: bool = False


class Early:
    """At most one early engine; known to whoever performs, and to nobody else.

    Args:
        cache: Where builds arrive.
        make: An engine for a model that is not whole yet; ``None``: it can wait for the whole.
        free_bytes: Memory that a model may take now; 0 if others are here.
        tasks: Parent of the engine's life.
    """

    def __init__(
        self,
        cache: Cache,
        make: Callable[[str], Engine | None],
        *,
        free_bytes: Callable[[], Awaitable[int]],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._cache = cache
        self._make = make
        self._free_bytes = free_bytes
        self._tasks = tasks
        self._begun: dict[str, _Beginning] = {}

    def begin(self, model: str, size_bytes: int) -> None:
        """A model is being fetched that is going to be loaded: begin, if there is room."""
        if not self._begun:
            beginning = self._begun[model] = _Beginning()
            self._tasks.create_task(self._live(model, size_bytes, beginning), name=f"early {model}")

    def arrived(self, model: str, tensors: Tensors) -> None:
        """Tensors can be read."""
        beginning = self._begun.get(model)
        if beginning is not None:
            beginning.waiting.append(tensors)
            self._pass_on(model, beginning)

    def whole(self, model: str) -> None:
        """Every byte is here: the load should follow soon."""
        if (beginning := self._begun.get(model)) is not None:
            beginning.is_whole.set()

    def drop(self, model: str) -> None:
        """The model does not come."""
        if (beginning := self._begun.get(model)) is not None:
            beginning.is_over.set()

    def take(self, model: str) -> Engine | None:
        """The engine of a model that is loaded now, if it was begun well; any other goes."""
        beginning = self._begun.pop(model, None)
        for other in self._begun.values():
            other.is_over.set()
        if beginning is None:
            return None
        engine = beginning.engine
        beginning.is_taken = isinstance(engine, EarlyEngine) and engine.is_well
        beginning.is_over.set()
        return engine if beginning.is_taken else None

    async def _live(self, model: str, size_bytes: int, beginning: _Beginning) -> None:
        engine: Engine | None = None
        try:
            if await self._free_bytes() >= _FIT_TIMES * (size_bytes + _BESIDE_BYTES):
                engine = self._make(model)
            if isinstance(engine, EarlyEngine) and not beginning.is_over.is_set():
                await engine.prepare()
                beginning.engine = engine
                self._pass_on(model, beginning)
                await self._wait(beginning)
        except AgentError:
            pass  # whatever it is, the load itself will meet it and say so
        finally:
            if self._begun.get(model) is beginning:
                del self._begun[model]
            if engine is not None and not beginning.is_taken:
                await engine.stop()

    async def _wait(self, beginning: _Beginning) -> None:
        async with asyncio.TaskGroup() as both:
            whole = both.create_task(beginning.is_whole.wait())
            over = both.create_task(beginning.is_over.wait())
            await asyncio.wait({whole, over}, return_when=asyncio.FIRST_COMPLETED)
            whole.cancel()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await beginning.is_over.wait()
            except TimeoutError:
                over.cancel()

    def _pass_on(self, model: str, beginning: _Beginning) -> None:
        engine = beginning.engine
        if not isinstance(engine, EarlyEngine):
            return
        folder = self._cache.folder(model)
        for tensors in beginning.waiting:
            places = (str(folder / PARTIAL_NAME / tensors.path), str(folder / tensors.path))
            engine.take(places, () if tensors.is_forgotten else tensors.names)
        beginning.waiting.clear()
