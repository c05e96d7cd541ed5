"""What becomes of answers when a server misbehaves: real processes, a server with a script."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from servers import PROFILES, build_of, scripted

from poolhand.backends.engines.base import Delta, Finished, Piece, Prompt, Started
from poolhand.backends.engines.errors import (
    EngineBrokeOff,
    EngineDied,
    EngineNotRunning,
    EngineStartFailed,
    EngineTimeout,
)
from poolhand.backends.engines.profiles import Plan
from poolhand.backends.engines.profiles_vllm import VllmProfile
from poolhand.backends.engines.served import ServedEngine
from poolhand.backends.engines.served_origins import OwnServer
from poolhand.config.engines import Server
from poolhand.config.errors import AgentError
from poolhand.config.refusals import ContextExceeded, Overloaded, RequestRefused, RequestTooLarge


@contextlib.asynccontextmanager
async def running(
    plan: str, folder: Path, kind: str = "vllm", **settings: float
) -> AsyncGenerator[ServedEngine]:
    engine = scripted(plan, folder, kind, adapters={}, **settings)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


def asked(text: str = "hello there", *, max_tokens: int = 8) -> Prompt:
    return Prompt("r", "chat", {"messages": [{"role": "user", "content": text}]}, max_tokens)


def list_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def hear(answer: AsyncGenerator[Piece, None]) -> list[Piece]:
    return [piece async for piece in answer]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta))


async def until(is_so: Callable[[], bool]) -> None:
    """Look until something outside has become so: other processes have no events."""
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)


def is_gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.parametrize("kind", PROFILES)
async def test_each_kind_of_server_starts_answers_tells_and_leaves(
    kind: str, tmp_path: Path
) -> None:
    async with running("steady", tmp_path, kind) as engine:
        pid = engine.pid or 0
        assert psutil.pid_exists(pid)
        pieces = await hear(engine.generate(asked(max_tokens=4)))
        assert text_of(pieces) == "w0 w1 w2 w3"
        assert isinstance(pieces[0], Started)
        assert isinstance(pieces[-1], Finished)
        assert pieces[0].prompt_tokens == pieces[-1].usage.prompt_tokens
        assert sum(piece.tokens for piece in pieces if isinstance(piece, Delta)) == 4
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await engine.died()
        told = engine.load()
        has_budget = kind != "llamacpp"
        assert told.budget_max_tokens == (4000 if has_budget else None)
        assert told.budget_used_tokens == (1000 if has_budget else None)
        assert told.generated_tokens == 4
        with pytest.raises(ContextExceeded, match="1234 tokens exceeds the context length of 1000"):
            await hear(engine.generate(asked("too long")))
    assert not psutil.pid_exists(pid)


async def test_what_is_loaded_is_measured(tmp_path: Path) -> None:
    engine = scripted("slow_start", tmp_path)
    loaded = await engine.start()
    assert loaded.context_tokens == 1000
    assert loaded.memory_bytes is not None
    assert loaded.memory_bytes > 2**20
    assert engine.load().prefill_tps is not None
    assert engine.load().generated_tokens == 0, "nobody has asked anything yet"
    await engine.stop()


@pytest.mark.parametrize("plan", ["dies:3", "leaves:3"])
async def test_a_server_that_ends_ends_all_answers_with_one_error(
    plan: str, tmp_path: Path
) -> None:
    async with running(plan, tmp_path) as engine:
        answers = [engine.generate(asked(max_tokens=100)) for _ in range(3)]
        ends = await asyncio.gather(*map(hear, answers), return_exceptions=True)
        assert [type(end) for end in ends] == [EngineDied] * 3
        died = await engine.died()
        assert isinstance(died, EngineDied)
        assert died.exit_code == (7 if plan == "dies:3" else 0)
        assert f"plan {plan[:-2]}" in died.tail
        with pytest.raises(EngineDied):
            await hear(engine.generate(asked()))


@pytest.mark.parametrize("plan", ["cut:3", "garbage:3", "error:3", "no_finish"])
async def test_an_answer_that_is_not_whole_is_a_failure_and_the_server_lives_on(
    plan: str, tmp_path: Path
) -> None:
    async with running(plan, tmp_path) as engine:
        heard: list[Piece] = []

        async def keep() -> None:
            async for piece in engine.generate(asked()):
                heard.append(piece)  # noqa: PERF401 - kept when the generator raises

        with pytest.raises(EngineBrokeOff):
            await keep()
        assert "w0" in text_of(heard)
        assert not any(isinstance(piece, Finished) for piece in heard)
        with pytest.raises(EngineBrokeOff):
            await hear(engine.generate(asked()))
        assert psutil.pid_exists(engine.pid or 0)


async def test_an_answer_that_a_death_ended_says_so_though_a_stop_follows(tmp_path: Path) -> None:
    async with running("slow", tmp_path) as engine:
        answer = engine.generate(asked(max_tokens=1000))
        await anext(answer)
        os.kill(engine.pid or 0, signal.SIGKILL)
        async with asyncio.TaskGroup() as tasks:
            heard = tasks.create_task(ending(answer))
            await engine.died()
            await engine.stop()
        assert isinstance(heard.result(), EngineDied)
        with pytest.raises(EngineNotRunning):
            await hear(engine.generate(asked()))


async def ending(answer: AsyncGenerator[Piece, None]) -> Exception | None:
    try:
        await hear(answer)
    except AgentError as error:
        return error
    return None


async def test_a_kill_in_mid_stream_is_told_at_once(tmp_path: Path) -> None:
    async with running("slow", tmp_path) as engine:
        answer = engine.generate(asked(max_tokens=1000))
        await anext(answer)
        os.kill(engine.pid or 0, signal.SIGKILL)
        began_s = time.monotonic()
        with pytest.raises(EngineDied) as died:
            await hear(answer)
        assert died.value.exit_code == -signal.SIGKILL
        assert time.monotonic() - began_s < 1


@pytest.mark.parametrize("plan", ["silent:2", "stuck:2"])
async def test_no_word_for_long_is_a_timeout_and_the_stop_is_soon_over(
    plan: str, tmp_path: Path
) -> None:
    async with running(plan, tmp_path, stall_timeout_s=1, stop_timeout_s=50) as engine:
        pid = engine.pid or 0
        with pytest.raises(EngineTimeout):
            await hear(engine.generate(asked()))
        assert isinstance(await engine.died(), EngineTimeout)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 30, "what hangs has nothing to finish"
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        ("load_failed", "bad_model"),
        ("no_memory", "out_of_memory"),
        ("environment", "exited"),
        ("no_usage", "protocol"),
    ],
)
async def test_a_failed_load_says_what_kind_it_is(plan: str, kind: str, tmp_path: Path) -> None:
    engine = scripted(plan, tmp_path)
    with pytest.raises(EngineStartFailed) as failed:
        await engine.start()
    await engine.stop()
    assert failed.value.kind == kind
    assert f"plan {plan}" in failed.value.tail


async def test_a_build_of_the_wrong_form_never_starts(tmp_path: Path) -> None:
    engine = scripted("steady", tmp_path, "llamacpp")
    (tmp_path / "steady" / "model.gguf").unlink()
    with pytest.raises(EngineStartFailed, match="takes one GGUF model, and 0 are here"):
        await engine.start()
    await engine.stop()


async def test_a_program_that_cannot_run_is_a_failed_start(tmp_path: Path) -> None:
    profile = VllmProfile()
    plan = Plan(("/no/such/program",), str(build_of("steady", tmp_path)))
    engine = ServedEngine(OwnServer(profile, plan), profile, served_name="local", settings=Server())
    with pytest.raises(EngineStartFailed) as failed:
        await engine.start()
    assert "cannot run /no/such/program" in failed.value.tail
    await engine.stop()


@pytest.mark.parametrize("how", ["waits", "is cancelled"])
async def test_a_server_that_is_never_ready_is_given_up(how: str, tmp_path: Path) -> None:
    engine = scripted("never_ready", tmp_path, start_timeout_s=1 if how == "waits" else 60)
    error = EngineTimeout if how == "waits" else TimeoutError
    with pytest.raises(error):
        async with asyncio.timeout(1.5):
            await engine.start()
    pid = engine.pid or 0
    assert psutil.pid_exists(pid)
    await engine.stop()
    assert not psutil.pid_exists(pid)


async def test_the_server_gets_no_secret_of_the_agent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "POOLHAND_TOKEN", "HTTPS_PROXY", "LD_PRELOAD_X"):
        monkeypatch.setenv(name, "do-not-pass")
    engine = scripted("environment", tmp_path)
    with pytest.raises(EngineStartFailed) as failed:
        await engine.start()
    await engine.stop()
    told = failed.value.tail
    assert "do-not-pass" not in told
    assert "HF_HUB_OFFLINE=1" in told
    assert re.search(r"VLLM_API_KEY=\S{32}", told), "a key of this start"


async def test_nobody_gets_in_without_the_key_and_the_folder_is_ours_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rooms = tmp_path / "r"
    rooms.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(rooms))
    async with running("steady", tmp_path):
        (folder,) = list_of(rooms)
        assert folder.stat().st_mode & 0o777 == 0o700
        reader, writer = await asyncio.open_unix_connection(str(folder / "s.sock"))
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        writer.close()
    assert not list_of(rooms), "nothing is left behind"


async def test_a_server_that_will_not_leave_is_killed(tmp_path: Path) -> None:
    engine = scripted("deaf", tmp_path, stop_timeout_s=0.2)
    await engine.start()
    pid = engine.pid or 0
    await engine.stop()
    assert not psutil.pid_exists(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux makes orphans somebody's own")
async def test_what_a_server_started_leaves_with_it(tmp_path: Path) -> None:
    engine = scripted("family", tmp_path, stop_timeout_s=1)
    await engine.start()
    (worker,) = psutil.Process(engine.pid).children()
    await engine.stop()
    await until(lambda: is_gone(worker.pid))


async def test_closing_an_answer_cancels_it_and_no_other(tmp_path: Path) -> None:
    async with running("slow", tmp_path) as engine, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(engine.died())
        first, second = (engine.generate(asked(max_tokens=100)) for _ in range(2))
        await anext(first)
        await anext(second)
        await first.aclose()
        # by the server's own word, which is newer than the cancel
        await until(lambda: engine.figures_are_newer and engine.load().running == 1)
        assert text_of(await hear(second)).endswith("w99")
        watching.cancel()


async def test_stop_ends_running_answers_with_an_error(tmp_path: Path) -> None:
    engine = scripted("slow", tmp_path)
    await engine.start()
    answer = engine.generate(asked(max_tokens=1000))
    await anext(answer)
    await engine.stop()
    with pytest.raises(EngineNotRunning):
        await hear(answer)
    await engine.stop()
    with pytest.raises(EngineNotRunning):
        await hear(engine.generate(asked()))


async def test_more_than_it_may_hold_is_refused_at_once(tmp_path: Path) -> None:
    async with running("slow", tmp_path, max_running=1, max_waiting=1) as engine:
        answers = [engine.generate(asked(max_tokens=1000)) for _ in range(2)]
        await anext(answers[0])
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(hear(answers[1]))
            await until(lambda: engine.load().waiting == 1)
            with pytest.raises(Overloaded) as refused:
                await hear(engine.generate(asked()))
            assert refused.value.request_text == "request rejected: queue full"
            assert refused.value.wire_status == 503
            await answers[0].aclose()
            waiting.cancel()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RequestRefused),
        (422, RequestRefused),
        (413, RequestTooLarge),
        (429, Overloaded),
        (503, Overloaded),
        (500, EngineBrokeOff),
        (401, EngineBrokeOff),
    ],
)
async def test_a_refusal_keeps_its_kind_and_quotes_nothing(
    status: int, error: type[AgentError], tmp_path: Path
) -> None:
    async with running(f"refuses:{status}", tmp_path) as engine:
        with pytest.raises(error) as refused:
            await hear(engine.generate(asked("canary")))
        assert "canary" not in str(refused.value) + refused.value.request_text


async def test_a_wrong_form_never_reaches_the_server(tmp_path: Path) -> None:
    async with running("steady", tmp_path) as engine:
        half = asked("\ud800").body
        for body in ({"messages": list[object]()}, half):
            with pytest.raises(RequestRefused):
                await hear(engine.generate(Prompt("r", "chat", body, 1)))
        with pytest.raises(RequestRefused):
            await hear(engine.generate(Prompt("r", "messages", {"messages": []}, 1)))
        assert text_of(await hear(engine.generate(asked(max_tokens=1)))) == "w0"


async def test_a_slow_reader_gets_larger_pieces(tmp_path: Path) -> None:
    async with running("steady", tmp_path) as engine:
        answer = engine.generate(asked(max_tokens=50))
        assert isinstance(await anext(answer), Started)
        await asyncio.sleep(1.0)  # this is the slow reader
        rest = await hear(answer)
        assert len(rest) < 6
        assert sum(piece.tokens for piece in rest if isinstance(piece, Delta)) == 50


async def test_an_idle_server_sleeps_and_wakes_for_the_next_request(tmp_path: Path) -> None:
    note = tmp_path / "steady" / "sleeps"
    engine = scripted("steady", tmp_path, sleep_after_s=0.1)
    assert (await engine.start()).sleeps, "so nobody stops it for being idle"
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(engine.died())
        await until(note.exists)
        assert text_of(await hear(engine.generate(asked(max_tokens=1)))) == "w0"
        assert note.read_text().startswith("/sleep?level=1 /wake_up")
        watching.cancel()
    await engine.stop()


ORPHAN = """
import asyncio, os, signal, sys
sys.path[:0] = [{here!r}]
from pathlib import Path
from servers import scripted
async def main():
    engine = scripted({plan!r}, Path({folder!r}))
    await engine.start()
    import psutil
    family = [engine.pid, *(one.pid for one in psutil.Process(engine.pid).children())]
    print(*family, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_no_server_outlives_a_killed_agent(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    program = ORPHAN.format(here=here, plan="family", folder=str(tmp_path))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    family = [int(pid) for pid in done.stdout.split()]
    assert len(family) == 2
    if sys.platform != "linux":
        family.pop()
    for pid in family:
        await until(partial(is_gone, pid))


@pytest.mark.parametrize("kind", PROFILES)
async def test_no_key_can_be_read_off_a_process_list(kind: str, tmp_path: Path) -> None:
    async with running("steady", tmp_path, kind) as engine:
        argv = psutil.Process(engine.pid or 0).cmdline()
        assert await hear(engine.generate(asked(max_tokens=1))), "it is asked with its key"
        own = [word for word in argv if word.endswith(".yaml")]
        for path in map(Path, own):
            assert path.parent.stat().st_mode & 0o777 == 0o700
            (key,) = re.findall(r'"(.+)"', path.read_text())
            assert key not in " ".join(argv)
        assert bool(own) == (kind == "sglang")
    assert not any(os.path.exists(path) for path in own)  # noqa: ASYNC240, PTH110 - gone at once
