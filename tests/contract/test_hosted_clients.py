"""What providers say, handed on as a coordinator does it, as the official clients read it."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import openai
import pytest
from aiohttp import web
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from openai.types.chat import (
    ChatCompletionMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionToolParam,
    ParsedChatCompletion,
)
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from providers import HOST, KEY, Dialect, Provider, here, provided
from pydantic import TypeAdapter

from poolhand.agent.runtime.chunks import Chunks
from poolhand.backends.engines.base import Delta, Finished, Native, Prompt
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

    async def chat(request: web.Request) -> web.StreamResponse:
        body = cast("Mapping[str, object]", await request.json())
        chunks = Chunks("id-1", "org/public", "chat", 1)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        async for piece in engine.generate(Prompt("r", "chat", body, 64)):
            lines: list[bytes] = []
            match piece:
                case Delta() if piece.text or piece.reasoning or piece.tool_calls:
                    lines = [chunks.delta(piece)]
                case Finished(reason, usage):
                    lines = [chunks.finish(reason), chunks.usage(usage), b"data: [DONE]"]
                case _:
                    pass
            await answer.write(b"".join(line + b"\n\n" for line in lines))
        return answer

    application = web.Application()
    application.add_routes([web.post("/v1/messages", messages)])
    application.add_routes([web.post("/v1/chat/completions", chat)])
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


PNG = "data:image/png;base64,iVBORw0KGgo="
TOOLS: Sequence[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "tells what it is like",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    for name in ("get_weather", "get_time")
]
JUDGES: Mapping[str, TypeAdapter[object]] = {
    "openai": TypeAdapter(CompletionCreateParamsStreaming),
    "azure": TypeAdapter(CompletionCreateParamsStreaming),
    "anthropic": TypeAdapter(MessageCreateParamsStreaming),
}


async def told(
    client: openai.AsyncOpenAI, messages: Sequence[ChatCompletionMessageParam]
) -> ParsedChatCompletion[None]:
    async with client.chat.completions.stream(
        model="org/public",
        messages=messages,
        tools=TOOLS,
        temperature=0.5,
        stop=["halt"],
        stream_options={"include_usage": True},
    ) as stream:
        async for _ in stream:
            pass
        return await stream.get_final_completion()


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "azure"])
async def test_tools_and_images_in_two_turns_by_the_official_client(
    dialect: Dialect, tmp_path: Path
) -> None:
    picture: ChatCompletionMessageParam = {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": PNG}},
            {"type": "text", "text": "[tool] where is this"},
        ],
    }
    asked: list[ChatCompletionMessageParam] = [{"role": "system", "content": "be brief"}, picture]
    async with provided(dialect, tmp_path) as provider:
        engine = engine_of(provider, tmp_path)
        await engine.start()
        async with (
            front(engine) as url,
            openai.DefaultAsyncHttpxClient(trust_env=False) as line,
            openai.AsyncOpenAI(
                base_url=f"{url}/v1", api_key="x", max_retries=0, timeout=20, http_client=line
            ) as client,
        ):
            first = await told(client, asked)
            message = first.choices[0].message
            calls = message.tool_calls or []
            asked.append(
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": call.id,
                            "type": "function",
                            "function": {
                                "name": call.function.name,
                                "arguments": call.function.arguments,
                            },
                        }
                        for call in calls
                    ],
                }
            )
            asked.extend(
                ChatCompletionToolMessageParam(role="tool", tool_call_id=call.id, content="ok")
                for call in calls
            )
            asked.append({"role": "user", "content": "one two"})
            second = await told(client, asked)
        await engine.stop()
    assert first.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert [call.function.arguments for call in calls] == ['{"city": "Paris"}'] * 2
    assert len({call.id for call in calls}) == 2
    assert (second.choices[0].message.content, second.choices[0].finish_reason) == (
        "one two",
        "stop",
    )
    assert second.usage is not None
    assert second.usage.completion_tokens == 2
    assert second.model == "org/public"
    for sent in provider.asked:
        JUDGES[dialect].validate_python(sent.body, strict=True)
        assert "iVBORw0KGgo=" in json.dumps(sent.body)
