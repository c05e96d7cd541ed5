"""The dev coordinator on real sockets: a scripted agent behind it, OpenAI's client before it."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from poolhand.agent.dev.coordinator import CoordinatorOptions, Running, serve
from poolhand.agent.dev.registry import Alias
from poolhand.agent.wire.codec import decode, encode
from poolhand.agent.wire.inbound import (
    AttestationChallenge,
    Cancel,
    DesiredModels,
    InferenceRequest,
    LoadModel,
    PrefetchModel,
    TrustStatus,
)
from poolhand.agent.wire.outbound import (
    AttestationResponse,
    Heartbeat,
    InferenceAccepted,
    InferenceComplete,
    InferenceError,
    InferenceResponseChunk,
    LoadModelStatus,
    Outbound,
    Register,
)
from poolhand.agent.wire.sealing import NodeKey, RequestBox
from poolhand.agent.wire.types import (
    BackendCapacity,
    DesiredModel,
    Hardware,
    ModelInfo,
    PrivacyCapabilities,
    Sealed,
    SlotCapacity,
    Stats,
    SystemMetrics,
    Usage,
)

A, B = "org/tiny-a", "org/tiny-b"
OPTIONS = CoordinatorOptions(port=0, aliases=(Alias("tiny", A),))
KEY = NodeKey(bytes(range(32)))
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


def register(*models: str) -> Register:
    return Register(
        backend="poolhand",
        version="0.6.5",
        hardware=Hardware(
            machine_model="m", chip_name="c", chip_family="unknown", chip_tier="", memory_gb=8
        ),
        models=tuple(ModelInfo(id=model, size_bytes=1) for model in models),
        public_key=KEY.public_key,
        privacy_capabilities=PrivacyCapabilities(
            text_backend_inprocess=True,
            text_proxy_disabled=True,
            anti_debug_enabled=False,
            core_dumps_disabled=False,
            env_scrubbed=False,
        ),
    )


def heartbeat(*resident: str) -> Heartbeat:
    return Heartbeat(
        status="idle",
        warm_models=resident,
        active_model=None,
        stats=Stats(requests_served=0, tokens_generated=0),
        system_metrics=SystemMetrics(),
        backend_capacity=BackendCapacity(
            slots=tuple(
                SlotCapacity(model=model, state="idle", num_running=0, num_waiting=0)
                for model in resident
            )
        ),
    )


@dataclass
class Agent:
    """What a node does, by script: each list is what it has heard so far."""

    line: ClientConnection
    words: tuple[str, ...] = ("Hel", "lo", " you")
    refusal: InferenceError | None = None
    load_error: str = ""
    is_endless: bool = False
    is_plain: bool = False
    stops_after: int | None = None
    bodies: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    heard: list[object] = field(default_factory=list[object])
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def send(self, message: Outbound) -> None:
        await self.line.send(encode(message))

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            with contextlib.suppress(ConnectionClosed):
                async for raw in self.line:
                    message = decode(raw)
                    group.create_task(self._answer(message))
                    async with self.changed:
                        self.heard.append(message)
                        self.changed.notify_all()

    async def until_heard(self, kind: type, times: int = 1) -> None:
        def is_so() -> bool:
            return sum(isinstance(message, kind) for message in self.heard) >= times

        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(is_so), 10)

    async def _answer(self, message: object) -> None:
        match message:
            case AttestationChallenge(nonce=nonce):
                await self.send(
                    AttestationResponse(nonce=nonce, signature="s", public_key=KEY.public_key)
                )
            case LoadModel(model_id=model):
                await self.send(LoadModelStatus(model_id=model, status="started"))
                status = "failed" if self.load_error else "succeeded"
                await self.send(
                    LoadModelStatus(model_id=model, status=status, error=self.load_error or None)
                )
            case InferenceRequest():
                await self._generate(message)
            case _:
                pass

    async def _generate(self, request: InferenceRequest) -> None:
        assert request.encrypted_body is not None
        plaintext, box = KEY.open_request(request.encrypted_body)
        self.bodies.append(json.loads(plaintext))
        if self.refusal is not None:
            await self.send(self.refusal.model_copy(update={"request_id": request.request_id}))
            return
        await self.send(InferenceAccepted(request_id=request.request_id))
        words = iter(lambda: "tick ", "") if self.is_endless else iter(self.words)
        for number, word in enumerate(words):
            if number == self.stops_after:
                await self.line.close()
                return
            with contextlib.suppress(ConnectionClosed):
                await self._send_chunk(request.request_id, box, number, word)
            await asyncio.sleep(0.001 if self.is_endless else 0)
            if Cancel(request_id=request.request_id) in self.heard:
                break
        usage = Usage(prompt_tokens=7, completion_tokens=len(self.words))
        await self.send(InferenceComplete(request_id=request.request_id, usage=usage))

    async def _send_chunk(self, request_id: str, box: RequestBox, number: int, word: str) -> None:
        delta = {"role": "assistant", "content": word} if number == 0 else {"content": word}
        last = number == len(self.words) - 1 and not self.is_endless
        chunk = {
            "id": request_id,
            "object": "chat.completion.chunk",
            "created": 1,
            "model": self.bodies[-1]["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": "stop" if last else None}],
        }
        text = f"data: {json.dumps(chunk)}" if number % 2 else json.dumps(chunk)
        if self.is_plain:
            frame = {"type": "inference_response_chunk", "request_id": request_id, "data": text}
            await self.line.send(json.dumps(frame))
            return
        nonce = number.to_bytes(24, "big")
        ciphertext = box.seal(text.encode(), nonce).decode()
        sealed = Sealed(ephemeral_public_key=KEY.public_key, ciphertext=ciphertext)
        await self.send(InferenceResponseChunk(request_id=request_id, encrypted_data=sealed))


@contextlib.asynccontextmanager
async def connected(running: Running, *models: str, warm: bool = True) -> AsyncGenerator[Agent]:
    async with connect(running.ws_url, compression=None, proxy=None) as line:
        agent = Agent(line)
        await agent.send(register(*models))
        await agent.send(heartbeat(*(models if warm else ())))
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(agent.serve())
            await agent.until_heard(AttestationChallenge)
            # a pong means that everything before its ping was read
            await (await line.ping())
            yield agent
            serving.cancel()


@dataclass
class World:
    """A coordinator, and clients of it."""

    running: Running
    client: openai.AsyncOpenAI
    http: aiohttp.ClientSession

    async def dev(self, verb: str, /, **body: object) -> dict[str, Any]:
        async with self.http.post(f"/dev/{verb}", json=body) as answer:
            return await answer.json()

    async def state(self) -> dict[str, Any]:
        async with self.http.get("/dev/state") as answer:
            return await answer.json()

    async def chat(self, model: str = "tiny") -> str | None:
        answer = await self.client.chat.completions.create(model=model, messages=HELLO)
        return answer.choices[0].message.content


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncGenerator[World]:
    options: CoordinatorOptions = getattr(request, "param", OPTIONS)
    async with (
        serve(options) as running,
        openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as client,
        aiohttp.ClientSession(running.url) as http,
    ):
        yield World(running, client, http)


async def test_openais_client_streams_what_an_agent_said(world: World) -> None:
    async with connected(world.running, A) as agent:
        stream = await world.client.chat.completions.create(
            model="tiny", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == "Hello you"
        assert {chunk.model for chunk in chunks} == {"tiny"}
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens == 10
        assert agent.bodies[0]["model"] == A
        assert agent.bodies[0]["max_tokens"] == OPTIONS.default_max_tokens


async def test_usage_is_not_forced_on_a_stream(world: World) -> None:
    async with connected(world.running, A):
        stream = await world.client.chat.completions.create(model=A, messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_without_a_stream_the_answer_is_one_object(world: World) -> None:
    async with connected(world.running, A):
        answer = await world.client.chat.completions.create(model="tiny", messages=HELLO)
        assert answer.choices[0].message.content == "Hello you"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 3
        text = await world.client.completions.create(model="tiny", prompt="hello")
        assert text.choices[0].text == "Hello you"
        names = [model.id async for model in world.client.models.list()]
        assert names == [A, "tiny"]


async def test_a_cancel_follows_every_finished_request(world: World) -> None:
    async with connected(world.running, A) as agent:
        await world.chat()
        await agent.until_heard(Cancel)
        (record,) = world.running.registry.requests.values()
        assert (record.state, record.accepted, record.terminals) == ("complete", 1, 1)
        assert record.cancelled_s is None


async def test_a_client_that_hangs_up_cancels_its_request(world: World) -> None:
    async with connected(world.running, A) as agent:
        agent.is_endless = True
        stream = await world.client.chat.completions.create(
            model="tiny", messages=HELLO, stream=True
        )
        await anext(stream)
        await stream.close()
        await agent.until_heard(Cancel)
        (record,) = world.running.registry.requests.values()
        assert record.state == "cancelled"


async def test_a_cold_model_is_loaded_before_it_is_asked(world: World) -> None:
    async with connected(world.running, A, B, warm=False) as agent:
        assert await world.chat(B) == "Hello you"
        await world.chat(B)
        loads = [message for message in agent.heard if isinstance(message, LoadModel)]
        assert loads == [LoadModel(model_id=B)]


@pytest.mark.parametrize("world", [replace(OPTIONS, is_cold_dispatch=True)], indirect=True)
async def test_cold_dispatch_leaves_the_load_to_the_request(world: World) -> None:
    async with connected(world.running, A, warm=False) as agent:
        assert await world.chat() == "Hello you"
        assert not any(isinstance(message, LoadModel) for message in agent.heard)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("provider draining for update", 429),
        (f"all 1 model slot(s) are active; cannot load '{A}'", 429),
        ("model load failed: bad_model", 503),
    ],
)
async def test_a_load_that_fails_fails_the_request(world: World, error: str, status: int) -> None:
    async with connected(world.running, A, warm=False) as agent:
        agent.load_error = error
        with pytest.raises(openai.APIStatusError) as raised:
            await world.chat()
        assert raised.value.status_code == status
        assert agent.bodies == []


@pytest.mark.parametrize(
    ("code", "error", "status"),
    [
        (500, "engine died", 500),
        (503, "request rejected: queue full", 429),
        (503, "model 'x' not loaded: outside assigned pool", 429),
        (499, "request cancelled", 499),
        (400, "bad request: no messages", 400),
        (400, "prompt exceeds context window", 429),
        (404, "model missing", 404),
    ],
)
async def test_a_refusal_reaches_the_client_as_the_real_one_maps_it(
    world: World, code: int, error: str, status: int
) -> None:
    async with connected(world.running, A) as agent:
        agent.refusal = InferenceError(request_id="-", error=error, status_code=code)
        with pytest.raises(openai.APIStatusError) as raised:
            await world.chat()
        assert raised.value.status_code == status
        assert raised.value.response.json()["error"]["message"] == error
        assert ("retry-after" in raised.value.response.headers) == (status == 429)


async def test_a_full_agent_is_passed_over(world: World) -> None:
    async with connected(world.running, A) as full, connected(world.running, A) as free:
        full.refusal = InferenceError(request_id="-", error="queue full", status_code=503)
        assert await world.chat() == "Hello you"
        assert (len(full.bodies), len(free.bodies)) == (1, 1)


async def test_an_answer_in_the_clear_ends_all_trust(world: World) -> None:
    async with connected(world.running, A) as agent:
        agent.is_plain = True
        with pytest.raises(openai.APIStatusError) as raised:
            await world.chat()
        assert raised.value.status_code == 502
        with pytest.raises(openai.NotFoundError):
            await world.chat()
        state = await world.state()
        assert state["providers"][0]["untrusted"] == "chunk in the clear"


async def test_an_agent_that_leaves_fails_what_it_was_asked(world: World) -> None:
    async with connected(world.running, A) as agent:
        agent.stops_after = 0
        with pytest.raises(openai.APIStatusError) as raised:
            await world.chat()
        assert raised.value.status_code == 502
    async with connected(world.running, A) as agent:
        agent.stops_after = 1
        stream = await world.client.chat.completions.create(
            model="tiny", messages=HELLO, stream=True
        )
        with pytest.raises(openai.APIError, match="provider disconnected"):
            assert [chunk async for chunk in stream] == []


async def test_one_float_makes_an_agent_invisible(world: World) -> None:
    async with connect(world.running.ws_url, compression=None, proxy=None) as line:
        frame = encode(register(A)).replace('"memory_gb":8', '"memory_gb":8.0')
        await line.send(encode(heartbeat(A)))
        await line.send(frame)
        await line.send(encode(heartbeat(A)))
        await (await line.ping())
        (shown,) = (await world.state())["providers"]
        assert shown["drops"] == [
            "heartbeat: not registered",
            "register: hardware.memory_gb: int_type",
            "heartbeat: not registered",
        ]
        with pytest.raises(openai.NotFoundError):
            await world.chat()


async def test_state_tells_everything_but_the_token(world: World) -> None:
    async with connected(world.running, A) as agent:
        token = SecretStr("s3cret")
        await agent.send(register(A).model_copy(update={"auth_token": token}))
        await agent.send(heartbeat(A))
        await (await agent.line.ping())
        state = await world.state()
        (shown,) = state["providers"]
        assert shown["register"].items() >= {"auth_token": "present"}.items()
        assert shown["register"]["version"] == "0.6.5"
        assert (shown["registers"], shown["heartbeats"], shown["resident"]) == (2, 2, [A])
        assert [challenge["verdict"] for challenge in shown["challenges"]] == ["passed"]
        assert len(shown["heartbeat_gaps_s"]) == 1
        assert "s3cret" not in json.dumps(state)


async def test_a_load_by_command_tells_how_it_ended(world: World) -> None:
    async with connected(world.running, A, warm=False) as agent:
        done = await world.dev("load", model_id=B)
        assert done["status"] == "succeeded"
        agent.load_error = f"model '{B}' not in advertised model list"
        failed = await world.dev("load", model_id=B)
        assert (failed["status"], failed["class"]) == ("failed", "model_not_found")
        shown = (await world.state())["providers"][0]["statuses"]
        assert [each["status"] for each in shown] == ["started", "succeeded", "started", "failed"]


async def test_the_other_levers_reach_the_agent(world: World) -> None:
    async with connected(world.running, A) as agent:
        await world.dev("prefetch", model_id=B)
        await world.dev("desired", models=[{"model_name": "tiny", "desired_build": B}])
        await world.dev("send", frame='{"type":"trust_status","status":"untrusted"}')
        challenged = await world.dev("challenge")
        assert challenged["challenges"][0]["verdict"] == "passed"
        assert agent.heard[1:4] == [
            PrefetchModel(model_id=B),
            DesiredModels(models=(DesiredModel(model_name="tiny", desired_build=B),)),
            TrustStatus(status="untrusted"),
        ]
        await world.dev("close", code=1012, reason="restart")
        await agent.line.wait_closed()
        assert (agent.line.close_code, agent.line.close_reason) == (1012, "restart")
    async with connected(world.running, A) as agent:
        await world.dev("drop")
        await agent.line.wait_closed()
        assert agent.line.close_code == 1006


async def test_the_wrong_body_is_refused(world: World) -> None:
    async with world.http.post("/v1/chat/completions", data="{") as answer:
        assert answer.status == 400
    body = io.BytesIO(b" " * (OPTIONS.max_body_bytes + 1))
    async with world.http.post("/v1/chat/completions", data=body) as answer:
        assert answer.status == 413
        assert (await answer.json())["error"]["message"] == "the body is too large"
    for verb in ("load", "send", "prefetch", "desired"):
        assert (await world.dev(verb))["error"]["type"] == "dev_error"
    assert "connected" in (await world.dev("load", model_id=A))["error"]["message"]


async def test_the_public_pages_name_what_is_offered(world: World) -> None:
    async with connected(world.running, A):
        async with world.http.get("/v1/models/catalog") as answer:
            catalog = await answer.json()
        assert [model["id"] for model in catalog["models"]] == [A]
        assert [alias["desired_build"] for alias in catalog["aliases"]] == [A]
        for path in ("/health", "/readyz"):
            async with world.http.get(path) as answer:
                assert await answer.json() == {"status": "ok", "providers": 1}
