"""A server that runs already: it counts whole answers only, or none; or it is not there."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web

from poolhand.backends.engines.base import Delta, Finished, Piece, Prompt, Usage
from poolhand.backends.engines.errors import EngineStartFailed, EngineTimeout, EngineUnreachable
from poolhand.backends.engines.profiles_attach import AttachProfile
from poolhand.backends.engines.served import ServedEngine
from poolhand.backends.engines.served_origins import AttachedServer
from poolhand.config.engines import Attach, Server

USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
STALL_S = 0.4


@asynccontextmanager
async def attached(*, counts: bool) -> AsyncGenerator[tuple[ServedEngine, list[object]]]:
    """An engine beside such a server, and whether each request asked for a stream."""
    streamed: list[object] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = cast("Mapping[str, object]", await request.json())
        streamed.append(body["stream"])
        if body["stream"]:
            told = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await told.prepare(request)
            choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
            event = json.dumps({"choices": [choice]})
            await told.write(f"data: {event}\n\ndata: [DONE]\n\n".encode())
            return told
        if "slowly" in str(body["messages"]):
            await asyncio.sleep(STALL_S * 3)
        choice = {"index": 0, "message": {"content": "All of it"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], **({"usage": USAGE} if counts else {})})

    application = web.Application()
    application.add_routes([web.post("/v1/chat/completions", answer)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    engine = ServedEngine(
        AttachedServer(Attach(url=url)),
        AttachProfile(),
        served_name="m",
        settings=Server(start_timeout_s=30, stall_timeout_s=STALL_S),
        poll_s=0.05,
    )
    try:
        yield engine, streamed
    finally:
        await engine.stop()
        await runner.cleanup()


async def hear(engine: ServedEngine, text: str) -> list[Piece]:
    body = {"messages": [{"role": "user", "content": text}]}
    return [piece async for piece in engine.generate(Prompt("r", "chat", body, 8))]


async def test_a_server_that_counts_whole_answers_only_is_asked_for_such() -> None:
    async with attached(counts=True) as (engine, streamed):
        await engine.start()
        assert streamed == [True, False], "first it may show that it counts as it goes"
        pieces = await hear(engine, "hello")
        assert [piece.text for piece in pieces if isinstance(piece, Delta)] == ["All of it"]
        assert pieces[-1] == Finished("stop", Usage(3, 2))
        told = engine.load()
        assert (told.prefill_tps, told.decode_tps) == (None, None), "nobody could measure them"


async def test_it_may_take_its_time_over_one() -> None:
    async with attached(counts=True) as (engine, _):
        await engine.start()
        assert isinstance((await hear(engine, "slowly"))[-1], Finished)
        assert isinstance((await hear(engine, "hello"))[-1], Finished)


async def test_one_that_counts_none_is_not_taken() -> None:
    async with attached(counts=False) as (engine, _):
        with pytest.raises(EngineStartFailed, match="how many tokens"):
            await engine.start()


# ── one that is not there ─────────────────────────────────────────────────────────────


def waiting(attach: Attach, start_timeout_s: float) -> ServedEngine:
    """An engine that waits a moment for somebody to take its calls."""
    origin, patience = AttachedServer(attach, absent_s=0.1), Server(start_timeout_s=start_timeout_s)
    return ServedEngine(origin, AttachProfile(), served_name="m", settings=patience)


@pytest.mark.parametrize("way", ["port", "socket"])
async def test_one_that_is_gone_fails_its_load_long_before_the_patience_for_a_start(
    way: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    port = Attach(url=f"http://127.0.0.1:{unused_tcp_port}")
    attach = port if way == "port" else Attach(socket=str(tmp_path / "s"))
    engine = waiting(attach, 45)
    with pytest.raises(EngineUnreachable, match=r"no connection") as failed:
        await engine.start()
    assert failed.value.load_text == "model load failed: engine_unreachable"
    await engine.stop()


async def test_one_that_takes_calls_and_is_not_ready_is_waited_for(tmp_path: Path) -> None:
    async def busy(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    path = str(tmp_path / "s")
    async with await asyncio.start_unix_server(busy, path):
        engine = waiting(Attach(socket=path), 0.6)
        with pytest.raises(EngineTimeout):
            await engine.start()
        await engine.stop()
