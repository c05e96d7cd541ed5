"""A native answer, handed on event by event, as Anthropic's own client reads it."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from aiohttp import web
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient
from providers import HOST, KEY, Provider, here, provided

from poolhand.backends.engines.base import Native, Prompt
from poolhand.backends.engines.hosted import HostedEngine
from poolhand.backends.engines.hosted_days import Days
from poolhand.backends.engines.hosted_peer import Peers
from poolhand.config.external import External
from poolhand.config.secrets import Secret


def engine_of(provider: Provider, folder: Path) -> HostedEngine:
    external = External.model_validate(provider.settings())
    days = Days(folder / "day", model="m", external=external, clock_s=lambda: 0.0)
    peers = Peers(external, find=here)
    return HostedEngine(
        model="org/public", external=external, days=days, key=lambda: Secret(KEY), peers=peers
    )


@asynccontextmanager
async def front(engine: HostedEngine) -> AsyncGenerator[str]:
    """What a coordinator does with a native request: hand it in, hand events out."""

    async def messages(request: web.Request) -> web.StreamResponse:
        body = cast("Mapping[str, object]", await request.json())
        most = cast("int", body["max_tokens"])
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        async for piece in engine.generate(Prompt("r", "messages", body, most)):
            if isinstance(piece, Native):
                name = str(cast("Mapping[str, object]", json.loads(piece.data))["type"])
                await answer.write(f"event: {name}\ndata: {piece.data}\n\n".encode())
        return answer

    application = web.Application()
    application.add_routes([web.post("/v1/messages", messages)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_the_official_client_puts_the_message_together(tmp_path: Path) -> None:
    async with provided("anthropic", tmp_path) as provider:
        engine = engine_of(provider, tmp_path)
        await engine.start()
        async with (
            front(engine) as url,
            DefaultAsyncHttpxClient(trust_env=False) as line,
            AsyncAnthropic(
                base_url=url, api_key="x", max_retries=0, timeout=20, http_client=line
            ) as client,
            client.messages.stream(
                model="org/public",
                max_tokens=4,
                system="be brief",
                messages=[{"role": "user", "content": "one two three four five"}],
            ) as stream,
        ):
            said = "".join([text async for text in stream.text_stream])
            message = await stream.get_final_message()
        await engine.stop()
        (asked,) = provider.asked
    assert said == "one two three four"
    assert (message.model, message.stop_reason) == ("org/public", "max_tokens")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (8, 4)
    assert (asked.body["system"], asked.body["model"]) == ("be brief", "their-model")
    assert asked.headers["host"].startswith(HOST)
    assert asked.headers["x-api-key"] == KEY, "the client's own key stays where it is"
