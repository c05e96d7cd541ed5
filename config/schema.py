"""The configuration as a JSON Schema, so that an editor completes keys and shows what they mean.

It is read off the settings once, when the pages are written, and shipped as a file: a verb that
prints it need not know what a setting is.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Literal, Union, cast, get_args, get_origin

from .meanings import meanings, purpose, unit
from .problems import entry_of, table_of
from .rules import Bound
from .section import ABSENT, Section
from .settings import Settings

_Json = dict[str, object]
_Named = tuple[tuple[str, ...], type[Section]]


def schema() -> Mapping[str, object]:
    """The schema of the whole file. Source of its dialect: JSON Schema, draft 2020-12."""
    said: dict[str, _Json] = {}
    for at, section in _tables(Settings, ()):
        said[section.__name__] = _table(section, at)
    whole = said.pop(Settings.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "poolhand's agent.toml",
        "$defs": {name: said[name] for name in sorted(said)},
        **{name: part for name, part in whole.items() if name != "description"},
    }


def _tables(section: type[Section], at: tuple[str, ...]) -> Iterator[_Named]:
    yield at, section
    for name, key in section.model_fields.items():
        inner = table_of(key) or entry_of(key)
        if inner is not None:
            yield from _tables(inner, (*at, name))


def _table(section: type[Section], at: tuple[str, ...]) -> _Json:
    words: Mapping[str, str] = meanings(section, at) if at else {}
    keys: dict[str, _Json] = {}
    for name, key in section.model_fields.items():
        is_plain = key.given is not ABSENT and not key.is_required
        said = _kind(key.kind) | ({"default": _plain(key.default)} if is_plain else {})
        keys[name] = {word: said[word] for word in sorted(said)}
        if name in words:
            keys[name]["description"] = words[name]
        if unit(name):
            keys[name]["x-unit"] = unit(name)
    needed = [name for name, key in section.model_fields.items() if key.is_required]
    return {
        "additionalProperties": False,
        "properties": keys,
        **({"required": needed} if needed else {}),
        "type": "object",
        "description": purpose(section),
    }


def _kind(kind: object) -> _Json:
    """What may stand there. Source of the words: JSON Schema validation, draft 2020-12."""
    inner = cast("tuple[object, ...]", get_args(kind))
    origin = get_origin(kind)
    if origin is Annotated:
        bounds = [mark for mark in inner[1:] if isinstance(mark, Bound)]
        return _kind(inner[0]) | {word: at for bound in bounds for word, at in _bounds(bound)}
    if origin in {Union, UnionType}:
        one = next(each for each in inner if each is not NoneType)
        return {"anyOf": [dict(sorted(_kind(one).items())), {"type": "null"}]}
    if origin is tuple:
        return {"items": dict(sorted(_kind(inner[0]).items())), "type": "array"}
    if origin is Literal:
        return {"enum": list(inner), "type": "string"}
    if kind in _TYPES:
        return {"type": _TYPES[cast("type", kind)]}
    return {"$ref": f"#/$defs/{cast('type', kind).__name__}"}


_TYPES: Mapping[type, str] = MappingProxyType(
    {str: "string", int: "integer", float: "number", bool: "boolean"}
)


def _bounds(bound: Bound) -> Iterator[tuple[str, object]]:
    words = {
        "exclusiveMinimum": bound.gt,
        "minimum": bound.ge,
        "maximum": bound.le,
        "minLength": bound.min_length,
        "maxLength": bound.max_length,
        "pattern": bound.pattern,
    }
    return ((word, at) for word, at in words.items() if at is not None)


def _plain(value: object) -> object:
    return [*cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value
