"""What a change of settings touches."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.change import NEEDS_RESTART, PART_OF, Change, diff, not_live
from poolhand.config.problems import dotted, leaves
from poolhand.config.settings import Settings

BASE = {"coordinator": {"url": "ws://127.0.0.1:1"}}
OLD = Settings.model_validate(BASE)
KEYS = [dotted(at) for at, _ in leaves(Settings)]


def but(**tables: object) -> Settings:
    return Settings.model_validate(BASE | tables)


def test_nothing_changed() -> None:
    assert diff(OLD, but()) == Change()
    one, same = (but(pools={"allowed": ["a", "b"]}, memory={"reserve_gib": 1.5}) for _ in "ab")
    assert diff(one, same) == Change(), "read twice, and equal"


@pytest.mark.parametrize(
    ("new", "key", "part"),
    [
        (but(coordinator={"url": "ws://127.0.0.1:2"}), "coordinator.url", "line"),
        (but(wire={"backend_label": "x"}), "wire.backend_label", "line"),
        (but(pools={"assigned": "x"}), "pools.assigned", "pool"),
        (but(models=[{"id": "a", "ref": "file:///a"}]), "models", "pool"),
        (but(slots={"max_model_slots": 2}), "slots.max_model_slots", "slots"),
        (but(stores={"s3": {"region": "r"}}), "stores.s3.region", "stores"),
        (but(engines={"mlx": {"max_running": 2}}), "engines.mlx.max_running", "engines"),
    ],
)
def test_one_key_touches_one_part(new: Settings, key: str, part: str) -> None:
    assert diff(OLD, new) == Change((key,), frozenset({part}))  # pyright: ignore[reportArgumentType]  # a Part, spelled in the table
    assert diff(new, OLD).keys == (key,)


def test_what_is_read_once_needs_a_restart() -> None:
    new = but(cache={"dir": "/x"}, log={"level": "debug", "format": "json"})
    assert diff(OLD, new) == Change(
        ("cache.dir", "log.level", "log.format"),
        frozenset({"cache", "log"}),
        ("cache.dir", "log.format"),
    )


def test_every_table_has_its_part_and_every_restart_is_a_key() -> None:
    assert set(PART_OF) == set(Settings.model_fields)
    assert set(KEYS) >= NEEDS_RESTART


@given(chosen=st.sets(st.sampled_from(["coordinator", *list(PART_OF)])))
def test_law_only_what_differs_is_named(chosen: set[str]) -> None:
    other = but(
        coordinator={"url": "ws://127.0.0.1:2"},
        wire={"backend_label": "x"},
        pools={"assigned": "x"},
        models=[{"id": "x", "ref": "file:///a"}],
        slots={"max_model_slots": 2},
        cache={"dir": "/x"},
        memory={"reserve_gib": 1.0},
    )
    mixed = OLD.model_copy(update={name: cast("object", getattr(other, name)) for name in chosen})
    change = diff(OLD, mixed)
    differing = {name for name in chosen if getattr(other, name) != getattr(OLD, name)}
    assert {key.split(".")[0] for key in change.keys} == differing
    assert change.parts == {PART_OF[name] for name in differing}
    assert set(change.restart) <= set(change.keys)


MODEL = {"id": "m", "ref": "file:///a"}


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ({}, {"pools": {"enforce": False}, "slots": {"max_model_slots": 2}}, ()),
        ({}, {"requests": {"drain_s": 1.0}, "memory": {"reserve_gib": 1.0}}, ()),
        ({}, {"cache": {"dir": "/x"}, "log": {"level": "debug"}}, ("cache.dir", "log.level")),
        ({"models": [MODEL]}, {"models": [{**MODEL, "aliases": ["x"], "pinned": True}]}, ()),
        ({"models": [MODEL]}, {"models": [{**MODEL, "ref": "file:///b"}]}, ("models",)),
        ({"models": [MODEL]}, {"models": [{**MODEL, "engine": "echo"}]}, ("models",)),
        ({}, {"models": [MODEL]}, ("models",)),
    ],
)
def test_what_a_running_agent_can_take_over(
    old: dict[str, object], new: dict[str, object], keys: tuple[str, ...]
) -> None:
    assert not_live(but(**old), but(**new)) == keys
