"""The configuration as a JSON Schema, so that an editor completes keys and shows what they mean.

It is read off the settings once, when the pages are written, and shipped as a file: a verb that
prints it need not know what a setting is.
"""

from collections.abc import Iterator, Mapping
from typing import cast

from .meanings import meanings, purpose, unit
from .problems import entry_of, table_of
from .settings import Section, Settings
from .stores import TABLE

_Json = dict[str, object]
_Named = tuple[tuple[str, ...], type[Section]]


def schema() -> Mapping[str, object]:
    """The schema of the whole file. Source of its dialect: JSON Schema, draft 2020-12."""
    said: dict[str, _Json] = {}
    for at, section in _tables(Settings, ()):
        table = cast("_Json", section.model_json_schema())
        said |= cast("dict[str, _Json]", table.pop("$defs", {}))
        said[section.__name__] = table
        _describe(table, section, at)
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


def _describe(table: _Json, section: type[Section], at: tuple[str, ...]) -> None:
    table.pop("title", None)
    table["description"] = purpose(section)
    words = meanings(section, at)
    for name, key in cast("dict[str, _Json]", table.get("properties", {})).items():
        key.pop("title", None)
        if TABLE in key:
            key["$ref"] = f"#/$defs/{key.pop(TABLE)}"
        if name in words:
            key["description"] = words[name]
        if unit(name):
            key["x-unit"] = unit(name)
