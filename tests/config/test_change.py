"""What a change of settings touches."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.change import PART_OF, WHEN, WORDS, Change, diff, keeping, when
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


def test_every_table_has_its_part_and_its_time() -> None:
    assert set(PART_OF) == set(Settings.model_fields)
    assert set(WHEN) <= {*KEYS, *Settings.model_fields}, "nothing is said of what is no key"
    assert set(WHEN) >= set(Settings.model_fields)
    assert set(WHEN.values()) <= set(WORDS)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("slots.max_model_slots", "now"),
        ("models[0].ref", "now"),
        ("coordinator.url", "line"),
        ("coordinator.heartbeat_interval_s", "now"),
        ("coordinator.token_file", "restart"),
        ("weights.max_bytes_per_s", "now"),
        ("weights.chunk_bytes", "fetch"),
        ("engines.mlx.max_running", "load"),
        ("cache.quota_gib", "now"),
        ("cache.dir", "restart"),
        ("nobody.knows", "restart"),
    ],
)
def test_from_when_on_a_key_holds(key: str, expected: str) -> None:
    assert when(key) == expected


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


def test_what_needs_a_restart_keeps_its_old_value() -> None:
    new = but(cache={"dir": "/x", "quota_gib": 5}, log={"format": "json", "level": "debug"})
    after = keeping(OLD, new, diff(OLD, new).restart)
    assert (after.cache.dir, after.log.format) == (OLD.cache.dir, OLD.log.format)
    assert (after.cache.quota_gib, after.log.level) == (5, "debug")
    assert diff(OLD, after).restart == ()
    assert keeping(OLD, new, ["models"]).cache.dir == "/x"


OTHER: dict[str, object] = {
    "coordinator": {"url": "ws://127.0.0.1:2", "token_env": "X"},
    "pools": {"assigned": "x"},
    "cache": {"dir": "/x", "quota_gib": 7},
    "engines": {"mlx": {"max_running": 3}},
    "stores": {"s3": {"region": "r", "unsigned": True}},
}


@given(st.sets(st.sampled_from([*diff(OLD, but(**OTHER)).keys])))
def test_law_a_key_has_either_its_old_or_its_new_value(kept: set[str]) -> None:
    new = but(**OTHER)
    after = keeping(OLD, new, sorted(kept))
    assert set(diff(OLD, after).keys) == set(diff(OLD, new).keys) - kept
    assert set(diff(new, after).keys) == kept
    assert Settings.model_validate(after.model_dump()) == after
