"""A storm of loads: how soon each is answered, how many are refused as busy, who else notices.

A scripted coordinator on loopback has a real agent load one model and keeps some answers of it
running. Then it sends a thousand ``load_model`` for others: each after the answer to the one
before, then several bursts in which nobody waits for anything. Each answer's time counts from the
moment in which its own load was handed to the socket. The answers that run meanwhile say a piece
in every fiftieth of a second; the longest gap between two pieces of one answer tells whether the
served model flinched. The agent runs the echo engine, so what is measured is deciding and saying.

Every second paced load is preceded by a ping, which the agent's WebSocket library answers on the
same loop and nobody decides about: its longest says how quiet the machine was.

    python bench/storm.py [--loads N] [--bursts N] [--models N] [--streams N] [--level WORD]
"""

import argparse
import asyncio
import binascii
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from nacl.public import Box, PrivateKey, PublicKey
from websockets.asyncio.server import ServerConnection, serve
from websockets.protocol import State
from websockets.speedups import apply_mask

from poolhand.agent.dev.checkpoint import make_model

RESULTS = Path(__file__).parent / "results" / "storm.json"
EACH_S, BUSY_RATIO = 0.050, 0.95
"""What is demanded: the longest answer, and the least part that is refused as busy."""

WORDS = 100_000
"""Of each answer that runs beside the storm: longer than it."""

CALM_S = 1.0
"""So long they are watched before it."""

_PING, _PONG = 0x09, 0x0A

CONFIG = """
[coordinator]
url = "ws://127.0.0.1:{port}/ws/provider"
[pools]
assigned = "storm"
{models}
[cache]
dir = "cache"
[log]
level = "{level}"
"""

MODEL = """
[[models]]
id = "storm/m{number}"
aliases = ["storm"]
ref = "file://{folder}"
engine = "echo"
context_tokens = 400000
pinned = {pinned}
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame of the agent's: when its last byte came, and what it says."""

    at_s: float
    is_pong: bool
    text: bytes

    @property
    def is_answer(self) -> bool:
        """Whether it is the answer to a load."""
        return b'"load_model_status"' in self.text[:40]


class Line(ServerConnection):
    """A line whose frames are taken apart when somebody wants them, so that time is not lost."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody dialled."""
        super().connection_made(transport)
        self._tape: deque[tuple[float, bytes]] = deque()
        self._came = asyncio.Event()
        self._frames: deque[Heard] = deque()
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Bytes came: of the handshake, or of frames."""
        if self.protocol.state is not State.OPEN:
            super().data_received(data)
            return
        self._tape.append((time.perf_counter(), data))
        self._came.set()

    def say(self, text: str) -> float:
        """Hand one text to the socket, and tell when that was."""
        size_bytes, at_s = len(text), time.perf_counter()
        is_short = size_bytes < 126
        length = bytes((size_bytes,)) if is_short else b"\x7f" + size_bytes.to_bytes(8, "big")
        self.transport.write(b"\x81" + length + text.encode())
        return at_s

    async def hear(self) -> Heard:
        """The next frame."""
        while not self._frames:
            while not self._tape:
                self._came.clear()
                await self._came.wait()
            self._take_apart(*self._tape.popleft())
        return self._frames.popleft()

    async def hear_for(self, seconds: float) -> list[Heard]:
        """What comes in a while."""
        await asyncio.sleep(seconds)
        while self._tape:
            self._take_apart(*self._tape.popleft())
        heard = [*self._frames]
        self._frames.clear()
        return heard

    async def until(self, kind: str) -> dict[str, object]:
        """The next message of a kind."""
        while True:
            text = (await self.hear()).text
            if f'"{kind}"'.encode() in text[:60]:
                return json.loads(text)

    def _take_apart(self, at_s: float, data: bytes) -> None:
        data, at = self._rest + data, 0
        while len(data) >= at + 2:
            length, head = data[at + 1] & 0x7F, at + 2
            if length >= 126:
                wide = 2 if length == 126 else 8
                length, head = int.from_bytes(data[head : head + wide], "big"), head + wide
            end = head + 4 + length
            if len(data) < end:
                break
            text = apply_mask(data[head + 4 : end], data[head : head + 4])
            kind, at = data[at] & 0x0F, end
            if kind == _PING:
                self.transport.write(bytes((0x80 | _PONG, length)) + text)
            else:
                self._frames.append(Heard(at_s, kind == _PONG, text))
        self._rest = data[at:]


class Storm:
    """A coordinator that asks for loads and takes the time."""

    def __init__(self, loads: int, bursts: int, models: int, streams: int) -> None:
        self.loads, self.bursts, self.models, self.streams = loads, bursts, models, streams
        self.paced_s: list[float] = []
        self.pings_s: list[float] = []
        self.burst_s: list[list[float]] = []
        self.cpu_s: list[float] = []
        self.gaps_s: dict[str, float] = {}
        self.busy = self.answered = 0
        self.agent = 0
        self.is_over = asyncio.Event()
        self._texts = [
            json.dumps({"type": "load_model", "model_id": f"storm/m{1 + n % (models - 1)}"})
            for n in range(loads)
        ]

    async def talk(self, line: ServerConnection) -> None:
        """Hear the agent out; nothing is measured of a second line."""
        if isinstance(line, Line) and not self.is_over.is_set():
            try:
                await self._raise(line)
            finally:
                self.is_over.set()
        await line.wait_closed()

    async def _raise(self, line: Line) -> None:
        registered = await line.until("register")
        line.say(json.dumps({"type": "load_model", "model_id": "storm/m0"}))
        while (await line.until("load_model_status")).get("status") != "succeeded":
            pass
        for number in range(self.streams):
            line.say(_request(f"r{number}", str(registered["public_key"])))
        await line.hear_for(CALM_S)
        self.gaps_s["calm"] = _longest_gap(await line.hear_for(CALM_S))
        await self._paced(line)
        for number in range(self.bursts):
            await line.hear_for(0.2)
            await self._burst(line, f"burst {number + 1}")

    async def _paced(self, line: Line) -> None:
        heard: list[Heard] = []
        for number, text in enumerate(self._texts):
            if number % 2:
                asked_s = time.perf_counter()
                line.transport.write(b"\x89\x00")
                while not (frame := await line.hear()).is_pong:
                    heard.append(frame)
                self.pings_s.append(frame.at_s - asked_s)
            sent_s = line.say(text)
            while not (frame := await line.hear()).is_answer:
                heard.append(frame)
            self._count(frame)
            self.paced_s.append(frame.at_s - sent_s)
        self.gaps_s["paced"] = _longest_gap(heard)

    async def _burst(self, line: Line, name: str) -> None:
        """All at once; what comes is read while it comes and looked at when all is over."""
        cpu_s = cpu_of(self.agent)
        sent_s = [line.say(text) for text in self._texts]
        heard: list[Heard] = []
        answers = 0
        while answers < self.loads:
            heard.append(await line.hear())
            answers += heard[-1].is_answer
        self.cpu_s.append(cpu_of(self.agent) - cpu_s)
        came = [frame for frame in heard if frame.is_answer]
        for frame in came:
            self._count(frame)
        self.burst_s.append([frame.at_s - at_s for frame, at_s in zip(came, sent_s, strict=True)])
        self.gaps_s[name] = _longest_gap([*heard, *await line.hear_for(0.1)])

    def _count(self, answer: Heard) -> None:
        self.answered += 1
        self.busy += b"slot(s) are active" in answer.text


def _longest_gap(heard: Sequence[Heard]) -> float:
    """Seconds between two pieces of one answer, at the longest; infinite if there were none."""
    last: dict[bytes, float] = {}
    gaps_s: list[float] = []
    for frame in heard:
        if frame.text.startswith(b'{"type":"inference_response_chunk"'):
            request = frame.text[49 : frame.text.index(b'"', 49)]
            if request in last:
                gaps_s.append(frame.at_s - last[request])
            last[request] = frame.at_s
    return max(gaps_s, default=float("inf"))


def _request(name: str, key: str) -> str:
    """A sealed request for an answer of very many words."""
    secret = PrivateKey.generate()
    text = " ".join(["word"] * WORDS)
    body = {"model": "storm/m0", "messages": [{"role": "user", "content": text}]}
    sealed = Box(secret, PublicKey(binascii.a2b_base64(key))).encrypt(
        json.dumps({**body, "max_tokens": WORDS}).encode()
    )
    box = {"ephemeral_public_key": _b64(bytes(secret.public_key)), "ciphertext": _b64(sealed)}
    return json.dumps({"type": "inference_request", "request_id": name, "encrypted_body": box})


def _b64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def cpu_of(pid: int) -> float:
    """CPU seconds of one process, without its children."""
    if sys.platform == "linux":
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def storm(told: Storm, folder: Path, level: str) -> None:
    """Run one agent through one storm.

    Args:
        told: What is asked, and where the times go.
        folder: For its configuration, its state and its cache.
        level: What the agent writes into its log, which is thrown away.
    """
    weights = folder / "weights"
    make_model(weights, preset="nano", name="alpha")
    rows = "".join(
        MODEL.format(number=n, folder=weights, pinned=str(n == 0).lower())
        for n in range(told.models)
    )
    serving = serve(
        told.talk, "127.0.0.1", 0, compression=None, create_connection=Line, ping_interval=None
    )
    async with serving as server:
        port = next(iter(server.sockets)).getsockname()[1]
        config = folder / "agent.toml"
        config.write_text(CONFIG.format(port=port, models=rows, level=level))
        words = ("run", "--config", str(config), "--state-dir", str(folder / "state"))
        agent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "poolhand.agent", *words),
            cwd=folder,
            env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
            stderr=asyncio.subprocess.DEVNULL,
        )
        told.agent = agent.pid
        try:
            await asyncio.wait_for(told.is_over.wait(), 60)
        finally:
            agent.terminate()
            await agent.wait()


def at(part: float, times_s: Sequence[float]) -> float:
    """A quantile, in milliseconds."""
    return round(sorted(times_s)[min(len(times_s) - 1, int(part * len(times_s)))] * 1000.0, 3)


def _figures(told: Storm) -> Iterator[tuple[str, object]]:
    yield "loads", told.loads
    yield "models", told.models
    yield "paced_ms", {"p50": at(0.5, told.paced_s), "p99": at(0.99, told.paced_s)}
    yield "paced_longest_ms", at(1.0, told.paced_s)
    yield "ping_longest_ms", at(1.0, told.pings_s)
    yield "burst_longest_ms", [at(1.0, burst) for burst in told.burst_s]
    yield "burst_p99_ms", [at(0.99, burst) for burst in told.burst_s]
    yield "burst_p50_ms", [at(0.5, burst) for burst in told.burst_s]
    yield "burst_agent_cpu_us_per_load", [round(s * 1e6 / told.loads, 1) for s in told.cpu_s]
    yield "streams", told.streams
    yield "stream_longest_gap_ms", {name: at(1.0, [gap_s]) for name, gap_s in told.gaps_s.items()}
    yield "answered", told.answered
    yield "busy_ratio", told.busy / told.answered
    yield "load_average", os.getloadavg()[0]
    yield "cores", os.cpu_count()


def main() -> int:
    """Raise the storm; the exit status is 1 if a demand is not met."""
    parser = argparse.ArgumentParser(description="A storm of loads against one agent.")
    parser.add_argument("--loads", type=int, default=1000)
    parser.add_argument("--bursts", type=int, default=5)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--streams", type=int, default=8, help="answers beside it")
    parser.add_argument("--level", default="info", help="what the agent logs")
    asked = parser.parse_args()
    told = Storm(asked.loads, asked.bursts, asked.models, asked.streams)
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(storm(told, Path(made), asked.level))
    figures = dict(_figures(told))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    longest_s = max(*told.paced_s, *(max(burst) for burst in told.burst_s))
    is_met = longest_s <= EACH_S and told.busy >= BUSY_RATIO * told.answered
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
