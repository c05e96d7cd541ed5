"""The node in one line."""

from poolhand.agent.core.brief import MOST_LETTERS, brief
from poolhand.config.errors import LinkRefused
from tests.journeys.world import World


def test_it_says_what_it_serves() -> None:
    world = World()
    world.start()
    assert brief(world.node, world.now_s).startswith("not serving: no model is in memory")
    world.resident("org/a")
    assert brief(world.node, world.now_s) == "serving org/a; requests: 0"


def test_it_says_why_it_does_not() -> None:
    world = World()
    assert brief(world.node, 0.0) == "not serving: the line to the coordinator is not open yet"
    world.node.session.last_error = LinkRefused(url="wss://c.example", reason="n" * 500)
    said = brief(world.node, 0.0)
    assert said.startswith("not serving: ")
    assert "wss://c.example" in said
    assert len(said) == MOST_LETTERS
