"""A streaming chat or text completion asked of an OpenAI-compatible server.

Closing the iterator hangs up, which cancels the answer at the server. Nothing is tried twice.
"""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from .base import Piece
from .chat_pieces import DONE, AnswerBroken, Transcript
from .http_call import HttpAnswer, Peer, call
from .sse import LIMIT_BYTES, EventReader, SseBroken

PROBLEM_BYTES = 2**16
"""Most that is read of a refusal."""

_CONTEXT = re.compile(r"context (?:length|size|window)[^0-9]{0,24}([0-9]+)")
_PROMPT = re.compile(
    r"([0-9]+) (?:in the messages|input tokens|tokens from the input|tokens in the)"
    r"|(?:input|request) \(([0-9]+) tokens"
)
"""Counts in the sentences of vLLM, SGLang, OpenAI and llama.cpp; nothing else is read of them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a server did not answer, without a word of its own that could quote the prompt.

    Attributes:
        status: 300 to 599.
        retry_after_s: Seconds it asks to wait.
        is_too_long: It says that the prompt is longer than the model can hold.
        prompt_tokens: As it counted them, if it says so.
        context_tokens: What the model can hold, if it says so.
    """

    status: int
    retry_after_s: float | None = None
    is_too_long: bool = False
    prompt_tokens: int | None = None
    context_tokens: int | None = None


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
) -> AsyncGenerator[Piece, None]:
    """Ask for a stream and give it as pieces: started, deltas, finished.

    Args:
        peer: Whom.
        target: Such as ``/v1/chat/completions``.
        body: The request in JSON, with ``stream`` and ``include_usage`` on.
        headers: On top of the peer's.
        connect_s: Seconds until somebody takes the call.
        silence_s: Seconds that may pass without a byte; ``None``: somebody else watches.
        limit_bytes: Most that one event may have.

    Raises:
        CallFailed: Nobody took the call, or it was cut.
        Refused: The server did not answer with a stream.
        AnswerBroken: The stream is garbage, or ends before it is whole.
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
        await check(answer)
        transcript, reader = Transcript(), EventReader(limit_bytes=limit_bytes)
        async with aclosing(answer.blocks()) as blocks:
            async for block in blocks:
                is_done = _take(transcript, reader, block)
                if is_done:
                    break
                for piece in transcript.pieces():
                    yield piece
        for piece in transcript.end():
            yield piece


async def check(answer: HttpAnswer) -> None:
    """See that an answer is a stream of events.

    Raises:
        CallFailed: The refusal was cut.
        Refused: It is a refusal.
        AnswerBroken: It is something else.
    """
    if answer.status != HTTPStatus.OK:
        problem = await answer.whole(limit_bytes=PROBLEM_BYTES)
        raise Refused(refusal(answer.status, answer.headers, problem))
    if not answer.headers.get("content-type", "").startswith("text/event-stream"):
        problem = "the server did not answer with a stream"
        raise AnswerBroken(problem)


def _take(transcript: Transcript, reader: EventReader, block: bytes) -> bool:
    """Take a block in; whether the stream said that it is done."""
    try:
        events = reader.feed(block)
    except SseBroken as broken:
        raise AnswerBroken(str(broken)) from None
    for event in events:
        if event.data == DONE:
            return True
        transcript.take(event.data)
    return False


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Read a refusal; of its text only what it counts (pure).

    Args:
        status: 300 to 599.
        headers: By name in lower case.
        body: JSON in any of the usual shapes, or anything else.
    """
    told = _problem(body)
    message = str(told.get("message") or "")
    kinds = {str(told.get("type")), str(told.get("code"))}
    context, prompt = _CONTEXT.search(message.lower()), _PROMPT.search(message.lower())
    is_too_long = bool(
        kinds & {"exceed_context_size_error", "context_length_exceeded"}
        or (context and status == HTTPStatus.BAD_REQUEST)
    )
    return Refusal(
        status,
        _seconds(headers.get("retry-after-ms"), 0.001) or _seconds(headers.get("retry-after"), 1),
        is_too_long,
        _whole(told.get("n_prompt_tokens")) or (_number(prompt) if prompt else None),
        _whole(told.get("n_ctx")) or (_number(context) if context else None),
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


def _whole(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if isinstance(value, int) and is_count else None


def _seconds(value: str | None, unit_s: float) -> float | None:
    """A wait in seconds; a date says nothing that is worth a clock."""
    if value is None or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value.strip()):
        return None
    return float(value) * unit_s
