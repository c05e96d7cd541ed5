"""What a request asks for, read from its OpenAI-style body (pure).

Whatever is wrong with a body is said in closed words: the name of a field and what it must
be, never what was in it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal, cast

from ...config.frozen import frozen
from .base import whole

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
STOP_WORDS = 16
BLIND = "be text: this model sees no images"
"""What parts of a message must be, for a model that takes no pictures."""

TEMPLATE_OPTIONS = frozenset({"enable_thinking", "thinking", "reasoning_effort"})


class TooLong(Exception):
    """The prompt is longer than the model can hold.

    Attributes:
        tokens: How many were counted before the rest was not read any more.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        super().__init__(tokens)


class BadRequest(ValueError):
    """The body's form is not what an engine takes; the text is fit for the sender."""

    def __init__(self, *, field: str, must: str) -> None:
        super().__init__(f"{field} must {must}")


@frozen
class Sampling:
    """How the next token is drawn. Ratios are 0 to 1; ``top_k`` 0 and ``top_p`` 1 cut nothing."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


@frozen
class Asked:
    """One request, understood.

    Attributes:
        messages: Of a chat; each has a ``role`` and a ``content`` that is text.
        prompt: Of a text completion.
        options: Arguments for the chat template.
    """

    sampling: Sampling
    stop_words: tuple[str, ...] = field(repr=False)
    messages: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    prompt: str = field(default="", repr=False)
    tools: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    options: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)


def read(
    endpoint: Literal["chat", "text"],
    body: Mapping[str, object],
    *,
    defaults: Sampling,
) -> Asked:
    """Understand a body.

    Args:
        endpoint: ``chat`` has ``messages``, ``text`` a ``prompt``.
        body: The request.
        defaults: What the model's makers advise.

    Raises:
        BadRequest: It asks for nothing, or for what cannot be done.
    """
    _refuse_unsupported(body)
    sampling, stop_words = _sampling(body, defaults), _stop_words(body.get("stop"))
    if endpoint == "text":
        return Asked(sampling, stop_words, prompt=one_prompt(body.get("prompt")))
    return Asked(
        sampling,
        stop_words,
        messages=tuple(_message(message) for message in _messages(body.get("messages"))),
        tools=_tools(body),
        options=_options(body.get("chat_template_kwargs")),
    )


def advised(document: Mapping[str, object]) -> Sampling:
    """The sampling that a ``generation_config.json`` advises; what is odd in it is left out."""
    if document.get("do_sample") is False:
        return Sampling(temperature=0.0)
    kept = {
        name: document[name]
        for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
        if document.get(name) is not None
    }
    try:
        return _sampling(kept, Sampling())
    except BadRequest:
        return Sampling()


def _refuse_unsupported(body: Mapping[str, object]) -> None:
    if body.get("n") not in (None, 1):
        raise BadRequest(field="n", must="be 1")
    match body.get("response_format"):
        case None | {"type": "text"}:
            pass
        case _:
            raise BadRequest(field="response_format", must="be text")
    if body.get("tool_choice") not in (None, "auto", "none"):
        raise BadRequest(field="tool_choice", must="be auto or none")


def _sampling(body: Mapping[str, object], defaults: Sampling) -> Sampling:
    seed = whole(body.get("seed"))
    if seed is None and body.get("seed") is not None:
        raise BadRequest(field="seed", must="be an integer")
    temperature = _number(body, "temperature", defaults.temperature, 0.0, 100.0)
    top_p = _number(body, "top_p", defaults.top_p, 0.0, 1.0)
    top_k = _number(body, "top_k", defaults.top_k, -1, 2**31)
    return Sampling(
        # nothing but the likeliest token is left of a top_p of 0
        temperature=temperature if top_p > 0 else 0.0,
        top_p=top_p if top_p > 0 else 1.0,
        top_k=max(0, int(top_k)),
        min_p=_number(body, "min_p", defaults.min_p, 0.0, 1.0),
        seed=None if seed is None else seed % 2**63,
        repetition_penalty=_number(
            body, "repetition_penalty", defaults.repetition_penalty, 0.01, 100.0
        ),
        presence_penalty=_number(body, "presence_penalty", 0.0, -100.0, 100.0),
        frequency_penalty=_number(body, "frequency_penalty", 0.0, -100.0, 100.0),
    )


def _number(
    body: Mapping[str, object], name: str, default: float, least: float, most: float
) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(field=name, must="be a number")
    if not least <= value <= most:  # also of a NaN
        raise BadRequest(field=name, must=f"be from {least:g} to {most:g}")
    return float(value)


def _stop_words(stop: object) -> tuple[str, ...]:
    if stop is None:
        return ()
    words = [stop] if isinstance(stop, str) else _array(stop, "stop", must="be text or texts")
    if len(words) > STOP_WORDS:
        raise BadRequest(field="stop", must=f"name at most {STOP_WORDS} texts")
    if not all(isinstance(word, str) for word in words):
        raise BadRequest(field="stop", must="be text or texts")
    return tuple(word for word in cast("list[str]", words) if word)


def one_prompt(prompt: object) -> str:
    """The text to go on from; several are as many answers.

    Raises:
        BadRequest: It is none, or more than one.
    """
    if isinstance(prompt, list) and len(cast("list[object]", prompt)) == 1:
        prompt = cast("list[object]", prompt)[0]
    if not isinstance(prompt, str) or not prompt:
        raise BadRequest(field="prompt", must="be one text, not empty")
    return prompt


def _messages(messages: object) -> Sequence[object]:
    listed = _array(messages, "messages")
    if not listed:
        raise BadRequest(field="messages", must="not be empty")
    return listed


def _message(message: object) -> Mapping[str, object]:
    if not isinstance(message, dict):
        raise BadRequest(field="each message", must="be an object")
    said = dict(cast("Mapping[str, object]", message))
    role = said.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequest(field="each message", must="have a known role")
    said["role"] = "system" if role == "developer" else role
    said["content"] = _content(said.get("content"))
    if said.get("tool_calls") is not None:
        said["tool_calls"] = [_past_call(call) for call in _array(said["tool_calls"], "tool_calls")]
    return said


def _content(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in _array(content, "content", must="be text or parts"):
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url"}:
                raise BadRequest(field="content parts", must=BLIND)
            case _:
                raise BadRequest(field="content parts", must="be of type text")
    return "".join(texts)


def _past_call(call: object) -> Mapping[str, object]:
    """A call of an earlier turn, its arguments as the object that templates expect."""
    outer = mapping(call)
    inner = mapping(outer.get("function"))
    if not isinstance(inner.get("name"), str):
        raise BadRequest(field="each tool call", must="name a function")
    arguments = inner.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = cast("object", json.loads(arguments or "{}"))
        except (ValueError, RecursionError):
            raise BadRequest(field="arguments of a tool call", must="be JSON") from None
    return {**outer, "function": {"name": inner["name"], "arguments": arguments}}


def _tools(body: Mapping[str, object]) -> tuple[Mapping[str, object], ...]:
    if body.get("tools") is None or body.get("tool_choice") == "none":
        return ()
    tools = _array(body["tools"], "tools")
    for tool in tools:
        function = mapping(mapping(tool).get("function"))
        if not isinstance(function.get("name"), str):
            raise BadRequest(field="each tool", must="name a function")
        if not isinstance(function.get("parameters", {}), dict | None):
            raise BadRequest(field="parameters of a tool", must="be an object")
    return tuple(cast("list[Mapping[str, object]]", tools))


def _options(options: object) -> Mapping[str, object]:
    if options is None:
        return {}
    if not isinstance(options, dict) or not TEMPLATE_OPTIONS.issuperset(
        cast("dict[str, object]", options)
    ):
        raise BadRequest(field="chat_template_kwargs", must="have known names only")
    return cast("Mapping[str, object]", options)


def _array(value: object, name: str, *, must: str = "be an array") -> list[object]:
    if not isinstance(value, list):
        raise BadRequest(field=name, must=must)
    return cast("list[object]", value)


def mapping(value: object) -> Mapping[str, object]:
    """The object, or one with nothing in it."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
