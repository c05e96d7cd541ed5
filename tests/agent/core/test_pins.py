"""Pins of the configuration and of the operator."""

from poolhand.agent.core.pins import Pins
from tests.journeys.world import settings

PINNED = {"id": "org/a", "ref": "s3://models/a", "pinned": True}
OTHER = {"id": "org/b", "ref": "s3://models/b"}


def test_both_kinds_count_and_only_what_is_offered() -> None:
    pins, chosen = Pins(), settings(models=[PINNED, OTHER])
    assert pins.of(chosen) == {"org/a"}
    pins.add("org/b")
    pins.recalled(["org/x"])
    assert pins.of(chosen) == {"org/a", "org/b"}
    assert pins.added == ("org/b", "org/x"), "one that is not offered now may be again"
    pins.remove("org/b")
    pins.remove("org/a")
    assert pins.of(chosen) == {"org/a"}, "the configuration's stays"
