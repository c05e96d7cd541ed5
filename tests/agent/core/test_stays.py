"""The slot table put to work."""

from collections.abc import Sequence

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core.admission import Holding
from poolhand.agent.core.slots import SlotState, Stay
from poolhand.agent.core.stays import (
    MEMORY_BACK_S,
    LoadEnded,
    Outcome,
    PrefetchEnded,
    Stays,
    holdings_of,
)
from poolhand.backends.engines.base import Loaded
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.stores.base import Build, Progress
from poolhand.config.refusals import InsufficientMemory, NodeDraining, SlotsBusy
from tests.journeys.world import build

NOBODY: frozenset[str] = frozenset()
DEAD = EngineDied(engine="mlx", exit_code=1)
LOADED = Loaded(2.5, 70, 4096)


def settle(
    stays: Stays, *, slots: int = 1, busy: frozenset[str] = NOBODY, free: int = 100, at: float = 9.0
) -> Sequence[Outcome]:
    return stays.settle(slots=slots, busy=busy, free_bytes=lambda: free, now_s=at)


def staged(stays: Stays, model: str = "a", *, needs: int = 50, askers: int = 1) -> Build:
    stays.begin(model, 1.0, is_load=True, askers=askers)
    stays.fetched(model, 2.0)
    stays.verified(model, build(model), needs, 3.0)
    return build(model)


def resident(model: str = "a", *more: str, slots: int = 1) -> Stays:
    stays = Stays()
    for one in (model, *more):
        staged(stays, one)
        settle(stays, slots=slots)
        stays.loaded(one, LOADED, 5.0)
    return stays


def states(stays: Stays) -> list[SlotState]:
    return [stay.state for stay in stays.all()]


def test_the_good_way() -> None:
    stays = Stays()
    assert stays.begin("a", 1.0, is_load=True, askers=2) == [do.FetchWeights("a")]
    assert stays.fetched("a", 2.0) == [do.VerifyWeights("a")]
    assert stays.verified("a", build("a"), 50, 3.0) == [do.SampleHost()]
    assert settle(stays) == [do.LoadEngine("a", build("a"))]
    assert stays.loaded("a", LOADED, 5.0) == [LoadEnded("a", 2, None)]
    (stay,) = stays.all()
    assert (stay.load_s, stay.holds_bytes, stay.context_tokens) == (2.5, 70, 4096)
    assert (stay.askers, stay.last_used_s) == (0, 5.0)
    assert stays.release("a", None, 6.0) == [], "not before its requests are done"
    assert stays.drained(frozenset({"a"}), 6.0) == []
    assert stays.drained(NOBODY, 6.0) == [do.StopEngine("a")]
    assert stays.stopped("a", 7.0) == [do.SampleHost()]
    assert stays.all() == ()


def test_bytes_ahead_of_time_end_where_a_load_begins() -> None:
    stays = Stays()
    stays.begin("a", 1.0, is_load=False, askers=0)
    stays.fetched("a", 2.0)
    assert stays.verified("a", build("a"), 5, 3.0) == [PrefetchEnded("a", None)]
    assert stays.all() == ()


def test_who_joins_makes_a_load_of_it_and_waits_with_the_others() -> None:
    stays = Stays()
    stays.begin("a", 1.0, is_load=False, askers=0)
    stays.join(stays.all()[0], is_load=True, askers=1)
    stays.join(stays.all()[0], is_load=False, askers=1)
    (stay,) = stays.all()
    assert (stay.is_load, stay.askers) == (True, 2)


def test_a_lost_line_leaves_one_answer_owed() -> None:
    stays = Stays()
    stays.begin("a", 1.0, is_load=True, askers=3)
    stays.begin("b", 1.0, is_load=True, askers=0)
    stays.owe_one_answer_each()
    assert [stay.askers for stay in stays.all()] == [1, 0]


def test_progress_is_kept_while_it_downloads() -> None:
    stays = Stays()
    stays.begin("a", 1.0, is_load=True, askers=0)
    stays.progressed("a", Progress(3, 9))
    assert stays.all()[0].progress == Progress(3, 9)
    stays.fetched("a", 2.0)
    stays.progressed("a", Progress(4, 9))
    assert stays.all()[0].progress == Progress(3, 9)


@pytest.mark.parametrize("is_fetched", [False, True])
def test_weights_that_fail_end_it(*, is_fetched: bool) -> None:
    stays = Stays()
    stays.begin("a", 1.0, is_load=True, askers=1)
    if is_fetched:
        stays.fetched("a", 2.0)
    assert stays.weights_failed("a", DEAD, 3.0) == [LoadEnded("a", 1, DEAD)]
    assert stays.all() == ()


def test_whatever_comes_at_the_wrong_time_is_dropped() -> None:
    stays = resident()
    before = stays.all()
    assert stays.fetched("a", 9.0) == []
    assert stays.verified("a", build("a"), 1, 9.0) == []
    assert stays.weights_failed("a", DEAD, 9.0) == []
    assert stays.loaded("a", LOADED, 9.0) == []
    assert stays.stopped("a", 9.0) == []
    assert stays.engine_failed("b", DEAD, 9.0) == []
    assert stays.release("b", None, 9.0) == []
    stays.used("b", 9.0)
    assert stays.all() == before


@pytest.mark.parametrize(
    ("steps", "effects"),
    [(0, [do.CancelFetch("a")]), (1, [do.CancelFetch("a")]), (2, []), (3, [do.StopEngine("a")])],
)
def test_it_can_be_let_go_however_far_it_is(steps: int, effects: list[Outcome]) -> None:
    stays = Stays()
    stays.begin("a", 1.0, is_load=True, askers=1)
    if steps > 0:
        stays.fetched("a", 2.0)
    if steps > 1:
        stays.verified("a", build("a"), 1, 3.0)
    if steps > 2:
        settle(stays)
    why = NodeDraining()
    assert stays.release("a", why, 4.0) == [*effects, LoadEnded("a", 1, why)]
    assert states(stays) == ([SlotState.UNLOADING] if steps > 2 else [])


def test_an_engine_that_dies_is_stopped_and_nobody_is_told_of_a_load() -> None:
    stays = resident()
    assert stays.engine_failed("a", DEAD, 9.0) == [do.StopEngine("a")]
    assert states(stays) == [SlotState.UNLOADING]


def test_one_idle_resident_makes_room_and_then_the_next_moves_in() -> None:
    stays = resident()
    staged(stays, "b")
    assert settle(stays) == [do.StopEngine("a")]
    assert settle(stays) == [], "it is waited for"
    stays.stopped("a", 10.0)
    assert settle(stays, at=10.0) == [do.LoadEngine("b", build("b"))]


def test_an_answering_resident_refuses() -> None:
    stays = resident()
    staged(stays, "b")
    (ended,) = settle(stays, busy=frozenset({"a"}))
    assert isinstance(ended, LoadEnded)
    assert isinstance(ended.error, SlotsBusy)
    assert states(stays) == [SlotState.READY]


def test_two_that_wait_never_get_one_slot() -> None:
    stays = Stays()
    staged(stays, "a")
    staged(stays, "b")
    assert do.LoadEngine("a", build("a")) in settle(stays)
    assert states(stays) == [SlotState.LOADING]


def test_too_little_memory_refuses_but_not_right_after_an_engine_left() -> None:
    stays = resident()
    stays.release("a", None, 20.0)
    stays.drained(NOBODY, 20.0)
    staged(stays, "b")
    stays.stopped("a", 20.0)
    assert settle(stays, free=0, at=20.0 + MEMORY_BACK_S - 0.1) == []
    (ended,) = settle(stays, free=0, at=20.0 + MEMORY_BACK_S)
    assert isinstance(ended, LoadEnded)
    assert isinstance(ended.error, InsufficientMemory)


def test_fewer_slots_release_the_idle_first() -> None:
    stays = resident("a", "b", "c", slots=3)
    stays.used("a", 8.0)
    stays.narrow(2, frozenset({"c"}), 9.0)
    assert states(stays) == [SlotState.READY, SlotState.DRAINING, SlotState.READY]
    stays.narrow(1, frozenset({"c"}), 9.0)
    assert states(stays) == [SlotState.DRAINING, SlotState.DRAINING, SlotState.READY]
    stays.narrow(1, NOBODY, 9.0)
    assert states(stays).count(SlotState.READY) == 1


def test_a_use_is_remembered() -> None:
    stays = resident()
    stays.used("a", 8.0)
    assert stays.all()[0].last_used_s == 8.0


def test_what_each_resident_has_of_the_memory() -> None:
    def stay(state: SlotState, model: str = "a") -> Stay:
        return Stay(model, state=state, needs_bytes=7, holds_bytes=None if unknown else 7)

    unknown = False
    every = [stay(state) for state in SlotState]
    assert [holding.held_bytes for holding in holdings_of(every, NOBODY)] == [7] * 4
    assert holdings_of([stay(SlotState.LOADING)], NOBODY) == [Holding(7, is_promised=True)]
    assert holdings_of([stay(SlotState.READY)], NOBODY) == [Holding(7, is_evictable=True)]
    assert holdings_of([stay(SlotState.READY)], frozenset({"a"})) == [Holding(7)]
    unknown = True
    (found,) = holdings_of([stay(SlotState.READY)], NOBODY)
    assert found == Holding(7, is_evictable=True, is_measured=False)
