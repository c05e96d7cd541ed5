"""The schema that editors complete from, and the meanings that it shows."""

import json

from poolhand.config.meanings import UNITS, WORDS, meanings, purpose, unit
from poolhand.config.problems import dotted, entry_of, leaves
from poolhand.config.schema import schema
from poolhand.config.settings import Cache, Settings, Slots


def test_every_key_is_in_it_with_its_meaning() -> None:
    whole = schema()
    assert json.loads(json.dumps(whole)) == whole
    text = json.dumps(whole)
    tables = whole["$defs"]
    assert isinstance(tables, dict)
    for name, table in tables.items():  # pyright: ignore[reportUnknownVariableType]
        assert table["additionalProperties"] is False, "an unknown key is underlined"
        assert table["description"], name
        for key, said in table["properties"].items():  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            assert "description" in said or "$ref" in said, (name, key)
    for at, field in leaves(Settings):
        assert f'"{at[-1]}"' in text
        if (entry := entry_of(field)) is not None:
            assert all(f'"{one[-1]}"' in text for one, _ in leaves(entry))
    assert whole["required"] == ["coordinator"]


def test_bounds_defaults_and_units_are_told() -> None:
    tables = schema()["$defs"]
    assert isinstance(tables, dict)
    slots = tables["Slots"]["properties"]  # pyright: ignore[reportUnknownVariableType]
    most = slots["max_model_slots"]  # pyright: ignore[reportUnknownVariableType]
    assert (most["minimum"], most["maximum"], most["default"]) == (1, 64, 1)
    assert slots["idle_unload_s"]["x-unit"] == "seconds"


def test_words_are_found_by_their_table() -> None:
    assert purpose(Cache).startswith("Where weights lie on this machine")
    assert meanings(Slots, ("slots",))["max_model_slots"] == WORDS["slots.max_model_slots"]
    assert "pinned" in meanings(Slots, ("slots",))["idle_unload_s"]
    known = {dotted(at) for at, _ in leaves(Settings)} | {"models.ref"}
    assert set(WORDS) <= known


def test_the_longest_unit_wins() -> None:
    assert unit("max_bytes_per_s") == "bytes a second"
    assert unit("scrub_mib_s") == "MiB a second"
    assert (unit("drain_s"), unit("allowed")) == ("seconds", "")
    assert all(unit(f"x{end}") == word for end, word in UNITS.items())
