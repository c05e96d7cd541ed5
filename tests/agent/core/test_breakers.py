"""What a stock coordinator makes of our failures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core import events as happened
from poolhand.agent.core.breakers import (
    MODEL_PAUSE_S,
    NODE_LONGEST_S,
    NODE_PAUSE_S,
    SKIP_S,
    Breakers,
)
from poolhand.agent.core.request_key import LOCAL, RequestKey
from poolhand.agent.core.requests import End
from poolhand.backends.engines.errors import EngineDied
from tests.journeys.world import World


def end(model: str, status: int = 200, text: str = "") -> End:
    return model, status, text


DIED = end("a", 500, "engine died")
GOOD = end("a")


def left(breakers: Breakers, now_s: float) -> dict[str, float]:
    """Who is left alone, and for how long yet."""
    return {one.model: one.until_s - now_s for one in breakers.pauses if one.until_s > now_s}


def told(*ends: tuple[float, End]) -> Breakers:
    breakers = Breakers()
    for at_s, ended in ends:
        breakers.ended(ended, at_s)
    return breakers


def test_two_faults_of_one_model_within_a_minute_pause_it_for_five() -> None:
    assert left(told((0.0, DIED)), 0.0) == {}
    assert left(told((0.0, DIED), (60.0, DIED)), 60.0) == {"a": MODEL_PAUSE_S}
    assert left(told((0.0, DIED), (61.0, DIED)), 61.0) == {}
    assert left(told((0.0, DIED), (1.0, end("b", 502))), 1.0) == {}
    assert left(told((0.0, DIED), (1.0, GOOD), (2.0, DIED)), 2.0) == {}


@pytest.mark.parametrize(
    "text", ["model load failed: engine_died", "insufficient memory to load model 'a'"]
)
def test_a_model_that_could_not_be_loaded_for_a_request_is_skipped(text: str) -> None:
    assert left(told((0.0, end("a", 503, text))), 0.0) == {"a": SKIP_S}


@pytest.mark.parametrize("status", [503, 429, 499, 400])
def test_a_full_house_is_no_fault(status: int) -> None:
    ends = [(float(at), end("a", status, "queue full")) for at in range(40)]
    assert left(told(*ends), 40.0) == {}


def test_five_faults_in_a_row_pause_the_node_longer_each_time() -> None:
    breakers = told(*((100.0 * at, end(f"m{at}", 504)) for at in range(5)))
    assert left(breakers, 400.0) == {"": NODE_PAUSE_S}
    for at in range(5, 10):
        breakers.ended(end(f"m{at}", 504), 100.0 * at)
    assert left(breakers, 900.0) == {"": 2 * NODE_PAUSE_S}
    for at in range(10, 40):
        breakers.ended(end(f"m{at}", 504), 100.0 * at)
    assert left(breakers, 3900.0) == {"": NODE_LONGEST_S}
    breakers.ended(end("m40"), 3901.0)
    assert left(breakers, 3901.0) == {}, "an answer closes it"


def test_most_of_twenty_in_two_minutes_pause_the_node_too() -> None:
    mixed = [end("g") if at % 5 == 4 else end(f"m{at}", 500) for at in range(24)]
    breakers = told(*((float(at), ended) for at, ended in enumerate(mixed)))
    assert "" in left(breakers, 23.0)
    slow = told(*((30.0 * at, ended) for at, ended in enumerate(mixed)))
    assert left(slow, 690.0) == {}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([200, 500, 503])), max_size=40))
def test_no_pause_is_longer_than_the_longest_and_none_outlives_an_answer(
    ends: list[tuple[str, int]],
) -> None:
    breakers = Breakers()
    for at, (model, status) in enumerate(ends):
        breakers.ended(end(model, status), float(at))
        pauses = left(breakers, float(at))
        assert all(one <= NODE_LONGEST_S for one in pauses.values())
        assert status != 200 or not {model, ""} & pauses.keys()


def test_a_node_counts_what_it_tells_and_forgets_it_with_the_line() -> None:
    world = World()
    world.start()
    died = EngineDied(engine="mlx", exit_code=9)

    def paused() -> set[str]:
        pauses = world.node.snapshot(world.now_s).line.pauses
        return {one.model for one in pauses if one.until_s > world.now_s}

    def fail(key: RequestKey) -> None:
        world.tell(happened.GenerationEnded(key, "failed", None, error=died))

    world.resident("org/a")
    for at in range(2):
        local = RequestKey(LOCAL, f"l{at}")
        world.tell(happened.RequestOpened(local, "org/a", 8))
        fail(local)
    assert paused() == set(), "this machine's own programs are no business of a coordinator"
    for at in range(2):
        world.request(f"r{at}", "org/a")
        fail(world.key(f"r{at}"))
    assert paused() == {"org/a"}
    world.request("r3", "org/a")
    world.answered("r3")
    assert paused() == set()
    for at in range(4, 6):
        world.request(f"r{at}", "org/a")
        fail(world.key(f"r{at}"))
    world.drop()
    assert paused() == set(), "another line is another beginning"
