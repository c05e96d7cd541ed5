"""What becomes of answers when a child misbehaves: real processes, a scripted child."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest

from poolhand.backends.engines.base import Delta, Finished, Piece, Prompt, Started
from poolhand.backends.engines.errors import (
    EngineDied,
    EngineError,
    EngineNotRunning,
    EngineStartFailed,
    EngineTimeout,
)
from poolhand.backends.engines.mlx import UNREAD_LIMIT_TOKENS, MlxEngine
from poolhand.config.refusals import ContextExceeded, Overloaded, RequestRefused, RequestTooLarge
from poolhand.config.settings import Mlx

SCRIPT = Path(__file__).with_name("engine_faults.py")


def engine_of(
    plan: str, *, unread_limit_tokens: int = UNREAD_LIMIT_TOKENS, **settings: float
) -> MlxEngine:
    patience = {"start_timeout_s": 20.0, "stall_timeout_s": 20.0, "stop_timeout_s": 5.0}
    return MlxEngine(
        "/nowhere",
        model="scripted",
        settings=Mlx.model_validate({**patience, **settings}),
        context_tokens=None,
        command=(sys.executable, "-P", str(SCRIPT), plan),
        unread_limit_tokens=unread_limit_tokens,
    )


@contextlib.asynccontextmanager
async def running(plan: str, **options: int) -> AsyncGenerator[MlxEngine]:
    engine = engine_of(plan, **options)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


def asked(text: str = "hello", *, max_tokens: int = 8) -> Prompt:
    return Prompt("r", "chat", {"messages": [{"role": "user", "content": text}]}, max_tokens)


async def hear(answer: AsyncGenerator[Piece, None]) -> list[Piece]:
    return [piece async for piece in answer]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta))


async def until(engine: MlxEngine, *, running: int) -> float:
    """Seconds until the child itself says that so many run."""
    began_s = time.monotonic()
    while engine.load().running != running:  # noqa: ASYNC110 - a cached view has no event
        await asyncio.sleep(0.002)
    return time.monotonic() - began_s


async def test_an_answer_has_one_beginning_and_one_end() -> None:
    async with running("steady") as engine:
        pieces = await hear(engine.generate(asked(max_tokens=4)))
        assert text_of(pieces) == "w0 w1 w2 w3"
        assert isinstance(pieces[0], Started)
        assert [type(piece) for piece in pieces].count(Finished) == 1
        assert isinstance(pieces[-1], Finished)
        assert sum(piece.tokens for piece in pieces if isinstance(piece, Delta)) == 4


@pytest.mark.parametrize("plan", ["dies:3", "leaves:3", "garbage:3", "hangs_up:3"])
async def test_a_broken_child_ends_all_answers_with_one_error(plan: str) -> None:
    async with running(plan) as engine:
        answers = [engine.generate(asked(max_tokens=100)) for _ in range(3)]
        ends = await asyncio.gather(*map(hear, answers), return_exceptions=True)
        assert [type(end) for end in ends] == [EngineDied] * 3
        assert isinstance(await engine.died(), EngineDied)
        with pytest.raises(EngineDied):
            await hear(engine.generate(asked()))


async def test_what_was_said_before_a_death_is_still_heard() -> None:
    async with running("dies:3") as engine:
        heard: list[Piece] = []

        async def keep() -> None:
            async for piece in engine.generate(asked()):
                heard.append(piece)  # noqa: PERF401 - kept when the generator raises

        with pytest.raises(EngineDied) as died:
            await keep()
        assert text_of(heard) == "w0 w1 w2"
        assert died.value.exit_code == 7
        assert "plan dies" in died.value.tail


async def test_a_kill_in_mid_stream_is_told_at_once() -> None:
    async with running("slow") as engine:
        answer = engine.generate(asked(max_tokens=1000))
        await anext(answer)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        began_s = time.monotonic()
        with pytest.raises(EngineDied):
            await hear(answer)
        assert time.monotonic() - began_s < 1


async def test_no_sign_of_life_is_a_timeout_and_the_stop_still_works() -> None:
    async with running("silent:2", stall_timeout_s=1) as engine:
        with pytest.raises(EngineTimeout):
            await hear(engine.generate(asked()))
        assert isinstance(await engine.died(), EngineTimeout)


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        ("load_failed", "bad_model"),
        ("no_memory", "out_of_memory"),
        ("environment", "exited"),
    ],
)
async def test_a_failed_load_says_what_kind_it_is(plan: str, kind: str) -> None:
    engine = engine_of(plan)
    with pytest.raises(EngineStartFailed) as failed:
        await engine.start()
    assert failed.value.kind == kind
    assert kind != "exited" or "plan" in failed.value.tail
    await engine.stop()
    assert not psutil.pid_exists(engine.pid or 0)


async def test_a_child_that_is_never_ready_is_given_up() -> None:
    engine = engine_of("never_ready", start_timeout_s=1.0)
    with pytest.raises(EngineTimeout):
        await engine.start()
    await engine.stop()
    assert not psutil.pid_exists(engine.pid or 0)


async def test_a_start_that_is_cancelled_leaves_nothing_after_stop() -> None:
    engine = engine_of("never_ready")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await engine.start()
    await engine.stop()
    assert not psutil.pid_exists(engine.pid or 0)


async def test_a_command_that_cannot_run_is_a_failed_start() -> None:
    engine = MlxEngine(
        "/nowhere", model="m", settings=Mlx(), context_tokens=None, command=("/no/such/python",)
    )
    with pytest.raises(EngineStartFailed):
        await engine.start()
    await engine.stop()


async def test_the_child_gets_no_secret_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-pass")
    monkeypatch.setenv("POOLHAND_TOKEN", "do-not-pass")
    engine = engine_of("environment")
    with pytest.raises(EngineStartFailed) as failed:
        await engine.start()
    await engine.stop()
    assert "do-not-pass" not in failed.value.tail
    assert "HF_HUB_OFFLINE=1" in failed.value.tail
    assert "TRANSFORMERS_OFFLINE=1" in failed.value.tail


async def test_a_child_that_will_not_leave_is_killed() -> None:
    engine = engine_of("deaf", stop_timeout_s=0.2)
    await engine.start()
    pid = engine.pid or 0
    # the last resort comes five seconds after SIGTERM
    await engine.stop()
    assert not psutil.pid_exists(pid)


async def test_closing_an_answer_cancels_it_and_no_other() -> None:
    async with running("slow") as engine:
        first, second = (engine.generate(asked(max_tokens=20)) for _ in range(2))
        await anext(first)
        await anext(second)
        await until(engine, running=2)
        await first.aclose()
        assert await until(engine, running=1) < 0.25
        assert text_of(await hear(second)).endswith("w19")


async def test_stop_ends_running_answers_with_an_error() -> None:
    engine = engine_of("slow")
    await engine.start()
    answer = engine.generate(asked(max_tokens=1000))
    await anext(answer)
    await engine.stop()
    with pytest.raises(EngineNotRunning):
        await hear(answer)
    await engine.stop()


async def test_refusals_keep_their_kind() -> None:
    async with running("steady") as engine:
        with pytest.raises(RequestRefused, match="messages must not be empty"):
            await hear(engine.generate(Prompt("r", "chat", {"messages": []}, 1)))
        with pytest.raises(ContextExceeded, match="1234 tokens"):
            await hear(engine.generate(asked("too long")))
        with pytest.raises(RequestTooLarge):
            await hear(engine.generate(asked("x" * (65 * 2**20))))
        with pytest.raises(RequestRefused):
            await hear(engine.generate(Prompt("r", "text", {"prompt": {1, 2}}, 1)))
        assert text_of(await hear(engine.generate(asked(max_tokens=1)))) == "w0"


async def test_more_than_it_can_hold_is_refused_at_once() -> None:
    async with running("slow", max_running=1) as engine:
        answers = [engine.generate(asked(max_tokens=1000)) for _ in range(3)]
        for answer in answers:
            await anext(answer)
        with pytest.raises(Overloaded):
            await hear(engine.generate(asked()))
        await answers[0].aclose()
        extra = engine.generate(asked(max_tokens=1))
        assert isinstance(await anext(extra), Started)
        for answer in (*answers, extra):
            await answer.aclose()


async def test_a_slow_reader_gets_larger_pieces() -> None:
    async with running("steady") as engine:
        answer = engine.generate(asked(max_tokens=50))
        assert isinstance(await anext(answer), Started)
        await asyncio.sleep(1.0)  # this is the slow reader: the child has long said that it runs
        await until(engine, running=0)
        rest = await hear(answer)
        assert [type(piece) for piece in rest] == [Delta, Finished]
        assert isinstance(rest[0], Delta)
        assert rest[0].tokens == 50


async def test_readers_that_stop_make_the_child_stop_and_it_still_hears_cancels() -> None:
    async with running("flood", unread_limit_tokens=100) as engine:
        answer = engine.generate(asked(max_tokens=1_000_000))
        await anext(answer)
        process = psutil.Process(engine.pid)
        idle_looks = 0
        while idle_looks < 3:  # the child sleeps: it burns no time over a tenth of a second
            before_s = process.cpu_times().user
            await asyncio.sleep(0.1)
            idle_looks = idle_looks + 1 if process.cpu_times().user - before_s < 0.03 else 0
        unread = await anext(answer)
        assert isinstance(unread, Delta)
        assert unread.tokens < 50_000
        await answer.aclose()
        await until(engine, running=0)


async def test_a_reader_that_stands_still_keeps_nobody_else_waiting() -> None:
    async with running("flood") as engine:
        slow = [engine.generate(asked(max_tokens=20_000)) for _ in range(3)]
        for answer in slow:
            await anext(answer)
        for _ in range(2):
            rest = await hear(engine.generate(asked(max_tokens=20_000)))
            assert isinstance(rest[-1], Finished)
        for answer in slow:
            rest = await hear(answer)
            assert sum(piece.tokens for piece in rest if isinstance(piece, Delta)) == 20_000


async def test_a_paused_child_is_not_taken_for_dead() -> None:
    async with running("flood", unread_limit_tokens=100, stall_timeout_s=1) as engine:
        answer = engine.generate(asked(max_tokens=1_000_000))
        await anext(answer)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await engine.died()
        assert isinstance(await anext(answer), Delta)
        await answer.aclose()


async def test_nothing_is_answered_before_start_or_after_stop() -> None:
    engine = engine_of("steady")
    with pytest.raises(EngineNotRunning):
        await hear(engine.generate(asked()))
    await engine.start()
    await engine.stop()
    with pytest.raises(EngineError):
        await hear(engine.generate(asked()))


ORPHAN = """
import asyncio, os, signal, sys
sys.argv = ["x"]
from poolhand.backends.engines.mlx import MlxEngine
from poolhand.config.settings import Mlx
async def main():
    command = (sys.executable, "-P", {script!r}, "steady")
    engine = MlxEngine("/x", model="m", settings=Mlx(), context_tokens=None, command=command)
    await engine.start()
    print(engine.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def test_no_child_outlives_a_killed_parent() -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", ORPHAN.format(script=str(SCRIPT))],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    until_s = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until_s
        time.sleep(0.01)
