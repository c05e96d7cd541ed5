"""What each read verb prints with ``--json``, as JSON Schema: published in ``docs/schemas``.

As with the control socket's answers (:mod:`...control.shapes`), a field that is not here does not
come, and tests hold what the verbs really print to it; a program should pass over what it does not
know. A verb that finds no agent prints the problem instead, where its exit code is 3.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from ..control.shapes import (
    FLAG,
    MODELS,
    NODE_PARTS,
    NUMBER,
    REASON,
    STATUS,
    TEXT,
    WHOLE,
    Schema,
    by_name,
    many,
    maybe,
    one_of,
    shape,
)

_ANY: Schema = {}
_NOT_SERVING = shape(serving=FLAG, why_not=many(REASON))
_OFFERED = cast("dict[str, dict[str, Schema]]", MODELS)["properties"]["models"]
_UNASKED = shape(id=TEXT, aliases=many(TEXT), ref=TEXT, state=one_of("unknown"))
_DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}

_SHOWN: dict[str, Schema] = {
    "model": TEXT,
    "folder": TEXT,
    "state": one_of("here", "damaged", "partial"),
    "disk_bytes": WHOLE,
    "last_used_s": maybe(NUMBER),
}
_RECORDED: dict[str, Schema] = {
    "ref": TEXT,
    "place": TEXT,
    "size_bytes": WHOLE,
    "weights_bytes": WHOLE,
    "weight_hash": maybe(TEXT),
    "verified_by": TEXT,
    "read_whole_s": maybe(NUMBER),
    "files": WHOLE,
    "changed": many(TEXT),
}
_VERIFIED = shape(
    model=TEXT,
    ok=FLAG,
    state=one_of("whole", "damaged", "repaired"),
    bad=many(shape(path=TEXT, reason=TEXT)),
)
_MANIFEST = shape(
    schema_version=WHOLE,
    model_id=TEXT,
    version=TEXT,
    r2_prefix=TEXT,
    aggregate_sha256=_DIGEST,
    total_size_bytes=WHOLE,
    file_count=WHOLE,
    chunk_bytes=WHOLE,
    files=many(shape(path=TEXT, size_bytes=WHOLE, sha256=_DIGEST, chunks=many(_DIGEST))),
)
_SET = shape(value=_ANY, kind=one_of("default", "file", "environment"), origin=TEXT)
_FINDING = shape(
    id=TEXT,
    verdict=one_of("ok", "warn", "fail", "skipped"),
    cause=TEXT,
    remedy=TEXT,
    subject=TEXT,
    is_config=FLAG,
)
_OBSTACLES = many(shape(code=TEXT, words=TEXT, remedy=TEXT, is_certain=FLAG))
_READ = shape(
    store=TEXT,
    why=TEXT,
    listing_s=NUMBER,
    files=WHOLE,
    size_bytes=WHOLE,
    file=TEXT,
    first_byte_s=NUMBER,
    read_bytes=WHOLE,
    read_s=NUMBER,
    rate_mb_s=maybe(NUMBER),
)


def _either(*shapes: Schema) -> Schema:
    return {"anyOf": [*shapes]}


PRINTED: Mapping[str, Schema] = MappingProxyType(
    {
        "status": _either(STATUS, _NOT_SERVING),
        "top": _either(STATUS, _NOT_SERVING),
        "doctor": shape(
            checks=many(_FINDING),
            models=many(shape(model=TEXT, answered=FLAG, blockers=_OBSTACLES)),
            exit=WHOLE,
        ),
        "doctor s3": _either(_READ, shape(code=TEXT, cause=TEXT, remedy=TEXT)),
        "models list": _either(MODELS, shape(models=many(_UNASKED))),
        "models show": {
            **shape(**_SHOWN, **_RECORDED),
            "required": [*_SHOWN],
            "description": "All but the first five come with a build that was whole once.",
        },
        "models verify": shape(ok=FLAG, models=many(_VERIFIED)),
        "models manifest": _MANIFEST,
        "models why": _either(shape(models=_OFFERED), REASON),
        "pool status": _either(NODE_PARTS["pool"], REASON),
        "config check": shape(ok=FLAG, path=TEXT, problems=many(TEXT), warnings=many(TEXT)),
        "config show": shape(
            path=TEXT,
            files=many(TEXT),
            values=by_name(_SET),
            token=shape(source=TEXT, state=TEXT),
        ),
        "config get": {"description": "The key's value; of a table, its values by key."},
        "config diff": shape(
            path=TEXT,
            pending=many(TEXT),
            differences=by_name({"type": "array", "minItems": 2, "maxItems": 2}),
        ),
        "engines": shape(
            engines=many(
                shape(
                    name=TEXT,
                    available=FLAG,
                    version=maybe(TEXT),
                    device=maybe(TEXT),
                    why_not=maybe(TEXT),
                    install=maybe(TEXT),
                )
            )
        ),
        "logs": {
            "type": "object",
            "properties": {"at": TEXT, "level": TEXT, "what": TEXT},
            "description": "Each line by itself; of systemd's journal, as `journalctl -o json`.",
        },
        "service status": shape(name=TEXT, file=TEXT, installed=FLAG, running=FLAG, drifted=FLAG),
    }
)
"""By verb; of an array of differences, what runs and what the files say."""


def published(verb: str) -> Mapping[str, object]:
    """The schema of one verb, whole. Source of its dialect: JSON Schema, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"poolhand {verb} --json",
        **cast("Mapping[str, object]", PRINTED[verb]),
    }


def file_of(verb: str) -> str:
    """The name of its file in ``docs/schemas``."""
    return f"{verb.replace(' ', '-')}.schema.json"
