"""The relay benchmark's coordinator: it asks, counts and keeps, and opens nothing meanwhile."""

import asyncio
import binascii
import json
import sys
import time
from dataclasses import dataclass, field

import psutil
from nacl.public import Box, PrivateKey, PublicKey
from websockets.asyncio.server import ServerConnection
from websockets.speedups import apply_mask


class Failed(SystemExit):
    """The agent did not do what it was asked; nothing that was measured counts."""

    def __init__(self, what: object) -> None:
        super().__init__(f"not measured: {what}")


@dataclass(frozen=True, slots=True)
class Took:
    """One run: its tokens, and what they cost."""

    tokens: int
    chunks: int
    wall_s: float
    cpu_s: float

    @property
    def tps(self) -> float:
        """Tokens a second, all streams together."""
        return self.tokens / self.wall_s


@dataclass(frozen=True, slots=True)
class Question:
    """One request, sealed and ready to be sent."""

    name: str
    box: Box
    frame: str


@dataclass(slots=True)
class Asked:
    """One request to the agent, and what came back, still sealed."""

    box: Box
    sent_s: float
    first_s: float = 0.0
    frames: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    tokens: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Peer:
    """A coordinator that asks, counts and keeps."""

    def __init__(self) -> None:
        self.key = ""
        self.registered = asyncio.Event()
        self.loads: asyncio.Queue[str] = asyncio.Queue()
        self.asked: dict[str, Asked] = {}
        self.agent = psutil.Process()
        self._line: ServerConnection | None = None
        self._number = 0

    async def talk(self, line: ServerConnection) -> None:
        """Hear one agent out."""
        self._line = line
        async for frame in line:
            self._hear(json.loads(frame))

    def keep(self, name: str, mask: bytes, masked: bytes) -> None:
        """Keep a chunk as it came."""
        request = self.asked[name]
        request.first_s = request.first_s or time.perf_counter()
        request.frames.append((mask, masked))

    def _hear(self, message: dict[str, object]) -> None:
        match message:
            case {"type": "register", "public_key": str(key)}:
                self.key = key
                self.registered.set()
            case {"type": "load_model_status", "status": str(status)} if status != "started":
                self.loads.put_nowait(status)
            case {
                "type": "inference_complete",
                "request_id": str(request),
                "usage": {"completion_tokens": int(tokens)},
            }:
                self.asked[request].tokens = tokens
                self.asked[request].ended.set()
            case {"type": "inference_error"}:
                raise Failed(message)
            case _:
                pass

    async def say(self, **message: object) -> None:
        """Send one message."""
        await self._send(json.dumps(message))

    async def _send(self, frame: str) -> None:
        if self._line is None:
            raise Failed(self)
        await self._line.send(frame)

    def seal(self, model: str, text: str, tokens: int) -> Question:
        """A question under a name of its own: the work of a coordinator, done before the clock."""
        secret = PrivateKey.generate()
        box = Box(secret, PublicKey(binascii.a2b_base64(self.key)))
        body = json.dumps({"model": model, "stream": True, **body_of(text), "max_tokens": tokens})
        sealed = {
            "ephemeral_public_key": b64(bytes(secret.public_key)),
            "ciphertext": b64(box.encrypt(body.encode())),
        }
        self._number += 1
        name = f"r{self._number}"
        said = {"type": "inference_request", "request_id": name, "encrypted_body": sealed}
        return Question(name, box, json.dumps(said))

    async def ask(self, question: Question) -> Asked:
        """Ask, and wait until the answer has ended."""
        asked = self.asked[question.name] = Asked(question.box, time.perf_counter())
        await self._send(question.frame)
        await asked.ended.wait()
        return asked

    async def run(self, model: str, text: str, streams: int, tokens: int) -> Took:
        """So many answers side by side."""
        questions = [self.seal(model, text, tokens) for _ in range(streams)]
        cpu_s, begun_s = cpu_of(self.agent), time.perf_counter()
        answers = await asyncio.gather(*map(self.ask, questions))
        wall_s = time.perf_counter() - begun_s
        chunks = sum(len(answer.frames) for answer in answers)
        said = sum(answer.tokens for answer in answers)
        return Took(said, chunks, wall_s, cpu_of(self.agent) - cpu_s)


def body_of(text: str) -> dict[str, object]:
    """A question."""
    return {"messages": [{"role": "user", "content": text}], "temperature": 0}


def b64(raw: bytes) -> str:
    """As on the wire."""
    return binascii.b2a_base64(raw, newline=False).decode()


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds of one process, without its children."""
    if sys.platform == "linux":
        # psutil counts in hundredths of a second, which are eight microseconds of a chunk here;
        # this is the process's own clock as the kernel numbers it, in nanoseconds
        return time.clock_gettime((~process.pid << 3) | 2)
    times = process.cpu_times()
    return times.user + times.system


def is_in_order(asked: Asked, expected: str) -> bool:
    """Open an answer's chunks: whether they say what was to be said, in order."""
    said = ""
    for mask, masked in asked.frames:
        sealed = json.loads(apply_mask(masked, mask))["encrypted_data"]["ciphertext"]
        chunk = json.loads(asked.box.decrypt(binascii.a2b_base64(sealed)).removeprefix(b"data: "))
        if chunk["choices"]:
            said += chunk["choices"][0]["delta"].get("content") or ""
    return said == expected
