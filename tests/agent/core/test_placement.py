"""May it come, may it move in: examples and laws."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.placement import (
    Admit,
    Evict,
    Grant,
    Join,
    Refuse,
    Wait,
    admit,
    in_doubt,
    is_promised,
    settle,
)
from poolhand.agent.core.pool import Pool
from poolhand.agent.core.slots import COMING, LEAVING, SlotState, Stay, residents
from poolhand.config.refusals import InsufficientMemory, ModelNotInPool, SlotsBusy

POOL = Pool("tiny", ("a", "b", "c", "d"), "config")
S = SlotState


def stay(model: str, state: SlotState, *, gives: int = 10, used_s: float = 0.0) -> Stay:
    return Stay(model, state=state, needs_bytes=gives, last_used_s=used_s)


def why(answer: object) -> type[object]:
    assert isinstance(answer, Refuse)
    return type(answer.error)


def ask(model: str, *stays: Stay, slots: int = 1, busy: frozenset[str] = frozenset()) -> object:
    return admit(model, pool=POOL, stays=stays, slots=slots, busy=busy)


def test_outside_the_pool_nothing_else_is_looked_at() -> None:
    assert why(ask("x", stay("x", S.READY))) is ModelNotInPool
    assert why(ask("x", stay("a", S.LOADING))) is ModelNotInPool


def test_what_is_here_or_coming_is_joined() -> None:
    for state in (*COMING, S.READY):
        here = stay("a", state)
        assert ask("a", here, busy=frozenset({"a"})) == Join(here)


def test_what_leaves_cannot_be_joined() -> None:
    assert ask("a", stay("a", S.UNLOADING)) == Admit()


def test_a_load_pins_its_slot_before_it_holds_it() -> None:
    for state in COMING:
        assert why(ask("b", stay("a", state))) is SlotsBusy
        assert ask("b", stay("a", state), slots=2) == Admit()


def test_bytes_fetched_ahead_pin_nothing_and_become_a_load() -> None:
    ahead = replace(stay("a", S.DOWNLOADING), is_load=False)
    assert ask("b", ahead) == Admit()
    assert ask("a", ahead) == Join(ahead)
    assert why(ask("a", ahead, stay("b", S.LOADING))) is SlotsBusy


def test_an_idle_resident_does_not_refuse_and_one_that_answers_does() -> None:
    idle = stay("a", S.READY)
    assert ask("b", idle) == Admit()
    assert why(ask("b", idle, busy=frozenset({"a"}))) is SlotsBusy
    assert why(ask("b", stay("a", S.DRAINING), busy=frozenset({"a"}))) is SlotsBusy
    assert not is_promised(stay("a", S.UNLOADING), {"a"})


STAGED = stay("s", S.STAGED)


def place(
    *stays: Stay, slots: int = 1, busy: frozenset[str] = frozenset(), free: int = 100
) -> object:
    return settle(STAGED, stays=[*stays, STAGED], slots=slots, busy=busy, free_bytes=free)


def test_a_free_slot_and_enough_memory() -> None:
    assert place() == Grant()
    assert place(free=10) == Grant()
    assert why(place(free=9)) is InsufficientMemory


def test_the_longest_idle_makes_room() -> None:
    here = (stay("a", S.READY, used_s=2.0), stay("b", S.READY, used_s=1.0))
    assert place(*here, slots=2) == Evict("b")
    assert place(*here, slots=2, busy=frozenset({"b"})) == Evict("a")
    assert why(place(*here, slots=2, busy=frozenset({"a", "b"}))) is SlotsBusy


def test_memory_is_made_even_where_a_slot_is_free() -> None:
    assert place(stay("a", S.READY), slots=2, free=5) == Evict("a")


def test_nobody_is_sent_away_for_what_does_not_fit_then_either() -> None:
    assert why(place(stay("a", S.READY, gives=4), free=5)) is InsufficientMemory


def test_memory_that_an_answering_one_holds_may_come_back() -> None:
    busy = frozenset({"a"})
    assert why(place(stay("a", S.READY), slots=2, busy=busy, free=0)) is SlotsBusy
    small = stay("a", S.READY, gives=9)
    assert why(place(small, slots=2, busy=busy, free=0)) is InsufficientMemory


def test_whoever_is_on_the_way_out_is_waited_for() -> None:
    assert place(stay("a", S.UNLOADING)) == Wait()
    assert place(stay("a", S.UNLOADING), slots=2, free=0) == Wait()
    assert place(stay("s", S.UNLOADING), slots=2) == Wait(), "a model is here once"
    assert place(stay("s", S.DRAINING), slots=2, busy=frozenset({"s"})) == Wait()


def test_whoever_drains_and_answers_is_not() -> None:
    busy = frozenset({"a"})
    assert why(place(stay("a", S.DRAINING), busy=busy)) is SlotsBusy
    assert place(stay("a", S.DRAINING), slots=2, busy=busy) == Grant()


stays = st.lists(
    st.builds(
        stay,
        st.sampled_from("abcd"),
        st.sampled_from(sorted(set(SlotState) - {S.EMPTY})),
        gives=st.integers(0, 20),
        used_s=st.floats(0, 9),
    ),
    max_size=4,
    unique_by=lambda one: one.model,
)
busies = st.frozensets(st.sampled_from("abcd"))


@given(stays=stays, slots=st.integers(1, 4), busy=busies, free=st.integers(0, 40))
def test_laws_of_settling(stays: list[Stay], slots: int, busy: frozenset[str], free: int) -> None:
    here = residents(stays)
    idle = [one for one in here if one.state is S.READY and one.model not in busy]
    match place(*stays, slots=slots, busy=busy, free=free):
        case Grant():
            assert len(here) < slots, "max_model_slots is never exceeded"
            assert free >= STAGED.needs_bytes, "memory is never promised twice"
        case Evict(model):
            assert model in {one.model for one in idle}, "one that answers is never sent away"
            assert free + sum(one.takes_bytes for one in idle) >= STAGED.needs_bytes
        case Wait():
            assert any(one.state in LEAVING for one in here)
        case answer:
            assert why(answer) in {SlotsBusy, InsufficientMemory}
            fits = free + sum(one.takes_bytes for one in idle) >= STAGED.needs_bytes
            assert not (fits and idle), "whoever can be placed is"


@given(model=st.sampled_from("abcdx"), stays=stays, slots=st.integers(1, 4), busy=busies)
def test_laws_of_admission(model: str, stays: list[Stay], slots: int, busy: frozenset[str]) -> None:
    promised = [one for one in stays if is_promised(one, busy)]
    match ask(model, *stays, slots=slots, busy=busy):
        case Admit():
            assert POOL.serves(model)
            assert len(promised) < slots
            assert all(one.state in LEAVING for one in stays if one.model == model)
        case Join(joined):
            assert joined in stays
            assert joined.model == model
            assert joined.state not in LEAVING
        case answer:
            outside = not POOL.serves(model)
            assert why(answer) is (ModelNotInPool if outside else SlotsBusy)
            assert outside or len(promised) >= slots


def test_nobody_is_refused_or_sent_away_for_memory_that_a_load_may_have_taken_already() -> None:
    loading, idle = stay("a", S.LOADING), stay("b", S.READY, gives=4)
    busy = frozenset({"b"})

    def ask(
        *stays: Stay, free: int, later: int, slots: int = 3, busy: frozenset[str] = frozenset()
    ) -> object:
        here = [*stays, STAGED]
        now = settle(STAGED, stays=here, slots=slots, busy=busy, free_bytes=free)
        then = settle(STAGED, stays=here, slots=slots, busy=busy, free_bytes=later)
        return in_doubt(now, then)

    assert why(ask(loading, free=5, later=5)) is SlotsBusy, "no doubt"
    assert ask(loading, free=5, later=10) == Wait(), "it may fit once that one is there"
    assert why(ask(loading, free=5, later=9)) is SlotsBusy, "it will not"
    assert ask(loading, idle, free=6, later=10) == Wait(), "the idle one need not go yet"
    assert ask(loading, idle, free=6, later=9) == Evict("b"), "it has to go anyway"
    assert ask(loading, idle, free=5, later=6) == Wait(), "neither suffices alone"
    assert why(ask(loading, idle, free=5, later=6, busy=busy)) is SlotsBusy, "it answers"
    full = ask(loading, idle, free=5, later=60, slots=2, busy=busy)
    assert why(full) is SlotsBusy, "there will be no slot"
    assert ask(loading, idle, free=6, later=60, slots=2) == Evict("b"), "for the slot"
    assert ask(loading, idle, free=5, later=6, slots=2) == Wait()
