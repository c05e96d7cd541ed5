"""Settings as people and programs read them: one flat list of keys, as TOML or as JSON.

No key holds a secret, but a URL may bear one that somebody put where it does not belong: what
stands before its ``@`` and the values of its query are masked.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias, cast

from .lines import KeyPath
from .problems import dotted
from .settings import Section, Settings

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_QUERY = re.compile(r"(?<==)[^&#\s]+")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def flat(settings: Settings) -> Mapping[str, Json]:
    """Every key with its value, masked, in the order of the settings; arrays stay whole."""
    return {dotted(at): masked(value) for at, value in _leaves(settings, ())}


def masked(value: object) -> Json:
    """A value as JSON, without what might be a secret in it."""
    match value:
        case str():
            return _masked(value)
        case tuple() | list():
            return [masked(one) for one in cast("tuple[object, ...]", value)]
        case Section():
            fields = type(value).model_fields
            return {name: masked(cast("object", getattr(value, name))) for name in fields}
        case dict():
            inner = cast("dict[str, object]", value)
            return {name: masked(one) for name, one in inner.items()}
        case bool() | int() | float() | None:
            return value
        case _:
            return str(value)


def toml(value: object) -> str:
    """A value as TOML text, on one line.

    Args:
        value: Plain values; ``None`` has no form in TOML and is left out of tables.
    """
    match value:
        case bool():
            return str(value).lower()
        case str():
            # JSON escapes what TOML's basic strings need escaped, and DEL beside it
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(toml, cast('list[object]', value)))}]"
        case dict():
            pairs = cast("dict[str, object]", value).items()
            inner = [f"{key_text(name)} = {toml(one)}" for name, one in pairs if one is not None]
            return f"{{ {', '.join(inner)} }}" if inner else "{}"
        case _:
            return str(value)


def key_text(name: str) -> str:
    """One key as TOML writes it: bare if it can be, else in quotes."""
    return name if _BARE.fullmatch(name) else toml(name)


def _leaves(section: Section, at: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    for name in type(section).model_fields:
        value = cast("object", getattr(section, name))
        if isinstance(value, Section):
            yield from _leaves(value, (*at, name))
        elif isinstance(value, tuple) and value and isinstance(value[0], Section):
            for nth, one in enumerate(cast("tuple[Section, ...]", value)):
                yield from _leaves(one, (*at, name, nth))
        else:
            yield (*at, name), value


def _masked(text: str) -> str:
    if "://" not in text:
        return text
    place, mark, query = _USER.sub("***", text).partition("?")
    return place + mark + _QUERY.sub("***", query)
