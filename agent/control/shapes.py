"""What the control socket answers, as JSON Schema: published in ``docs``, held to real answers.

A field that is not here does not come: tests take every answer strictly. A program should be
more patient, and pass over what a newer agent adds. ``null`` is "not measured" or "none".
"""

from typing import TypeAlias

Schema: TypeAlias = "dict[str, Schema] | list[Schema] | str | bool | int | float"

Content: TypeAlias = "Schema | None"
"""A schema, or text that has none."""

WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}


def shape(**fields: Schema) -> dict[str, Schema]:
    """An object that has these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def many(of: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": of}


def by_name(of: Schema) -> Schema:
    """An object whose fields are names that are not known ahead."""
    return {"type": "object", "additionalProperties": of}


def maybe(of: Schema) -> Schema:
    """The same, or nothing."""
    return {"anyOf": [of, {"type": "null"}]}


def one_of(*words: str) -> Schema:
    """One of these words."""
    return {"enum": [*words]}


_REASON = {"code": TEXT, "words": TEXT, "remedy": TEXT}
REASON = shape(**_REASON)
BLOCKERS = many(shape(**_REASON, certain=FLAG))

_LINE = shape(
    state=one_of("down", "connecting", "online", "leaving", "closed"),
    url=TEXT,
    since_s=NUMBER,
    lines=WHOLE,
    failures_in_a_row=WHOLE,
    dials_in_s=maybe(NUMBER),
    last_error=maybe(REASON),
    trust=maybe(TEXT),
)
_POOL = shape(
    assigned=maybe(TEXT),
    scope=many(TEXT),
    source=TEXT,
    epoch=WHOLE,
    for_s=NUMBER,
    enforced=FLAG,
    moving=FLAG,
    stays_because=maybe(TEXT),
    models=many(TEXT),
    allowed=many(TEXT),
    refusals=WHOLE,
    refusals_by_reason=by_name(WHOLE),
    last_refusal=maybe(shape(model=TEXT, **_REASON, count=WHOLE, age_s=NUMBER)),
)
_REST = shape(
    phase=TEXT,
    turns_at=maybe(TEXT),
    yield_to=many(TEXT),
    is_owners=FLAG,
    sign=maybe(TEXT),
    words=TEXT,
    asleep=many(TEXT),
)
_STATES = (
    *("downloading", "verifying", "staged", "loading", "ready", "draining", "unloading"),
    "empty",
)
_STAY = shape(
    model=TEXT,
    state=one_of(*_STATES),
    for_s=NUMBER,
    is_load=FLAG,
    requests=WHOLE,
    needs_bytes=maybe(WHOLE),
    holds_bytes=maybe(WHOLE),
    load_s=maybe(NUMBER),
    context_tokens=maybe(WHOLE),
    decode_tps=maybe(NUMBER),
    generated_tokens=maybe(WHOLE),
    weight_hash=maybe(TEXT),
    verified_by=maybe(TEXT),
    trouble=maybe(TEXT),
    bytes_done=maybe(WHOLE),
    bytes_total=maybe(WHOLE),
    bytes_resumed=maybe(WHOLE),
    bytes_peers=maybe(WHOLE),
    bytes_reused=maybe(WHOLE),
    rate_bytes_s=maybe(NUMBER),
    percent=maybe(NUMBER),
    eta_s=maybe(NUMBER),
    phase=maybe(TEXT),
)
_MEMORY = shape(
    kind=TEXT,
    total_bytes=maybe(WHOLE),
    available_bytes=maybe(WHOLE),
    pressure=maybe(NUMBER),
    free_for_load_bytes=maybe(WHOLE),
    thermal_state=maybe(TEXT),
    measured=many(by_name({})),
)
_STOCK: dict[str, Schema] = {
    "id": TEXT,
    "on_disk": one_of("listed", "partial", "here"),
    "size_bytes": maybe(WHOLE),
    "here_bytes": maybe(WHOLE),
    "weight_hash": maybe(TEXT),
    "verified_by": maybe(TEXT),
}
_CACHE: Schema = {
    "type": "object",
    "properties": {"models": many(shape(**_STOCK))},
    "required": ["models"],
    "description": "More is told once the cache was looked after.",
}
_REACH = maybe(
    shape(
        model=TEXT,
        reachable=FLAG,
        blockers=BLOCKERS,
        others=many(shape(model=TEXT, code=TEXT, words=TEXT, certain=FLAG)),
    )
)
_DESIRED = shape(
    name=TEXT,
    model=TEXT,
    previous=maybe(TEXT),
    state=one_of("answering", "on_disk", "coming", "waiting", "failed", "ignored"),
    why=maybe(TEXT),
    failures=WHOLE,
    again_in_s=maybe(NUMBER),
)

NODE_PARTS: dict[str, Schema] = {
    "serving": FLAG,
    "why_not": many(REASON),
    "line": _LINE,
    "pool": _POOL,
    "reach": _REACH,
    "drains": many(shape(reason=TEXT, words=TEXT, for_s=NUMBER)),
    "pinned": many(TEXT),
    "desired": many(_DESIRED),
    "rest": _REST,
    "max_model_slots": WHOLE,
    "slots": many(_STAY),
    "requests": by_name(WHOLE),
    "memory": _MEMORY,
    "cache": _CACHE,
    "config": {
        "type": "object",
        "properties": {
            "rejected": maybe(REASON),
            "path": TEXT,
            "files": many(TEXT),
            "pending": many(TEXT),
            "changed_s": maybe(NUMBER),
            "last_good_in_force": FLAG,
        },
        "required": ["rejected"],
        "additionalProperties": False,
    },
    "restarts": many(shape(model=TEXT, **_REASON, in_s=maybe(NUMBER))),
    "failures": many(shape(**_REASON, age_s=NUMBER)),
    "unknown_frames": WHOLE,
}
"""What the node tells of itself."""

NODE = shape(
    version=TEXT,
    pid=WHOLE,
    state_dir=TEXT,
    uptime_s=NUMBER,
    backend_label=TEXT,
    log=by_name(TEXT),
)

_PEERS = shape(
    listen=TEXT,
    port=maybe(WHOLE),
    error=maybe(shape(code=TEXT, words=TEXT)),
    kept_back=many(TEXT),
    sent_bytes=WHOLE,
    asks=WHOLE,
    connections=WHOLE,
    refused=WHOLE,
    turned_away=WHOLE,
)

_TELEMETRY = shape(
    state=one_of("starting", "sending", "failing", "unusable"),
    endpoint=maybe(TEXT),
    sent=WHOLE,
    failed=WHOLE,
    dropped=WHOLE,
    error=maybe(REASON),
)
STATUS: Schema = {
    **shape(**NODE_PARTS, node=NODE, peers=_PEERS, telemetry=_TELEMETRY),
    "required": [*NODE_PARTS, "node"],
    "description": "`peers` comes with `peers.listen`, `telemetry` with `telemetry.traces`.",
}

_OFFERED = shape(
    aliases=many(TEXT),
    ref=TEXT,
    in_pool=FLAG,
    allowed=FLAG,
    state=TEXT,
    blockers=BLOCKERS,
    **_STOCK,
)
OPENAI_MODEL = shape(id=TEXT, object=one_of("model"), created=WHOLE, owned_by=TEXT)
MODELS: Schema = {
    **shape(models=many(_OFFERED), object=one_of("list"), data=many(OPENAI_MODEL)),
    "required": ["models"],
    "description": "`object` and `data` come with `control.openai_api`, in OpenAI's form.",
}

ORDER = shape(order=WHOLE, status=one_of("done", "under_way", "refused", "failed"), words=TEXT)
PROBLEM = shape(code=TEXT, words=TEXT)
OPENAI_PROBLEM = shape(
    error=shape(
        message=TEXT,
        type=one_of("invalid_request_error", "rate_limit_error", "server_error"),
        param=maybe(TEXT),
        code=TEXT,
    )
)
_ASKED: dict[str, Schema] = {
    "model": {"type": "string", "description": "A model's id, or an alias."},
    "stream": FLAG,
    "stream_options": {"type": "object", "properties": {"include_usage": FLAG}},
    "max_tokens": maybe(WHOLE),
    "stop": {"anyOf": [TEXT, many(TEXT), {"type": "null"}]},
}
_SOME: Schema = {"type": "object"}
CHAT_ASKED: Schema = {
    "type": "object",
    "properties": {**_ASKED, "messages": many(_SOME), "tools": many(_SOME)},
    "required": ["model", "messages"],
    "description": "Further fields of OpenAI's go to the engine as they are.",
}
TEXT_ASKED: Schema = {
    "type": "object",
    "properties": {**_ASKED, "prompt": {"anyOf": [TEXT, many(TEXT)]}},
    "required": ["model", "prompt"],
    "description": "Likewise.",
}


def _answered(form: str, **choice: Schema) -> dict[str, Schema]:
    one = shape(index=WHOLE, logprobs={"type": "null"}, finish_reason=maybe(TEXT), **choice)
    usage: Schema = {
        "type": "object",
        "properties": dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), WHOLE),
        "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
    }
    head: dict[str, Schema] = {"id": TEXT, "object": one_of(form), "created": WHOLE, "model": TEXT}
    return shape(**head, choices=many(one), usage=usage)


CHAT = _answered("chat.completion", message=_SOME)
COMPLETION = _answered("text_completion", text=TEXT)
READY = shape(status=one_of("ok", "unready"), why_not=many(REASON))
RELOADED: Schema = {
    "type": "object",
    "properties": {
        "status": one_of("done", "refused"),
        "words": TEXT,
        "code": TEXT,
        "remedy": TEXT,
    },
    "required": ["status", "words"],
    "additionalProperties": False,
}
