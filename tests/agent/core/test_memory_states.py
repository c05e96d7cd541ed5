"""A hundred thousand machines: none is overcommitted, and hardly any refuses for nothing."""

import random
from dataclasses import dataclass, replace

import pytest

from poolhand.agent.core import placement
from poolhand.agent.core.admission import budget_bytes, ceiling_bytes, overhead_bytes
from poolhand.agent.core.slots import SlotState, Stay
from poolhand.agent.core.stays import holdings_of
from poolhand.config.refusals import InsufficientMemory

GIB = 2**30
STATES, PARTS = 100_000, 10

UNMEASURED = 0.05
"""Of residents: every engine that is started here is read when it is loaded, and if that fails,
again with each heartbeat. What another one holds may be missing from the machine's reading."""

LEAST_OVERHEAD = 0.3
"""Of the estimated overhead an engine takes at least this part: 75 of 256 MiB were measured."""


@dataclass(slots=True)
class Machine:
    """What is so, whoever knows it.

    Attributes:
        others_bytes: What programs that are not ours hold.
        taken_bytes: What each resident has taken of the memory by now.
        peaks_bytes: The most that each resident will ever have, never more than was admitted.
    """

    total_bytes: int
    others_bytes: int
    reserve_bytes: int
    stays: tuple[Stay, ...]
    taken_bytes: tuple[int, ...]
    peaks_bytes: tuple[int, ...]
    busy: frozenset[str]
    pinned: frozenset[str]
    slots: int

    @property
    def available_bytes(self) -> int:
        return max(0, self.total_bytes - self.others_bytes - sum(self.taken_bytes))

    @property
    def policy_bytes(self) -> int:
        """The most that all models together may have of what others leave."""
        return min(ceiling_bytes(self.total_bytes), self.total_bytes - self.others_bytes)

    def staying(self) -> list[Stay]:
        """Whoever makes way for nobody."""
        kept = self.busy | self.pinned
        return [s for s in self.stays if s.model in kept or s.state is SlotState.LOADING]

    def loaded(self, chance: random.Random) -> "Machine":
        """The same once every load is over, each engine measured if it can be."""
        stays, taken = [*self.stays], [*self.taken_bytes]
        for at, stay in enumerate(self.stays):
            if stay.state is SlotState.LOADING:
                taken[at] = int(self.peaks_bytes[at] * chance.uniform(0.5, 1.0))
                measured = None if chance.random() < UNMEASURED else taken[at]
                stays[at] = replace(stay, state=SlotState.READY, holds_bytes=measured)
        return replace(self, stays=tuple(stays), taken_bytes=tuple(taken))


@dataclass(slots=True)
class Wanted:
    """A model that wants a slot: what it is thought to need, and what it will need."""

    needs_bytes: int
    truly_bytes: int


def machine(chance: random.Random) -> Machine:
    total = chance.choice((8, 16, 24, 64, 128, 512)) * GIB
    others = int(total * chance.uniform(0.02, 0.5))
    stays: list[Stay] = []
    taken: list[int] = []
    peaks: list[int] = []
    left = total - others
    for number in range(chance.randint(0, 3)):
        needs = int(left * chance.uniform(0.05, 0.6))
        peak = int(needs * chance.uniform(0.6, 1.0))
        is_loading = chance.random() < 0.2
        held = int(peak * chance.uniform(0.5, 1.0))
        now = int(held * chance.random()) if is_loading else held
        state = SlotState.LOADING if is_loading else SlotState.READY
        measured = None if is_loading or chance.random() < UNMEASURED else held
        stays.append(Stay(f"m{number}", state, needs_bytes=needs, holds_bytes=measured))
        taken.append(now)
        peaks.append(peak)
        left -= needs
    names = [stay.model for stay in stays]
    return Machine(
        total,
        others,
        int(chance.choice((0.0, 0.5, 4.0)) * GIB),
        tuple(stays),
        tuple(taken),
        tuple(peaks),
        frozenset(name for name in names if chance.random() < 0.4),
        frozenset(name for name in names if chance.random() < 0.15),
        chance.randint(1, 4),
    )


def wanted(here: Machine, chance: random.Random) -> Wanted:
    """Weights and the cache of a full request are known; what is beside them, after a load."""
    weights = int(here.total_bytes * chance.uniform(0.02, 0.8))
    known = weights + int(weights * chance.uniform(0.01, 0.3))
    beside = overhead_bytes(weights)
    truly = int(beside * chance.uniform(LEAST_OVERHEAD, 1.0))
    is_new_here = chance.random() < 0.5
    return Wanted(known + (beside if is_new_here else truly), known + truly)


def answer(here: Machine, needs_bytes: int) -> object:
    staged = Stay("new", SlotState.STAGED, needs_bytes=needs_bytes)

    def asked(
        *, are_loaded: bool
    ) -> placement.Refuse | placement.Grant | placement.Evict | placement.Wait:
        free_bytes = budget_bytes(
            total_bytes=here.total_bytes,
            available_bytes=here.available_bytes,
            reserve_bytes=here.reserve_bytes,
            holdings=holdings_of(here.stays, here.busy, are_loaded=are_loaded),
        )
        return placement.settle(
            staged,
            stays=(*here.stays, staged),
            slots=here.slots,
            busy=here.busy,
            free_bytes=free_bytes,
            pinned=here.pinned,
        )

    now = asked(are_loaded=False)
    is_any_loading = any(stay.state is SlotState.LOADING for stay in here.stays)
    return placement.in_doubt(now, asked(are_loaded=True)) if is_any_loading else now


def has_room(here: Machine, truly_bytes: int) -> bool:
    """Whether it would have fitted: everyone who stays keeps what it was promised."""
    staying = here.staying()
    kept = sum(stay.claims_bytes for stay in staying)
    room = here.policy_bytes - kept - here.reserve_bytes
    return len(staying) < here.slots and truly_bytes <= room


@pytest.mark.parametrize("part", range(PARTS))
def test_no_state_is_overcommitted_and_hardly_any_refused_for_nothing(part: int) -> None:
    chance = random.Random(part)  # noqa: S311  # a story, no secret
    refused = false = waited = 0
    for _ in range(STATES // PARTS):
        here = machine(chance)
        model = wanted(here, chance)
        told = answer(here, model.needs_bytes)
        if isinstance(told, placement.Wait):
            waited += 1
            here = here.loaded(chance)
            told = answer(here, model.needs_bytes)
            assert not isinstance(told, placement.Wait), "nobody waits for nothing"
        match told:
            case placement.Grant():
                at_most = here.others_bytes + sum(here.peaks_bytes) + model.truly_bytes
                assert at_most + here.reserve_bytes <= here.total_bytes, here
                assert len(here.stays) < here.slots
            case placement.Evict(victim):
                assert victim not in here.busy | here.pinned
            case placement.Refuse(error):
                false += has_room(here, model.truly_bytes)
                refused += isinstance(error, InsufficientMemory)
            case _:
                pytest.fail(f"{told}")
    assert refused > 0
    assert waited > 0
    assert false <= STATES // PARTS // 100, f"{false} refused although there was room"
