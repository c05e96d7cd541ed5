"""Engines come, answer, die and go; each load ends in exactly one ``EngineStopped``."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable

import pytest
from runtime_world import Inbox, group

from poolhand.agent.core.events import EngineFailed, EngineLoaded, EngineStopped
from poolhand.agent.runtime.residents import Residents
from poolhand.backends.engines.base import Load, Loaded, Piece, Prompt
from poolhand.backends.engines.echo import EchoEngine
from poolhand.backends.engines.errors import (
    EngineDied,
    EngineError,
    EngineMissing,
    EngineStartFailed,
)
from poolhand.backends.stores.base import Build

BUILD = Build("/nowhere", 1, 1, "0" * 64, "self", {})


class Scripted:
    """An engine that does what a test lets it do."""

    name = "scripted"

    def __init__(self) -> None:
        self.may_start = asyncio.Event()
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.may_die = asyncio.Event()
        self.is_starting = asyncio.Event()
        self.is_stopping = asyncio.Event()
        self.start_error: Exception | None = None
        self.said: list[str] = []

    async def start(self) -> Loaded:
        self.said.append("start")
        self.is_starting.set()
        await self.may_start.wait()
        if self.start_error is not None:
            raise self.start_error
        return Loaded(0.1, 5, None)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        for piece in ():
            yield piece

    def load(self) -> Load:
        return Load(running=3)

    async def died(self) -> EngineError:
        await self.may_die.wait()
        return EngineDied(engine=self.name, exit_code=9)

    async def stop(self) -> None:
        self.said.append("stop")
        self.is_stopping.set()
        await self.may_stop.wait()
        self.said.append("stopped")


def house(
    inbox: Inbox, tasks: asyncio.TaskGroup, *engines: Scripted
) -> tuple[Residents, Callable[[], None]]:
    """Residents that take these engines one after the other, and a way to load one."""
    waiting = list(engines)

    def make(model: str, build: Build, slot: int) -> Scripted:
        return waiting.pop(0)

    residents = Residents(make, tell=inbox.tell, tasks=tasks)
    return residents, lambda: residents.load("m", BUILD)


def ready() -> Scripted:
    engine = Scripted()
    engine.may_start.set()
    return engine


async def test_an_engine_comes_answers_and_goes(inbox: Inbox) -> None:
    engine = ready()
    async with group() as tasks:
        residents, load = house(inbox, tasks, engine)
        load()
        assert (await inbox.first(EngineLoaded)).loaded == Loaded(0.1, 5, None)
        assert residents.engine("m") is engine
        assert residents.loads() == {"m": Load(running=3)}
        residents.stop("m")
        residents.stop("m")
        await inbox.first(EngineStopped)
        assert residents.engine("m") is None
    assert engine.said == ["start", "stop", "stopped"]
    assert inbox.of(EngineStopped) == [EngineStopped("m")]


async def test_the_memory_is_back_before_it_is_said_to_be(inbox: Inbox) -> None:
    engine = ready()
    engine.may_stop.clear()
    async with group() as tasks:
        residents, load = house(inbox, tasks, engine)
        load()
        await inbox.first(EngineLoaded)
        residents.stop("m")
        await engine.is_stopping.wait()
        assert residents.engine("m") is None
        assert not inbox.of(EngineStopped)
        engine.may_stop.set()
        await inbox.first(EngineStopped)


async def test_a_start_that_is_stopped_is_given_up_and_cleaned_up(inbox: Inbox) -> None:
    engine = Scripted()
    async with group() as tasks:
        residents, load = house(inbox, tasks, engine)
        load()
        await engine.is_starting.wait()
        residents.stop("m")
        await inbox.first(EngineStopped)
    assert inbox.all == [EngineStopped("m")]
    assert engine.said == ["start", "stop", "stopped"]


async def test_a_stop_in_the_same_breath_as_the_load(inbox: Inbox) -> None:
    async with group() as tasks:
        residents, load = house(inbox, tasks, Scripted())
        load()
        residents.stop("m")
        await inbox.first(EngineStopped)
    assert inbox.all == [EngineStopped("m")]


async def test_a_failed_start_is_told_and_then_waits_to_be_stopped(inbox: Inbox) -> None:
    engine = ready()
    engine.start_error = EngineStartFailed(engine="x", kind="bad_model", reason="no")
    async with group() as tasks:
        residents, load = house(inbox, tasks, engine)
        load()
        assert (await inbox.first(EngineFailed)).error is engine.start_error
        assert not inbox.of(EngineStopped)
        residents.stop("m")
        await inbox.first(EngineStopped)
    assert engine.said[-1] == "stopped"


async def test_an_engine_that_cannot_be_made(inbox: Inbox) -> None:
    def make(model: str, build: Build, slot: int) -> Scripted:
        raise EngineMissing(engine="mlx", needs=f"{model} {build.folder}")

    async with group() as tasks:
        residents = Residents(make, tell=inbox.tell, tasks=tasks)
        residents.load("m", BUILD)
        assert (await inbox.first(EngineFailed)).error.code == "engine_missing"
        residents.stop("m")
        await inbox.first(EngineStopped)
    assert len(inbox.all) == 2


async def test_a_death_is_told_once_and_it_answers_no_more(inbox: Inbox) -> None:
    engine = ready()
    async with group() as tasks:
        residents, load = house(inbox, tasks, engine)
        load()
        await inbox.first(EngineLoaded)
        engine.may_die.set()
        assert (await inbox.first(EngineFailed)).error.code == "engine_died"
        assert residents.engine("m") is None
        residents.stop("m")
        await inbox.first(EngineStopped)
    assert len(inbox.of(EngineFailed)) == 1
    assert engine.said[-1] == "stopped"


async def test_a_stop_of_nobody_is_answered(inbox: Inbox) -> None:
    async with group() as tasks:
        residents, _ = house(inbox, tasks)
        residents.stop("m")
    assert inbox.all == [EngineStopped("m")]


async def test_an_old_engine_on_its_way_out_does_not_take_the_new_one_along(
    inbox: Inbox,
) -> None:
    old, new = ready(), ready()
    old.may_stop.clear()
    async with group() as tasks:
        residents, load = house(inbox, tasks, old, new)
        load()
        await inbox.first(EngineLoaded)
        residents.stop("m")
        await old.is_stopping.wait()
        load()
        await inbox.first(EngineLoaded, 2)
        old.may_stop.set()
        await inbox.first(EngineStopped)
        assert residents.engine("m") is new
        residents.stop("m")
        await inbox.first(EngineStopped, 2)
    assert new.said == ["start", "stop", "stopped"]


async def test_the_end_of_everything_stops_every_engine(inbox: Inbox) -> None:
    answering, coming = ready(), Scripted()
    async with group() as tasks:
        _, load = house(inbox, tasks, answering, coming)
        load()
        await inbox.first(EngineLoaded)
        load()
        await coming.is_starting.wait()
    assert answering.said[-1] == coming.said[-1] == "stopped"


async def test_what_nobody_expected_ends_the_group(inbox: Inbox) -> None:
    engine = ready()
    engine.start_error = ZeroDivisionError()

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            house(inbox, tasks, engine)[1]()

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert caught.group_contains(ZeroDivisionError)


async def test_a_slot_has_one_resident_and_is_free_after_it(inbox: Inbox) -> None:
    slots: list[int] = []

    def make(model: str, build: Build, slot: int) -> EchoEngine:
        slots.append(slot)
        return EchoEngine(model=model)

    async with group() as tasks:
        residents = Residents(make, tell=inbox.tell, tasks=tasks)
        for model in ("a", "b"):
            residents.load(model, BUILD)
        await inbox.first(EngineLoaded, 2)
        residents.stop("a")
        await inbox.first(EngineStopped)
        for model in ("c", "d"):
            residents.load(model, BUILD)
        await inbox.first(EngineLoaded, 4)
        for model in ("b", "c", "d"):
            residents.stop(model)
        await inbox.first(EngineStopped, 4)
    assert slots == [0, 1, 0, 2]


async def test_a_real_engine_lives_here_too(inbox: Inbox) -> None:
    async with group() as tasks:
        residents = Residents(
            lambda model, _build, _slot: EchoEngine(model=model), tell=inbox.tell, tasks=tasks
        )
        residents.load("m", BUILD)
        await inbox.first(EngineLoaded)
        residents.stop("m")
        await inbox.first(EngineStopped)


@pytest.mark.parametrize("seed", range(20))
async def test_each_load_ends_in_one_stop_whatever_happens_when(seed: int, inbox: Inbox) -> None:
    chance = random.Random(seed)  # noqa: S311  # a seed, so that it can be repeated
    engines = [Scripted() for _ in range(4)]
    async with group() as tasks:
        residents, load = house(inbox, tasks, *engines)
        for round_, engine in enumerate(engines, start=1):
            load()
            steps = [engine.may_start.set, engine.may_die.set, lambda: residents.stop("m")]
            if chance.random() < 0.3:
                engine.start_error = EngineStartFailed(engine="x", kind="exited", reason="no")
            chance.shuffle(steps)
            for step in steps:
                step()
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
            await inbox.first(EngineStopped, round_)
            assert residents.engine("m") is None
            assert engine.said.count("stopped") == 1
    assert len(inbox.of(EngineStopped)) == len(engines)
