"""The coordinator's end of each provider's socket.

A line reads frames into the provider's record, keeps the challenges going, and sends what it
is told to. It decides nothing: who is asked stands in the registry, what a frame means in
``strict``. A line that does not drain, or falls silent, is dropped without a close frame, as
the real one does it.
"""

import asyncio
import binascii
import contextlib
import json
import logging
import os
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime

from aiohttp import WSCloseCode, WSMsgType, web

from .exchange import BREACH, DISCONNECTED, Breach, Exchange
from .options import CoordinatorOptions
from .provider import Challenge, Provider, RequestRecord, StatusSeen
from .registry import Registry
from .strict import (
    Accepted,
    ChallengeAnswer,
    Chunk,
    Complete,
    Dropped,
    Failed,
    Frame,
    Heard,
    Heartbeat,
    LoadStatus,
    ModelsUpdate,
    PrefetchStatus,
    Register,
    decode,
)

DRAIN_S = 30.0
"""How long one frame may take to drain before the socket is dropped, in seconds."""

STRAY_CANCEL_S = 10.0
"""A chunk that nobody waits for is answered by a cancel at most this often, in seconds."""

_LOG = logging.getLogger("poolhand.dev.coordinator")


class Line:
    """One provider's socket.

    Args:
        socket: Open, not yet read from.
        transport: What is under it, to be dropped without a word.
        provider: Its record, which only this line writes.
        registry: Everybody's.
        options: The coordinator's.
    """

    def __init__(
        self,
        *,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        provider: Provider,
        registry: Registry,
        options: CoordinatorOptions,
    ) -> None:
        self.provider = provider
        self._socket = socket
        self._transport = transport
        self._registry = registry
        self._options = options
        self._registered = asyncio.Event()
        self._exchanges: dict[str, Exchange] = {}
        self._loads: defaultdict[str, list[asyncio.Future[StatusSeen | None]]] = defaultdict(list)
        self._answers: dict[str, asyncio.Event] = {}
        self._strayed_s = float("-inf")

    async def run(self) -> None:
        """Read until the socket ends; whatever still waits is told."""
        try:
            async with asyncio.TaskGroup() as group:
                keeper = group.create_task(self._keep_challenging())
                async for message in self._socket:
                    if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                        await self._hear(message.data)
                keeper.cancel()
        finally:
            self._lose()

    # ── out ───────────────────────────────────────────────────────────────────────────

    async def send(self, message: Mapping[str, object]) -> bool:
        """Send one message; false if the socket is gone."""
        return await self.send_text(json.dumps(message, separators=(",", ":")))

    async def send_text(self, text: str) -> bool:
        """Send one frame as it is; false if the socket is gone."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._socket.send_str(text)
        except ConnectionError:
            return False
        except TimeoutError:
            self.drop()
            return False
        return True

    async def send_desired(self, rows: list[dict[str, str]]) -> bool:
        """State everything that is desired; an empty list is a statement too."""
        return await self.send({"type": "desired_models", "models": rows})

    async def close(self, code: int, reason: str = "") -> None:
        """Close the socket politely."""
        await self._socket.close(code=code, message=reason.encode())

    def drop(self) -> None:
        """Drop the connection without a close frame."""
        self._transport.abort()

    async def challenge(self) -> Challenge:
        """Send a challenge and wait for its verdict."""
        made = Challenge(nonce=_text(os.urandom(32)), sent_s=_now_s())
        self.provider.challenges.append(made)
        answered = self._answers[made.nonce] = asyncio.Event()
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            async with asyncio.timeout(self._options.challenge_timeout_s):
                await self.send(
                    {"type": "attestation_challenge", "nonce": made.nonce, "timestamp": stamp}
                )
                await answered.wait()
        except TimeoutError:
            made.verdict = "timeout"
        finally:
            del self._answers[made.nonce]
        return made

    async def load(self, model: str, *, is_command: bool = False) -> StatusSeen | None:
        """Have a model loaded, and wait for how it ended.

        Args:
            model: The build.
            is_command: Whether to ask also while the same load is pending.

        Returns:
            ``None`` if the line was lost, or the time was up.
        """
        ended = self._expect(model)
        if is_command or self.provider.pending.get(model, 0.0) <= _now_s():
            self.provider.pending[model] = _now_s() + self._options.pending_load_s
            await self.send({"type": "load_model", "model_id": model})
        try:
            async with asyncio.timeout(self._options.pending_load_s):
                return await ended
        except TimeoutError:
            return None

    def _expect(self, model: str) -> "asyncio.Future[StatusSeen | None]":
        ended: asyncio.Future[StatusSeen | None] = asyncio.get_running_loop().create_future()
        if self.provider.ended:
            ended.set_result(None)
        else:
            self._loads[model].append(ended)
        return ended

    @contextlib.asynccontextmanager
    async def exchange(self, build: str, plaintext: bytes) -> AsyncGenerator[Exchange]:
        """Send one request; at the end, whatever the end is, a ``cancel`` follows it.

        Args:
            build: The model, for the record.
            plaintext: The body to seal.
        """
        register = self.provider.register
        record = RequestRecord(
            request_id=str(uuid.uuid4()),
            provider_id=self.provider.id,
            model=build,
            started_s=_now_s(),
        )
        made = Exchange(
            public_key=register.public_key if register else "",
            accept_wait_s=self._options.accept_wait_s,
            chunk_wait_s=self._options.chunk_wait_s,
        )
        self._exchanges[record.request_id] = made
        self.provider.requests.add(record.request_id)
        self._registry.note_request(record)
        request = {"type": "inference_request", "request_id": record.request_id}
        try:
            if self.provider.ended or not await self.send(
                {**request, "encrypted_body": made.seal(plaintext)}
            ):
                made.fail(DISCONNECTED)
            yield made
        finally:
            record.cancel(_now_s())
            self.provider.requests.discard(record.request_id)
            self._exchanges.pop(record.request_id, None)
            await self.send({"type": "cancel", "request_id": record.request_id})

    # ── in ────────────────────────────────────────────────────────────────────────────

    async def _hear(self, raw: str | bytes) -> None:
        self.provider.frames += 1
        heard = decode(raw)
        if isinstance(heard, Dropped):
            self._drop_frame(f"{heard.type or '?'}: {heard.reason}")
        elif self.provider.register is None and not isinstance(heard.frame, Register):
            self._drop_frame(f"{heard.frame.type}: not registered")
        else:
            await self._take(heard.frame, heard)

    def _drop_frame(self, reason: str) -> None:
        self.provider.drop(reason)
        _LOG.warning("frame dropped provider=%s %s", self.provider.id, reason)

    async def _take(self, frame: Frame, heard: Heard) -> None:
        match frame:
            case Register():
                self.provider.hear_register(frame, heard.fields, _now_s())
                _LOG.info("registered provider=%s models=%d", self.provider.id, len(frame.models))
                if self._options.sends_desired:
                    await self.send_desired(self._registry.desired_for(self.provider))
                self._registered.set()
            case Heartbeat():
                self.provider.hear_heartbeat(frame, heard.fields, _now_s())
            case ModelsUpdate():
                self.provider.hear_models(frame.models)
            case LoadStatus() | PrefetchStatus():
                self._take_status(frame)
            case ChallengeAnswer():
                judged = self.provider.hear_challenge_answer(frame, _now_s())
                if judged is None:
                    self._drop_frame("attestation_response: unknown nonce")
                elif judged.nonce in self._answers:
                    self._answers[judged.nonce].set()
            case Accepted() | Chunk() | Complete() | Failed():
                await self._take_reply(frame)

    def _take_status(self, frame: LoadStatus | PrefetchStatus) -> None:
        seen = self.provider.hear_status(frame, _now_s())
        _LOG.info("%s %s provider=%s", seen.kind, seen.status, self.provider.id)
        if seen.kind == "load" and seen.status in {"succeeded", "failed"}:
            for ended in self._loads.pop(seen.model_id, []):
                if not ended.done():
                    ended.set_result(seen)

    async def _take_reply(self, frame: Accepted | Chunk | Complete | Failed) -> None:
        record = self._registry.requests.get(frame.request_id)
        if record is None or record.provider_id != self.provider.id:
            self.provider.stray_frames += 1
            await self._cancel_stray(frame)
            return
        record.hear(frame, _now_s())
        exchange = self._exchanges.get(frame.request_id)
        if exchange is None or record.late_frames:
            await self._cancel_stray(frame)
            return
        try:
            record.chunks_dropped += not exchange.hear(frame)
        except Breach as breach:
            self.provider.untrusted = str(breach)
            _LOG.warning("untrusted provider=%s %s", self.provider.id, breach)
            record.fail("breach", _now_s())
            exchange.fail(BREACH)
        # whoever writes to the client gets a turn, however fast the provider sends
        await asyncio.sleep(0)

    async def _cancel_stray(self, frame: Accepted | Chunk | Complete | Failed) -> None:
        if isinstance(frame, Chunk) and _now_s() - self._strayed_s >= STRAY_CANCEL_S:
            self._strayed_s = _now_s()
            await self.send({"type": "cancel", "request_id": frame.request_id})

    async def _keep_challenging(self) -> None:
        await self._registered.wait()
        while True:
            await self.challenge()
            if self.provider.is_silent:
                await self.close(WSCloseCode.POLICY_VIOLATION, "attestation unresponsive")
                return
            await asyncio.sleep(self._options.challenge_interval_s)

    def _lose(self) -> None:
        """Tell everybody who waits for this line that it is gone."""
        self._registry.leave(self.provider, f"closed {self._socket.close_code or 1006}")
        for request_id, exchange in self._exchanges.items():
            record = self._registry.requests.get(request_id)
            if record is not None:
                record.fail("lost", _now_s())
            exchange.fail(DISCONNECTED)
        for waiting in self._loads.values():
            for ended in waiting:
                if not ended.done():
                    ended.set_result(None)
        for nonce, answered in self._answers.items():
            for challenge in self.provider.challenges:
                if challenge.nonce == nonce and challenge.verdict == "pending":
                    challenge.verdict = "lost"
            answered.set()


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")
