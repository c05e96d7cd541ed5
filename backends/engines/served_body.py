"""A request as it is sent to an OpenAI-compatible server (pure).

Only known fields go there, so that no request reaches for what a server can do beyond
answering: other slots, files, adapters, a prompt's log probabilities.
"""

import json
from collections.abc import Mapping
from typing import cast

from ...config.refusals import RequestRefused, RequestTooLarge
from . import asked, images
from .base import NOT_SERVED, Prompt

LIMIT_BYTES = 64 * 2**20
"""Of one request; as much as a child of ours takes."""

PASSED = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "seed", "stop"),
        *("presence_penalty", "frequency_penalty", "repetition_penalty"),
        *("tools", "tool_choice", "parallel_tool_calls", "response_format"),
        *("reasoning_effort", "chat_template_kwargs"),
    }
)

TARGETS: Mapping[str, str] = {"chat": "/v1/chat/completions", "text": "/v1/completions"}

_FORMATS = frozenset({"text", "json_object", "json_schema"})


def target(prompt: Prompt) -> str:
    """Where a request goes.

    Raises:
        RequestRefused: It is of a form that such servers are not asked in.
    """
    found = TARGETS.get(prompt.endpoint)
    if found is None:
        raise RequestRefused(reason=NOT_SERVED)
    return found


def body(
    prompt: Prompt,
    *,
    model: str,
    most_tokens: int,
    asks: Mapping[str, object],
    renamed: Mapping[str, str],
    sees_images: bool = False,
) -> bytes:
    """The JSON that is sent.

    Args:
        prompt: The request.
        model: What the server calls its model.
        most_tokens: Bound of one answer, beside the request's own.
        asks: Fields that every request to this kind of server has.
        renamed: Fields that it knows by another name.
        sees_images: Whether pictures may be passed on.

    Raises:
        RequestRefused: The request asks for nothing, or for what cannot be done.
        RequestTooLarge: It is larger than a server should be given.
    """
    _check(prompt, sees_images=sees_images)
    what = "messages" if prompt.endpoint == "chat" else "prompt"
    said: dict[str, object] = {
        "model": model,
        what: prompt.body.get(what),
        "max_tokens": min(prompt.max_tokens, most_tokens),
        "stream": True,
        **asks,
    }
    for name in PASSED & prompt.body.keys():
        if prompt.body[name] is not None:
            said[renamed.get(name, name)] = prompt.body[name]
    try:
        text = json.dumps(said, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        sent = text.encode()
    except (TypeError, ValueError, RecursionError):
        # among these: NaN, half of a surrogate pair, what is no JSON at all
        raise RequestRefused(reason="the body cannot be passed on") from None
    if len(sent) > LIMIT_BYTES:
        raise RequestTooLarge
    return sent


def _check(prompt: Prompt, *, sees_images: bool) -> None:
    """Hold a request to the rules that hold for every engine here."""
    named: object = prompt.body.get("response_format")
    if named is not None:
        kind = cast("Mapping[str, object]", named).get("type") if isinstance(named, dict) else None
        if not isinstance(kind, str) or kind not in _FORMATS:
            raise RequestRefused(reason="response_format must be text, json_object or json_schema")
    choice = prompt.body.get("tool_choice")
    if choice not in (None, "auto", "none", "required") and not isinstance(choice, dict):
        raise RequestRefused(reason="tool_choice must be auto, none, required or one tool")
    left = {
        name: value
        for name, value in prompt.body.items()
        if name not in {"response_format", "tool_choice"}
    }
    endpoint = "chat" if prompt.endpoint == "chat" else "text"
    try:
        if sees_images and endpoint == "chat":
            left["messages"] = images.without(left.get("messages"))
        asked.read(endpoint, left, defaults=asked.Sampling())
    except asked.BadRequest as error:
        raise RequestRefused(reason=str(error)) from None
