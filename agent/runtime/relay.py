"""Opens requests, runs them through an engine, seals what comes, sends it.

The only place that sees a prompt or an answer. Nothing here writes to a log, and no error
that leaves carries content. Every answer that was started ends in exactly one
``GenerationEnded``, told by the task's own end, so that not even a cancellation before its
first step can swallow it.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol, cast

from ...backends.engines.base import (
    NOT_SERVED,
    Delta,
    Endpoint,
    Engine,
    Finished,
    FinishReason,
    Native,
    Offer,
    Piece,
    Prompt,
    Started,
    Usage,
    whole,
)
from ...backends.engines.errors import EngineBrokeOff, EngineNotRunning
from ...config.errors import AgentError, LinkLost
from ...config.frozen import frozen
from ...config.refusals import RequestRefused, RequestUnreadable
from ..core.events import Event, GenerationEnded, RequestKey, RequestOpened
from ..core.events import RequestUnreadable as Unreadable
from ..core.request_key import LOCAL
from ..wire.codec import FrameTooLarge
from ..wire.inbound import InferenceRequest
from ..wire.sealing import NodeKey
from .beat import Beat
from .chunks import Chunks
from .sealed import Lane, Sealed

BEAT_S = 0.02
"""An engine that is faster than this gets its tokens batched: at most 50 chunks a second and
request, where a coordinator buffers 256 for a slow client and drops what is beyond."""

INLINE_CHARS = 2**18
"""Longer ciphertexts are opened in a thread: opening 16 MiB takes long enough to be felt."""

PLAIN_CHARS = 2**16
"""Longer pieces of an answer are for its own task: they may be too long for a frame."""

MAX_MODEL_CHARS = 256

MAX_TOKENS = 2**31 - 1
"""Nobody means more; an engine bounds it further."""

_ENDPOINTS: Mapping[str, Endpoint] = {
    "": "chat",
    "/v1/chat/completions": "chat",
    "/v1/completions": "text",
    "/v1/messages": "messages",
}


class Carrier(Protocol):
    """Takes the lines of one answer to whoever asked."""

    def now(self, line: bytes) -> bool:
        """Take a line at once, if there is room for it; ``False``: nothing was done."""
        ...

    async def carry(self, line: bytes) -> bool:
        """Take a line once there is room for it; ``False`` if nobody is there any more."""
        ...


@frozen
class Opened:
    """A request that can be read; it is shown to the engine and to nobody else.

    Attributes:
        body: OpenAI-style; it names its model.
        carrier: Takes the answer to whoever asked.
    """

    body: Mapping[str, object] = field(repr=False)
    endpoint: Endpoint
    carrier: Carrier = field(repr=False)


@dataclass(slots=True)
class _Answer:
    """How far an answer is; what is told when its task ends."""

    request: RequestKey
    prompt_tokens: int | None = None
    completion_tokens: int = 0
    has_output: bool = False
    finished: Usage | None = None
    error: AgentError | None = None
    begun_s: float = field(default_factory=time.monotonic)
    first_s: float | None = None
    reason: FinishReason | None = None

    def ended(self) -> GenerationEnded:
        """The answer's end, as things are now; what was said whole stays whole."""
        if self.finished is not None:
            outcome = "complete"
        elif self.error is not None:
            outcome = "cancelled" if isinstance(self.error, LinkLost) else "failed"
        else:
            outcome = "cancelled"
        usage = self.finished
        if usage is None and self.prompt_tokens is not None:
            usage = Usage(self.prompt_tokens, self.completion_tokens)
        error = None if outcome == "complete" else self.error
        how = (self.has_output, error, self.first_s, self.reason)
        return GenerationEnded(self.request, outcome, usage, *how)


class Relay:
    """Every opened prompt and every running answer.

    Args:
        key: Opens requests; its public half is named in every chunk.
        engine: The model's engine, while it can answer.
        lane: Where the chunks go of what was asked for on this line.
        tell: Puts an event into the inbox.
        tasks: Parent of the answers.
    """

    def __init__(
        self,
        key: NodeKey,
        *,
        engine: Callable[[str], Engine | None],
        lane: Callable[[int], Lane],
        tell: Callable[[Event], None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._key = key
        self._engine = engine
        self._lane = lane
        self._tell = tell
        self._tasks = tasks
        self._beat = Beat(BEAT_S)
        self._opened: dict[RequestKey, Opened] = {}
        self._running: dict[RequestKey, asyncio.Task[None]] = {}

    def open(self, request: RequestKey, message: InferenceRequest) -> None:
        """Unseal a request; ``RequestOpened`` or ``RequestUnreadable`` follows."""
        sealed = message.encrypted_body
        if sealed is not None and len(sealed.ciphertext) > INLINE_CHARS:
            self._tasks.create_task(self._open_aside(request, message), name="opening")
        else:
            self._keep(request, self._read(request, message))

    def take(self, request: RequestKey, opened: Opened) -> None:
        """Take a request that came in the clear; ``RequestOpened`` follows."""
        self._keep(request, opened)

    def start(self, request: RequestKey, model: str, max_tokens: int) -> None:
        """Answer an opened request; ``GenerationEnded`` follows, once."""
        answer = _Answer(request)
        opened = self._opened.pop(request, None)
        task = self._tasks.create_task(self._run(answer, opened, model, max_tokens), name="answer")
        self._running[request] = task
        task.add_done_callback(lambda _: self._over(answer))

    def cancel(self, request: RequestKey) -> None:
        """Stop one answer; its end is told all the same."""
        task = self._running.get(request)
        if task is not None:
            task.cancel()

    def forget(self, request: RequestKey) -> None:
        """Drop an opened request."""
        self._opened.pop(request, None)

    def _over(self, answer: _Answer) -> None:
        self._running.pop(answer.request, None)
        self._tell(answer.ended())

    # ── opening ───────────────────────────────────────────────────────────────────────

    async def _open_aside(self, request: RequestKey, message: InferenceRequest) -> None:
        self._keep(request, await asyncio.to_thread(self._read, request, message))

    def _keep(self, request: RequestKey, read: Opened | AgentError) -> None:
        if isinstance(read, AgentError):
            self._tell(Unreadable(request, read))
            return
        self._opened[request] = read
        model = read.body.get("model")
        longest = _tokens(read.body.get("max_completion_tokens")) or _tokens(
            read.body.get("max_tokens")
        )
        self._tell(RequestOpened(request, cast("str", model), longest))

    def _read(self, request: RequestKey, message: InferenceRequest) -> Opened | AgentError:
        """Unseal and parse; runs in a thread for long ones."""
        if message.encrypted_body is None:
            return RequestUnreadable(reason="there is no sealed body")
        try:
            plaintext, box = self._key.open_request(message.encrypted_body)
            body: object = json.loads(plaintext)
        except AgentError as error:
            return error
        except (ValueError, RecursionError):
            return RequestUnreadable(reason="the sealed body is no JSON")
        if not isinstance(body, dict):
            return RequestUnreadable(reason="the sealed body is no JSON object")
        fields = cast("dict[str, object]", body)
        model = fields.get("model")
        # it is echoed in refusals, so it has to be a name and not just any text
        if not isinstance(model, str) or not _is_name(model):
            return RequestUnreadable(reason="it names no model")
        endpoint = fields.get("endpoint") or ""
        shape = _ENDPOINTS.get(endpoint) if isinstance(endpoint, str) else None
        if shape is None:
            return RequestRefused(reason=NOT_SERVED)
        carrier = Sealed(request.id, self._key.public_key, box, self._lane(request.line))
        return Opened(fields, shape, carrier)

    # ── answering ─────────────────────────────────────────────────────────────────────

    async def _run(
        self, answer: _Answer, opened: Opened | None, model: str, max_tokens: int
    ) -> None:
        """Answer; what becomes of it is written down in ``answer`` as it happens."""
        engine = self._engine(model)
        if opened is None or engine is None:
            answer.error = EngineNotRunning(engine=model)
            return
        request = answer.request
        asked_as = cast("str", opened.body.get("model"))  # an adapter answers by its own name
        chunks = Chunks(request.id, asked_as, opened.endpoint, int(time.time()))
        take = _taker(answer, chunks, opened.carrier)
        prompt = Prompt(request.id, opened.endpoint, opened.body, max_tokens, BEAT_S, take)
        beat = None if _keeps_beats(engine) else self._beat
        try:
            async with aclosing(engine.generate(prompt)) as pieces:
                await self._stream(answer, pieces, chunks, opened.carrier, beat)
            if answer.finished is None:
                answer.error = EngineBrokeOff(engine=engine.name, reason="it has no end")
        except AgentError as error:
            answer.error = error
        except FrameTooLarge:
            reason = "one piece of it is longer than a coordinator reads"
            answer.error = EngineBrokeOff(engine=engine.name, reason=reason)

    async def _stream(
        self,
        answer: _Answer,
        pieces: AsyncGenerator[Piece, None],
        chunks: Chunks,
        carrier: Carrier,
        beat: Beat | None,
    ) -> None:
        sent_in = -1
        async for piece in pieces:
            match piece:
                case Started(prompt_tokens):
                    answer.prompt_tokens = prompt_tokens
                case Delta():
                    answer.completion_tokens += piece.tokens
                    if not (piece.text or piece.reasoning or piece.tool_calls):
                        continue
                    if beat is not None:
                        number = beat.number()
                        if number == sent_in:
                            # whatever the engine says meanwhile comes as one larger delta
                            await beat.next()
                            number = beat.number()
                        sent_in = number
                    await _send(answer, chunks.delta(piece), carrier)
                case Native():
                    answer.completion_tokens += piece.tokens
                    await _send(answer, chunks.native(piece), carrier)
                case Finished(reason, usage):
                    if chunks.endpoint != "messages":
                        await _send(answer, chunks.finish(reason), carrier)
                        # it would tell strangers what others have asked
                        is_own = answer.request.line == LOCAL
                        await _send(answer, chunks.usage(usage, tells_cache=is_own), carrier)
                    answer.finished, answer.reason = usage, reason


async def _send(answer: _Answer, line: bytes, carrier: Carrier) -> None:
    if not carrier.now(line) and not await carrier.carry(line):
        raise LinkLost(close_code=1006, reason="the line is gone")
    if answer.first_s is None:
        answer.first_s = round(time.monotonic() - answer.begun_s, 6)
    answer.has_output = True


def _taker(answer: _Answer, chunks: Chunks, carrier: Carrier) -> Offer:
    """Sends what comes in the middle of an answer, without waking its task."""

    def take(text: str, tokens: int) -> bool:
        is_taken = (
            answer.has_output and len(text) <= PLAIN_CHARS and carrier.now(chunks.words(text))
        )
        if is_taken:
            answer.completion_tokens += tokens
        return is_taken

    return take


def _keeps_beats(engine: Engine) -> bool:
    # see Prompt.beat_s; most engines know no beats
    return bool(getattr(engine, "keeps_beats", False))


def _is_name(model: str) -> bool:
    return 0 < len(model) <= MAX_MODEL_CHARS and model.isprintable()


def _tokens(value: object) -> int | None:
    """A count of tokens that makes sense, or nothing."""
    number = whole(value)
    return min(number, MAX_TOKENS) if number is not None and number > 0 else None
