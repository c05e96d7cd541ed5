"""An engine that the system ends while 32 answers run: each ends once, and the next one works."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest

from poolhand.agent.dev.checkpoint import make_model
from poolhand.backends.engines.base import Finished, Piece, Prompt
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.engines.mlx import MlxEngine
from poolhand.config.errors import AgentError
from poolhand.config.settings import Mlx

STREAMS = 32
SETTINGS = Mlx(max_running=STREAMS, stall_timeout_s=50, stop_timeout_s=20)

pytestmark = pytest.mark.engine


def engine_of(folder: Path) -> MlxEngine:
    return MlxEngine(str(folder), model="nano", settings=SETTINGS, context_tokens=None)


def asked(said: str, most: int) -> Prompt:
    body = {"messages": [{"role": "user", "content": said}], "temperature": 0}
    return Prompt("r", "chat", body, most)


async def hear(answer: AsyncGenerator[Piece, None]) -> list[Piece]:
    return [piece async for piece in answer]


async def works(folder: Path) -> bool:
    engine = engine_of(folder)
    try:
        await engine.start()
        return isinstance((await hear(engine.generate(asked("hello", 4))))[-1], Finished)
    finally:
        await engine.stop()


async def test_all_answers_end_at_once_and_the_next_engine_works(tmp_path: Path) -> None:
    make_model(tmp_path, preset="nano", name="nano")
    engine = engine_of(tmp_path)
    await engine.start()
    answers = [engine.generate(asked("[loop]", 3500)) for _ in range(STREAMS)]
    for answer in answers:
        await anext(answer)
    child = psutil.Process(engine.pid)
    child.send_signal(signal.SIGSEGV)
    ended = await asyncio.gather(*map(hear, answers), return_exceptions=True)
    assert [type(one) for one in ended] == [EngineDied] * STREAMS
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert isinstance(await engine.died(), EngineDied)
    began_s = time.monotonic()
    await engine.stop()
    assert time.monotonic() - began_s < SETTINGS.stop_timeout_s
    assert await works(tmp_path)


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_AS"), reason="Linux bounds it so")
async def test_without_memory_nobody_waits_for_ever(tmp_path: Path) -> None:
    make_model(tmp_path, preset="nano", name="nano")
    engine = engine_of(tmp_path)
    await engine.start()
    answers = [engine.generate(asked("[loop]", 100)) for _ in range(STREAMS - 1)]
    for answer in answers:
        await anext(answer)
    # less address space than it has: whoever asks for more gets none; and a prompt that needs it
    psutil.Process(engine.pid).rlimit(psutil.RLIMIT_AS, (2**20, 2**20))
    answers.append(engine.generate(asked("one two three four " * 200, 3)))
    began_s = time.monotonic()
    ended = await asyncio.gather(*map(hear, answers), return_exceptions=True)
    assert time.monotonic() - began_s < SETTINGS.stall_timeout_s, "a watchdog had to end it"
    for one in ended:
        is_whole = isinstance(one, list) and isinstance(one[-1], Finished)
        assert is_whole or isinstance(one, AgentError), one
    await engine.stop()
    assert await works(tmp_path)
