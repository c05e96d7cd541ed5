"""A streaming chat or text completion asked of an OpenAI-compatible server.

Closing the iterator hangs up, which cancels the answer at the server. Nothing is tried twice.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import field
from http import HTTPStatus
from typing import cast

from ...config.dates import http_date_s
from ...config.frozen import frozen
from .base import Piece, whole
from .chat_pieces import AnswerBroken, Reader, Transcript
from .http_call import CutOff, HttpAnswer, Peer, TooMuch, call
from .sse import LIMIT_BYTES, EventReader, SseBroken

_UNPAID = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})

PROBLEM_BYTES = 2**16
"""Most that is read of a refusal."""
PROBLEM_S = 3.0
"""How long a refusal's words may take: its status alone says most."""

GRACE_S = 1.0
"""How long a last word is waited for that would add nothing: not every server says one."""

LONGEST_S = 366 * 86400.0

_TOO_LONG = re.compile(r"([0-9]+) tokens > ([0-9]+) maximum")
"""Anthropic's sentence: the prompt, and what the model can hold."""

_NO_IMAGES = re.compile(
    r"images? input (?:is|are) not supported|not support (?:the )?images?|support images? input"
    r"|not a multimodal model|unsupported content part type: .?image_url"
)
"""Sentences of llama.cpp, vLLM, Ollama and OpenRouter about pictures that a model cannot see."""

_UNSEEN = frozenset({400, 404, 415, 422, 500, 501})
"""Statuses that such a sentence may have: llama.cpp's server takes it for a fault of its own."""

_CONTEXT = re.compile(r"context (?:length|size|window)[^0-9]{0,24}([0-9]+)")
_PROMPT = re.compile(
    r"([0-9]+) (?:in the messages|input tokens|tokens from the input|tokens in the)"
    r"|(?:input|request) \(([0-9]+) tokens"
)
"""Counts in the sentences of vLLM, SGLang, OpenAI and llama.cpp; nothing else is read of them."""


@frozen
class Refusal:
    """Why a server did not answer, without a word of its own that could quote the prompt.

    Attributes:
        status: 300 to 599.
        retry_after_s: Seconds it asks to wait.
        is_too_long: It says that the prompt is longer than the model can hold.
        prompt_tokens: As it counted them, if it says so.
        context_tokens: What the model can hold, if it says so.
        is_unpaid: It says that the account has nothing left.
        sees_nothing: It says that the model takes no pictures.
        should_retry: Whether it says that another try may help; ``None`` if it says nothing.
        kinds: The words that sort it, for comparing and for nothing else.
    """

    status: int
    retry_after_s: float | None = None
    is_too_long: bool = False
    prompt_tokens: int | None = None
    context_tokens: int | None = None
    is_unpaid: bool = False
    sees_nothing: bool = False
    should_retry: bool | None = None
    kinds: frozenset[str] = field(default=frozenset(), repr=False, compare=False)


class Refused(Exception):
    """The server took the call and refused it."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(f"refused with status {refusal.status}")


async def converse(
    peer: Peer,
    target: str,
    body: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    connect_s: float = 10.0,
    silence_s: float | None = None,
    limit_bytes: int = LIMIT_BYTES,
    reader: Reader | None = None,
) -> AsyncGenerator[Piece, None]:
    """Ask for an answer and give it as pieces: started, deltas, finished.

    It is a stream of events, or, where the reader knows that form, whole and in one piece.

    Args:
        peer: Whom.
        target: Such as ``/v1/chat/completions``.
        body: The request in JSON.
        headers: On top of the peer's.
        connect_s: Seconds until somebody takes the call.
        silence_s: Seconds that may pass without an event; ``None``: somebody else watches.
        limit_bytes: Most that one event may have.
        reader: Reads the answer; unset: OpenAI's dialect.

    Raises:
        CallFailed: Nobody took the call, or it was cut before there was an answer.
        Refused: The server did not answer with a stream.
        AnswerBroken: The stream is garbage, or ends or falls silent before it is whole.
    """
    asked = call(
        peer,
        "POST",
        target,
        body=body,
        headers=headers,
        connect_s=connect_s,
        silence_s=silence_s,
    )
    async with asked as answer:
        transcript, events = reader or Transcript(), EventReader(limit_bytes=limit_bytes)
        kind = _kind(answer)
        if not kind and answer.status == HTTPStatus.OK:
            kind = _kind_of(await answer.first())
        is_whole = transcript.reads_whole and kind.startswith("application/json")
        await check(answer, kind=kind, is_whole=is_whole)
        said = (
            _in_one(answer, limit_bytes)
            if is_whole
            else _heard(answer, events, transcript, silence_s)
        )
        async with aclosing(said) as heard:
            has_begun = False
            async for came in heard:
                failed = _take(transcript, came)
                for piece in transcript.pieces():
                    # also before a failure: what was said was said
                    has_begun = True
                    yield piece
                if failed is not None:
                    raise _failure(*failed, has_begun=has_begun)
                if transcript.is_over:
                    break
        for piece in transcript.end():
            yield piece


async def check(answer: HttpAnswer, *, kind: str = "", is_whole: bool = False) -> None:
    """See that an answer is a stream of events, or in one piece.

    Args:
        answer: Its head came.
        kind: What it is, if that is known otherwise than by its head.
        is_whole: Whether it may be in one piece.

    Raises:
        Refused: It is a refusal.
        AnswerBroken: It is something else.
    """
    if answer.status != HTTPStatus.OK:
        raise Refused(await refused(answer))
    if not (is_whole or (kind or _kind(answer)).startswith("text/event-stream")):
        problem = "the server did not answer with a stream"
        raise AnswerBroken(problem)
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        problem = "the server compressed its answer, which nobody asked for"
        raise AnswerBroken(problem)


async def refused(answer: HttpAnswer) -> Refusal:
    """Read an answer that is a refusal; however little of its words comes, it is one."""
    words = await answer.beginning(limit_bytes=PROBLEM_BYTES, within_s=PROBLEM_S)
    return refusal(answer.status, answer.headers, words, unix_s=time.time())


def _kind(answer: HttpAnswer) -> str:
    return answer.headers.get("content-type", "").lower()


def _kind_of(beginning: bytes) -> str:
    """What a body is whose head does not say so: no line of a stream begins like an object."""
    return "application/json" if beginning.lstrip().startswith(b"{") else "text/event-stream"


async def _in_one(answer: HttpAnswer, limit_bytes: int) -> AsyncGenerator[list[str], None]:
    """An answer in one piece.

    Raises:
        AnswerBroken: It is too long, or was cut, or no text.
    """
    try:
        yield [(await answer.whole(limit_bytes=limit_bytes)).decode()]
    except (TooMuch, CutOff) as broken:
        raise AnswerBroken(str(broken)) from None
    except UnicodeDecodeError:
        problem = "the answer is not UTF-8"
        raise AnswerBroken(problem) from None


async def _heard(
    answer: HttpAnswer, events: EventReader, transcript: Reader, silence_s: float | None
) -> AsyncGenerator[list[str], None]:
    """The data of what comes, block by block; comments are no sign that anything will.

    A ping's is blank, for what servers write there is not always JSON. Of an answer that has all
    the rest is soon given up.

    Raises:
        AnswerBroken: It is no stream of events, or it was cut, or has no event for too long.
    """
    clock_s = asyncio.get_running_loop().time
    heard_s, until_s = clock_s(), None
    try:
        async with aclosing(answer.blocks()) as blocks:
            while (block := await _next(blocks, until_s)) is not None:
                told = events.feed(block)
                came = ["" if event.name == "ping" else event.data for event in told]
                if came:
                    yield came
                    heard_s = clock_s()
                    if until_s is None and transcript.has_all:
                        until_s = heard_s + GRACE_S
                elif silence_s is not None and clock_s() - heard_s > silence_s:
                    problem = f"nothing was said within {silence_s:g} s"
                    raise AnswerBroken(problem)
    except (SseBroken, CutOff) as broken:
        if not transcript.has_all:
            raise AnswerBroken(str(broken)) from None


async def _next(blocks: AsyncGenerator[bytes, None], until_s: float | None) -> bytes | None:
    """What comes next, until then; ``None`` at the end."""
    if until_s is None:
        return await anext(blocks, None)
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until_s):
            return await anext(blocks, None)
    return None


def _take(transcript: Reader, came: Sequence[str]) -> tuple[AnswerBroken, str] | None:
    """Take in what came, as far as the answer goes; data that is blank keeps the line open.

    Returns:
        How it broke, and at what; ``None`` if it did not.
    """
    for data in came:
        if not transcript.is_over and data.strip():
            try:
                transcript.take(data)
            except AnswerBroken as broken:
                return broken, data
    return None


def _failure(broken: AnswerBroken, data: str, *, has_begun: bool) -> Exception:
    """What an error amid a stream is: before a word, a refusal like one by a status.

    SGLang says so to a prompt that is too long, under a status of 200.
    """
    if broken.status is None or has_begun:
        return broken
    return Refused(refusal(broken.status, {}, data.encode()))


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, unix_s: float = 0.0
) -> Refusal:
    """Read a refusal; of its text only what it counts (pure).

    Args:
        status: 300 to 599.
        headers: By name in lower case.
        body: JSON in any of the usual shapes, or anything else.
        unix_s: Now, for a date on which to ask again; the server's own clock is believed first.
    """
    told = _problem(body)
    message = str(told.get("message") or "")
    kinds = frozenset(str(told.get(name)) for name in ("type", "code", "param"))
    context, prompt = _CONTEXT.search(message.lower()), _PROMPT.search(message.lower())
    both = _TOO_LONG.search(message)
    is_too_long = bool(
        kinds & {"exceed_context_size_error", "context_length_exceeded"}
        or ((context or both) and status == HTTPStatus.BAD_REQUEST)
    )
    if both:
        return Refusal(status, None, is_too_long, int(both[1][:9]), int(both[2][:9]))
    return Refusal(
        status,
        _seconds(headers.get("retry-after-ms"), 0.001)
        or _seconds(headers.get("retry-after"), 1)
        or _until(headers.get("retry-after"), headers.get("date"), unix_s),
        is_too_long,
        _positive(told.get("n_prompt_tokens")) or (_number(prompt) if prompt else None),
        _positive(told.get("n_ctx")) or (_number(context) if context else None),
        bool(kinds & _UNPAID) or "credit balance" in message,
        status in _UNSEEN and _NO_IMAGES.search(message.lower()) is not None,
        {"true": True, "false": False}.get(headers.get("x-should-retry", "")),
        kinds,
    )


def _problem(body: bytes) -> Mapping[str, object]:
    """The object that tells what is wrong, wherever the server put it."""
    try:
        told: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(told, dict):
        return {}
    fields = cast("Mapping[str, object]", told)
    inner = fields.get("error")
    if isinstance(inner, dict):
        return cast("Mapping[str, object]", inner)
    return {"message": inner, **fields} if isinstance(inner, str) else fields


def _number(match: "re.Match[str]") -> int | None:
    return next((int(group[:9]) for group in match.groups() if group), None)


def _positive(value: object) -> int | None:
    number = whole(value)
    return number if number is not None and number > 0 else None


def _seconds(value: str | None, unit_s: float) -> float | None:
    """A wait in seconds; what is longer than a year is a year."""
    if value is None or not re.fullmatch(r"[0-9]{1,99}(\.[0-9]{1,99})?", value.strip()):
        return None
    return min(float(value) * unit_s, LONGEST_S)


def _until(value: str | None, now: str | None, unix_s: float) -> float | None:
    """A wait until a date: RFC 9110, 10.2.3."""
    then_s, now_s = http_date_s(value), http_date_s(now)
    if then_s is None:
        return None
    return min(max(0.0, then_s - (unix_s if now_s is None else now_s)), LONGEST_S)
