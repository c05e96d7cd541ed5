"""Anthropic's dialect, the way out: a chat becomes a Messages request (pure).

What has no counterpart there and only tunes an answer (seeds, penalties, ``reasoning_effort``)
is left out, as Anthropic's own layer for OpenAI's clients does. What would change the answer's
form is refused instead. A request that is in Anthropic's form already goes through as it is.

Source:
    Anthropic API reference, "Create a Message"; "OpenAI SDK compatibility".
"""

import json
import re
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast
from urllib.parse import urlsplit

from ...config.external import External
from .asked import BadRequest, mapping
from .base import Prompt
from .dialects import Call, Json, array, messages, rows, text, tools

HEADERS: Mapping[str, str] = MappingProxyType({"anthropic-version": "2023-06-01"})

MOST_TEMPERATURE = 1.0
"""OpenAI's goes up to 2; more than this is refused here, so it is cut."""

NOT_PASSED = frozenset({"endpoint", "model", "stream", "max_tokens", "reasoning_parser"})
"""What this node, or the coordinator, puts into a native request."""

_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]+);base64,([A-Za-z0-9+/=\s]+)")

_CHOICES: Mapping[str, str] = MappingProxyType({"auto": "auto", "none": "none", "required": "any"})


def call(external: External, model: str, prompt: Prompt) -> Call:
    """A request in this dialect.

    Args:
        external: Where to, and what the operator allows.
        model: What the provider calls it.
        prompt: The request; its endpoint is ``chat`` or ``messages``.

    Raises:
        BadRequest: It asks for what cannot be had here.
    """
    if prompt.endpoint == "text":
        raise BadRequest(field="endpoint", must="be chat completions or messages")
    body = _native(prompt.body) if prompt.endpoint == "messages" else _of_chat(prompt.body)
    most = min(prompt.max_tokens, external.max_output_tokens)
    asked = {**body, "model": model, "max_tokens": most, "stream": True}
    kept = {name: value for name, value in asked.items() if name not in external.drop}
    return Call(target(external, "/messages"), HEADERS, kept)


def target(external: External, path: str) -> str:
    """Path of a call; the operator's URL may end before or after ``/v1``."""
    base = urlsplit(external.url).path.rstrip("/")
    return f"{base if base.endswith('/v1') else base + '/v1'}{path}"


def _native(body: Json) -> dict[str, object]:
    if not array(body.get("messages"), "messages"):
        raise BadRequest(field="messages", must="not be empty")
    return {name: value for name, value in body.items() if name not in NOT_PASSED}


def _of_chat(body: Json) -> dict[str, object]:
    if body.get("n") not in (None, 1):
        raise BadRequest(field="n", must="be 1")
    said = messages(body)
    asked: dict[str, object] = {"messages": _turns(said)}
    system = "\n".join(part for one in said if _is_system(one) for part in _texts(one))
    if system.strip():
        asked["system"] = system
    functions = tools(body)
    if functions:
        asked["tools"] = [_tool(function) for function in functions]
        if choice := _tool_choice(body):
            asked["tool_choice"] = choice
    if sequences := _stops(body.get("stop")):
        asked["stop_sequences"] = sequences
    if form := _form(body.get("response_format")):
        asked["output_config"] = {"format": form}
    return {**asked, **_sampling(body)}


def _is_system(message: Json) -> bool:
    return message["role"] in {"system", "developer"}


def _texts(message: Json) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [text(part.get("text")) for part in rows(content)]


# ── turns ─────────────────────────────────────────────────────────────────────────────


def _turns(said: list[Json]) -> list[Json]:
    """The talk without what stands before it; neighbours of one side become one turn.

    Results of tools belong to the user's side, and all of one turn's calls have to be answered
    in the turn that follows.
    """
    turns: list[tuple[str, list[Json]]] = []
    for message in said:
        if _is_system(message):
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message)
        if not blocks:
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns:
        raise BadRequest(field="messages", must="hold a turn of the user")
    return [{"role": role, "content": blocks} for role, blocks in turns]


def _blocks(message: Json) -> list[Json]:
    match message["role"]:
        case "tool" | "function":
            name = text(message.get("tool_call_id")) or text(message.get("name"))
            if not name:
                raise BadRequest(field="each tool message", must="have a tool_call_id")
            return [{"type": "tool_result", "tool_use_id": name, "content": _content(message)}]
        case "assistant":
            calls = message.get("tool_calls")
            called = [] if calls is None else array(calls, "tool_calls")
            return [*_content(message), *(_tool_use(mapping(one)) for one in called)]
        case _:
            return _content(message)


def _content(message: Json) -> list[Json]:
    content = message.get("content")
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    blocks: list[Json] = []
    for part in array(content, "content"):
        match part:
            case {"type": "text", "text": str(said)} | {"type": "refusal", "refusal": str(said)}:
                blocks += [{"type": "text", "text": said}] if said.strip() else []
            case {"type": "image_url"}:
                image = cast("Json", part).get("image_url")
                blocks.append({"type": "image", "source": _image(image)})
            case _:
                raise BadRequest(field="content parts", must="be of type text or image_url")
    return blocks


def _image(image: object) -> Json:
    url = text(image) or text(mapping(image).get("url"))
    if found := _DATA_URL.fullmatch(url):
        return {"type": "base64", "media_type": found[1], "data": "".join(found[2].split())}
    if url.startswith("https://"):
        return {"type": "url", "url": url}
    raise BadRequest(field="image_url", must="be https:// or data:image/…;base64,")


def _tool_use(outer: Json) -> Json:
    inner = mapping(outer.get("function"))
    name, arguments = inner.get("name"), inner.get("arguments", "")
    if not isinstance(name, str):
        raise BadRequest(field="each tool call", must="name a function")
    if isinstance(arguments, str):
        try:
            arguments = cast("object", json.loads(arguments or "{}"))
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict):
        raise BadRequest(field="arguments of a tool call", must="be a JSON object")
    made = cast("Json", arguments)
    return {"type": "tool_use", "id": text(outer.get("id")) or name, "name": name, "input": made}


# ── what stands around them ───────────────────────────────────────────────────────────


def _tool(function: Json) -> Json:
    made: dict[str, object] = {
        "name": function["name"],
        "input_schema": {"type": "object", **mapping(function.get("parameters"))},
    }
    if isinstance(function.get("description"), str):
        made["description"] = function["description"]
    return made


def _tool_choice(body: Json) -> Json:
    asked = body.get("tool_choice")
    made: dict[str, object] = {}
    match asked:
        case None:
            pass
        case str() if asked in _CHOICES:
            made["type"] = _CHOICES[asked]
        case {"type": "function", "function": {"name": str(name)}}:
            made |= {"type": "tool", "name": name}
        case _:
            raise BadRequest(field="tool_choice", must="be auto, none, required or a function")
    if body.get("parallel_tool_calls") is False and made.get("type") != "none":
        made = {"type": "auto", **made, "disable_parallel_tool_use": True}
    return made


def _stops(stop: object) -> list[str]:
    if stop is None:
        return []
    words = [stop] if isinstance(stop, str) else array(stop, "stop")
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise BadRequest(field="stop", must="be texts that are not blank")
    return cast("list[str]", words)


def _form(form: object) -> Json | None:
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json_schema", "json_schema": {"schema": dict()}}:
            outer = mapping(cast("Json", form)["json_schema"])
            return {"type": "json_schema", "schema": mapping(outer["schema"])}
        case _:
            raise BadRequest(field="response_format", must="be text or a json_schema")


def _sampling(body: Json) -> Json:
    """Temperature, or else top_p: newer models take one of them at most."""
    for name, most in (("temperature", MOST_TEMPERATURE), ("top_p", 1.0)):
        value = body.get(name)
        if value is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= cast("float", value) <= sys.float_info.max:
            raise BadRequest(field=name, must="be a number, 0 or more")
        return {name: min(cast("float", value), most)}
    return {}
