"""The control socket's OpenAPI document; imported only when somebody asks for it."""

from collections.abc import Iterator
from dataclasses import field

from ...config.frozen import frozen
from . import shapes
from .shapes import Content, Schema, maybe, shape

OPENAPI = "3.1.0"


@frozen
class Call:
    """One path and method.

    Attributes:
        answers: Schema of the JSON answer by HTTP status; text where it is ``None``.
        body: Schema of what is sent.
        query: Names of its parameters.
        in_path: Names of those that are part of the path.
        may_stream: Whether the answer comes as server-sent events if that is asked for.
    """

    method: str
    path: str
    words: str
    answers: dict[int, Content] = field(default_factory=dict[int, Content])
    body: Content = None
    query: tuple[str, ...] = ()
    in_path: tuple[str, ...] = ()
    may_stream: bool = False


_ORDER: dict[int, Content] = {
    200: shapes.ORDER,
    202: shapes.ORDER,
    409: shapes.ORDER,
    400: shapes.PROBLEM,
}
_OPENAI = dict.fromkeys((400, 404, 413, 429, 503), shapes.OPENAI_PROBLEM)
_MODEL = shape(model=shapes.TEXT)
_NOTHING: Schema = {"type": "object", "additionalProperties": False}


def _some(**fields: Schema) -> Schema:
    return {**shape(**fields), "required": []}


CALLS: tuple[Call, ...] = (
    Call("GET", "/v1/status", "Does it serve, and if not, why?", {200: shapes.STATUS}),
    Call("GET", "/v1/models", "What may be offered, and what is here.", {200: shapes.MODELS}),
    Call(
        "GET",
        "/v1/orders",
        "How an order stands.",
        {200: shapes.ORDER, 404: shapes.PROBLEM},
        query=("order",),
    ),
    Call("GET", "/v1/config", "What is in force, secrets masked.", {200: shapes.by_name({})}),
    Call("GET", "/v1/openapi.json", "This document.", {200: shapes.by_name({})}),
    Call(
        "GET",
        "/v1/models/{model}",
        "One model, in OpenAI's form.",
        {200: shapes.OPENAI_MODEL, 404: shapes.OPENAI_PROBLEM},
        in_path=("model",),
    ),
    Call(
        "POST",
        "/v1/chat/completions",
        "A chat, in OpenAI's form; off unless `control.openai_api` says so.",
        {200: shapes.CHAT, **_OPENAI},
        shapes.CHAT_ASKED,
        may_stream=True,
    ),
    Call(
        "POST",
        "/v1/completions",
        "A text to go on with, likewise.",
        {200: shapes.COMPLETION, **_OPENAI},
        shapes.TEXT_ASKED,
        may_stream=True,
    ),
    Call("GET", "/metrics", "For Prometheus.", {200: None}),
    Call("GET", "/healthz", "The process lives.", {200: shape(status=shapes.TEXT)}),
    Call("GET", "/readyz", "It serves.", {200: shapes.READY, 503: shapes.READY}),
    Call(
        "POST",
        "/v1/reload",
        "Read the configuration again.",
        {200: shapes.RELOADED, 409: shapes.RELOADED, 400: shapes.PROBLEM},
        _NOTHING,
    ),
    Call(
        "POST",
        "/v1/drain",
        "Finish what runs and take nothing new.",
        _ORDER,
        _some(deadline_s=maybe(shapes.NUMBER)),
    ),
    Call("POST", "/v1/undrain", "Take work again.", _ORDER, _NOTHING),
    Call(
        "POST",
        "/v1/pool/set",
        "Serve another pool; what runs is finished first.",
        _ORDER,
        {**shape(pool=shapes.TEXT, now=shapes.FLAG), "required": ["pool"]},
    ),
    Call("POST", "/v1/pool/release", "Let the node choose again.", _ORDER, _NOTHING),
    Call("POST", "/v1/pin", "Let a model make way for no other.", _ORDER, _MODEL),
    Call("POST", "/v1/unpin", "Take a pin back.", _ORDER, _MODEL),
)


def document(version: str) -> dict[str, Schema]:
    """The whole document.

    Args:
        version: Of this package.
    """
    paths: dict[str, Schema] = {}
    for call in CALLS:
        known = paths.setdefault(call.path, {})
        if isinstance(known, dict):
            known[call.method.lower()] = dict(_operation(call))
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "poolhand control",
            "version": version,
            "description": (
                "On a Unix socket of mode 0600 in the state folder; on loopback too if "
                "`control.port` says so, then with `Authorization: Bearer` and the key."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://localhost"}],
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"key": []}],
    }


def _operation(call: Call) -> Iterator[tuple[str, Schema]]:
    name = "".join(letter if letter.isalnum() else "_" for letter in call.path.strip("/"))
    yield "operationId", f"{call.method.lower()}_{name.strip('_')}"
    yield "summary", call.words
    named = [*((one, "query") for one in call.query), *((one, "path") for one in call.in_path)]
    if named:
        yield (
            "parameters",
            [
                {"name": one, "in": where, "required": True, "schema": shapes.TEXT}
                for one, where in named
            ],
        )
    if call.body is not None:
        yield "requestBody", {"content": {"application/json": {"schema": call.body}}}
    yield "responses", {str(status): _answer(call, status) for status in call.answers}


def _answer(call: Call, status: int) -> Schema:
    found = call.answers[status]
    kind, schema = ("text/plain", shapes.TEXT) if found is None else ("application/json", found)
    content: dict[str, Schema] = {kind: {"schema": schema}}
    if call.may_stream and status == _DONE:
        content["text/event-stream"] = {"schema": shapes.TEXT}
    return {"description": _MEANT[status], "content": content}


_DONE = 200

_MEANT = {
    200: "Done.",
    202: "Under way; `GET /v1/orders` tells how it ends.",
    400: "The question was none.",
    404: "Not known.",
    409: "Refused or failed.",
    413: "Too long.",
    429: "Too many at once; `Retry-After` says when to come again.",
    503: "Not ready, and why.",
}
