"""What both sides say: tags that are told apart, and nothing shown of what people said."""

from dataclasses import FrozenInstanceError, fields
from typing import get_args

import pytest

from poolhand.backends.engines.base import ToolCall
from poolhand.backends.engines.messages import (
    FromChild,
    Generate,
    LoadFailed,
    Message,
    ModelLoaded,
    Refused,
    Row,
    Stats,
    Tick,
    ToChild,
    Tokens,
)

KINDS: tuple[type[Message], ...] = (*get_args(ToChild), *get_args(FromChild))


def test_every_message_has_a_tag_of_its_own_in_its_direction() -> None:
    for direction in (ToChild, FromChild):
        tags = [kind.TAG for kind in get_args(direction)]
        assert all(tags)
        assert len(set(tags)) == len(tags)


def test_every_message_is_in_a_direction() -> None:
    # by name, for each has a twin from before it got its slots
    known = {kind.__name__ for kind in Message.__subclasses__()}
    assert known == {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_a_value(kind: type[Message]) -> None:
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)
    first = next((part.name for part in fields(kind)), None)
    if first is not None:
        bare = object.__new__(kind)
        with pytest.raises(FrozenInstanceError):
            setattr(bare, first, 1)


def test_nothing_that_people_said_is_shown() -> None:
    body = {"messages": [{"role": "user", "content": "canary"}]}
    row = Row(1, 1, "canary", "canary", (ToolCall("id", "name", "canary"),))
    for message in (Generate(1, "chat", body, 4), Tokens((row,))):
        assert "canary" not in repr(message)


def test_what_nobody_measured_is_absent() -> None:
    stats = Stats(0, 0, 0, 0, 0)
    unknown = (stats.kv_bytes_per_token, stats.decode_tps, stats.prefill_tps)
    memory = (stats.memory_active_bytes, stats.memory_peak_bytes, stats.memory_cache_bytes)
    assert {*unknown, *memory} == {None}
    assert ModelLoaded(None).memory_bytes is None


def test_messages_compare_by_what_they_say() -> None:
    assert Tick() == Tick()
    assert Refused(1, "context", "", 5, 4) != Refused(1, "context", "", 5, 3)
    assert LoadFailed("bad_model", "a") != LoadFailed("out_of_memory", "a")
