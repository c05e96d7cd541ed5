"""Which pool is this machine's, and when may that change?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.assignment import Assignment, obstacle, seed, winner
from poolhand.agent.core.slots import COMING, LEAVING, SlotState, Stay
from poolhand.config.settings import Settings
from tests.journeys.world import settings

KEYS = st.sampled_from(["p", "q", "r", "s"])
NAMES = {"a": frozenset({"p"}), "b": frozenset({"p", "q"}), "c": frozenset({"r"})}


def free(**pools: object) -> Settings:
    return settings(pools=pools)


def why(*stays: Stay, may_drain: bool = False, requests: int = 0, **pools: object) -> str | None:
    return obstacle(
        Assignment(("p",), "load", 3, 0.0, moved_s=0.0),
        free(**pools),
        stays=stays,
        requests=requests,
        pinned=free(**pools).pinned,
        is_draining=False,
        now_s=400.0,
        may_drain=may_drain,
    )


def test_an_assignment_is_one_key_or_a_few() -> None:
    both = Assignment(("p",), "hash", 3, 0.0, only=("a",)).then(["q", "p", "q"], "resident", 5.0)
    assert (both.scope, both.pool, both.epoch, both.only) == (("p", "q"), None, 4, ())
    one = both.narrowed({"q", "z"}, "request", 6.0)
    assert (one.scope, one.pool, one.epoch, one.source) == (("q",), "q", 5, "request")
    assert one.narrowed({"q"}, "request", 7.0) is one, "nothing is left to narrow"
    assert one.narrowed({"z"}, "request", 7.0) is one, "and it is never narrowed to nothing"


def test_a_move_is_remembered_by_whatever_follows_it() -> None:
    moved = Assignment(("p",), "load", 3, 1.0, moved_s=1.0)
    assert moved.then(("q",), "config", 2.0).moved_s == 1.0


@pytest.mark.parametrize(
    ("pools", "kept", "here", "scope", "source"),
    [
        ({"assigned": "x"}, ("r",), ["a"], ("x",), "config"),
        ({}, ("r",), ["a"], ("r",), "persisted"),
        ({}, ("gone",), ["x", "b", "a"], ("p", "q"), "resident"),
        ({"advertise": "all"}, (), [], (), "none"),
        ({"advertise": "all"}, (), ["c"], ("r",), "resident"),
    ],
)
def test_the_first_that_yields_a_key_wins(
    pools: dict[str, object],
    kept: tuple[str, ...],
    here: list[str],
    scope: tuple[str, ...],
    source: str,
) -> None:
    before = Assignment(kept, "persisted", 9) if kept else Assignment()
    after = seed(free(**pools), NAMES, machine_id="m", kept=before, here=here)
    assert (after.scope, after.source) == (scope, source)
    assert after.epoch == before.epoch + (after.scope != before.scope)


@given(st.sets(KEYS, min_size=1), KEYS, st.text(max_size=8))
def test_the_winner_depends_on_no_order_and_moves_for_a_newcomer_alone(
    keys: set[str], newcomer: str, machine_id: str
) -> None:
    before = winner(machine_id, keys)
    assert before == winner(machine_id, sorted(keys, reverse=True))
    assert winner(machine_id, {*keys, newcomer}) in {before, newcomer}


def test_nothing_is_in_the_way_of_an_idle_machine() -> None:
    assert why() is None
    assert why(Stay("a", SlotState.READY)) is None


@pytest.mark.parametrize("state", sorted({*COMING, *LEAVING}))
def test_a_model_on_its_way_pins_the_pool_unless_it_may_be_waited_for(state: SlotState) -> None:
    assert why(Stay("a", state)) == f"a model is {state}"
    assert why(Stay("a", state), may_drain=True) is None


def test_what_else_is_in_the_way() -> None:
    assert why(requests=2) == "2 request(s) in flight"
    assert why(requests=2, may_drain=True) is None
    assert why(assigned="p") == "the pool is assigned by local configuration"
    assert why(enforce=False) == "pools are not enforced here"
    assert why(min_dwell_s=500.0) == "reassigned too recently, 100 s left"
    assert why(min_dwell_s=500.0, may_drain=True) is not None
