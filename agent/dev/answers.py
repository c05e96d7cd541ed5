"""The public side's JSON: what providers' chunks become for a client of OpenAI's API.

Providers always stream, and in their own model's name. A client gets the name it asked for,
a usage chunk only on request, and one whole object if it did not want a stream. All of it
works on one request's plain text and keeps none.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias, cast

from pydantic_core import from_json

Json: TypeAlias = dict[str, object]

CHAT_ENDPOINT: Final = "/v1/chat/completions"
TEXT_ENDPOINT: Final = "/v1/completions"
DONE: Final = b"data: [DONE]\n\n"
_JOINED = ("content", "reasoning_content", "refusal")


class BodyUnusable(ValueError):
    """A client's body is no request."""

    def __init__(self, *, problem: str) -> None:
        super().__init__(f"the body {problem}")


def read_json(raw: bytes) -> Json:
    """A client's object.

    Raises:
        BodyUnusable: It is none.
    """
    try:
        value: object = from_json(raw, allow_inf_nan=False)
    except ValueError:
        raise BodyUnusable(problem="is not JSON") from None
    if not isinstance(value, dict):
        raise BodyUnusable(problem="is not an object")
    return cast("Json", value)


def read_body(raw: bytes) -> Json:
    """A client's request for an answer.

    Raises:
        BodyUnusable: It is no JSON object that names a model.
    """
    body = read_json(raw)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise BodyUnusable(problem="names no model")
    return body


def provider_body(body: Json, *, build: str, endpoint: str, max_tokens: int) -> bytes:
    """The plain text that is sealed for a provider.

    Args:
        body: The client's.
        build: The concrete model.
        endpoint: Where the client sent it; chat is not mentioned.
        max_tokens: The limit for a client that set none.
    """
    asked = body.get("max_tokens") or body.get("max_completion_tokens") or max_tokens
    out = {**body, "model": build, "max_tokens": asked}
    if endpoint != CHAT_ENDPOINT:
        out["endpoint"] = endpoint
    return json.dumps(out, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def wants_usage(body: Mapping[str, object]) -> bool:
    """Whether a streaming client asked for the usage chunk."""
    options = body.get("stream_options")
    return isinstance(options, dict) and cast("Json", options).get("include_usage") is True


def read_chunk(plaintext: bytes) -> Json | None:
    """A provider's chunk: an SSE line, or bare JSON; ``None`` for ``[DONE]`` and blanks.

    Raises:
        ValueError: It is neither.
    """
    text = plaintext.decode().strip()
    text = text.removeprefix("data:").strip()
    if text in {"", "[DONE]"}:
        return None
    value: object = from_json(text, allow_inf_nan=False)
    if not isinstance(value, dict):
        msg = "a chunk is not an object"
        raise ValueError(msg)  # noqa: TRY004 - it is the text that is wrong
    return cast("Json", value)


def choices(chunk: Mapping[str, object]) -> list[Json]:
    """The chunk's choices; whatever else stands there is left out."""
    found = chunk.get("choices")
    if not isinstance(found, list):
        return []
    rows = cast("list[object]", found)
    return [cast("Json", row) for row in rows if isinstance(row, dict)]


def has_content(chunk: Mapping[str, object]) -> bool:
    """Whether a chunk bears anything a client waits for, beyond a role."""
    for choice in choices(chunk):
        delta = _delta(choice)
        if choice.get("text") or choice.get("finish_reason") or delta.get("tool_calls"):
            return True
        if any(delta.get(name) for name in _JOINED):
            return True
    return False


def client_chunk(chunk: Mapping[str, object], *, asked: str, endpoint: str) -> Json | None:
    """A chunk as the client sees it; ``None`` if it only bears usage."""
    if not choices(chunk):
        return None
    out: Json = {**chunk, "model": asked}
    out.pop("usage", None)
    if endpoint == TEXT_ENDPOINT:
        out["object"] = "text_completion"
        out["choices"] = [_as_text(choice) for choice in choices(chunk)]
    return out


def usage_chunk(usage: Mapping[str, int], *, last: Mapping[str, object]) -> Json:
    """The chunk that ends a stream whose client asked for usage.

    Args:
        usage: The provider's count.
        last: A chunk of the same stream, for its id and its names.
    """
    return {**last, "choices": [], "usage": openai_usage(usage)}


def openai_usage(usage: Mapping[str, int]) -> Json:
    """Tokens in OpenAI's form, with the total."""
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    out: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if reasoning := usage.get("reasoning_tokens", 0):
        out["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return out


def whole(chunks: Iterable[Json], usage: Mapping[str, int], *, model: str, endpoint: str) -> Json:
    """One object out of a stream's chunks, each as the client would have seen it.

    Args:
        chunks: In order; the first names id and time.
        usage: The provider's count.
        model: The name the client asked for.
        endpoint: Which of the two forms is wanted.
    """
    is_chat = endpoint == CHAT_ENDPOINT
    head: Json = {}
    grown: dict[int, Json] = {}
    for chunk in chunks:
        head = head or chunk
        for choice in choices(chunk):
            index = choice.get("index")
            place = index if isinstance(index, int) else 0
            _grow(grown.setdefault(place, _start(place, is_chat=is_chat)), choice)
    return {
        "id": head.get("id", ""),
        "object": "chat.completion" if is_chat else "text_completion",
        "created": head.get("created", 0),
        "model": model,
        "choices": [grown[place] for place in sorted(grown)] or [_start(0, is_chat=is_chat)],
        "usage": openai_usage(usage),
    }


def error_body(message: str, *, kind: str, code: str | None = None) -> Json:
    """An error in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def sse(value: Mapping[str, object]) -> bytes:
    """One server-sent event."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return b"data: " + text.encode(errors="replace") + b"\n\n"


def _start(index: int, *, is_chat: bool) -> Json:
    choice: Json = {"index": index, "finish_reason": None, "logprobs": None}
    if is_chat:
        return {**choice, "message": {"role": "assistant", "content": None}}
    return {**choice, "text": ""}


def _grow(choice: Json, piece: Mapping[str, object]) -> None:
    """Add one piece to a choice in the making."""
    if piece.get("finish_reason"):
        choice["finish_reason"] = piece["finish_reason"]
    if "text" in choice:
        choice["text"] = f"{choice['text']}{_words(piece)}"
        return
    message = cast("Json", choice["message"])
    delta = _delta(piece)
    for name in _JOINED:
        if isinstance(delta.get(name), str):
            message[name] = f"{message.get(name) or ''}{delta[name]}"
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        made = cast("list[Json]", message.setdefault("tool_calls", []))
        for call in cast("list[object]", calls):
            if isinstance(call, dict):
                _grow_call(made, cast("Json", call))


def _grow_call(made: list[Json], piece: Json) -> None:
    """Add one piece of a tool call: the first names it, the rest lengthen its arguments."""
    index = piece.get("index")
    place = index if isinstance(index, int) and 0 <= index < len(made) else None
    if place is None:
        made.append({name: value for name, value in piece.items() if name != "index"})
        return
    more = piece.get("function")
    function = made[place].get("function")
    if isinstance(more, dict) and isinstance(function, dict):
        kept, added = cast("Json", function), cast("Json", more).get("arguments") or ""
        kept["arguments"] = f"{kept.get('arguments') or ''}{added}"


def _delta(choice: Mapping[str, object]) -> Json:
    delta = choice.get("delta")
    return cast("Json", delta) if isinstance(delta, dict) else {}


def _words(choice: Mapping[str, object]) -> str:
    text = choice.get("text")
    if isinstance(text, str):
        return text
    content = _delta(choice).get("content")
    return content if isinstance(content, str) else ""


def _as_text(choice: Mapping[str, object]) -> Json:
    return {
        "index": choice.get("index", 0),
        "text": _words(choice),
        "finish_reason": choice.get("finish_reason"),
        "logprobs": None,
    }
