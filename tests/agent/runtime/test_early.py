"""An engine that begins early is a head start, and never a risk."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from runtime_world import group

from poolhand.agent.runtime.early import Early
from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.lines import Tensors
from poolhand.backends.engines.base import EarlyEngine, Engine, Load, Loaded, Piece, Prompt
from poolhand.backends.engines.errors import EngineError, EngineStartFailed

GIB = 2**30
NEWS = Tensors("a.safetensors", ("x", "y"))


class Engines:
    """Makes engines, and remembers what became of them."""

    def __init__(self, *, free_bytes: int = 64 * GIB, fails: bool = False) -> None:
        self.free = free_bytes
        self.fails = fails
        self.made: list[Eager] = []
        self.changed = asyncio.Event()

    def make(self, _model: str) -> Engine:
        self.made.append(Eager(self))
        return self.made[-1]

    async def free_bytes(self) -> int:
        return self.free

    async def until(self, words: list[str]) -> None:
        """Until the last engine was told this."""
        async with asyncio.timeout(20):
            while not self.made or self.made[-1].heard != words:
                self.changed.clear()
                await self.changed.wait()


class Eager:
    """An engine that only notes what it is told."""

    name = "eager"

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.heard: list[str] = []
        self.is_well = False

    def _note(self, word: str) -> None:
        self.heard.append(word)
        self.engines.changed.set()

    async def prepare(self) -> None:
        if self.engines.fails:
            self._note("failed")
            raise EngineStartFailed(engine=self.name, kind="exited", reason="no process")
        self.is_well = True
        self._note("prepare")

    def take(self, places: tuple[str, str], names: tuple[str, ...]) -> None:
        assert places[0] != places[1]
        self._note(" ".join(["take", Path(places[1]).name, *names]))

    async def start(self) -> Loaded:
        return Loaded(0.0, None, None)

    def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        raise NotImplementedError(prompt)

    def load(self) -> Load:
        return Load()

    async def died(self) -> EngineError:
        raise NotImplementedError

    async def stop(self) -> None:
        self._note("stop")


def early_of(engines: Engines, folder: Path, tasks: asyncio.TaskGroup) -> Early:
    return Early(Cache(folder), engines.make, free_bytes=engines.free_bytes, tasks=tasks)


TAKE = "take a.safetensors x y"


async def test_what_arrives_is_passed_on_and_the_load_gets_the_engine(tmp_path: Path) -> None:
    engines = Engines()
    async with group() as tasks:
        early = early_of(engines, tmp_path, tasks)
        early.begin("m", GIB)
        early.arrived("m", NEWS)
        await engines.until(["prepare", TAKE])
        early.arrived("m", Tensors("a.safetensors", is_forgotten=True))
        early.arrived("other", NEWS)
        early.whole("m")
        engine = early.take("m")
        assert engine is engines.made[0]
        assert isinstance(engine, EarlyEngine)
        assert early.take("m") is None, "it is given out once"
        await asyncio.sleep(0)
    assert engines.made[0].heard == ["prepare", TAKE, "take a.safetensors"], "and lives on"


async def test_a_fetch_that_fails_costs_only_the_head_start(tmp_path: Path) -> None:
    engines = Engines()
    async with group() as tasks:
        early = early_of(engines, tmp_path, tasks)
        early.begin("m", GIB)
        await engines.until(["prepare"])
        early.drop("m")
        await engines.until(["prepare", "stop"])
        assert early.take("m") is None


async def test_another_load_ends_it(tmp_path: Path) -> None:
    engines = Engines()
    async with group() as tasks:
        early = early_of(engines, tmp_path, tasks)
        early.begin("m", GIB)
        early.begin("n", GIB)
        await engines.until(["prepare"])
        assert early.take("n") is None
        await engines.until(["prepare", "stop"])
    assert len(engines.made) == 1, "never two at once"


async def test_it_needs_room_for_the_model_twice(tmp_path: Path) -> None:
    engines = Engines(free_bytes=4 * GIB)
    async with group() as tasks:
        early = early_of(engines, tmp_path, tasks)
        early.begin("m", 2 * GIB)
        await asyncio.sleep(0)
        early.whole("m")
        assert early.take("m") is None
    assert engines.made == []


async def test_an_engine_that_is_not_well_is_not_given_out(tmp_path: Path) -> None:
    engines = Engines()
    async with group() as tasks:
        early = early_of(engines, tmp_path, tasks)
        early.begin("m", GIB)
        await engines.until(["prepare"])
        engines.made[0].is_well = False
        assert early.take("m") is None
        await engines.until(["prepare", "stop"])


async def test_one_that_cannot_start_is_no_failure(tmp_path: Path) -> None:
    engines = Engines(fails=True)
    async with group() as tasks:
        early = early_of(engines, tmp_path, tasks)
        early.begin("m", GIB)
        await engines.until(["failed", "stop"])
        assert early.take("m") is None


async def test_a_process_on_its_way_out_takes_it_along(tmp_path: Path) -> None:
    engines = Engines()
    async with group() as tasks:
        early = early_of(engines, tmp_path, tasks)
        early.begin("m", GIB)
        await engines.until(["prepare"])
    assert engines.made[0].heard == ["prepare", "stop"]
