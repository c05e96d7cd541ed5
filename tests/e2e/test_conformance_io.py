"""The timing half of the protocol's conformance list, on a real socket.

A coordinator of a few lines stands at the other end where the development one cannot: it
sends frames of any kind and size, and keeps what it hears in order.
"""

import asyncio
import base64
import itertools
import json
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from nacl.public import PrivateKey
from websockets.asyncio.server import ServerConnection, serve
from world import MIB, A, B, World, begun, number

from poolhand.agent.dev.stage import at, each_of
from tests.wire.malformed import MALFORMED

pytestmark = pytest.mark.e2e

HEARTBEAT_S = 2.0
MOST_GAP_S = HEARTBEAT_S * 1.5
"""Load and answer take several times as long; a busy machine may take a tenth."""

ANSWER_S = 2.0


def gaps_s(world: World) -> list[float]:
    found = each_of(world.provider(), "heartbeat_gaps_s")
    return [gap for gap in found if isinstance(gap, float)]


def test_heartbeats_and_challenges_wait_for_no_load_and_no_answer(world: World) -> None:
    world.join(world.configure(a="large", heartbeat_s=HEARTBEAT_S))
    world.throttle(1_000_000)
    world.post("load?wait=0", {"model_id": A})

    def challenge() -> None:
        challenged = at(world.post("challenge"), "challenges", 0)
        assert at(challenged, "verdict") == "passed"
        assert number(challenged, "answered_s") - number(challenged, "sent_s") < ANSWER_S

    states = set[object]()
    while "ready" not in states:
        states.add(at(world.stay(A), "state"))
        challenge()
        assert at(world.statuses(A), -1) != "failed"
    assert states >= {"downloading", "loading", "ready"}
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    beats = number(world.provider(), "heartbeats")
    is_enough = threading.Event()
    with ThreadPoolExecutor(1) as aside:
        read = aside.submit(lambda: all(not is_enough.is_set() for _ in stream))
        while not read.done() and number(world.provider(), "heartbeats") < beats + 3:
            challenge()
        is_enough.set()
    assert len(gaps_s(world)) >= 4
    assert max(gaps_s(world)) <= MOST_GAP_S
    assert at(world.provider(), "registers") == 1


class Scripted:
    """A coordinator that says what a test wants said, on as many lines as are opened."""

    def __init__(self) -> None:
        self.lines: list[list[dict[str, object]]] = []
        self.sockets: list[ServerConnection] = []
        self.second = asyncio.Event()
        self._news = asyncio.Condition()

    async def answer(self, socket: ServerConnection) -> None:
        said: list[dict[str, object]] = []
        self.lines.append(said)
        self.sockets.append(socket)
        if len(self.sockets) > 1:
            self.second.set()
        async for frame in socket:
            assert isinstance(frame, str)
            async with self._news:
                said.append(json.loads(frame))
                self._news.notify_all()

    async def find(self, patience_s: float = 15, **facts: object) -> dict[str, object]:
        """The first message with these facts on the latest line, once it is there."""

        def found() -> dict[str, object] | None:
            said = self.lines[-1] if self.lines else []
            return next((each for each in said if facts.items() <= each.items()), None)

        async with asyncio.timeout(patience_s), self._news:
            await self._news.wait_for(lambda: found() is not None)
        message = found()
        assert message is not None
        return message

    async def challenge(self, nonce: str) -> None:
        """Send a challenge, and wait for its answer."""
        fields = {
            "type": "attestation_challenge",
            "nonce": nonce,
            "timestamp": "2026-01-01T00:00:00Z",
        }
        await self.sockets[-1].send(json.dumps(fields))
        await self.find(type="attestation_response", nonce=nonce)


@asynccontextmanager
async def scripted(world: World) -> AsyncGenerator[Scripted]:
    """An agent that talks to a scripted coordinator."""
    coordinator = Scripted()
    async with serve(coordinator.answer, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        config = world.configure()
        here = f"ws://127.0.0.1:{port}/ws/provider"
        config.write_text(config.read_text().replace(world.coordinator.url, here))
        world.open_agent(config)
        await coordinator.find(20, type="register")
        yield coordinator
        assert await asyncio.to_thread(world.agent.end) == 0


async def test_register_is_first_and_said_once_a_socket(world: World) -> None:
    async with scripted(world) as coordinator:
        await coordinator.find(type="heartbeat")
        await coordinator.challenge("bm9uY2UtMDAx")
        coordinator.sockets[0].transport.abort()
        async with asyncio.timeout(10):
            await coordinator.second.wait()
        await coordinator.find(type="heartbeat")
        for said in coordinator.lines:
            kinds = [message["type"] for message in said]
            assert (kinds[0], kinds.count("register")) == ("register", 1)
            assert kinds[1] == "heartbeat", "how it is follows who it is at once"
    keys = [said[0]["public_key"] for said in coordinator.lines]
    assert keys[0] == keys[1]


async def test_frames_of_any_kind_and_size_leave_the_line_standing(world: World) -> None:
    async with scripted(world) as coordinator:
        (socket,) = coordinator.sockets
        for numbered, frame in enumerate(MALFORMED.values()):
            await socket.send(frame)
            if numbered % 20 == 0:
                await coordinator.challenge(f"bm9uY2Ut{numbered:04d}")
        ephemeral = base64.b64encode(bytes(PrivateKey.generate().public_key)).decode()
        big = {
            "type": "inference_request",
            "request_id": "r-big",
            "encrypted_body": {"ephemeral_public_key": ephemeral, "ciphertext": "A" * 20 * MIB},
        }
        await socket.send(json.dumps(big))
        refused = await coordinator.find(30, type="inference_error", request_id="r-big")
        assert refused["status_code"] == 400
        await coordinator.challenge("bm9uY2UtZW5k")
        assert len(coordinator.lines) == 1
        kinds = [message["type"] for message in coordinator.lines[0]]
        assert (kinds[0], kinds.count("register")) == ("register", 1)
        ended = [each for each in coordinator.lines[0] if each["type"] == "inference_error"]
        assert [each["request_id"] for each in ended] == ["r-big"]


async def test_no_integer_is_a_float_and_nothing_unmeasured_is_said(world: World) -> None:
    async with scripted(world) as coordinator:
        register = await coordinator.find(type="register")
        beats = [await coordinator.find(type="heartbeat")]
        await coordinator.sockets[0].send(json.dumps({"type": "load_model", "model_id": B}))
        await coordinator.find(40, type="load_model_status", status="succeeded")
        await coordinator.find(type="heartbeat", warm_models=[B])
        beats = [each for each in coordinator.lines[0] if each["type"] == "heartbeat"]
    assert type(at(register, "hardware", "memory_gb")) is int
    assert "decode_tps" not in register
    assert "attestation" not in register
    assert {at(model, "id") for model in each_of(register, "models")} <= {A, B}
    for beat, slot in itertools.product(beats, range(2)):
        found = at(beat, "backend_capacity", "slots", slot)
        assert found is None or type(at(found, "num_running")) is int
