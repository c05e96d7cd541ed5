"""Does it fit: examples by hand, and the laws that make three askers agree."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from poolhand.agent.core.admission import (
    GIB,
    MIB,
    Holding,
    ModelNeeds,
    budget_bytes,
    ceiling_bytes,
    fits,
    largest_weights_bytes,
    min_kv_bytes,
    needs_of,
    overhead_bytes,
    room_bytes,
)
from poolhand.agent.core.shape import ModelShape

LLAMA = ModelShape(
    layers=32,
    kv_heads=8,
    head_dim=128,
    token_elements=2048,
    full_layers=32,
    context_tokens=8192,
)


def test_needs_are_weights_one_request_and_the_engine() -> None:
    needs = needs_of(5 * GIB, LLAMA, context_tokens=4096)
    assert needs.kv_bytes == 4096 * 131072
    assert needs.overhead_bytes == 256 * MIB + 5 * GIB // 20
    assert needs.total_bytes == 5 * GIB + 512 * MIB + 256 * MIB + GIB // 4


def test_a_model_made_for_less_is_asked_for_less() -> None:
    assert needs_of(GIB, LLAMA, context_tokens=10**6).kv_bytes == 8192 * 131072


@pytest.mark.parametrize("shape", [None, ModelShape(), replace(LLAMA, token_elements=None)])
def test_where_the_cache_is_unknown_a_fifth_is_set_aside(shape: ModelShape | None) -> None:
    assert needs_of(10 * GIB, shape, context_tokens=4096).kv_bytes == 2 * GIB


@pytest.mark.parametrize(
    ("total_gib", "ceiling_gib"),
    [(128, 115.2), (64, 57.6), (16, 14.0), (8, 7.0), (2, 1.75), (0, 0)],
)
def test_the_ceiling_leaves_the_system_room(total_gib: int, ceiling_gib: float) -> None:
    assert ceiling_bytes(total_gib * GIB) == int(ceiling_gib * GIB)


def test_a_budget_is_the_smaller_of_ceiling_and_available_less_the_reserve() -> None:
    total_bytes = 64 * GIB
    assert budget_bytes(total_bytes=total_bytes, available_bytes=40 * GIB) == 40 * GIB
    assert budget_bytes(total_bytes=total_bytes, available_bytes=63 * GIB) == int(57.6 * GIB)
    reserved = budget_bytes(
        total_bytes=total_bytes, available_bytes=40 * GIB, reserve_bytes=4 * GIB
    )
    assert reserved == 36 * GIB


def test_a_resident_lowers_the_ceiling_but_is_not_subtracted_from_available_twice() -> None:
    here = [Holding(20 * GIB)]
    budget = budget_bytes(total_bytes=64 * GIB, available_bytes=30 * GIB, holdings=here)
    assert budget == 30 * GIB
    here = [Holding(40 * GIB)]
    budget = budget_bytes(total_bytes=64 * GIB, available_bytes=30 * GIB, holdings=here)
    assert budget == int(57.6 * GIB) - 40 * GIB


def test_what_is_promised_is_not_promised_twice() -> None:
    loading = [Holding(20 * GIB, is_promised=True)]
    budget = budget_bytes(total_bytes=64 * GIB, available_bytes=30 * GIB, holdings=loading)
    assert budget == 10 * GIB


@pytest.mark.parametrize(("total", "available"), [(None, GIB), (GIB, None), (None, None)])
def test_what_was_not_measured_admits_nothing(total: int | None, available: int | None) -> None:
    assert budget_bytes(total_bytes=total, available_bytes=available) == 0
    assert room_bytes(total_bytes=total, available_bytes=available) is None, (
        "absent on the wire: nothing true can be said"
    )


def free_for_load_bytes(
    here: list[Holding],
    *,
    total_bytes: int = 64 * GIB,
    available_bytes: int,
    reserve_bytes: int = 0,
    slots: int = 1,
) -> int:
    room = room_bytes(
        total_bytes=total_bytes,
        available_bytes=available_bytes,
        reserve_bytes=reserve_bytes,
        holdings=here,
        slots=slots,
    )
    assert room is not None
    return largest_weights_bytes(room, total_bytes)


def test_free_for_load_is_the_whole_budget_beside_an_idle_model_and_0_beside_a_busy_one() -> None:
    idle, busy = Holding(20 * GIB, is_evictable=True), Holding(20 * GIB)

    def free(*, here: list[Holding], slots: int = 1, available_bytes: int = 38 * GIB) -> int:
        return free_for_load_bytes(here, available_bytes=available_bytes, slots=slots)

    assert free(here=[idle]) == free(here=[], available_bytes=58 * GIB)
    assert free(here=[busy]) == 0
    assert free(here=[], slots=0) == 0
    assert 30 * GIB < free(here=[busy], slots=2) < 36 * GIB


def test_a_loading_model_has_nothing_to_give_back_yet() -> None:
    def free(here: list[Holding]) -> int:
        return free_for_load_bytes(here, available_bytes=30 * GIB, slots=2)

    assert free([Holding(20 * GIB, is_promised=True, is_evictable=True)]) == free([])


def test_a_small_machine_can_still_load_a_small_model() -> None:
    free = free_for_load_bytes([], total_bytes=2 * GIB, available_bytes=int(1.5 * GIB))
    assert free > GIB
    assert fits(
        needs_of(100 * MIB, LLAMA, context_tokens=512),
        budget_bytes(total_bytes=2 * GIB, available_bytes=GIB),
    )


def test_a_model_that_fits_exactly_fits() -> None:
    needs = ModelNeeds(weights_bytes=6, kv_bytes=3, overhead_bytes=1)
    assert fits(needs, 10)
    assert not fits(needs, 9)


def sizes() -> SearchStrategy[int]:
    # small and large ones alike: borders lie at every scale
    return st.integers(0, 2**20) | st.integers(0, 2**40)


def holdings() -> SearchStrategy[list[Holding]]:
    return st.lists(
        st.builds(
            Holding,
            held_bytes=sizes(),
            is_promised=st.booleans(),
            is_evictable=st.booleans(),
            due_bytes=sizes(),
        ),
        max_size=3,
    )


@given(total=sizes(), available=sizes(), reserve=sizes(), here=holdings(), more=sizes())
def test_budget_laws(
    total: int, available: int, reserve: int, here: list[Holding], more: int
) -> None:
    def budget(total: int, available: int, reserve: int, here: list[Holding]) -> int:
        return budget_bytes(
            total_bytes=total, available_bytes=available, reserve_bytes=reserve, holdings=here
        )

    now = budget(total, available, reserve, here)
    assert 0 <= now <= max(0, available - reserve), "never more than is available"
    assert now <= ceiling_bytes(total) <= total, "never more than there is"
    assert budget(total + more, available, reserve, here) >= now, "more memory never admits less"
    assert budget(total, available + more, reserve, here) >= now
    assert budget(total, available, reserve + more, here) <= now
    assert budget(total, available, reserve, [*here, Holding(more)]) <= now


@given(
    total=sizes(),
    available=sizes(),
    reserve=sizes(),
    here=holdings(),
    slots=st.integers(0, 3),
    more=sizes(),
)
def test_free_for_load_laws(
    total: int, available: int, reserve: int, here: list[Holding], slots: int, more: int
) -> None:
    def free(total: int, available: int) -> int:
        return free_for_load_bytes(
            here,
            total_bytes=total,
            available_bytes=available,
            reserve_bytes=reserve,
            slots=slots,
        )

    now = free(total, available)
    assert 0 <= now <= ceiling_bytes(total)
    assert free(total, available + more) >= now
    staying = [holding for holding in here if not holding.is_evictable]
    if len(staying) >= slots:
        assert now == 0, "no slot, no load"


@given(total=sizes(), available=sizes(), reserve=sizes(), here=holdings())
def test_the_heartbeat_and_the_load_gate_agree(
    total: int, available: int, reserve: int, here: list[Holding]
) -> None:
    free = free_for_load_bytes(
        here, total_bytes=total, available_bytes=available, reserve_bytes=reserve, slots=9
    )
    # the machine as it is once the idle ones have gone and given back what they held
    given_back = sum(h.held_bytes for h in here if h.is_evictable and not h.is_promised)
    gate_bytes = budget_bytes(
        total_bytes=total,
        available_bytes=min(total, available + given_back),
        reserve_bytes=reserve,
        holdings=[holding for holding in here if not holding.is_evictable],
    )

    def fits_now(weights_bytes: int) -> bool:
        needs = ModelNeeds(weights_bytes, min_kv_bytes(total), overhead_bytes(weights_bytes))
        return fits(needs, gate_bytes)

    assert free == 0 or fits_now(free), "what is offered can be loaded"
    assert not fits_now(free + 1), "and no more is withheld"


@given(weights=sizes(), more=sizes(), context=st.integers(16, 10**6))
def test_larger_models_need_more(weights: int, more: int, context: int) -> None:
    needs = needs_of(weights, LLAMA, context_tokens=context)
    assert needs.total_bytes >= weights
    larger = needs_of(weights + more, LLAMA, context_tokens=context + 1)
    assert larger.total_bytes >= needs.total_bytes
