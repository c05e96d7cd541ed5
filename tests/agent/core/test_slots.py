"""The table of stays: asked as a table."""

from dataclasses import replace

import pytest

from poolhand.agent.core.slots import (
    COMING,
    HOLDS_MEMORY,
    LEAVING,
    TRANSITIONS,
    SlotEvent,
    SlotState,
    Stay,
    most_used_first,
    residents,
)


def test_every_state_leads_home() -> None:
    home = {SlotState.EMPTY}
    while grown := {s for (s, _), t in TRANSITIONS.items() if t in home} - home:
        home |= grown
    assert home == set(SlotState)


def test_nothing_happens_in_place_and_nothing_after_the_end() -> None:
    assert all(before is not after for (before, _), after in TRANSITIONS.items())
    assert all(before is not SlotState.EMPTY for before, _ in TRANSITIONS)


def test_memory_is_given_back_only_by_a_stopped_engine() -> None:
    doors = {
        (before, event)
        for (before, event), after in TRANSITIONS.items()
        if before in HOLDS_MEMORY and after not in HOLDS_MEMORY
    }
    assert doors == {(SlotState.UNLOADING, SlotEvent.STOPPED)}


def test_memory_is_taken_only_by_a_grant() -> None:
    doors = {
        (before, event)
        for (before, event), after in TRANSITIONS.items()
        if before not in HOLDS_MEMORY and after in HOLDS_MEMORY
    }
    assert doors == {(SlotState.STAGED, SlotEvent.GRANTED)}


def test_the_good_way() -> None:
    stay, way = Stay("m"), list[SlotState]()
    for at_s, event in enumerate(
        (
            SlotEvent.FETCHED,
            SlotEvent.VERIFIED,
            SlotEvent.GRANTED,
            SlotEvent.LOADED,
            SlotEvent.RELEASED,
            SlotEvent.DRAINED,
            SlotEvent.STOPPED,
        )
    ):
        stay = stay.after(event, float(at_s))
        way.append(stay.state)
        assert stay.since_s == at_s
    assert way == [
        SlotState.VERIFYING,
        SlotState.STAGED,
        SlotState.LOADING,
        SlotState.READY,
        SlotState.DRAINING,
        SlotState.UNLOADING,
        SlotState.EMPTY,
    ]


def test_every_state_that_comes_can_be_let_go_and_can_fail() -> None:
    for state in COMING:
        for event in (SlotEvent.RELEASED, SlotEvent.FAILED):
            after = TRANSITIONS[state, event]
            assert after is (SlotState.UNLOADING if state in HOLDS_MEMORY else SlotState.EMPTY)


def test_the_sets_part_the_states() -> None:
    others = {SlotState.EMPTY, SlotState.READY}
    assert len(COMING) + len(LEAVING) + len(others) == len(SlotState)
    assert {*COMING, *LEAVING, *others} == set(SlotState)


def test_what_is_not_in_the_table_is_a_bug() -> None:
    with pytest.raises(KeyError):
        Stay("m").after(SlotEvent.LOADED, 0.0)


def test_residents_hold_a_slot() -> None:
    stays = [replace(Stay(state.value), state=state) for state in SlotState]
    assert {stay.state for stay in residents(stays)} == HOLDS_MEMORY


def test_what_was_measured_counts_before_what_was_admitted() -> None:
    assert Stay("m", needs_bytes=5).takes_bytes == 5
    assert Stay("m", needs_bytes=5, holds_bytes=0).takes_bytes == 0


def test_who_answers_comes_before_who_waits_and_who_loads() -> None:
    here = [
        Stay("ahead", SlotState.DOWNLOADING, is_load=False, last_used_s=9.0),
        Stay("loading", SlotState.LOADING),
        Stay("old", SlotState.READY, last_used_s=1.0),
        Stay("new", SlotState.READY, last_used_s=2.0),
        Stay("busy", SlotState.READY, last_used_s=0.0),
    ]
    assert most_used_first(here, {"busy"}) == ["busy", "new", "old", "loading"]
