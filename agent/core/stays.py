"""Every model's stay on this node: the slot table put to work.

Takes in what the weights and engine rooms tell, and gives back what is to be done next. A
stay that ends says so as a value: :class:`LoadEnded` for whoever asked for a load,
:class:`PrefetchEnded` for bytes fetched ahead. Who is told what is the node's business.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TypeAlias

from ...backends.engines.base import Load, Loaded
from ...backends.stores.base import Build, Progress
from ...config.errors import AgentError
from ...config.frozen import frozen, replace
from ...config.refusals import InsufficientMemory, SlotsBusy
from . import placement
from .admission import Holding
from .effects import (
    CancelFetch,
    Effect,
    FetchWeights,
    LoadEngine,
    SampleHost,
    StopEngine,
    VerifyWeights,
)
from .slots import COMING, HOLDS_MEMORY, LEAVING, SlotEvent, SlotState, Stay

MEMORY_BACK_S = 10.0
"""So long after an engine left, too little memory is no reason to refuse: a reading may be
older than the engine's end, and a driver may take seconds to give memory back."""

_FETCHING = frozenset({SlotState.DOWNLOADING, SlotState.VERIFYING})


@frozen
class LoadEnded:
    """A load is over.

    Attributes:
        askers: How many loads of the coordinator this answers.
        error: ``None`` if the model answers now.
        displaced: Models that went for it.
    """

    model: str
    askers: int
    error: AgentError | None
    displaced: tuple[str, ...] = ()


@frozen
class PrefetchEnded:
    """Bytes fetched ahead are verified, or did not come."""

    model: str
    error: AgentError | None


Outcome: TypeAlias = Effect | LoadEnded | PrefetchEnded


class Stays:
    """All stays; the only one that writes them."""

    def __init__(self) -> None:
        self._stays: list[Stay] = []
        self._left_s = -MEMORY_BACK_S

    def all(self) -> tuple[Stay, ...]:
        """Every stay, oldest first."""
        return tuple(self._stays)

    def find(self, model: str, states: Collection[SlotState]) -> Stay | None:
        """The model's stay in one of these states; a model has no two."""
        return next((s for s in self._stays if s.model == model and s.state in states), None)

    def ready(self, model: str) -> Stay | None:
        """The model's stay, if it answers now."""
        return self.find(model, {SlotState.READY})

    # ── coming ────────────────────────────────────────────────────────────────────────

    def begin(self, model: str, now_s: float, *, is_load: bool, askers: int) -> list[Outcome]:
        """Start a stay that :func:`.placement.admit` admitted."""
        self._stays.append(Stay(model, is_load=is_load, askers=askers, since_s=now_s))
        return [FetchWeights(model)]

    def join(self, stay: Stay, *, is_load: bool, askers: int) -> None:
        """Let one more wait for a stay that is on its way."""
        joined = replace(stay, is_load=stay.is_load or is_load, askers=stay.askers + askers)
        self._put(stay, joined)

    def owe_one_answer_each(self) -> None:
        """Whoever asked is gone with the line; the next one is told once."""
        self._stays = [replace(stay, askers=min(stay.askers, 1)) for stay in self._stays]

    def progressed(self, model: str, progress: Progress) -> None:
        """More bytes are here."""
        stay = self.find(model, {SlotState.DOWNLOADING})
        if stay is not None:
            self._put(stay, replace(stay, progress=progress))

    def fetched(self, model: str, now_s: float) -> list[Outcome]:
        """Every byte is here."""
        stay = self.find(model, {SlotState.DOWNLOADING})
        if stay is None:
            return []
        self._move(stay, SlotEvent.FETCHED, now_s)
        return [VerifyWeights(model)]

    def verified(self, model: str, build: Build, needs_bytes: int, now_s: float) -> list[Outcome]:
        """Every byte is right; memory is judged on a fresh reading, so one is asked for."""
        stay = self.find(model, {SlotState.VERIFYING})
        if stay is None:
            return []
        checked = replace(stay, build=build, needs_bytes=needs_bytes)
        self._move(checked, SlotEvent.VERIFIED, now_s)
        if stay.is_load:
            return [SampleHost()]
        return self.release(model, None, now_s)

    def weights_failed(self, model: str, error: AgentError, now_s: float) -> list[Outcome]:
        """The bytes did not come, or are not right."""
        stay = self.find(model, _FETCHING)
        return [] if stay is None else self._end(stay, SlotEvent.FAILED, error, now_s)

    def settle(
        self,
        *,
        slots: int,
        busy: Collection[str],
        free_bytes: Callable[[], int],
        now_s: float,
        later_bytes: Callable[[], int] | None = None,
        outside: Collection[str] = (),
        pinned: Collection[str] = (),
    ) -> list[Outcome]:
        """Give slots to those who wait for one, as far as there are any.

        Args:
            slots: ``max_model_slots``.
            busy: Models with requests that have not ended.
            free_bytes: The budget as the stays are at that moment.
            now_s: The node's time.
            later_bytes: The same, if those that load have taken all of theirs already;
                unset: nobody loads.
            outside: Residents outside the pool.
            pinned: Models that make way for no other.
        """
        outcomes: list[Outcome] = []
        for staged in [stay for stay in self._stays if stay.state is SlotState.STAGED]:
            ask = partial(
                placement.settle,
                staged,
                stays=self._stays,
                slots=slots,
                busy=busy,
                outside=outside,
                pinned=pinned,
                now_s=now_s,
            )
            now = ask(free_bytes=free_bytes())
            later = now if later_bytes is None else ask(free_bytes=later_bytes())
            match placement.in_doubt(now, later):
                case placement.Grant():
                    loading = self._move(staged, SlotEvent.GRANTED, now_s)
                    if loading.build is not None:
                        outcomes.append(LoadEngine(loading.model, loading.build))
                case placement.Evict(victim):
                    displaced = (*staged.displaced, victim)
                    self._put(staged, replace(staged, displaced=displaced))
                    outcomes += self.release(victim, None, now_s)
                    outcomes += self.drained(busy, now_s)
                case placement.Refuse(InsufficientMemory()) if now_s - self._left_s < MEMORY_BACK_S:
                    pass
                case placement.Refuse(error):
                    outcomes += self._end(staged, SlotEvent.FAILED, error, now_s)
                case placement.Wait():
                    pass
        return outcomes

    # ── here ──────────────────────────────────────────────────────────────────────────

    def loaded(
        self, model: str, loaded: Loaded, now_s: float, *, needs_bytes: int | None = None
    ) -> list[Outcome]:
        """The model answers.

        Args:
            model: Its id.
            loaded: What was measured.
            now_s: The node's time.
            needs_bytes: What it takes with one request, by that measurement; unset: as admitted.
        """
        stay = self.find(model, {SlotState.LOADING})
        if stay is None:
            return []
        answering = replace(
            stay,
            holds_bytes=loaded.memory_bytes,
            needs_bytes=stay.needs_bytes if needs_bytes is None else needs_bytes,
            load_s=loaded.took_s,
            context_tokens=loaded.context_tokens,
            sleeps=loaded.sleeps,
            last_used_s=now_s,
            askers=0,
        )
        self._move(answering, SlotEvent.LOADED, now_s)
        return [LoadEnded(model, stay.askers, None)]

    def measured(self, loads: Mapping[str, Load]) -> None:
        """Engines were read; one that could not be measured when it was loaded is so at last."""
        for model, load in loads.items():
            stay, holds_bytes = self.ready(model), load.memory_active_bytes
            if stay is not None and stay.holds_bytes is None and holds_bytes is not None:
                self._put(stay, replace(stay, holds_bytes=holds_bytes))

    def used(self, model: str, now_s: float) -> None:
        """A request of the model has ended."""
        stay = self.find(model, {SlotState.READY, SlotState.DRAINING})
        if stay is not None:
            self._put(stay, replace(stay, last_used_s=now_s))

    # ── leaving ───────────────────────────────────────────────────────────────────────

    def release(self, model: str, why: AgentError | None, now_s: float) -> list[Outcome]:
        """Let the model go, however far it is; a resident finishes its requests first."""
        stay = self.find(model, COMING | {SlotState.READY})
        if stay is None:
            return []
        return self._end(stay, SlotEvent.RELEASED, why, now_s)

    def narrow(self, slots: int, busy: Collection[str], now_s: float) -> list[Outcome]:
        """Release what is too much for fewer slots: the idle first, the longest idle first."""
        staying = [s for s in self._stays if s.state in HOLDS_MEMORY - LEAVING]
        staying.sort(key=lambda s: (s.model in busy, s.state is SlotState.LOADING, s.last_used_s))
        outcomes: list[Outcome] = []
        for stay in staying[: max(0, len(staying) - slots)]:
            outcomes += self.release(stay.model, SlotsBusy(model=stay.model, slots=slots), now_s)
        return outcomes

    def drained(self, busy: Collection[str], now_s: float) -> list[Outcome]:
        """Stop the engines of those who leave and have nothing left to answer."""
        outcomes: list[Outcome] = []
        for stay in self.all():
            if stay.state is SlotState.DRAINING and stay.model not in busy:
                self._move(stay, SlotEvent.DRAINED, now_s)
                outcomes.append(StopEngine(stay.model))
        return outcomes

    def engine_failed(self, model: str, error: AgentError, now_s: float) -> list[Outcome]:
        """The engine could not start, or died; what is left of it is stopped."""
        stay = self.find(model, {SlotState.LOADING, SlotState.READY, SlotState.DRAINING})
        return [] if stay is None else self._end(stay, SlotEvent.FAILED, error, now_s)

    def stopped(self, model: str, now_s: float) -> list[Outcome]:
        """The engine is gone and its memory is back; those who wait are looked at again."""
        stay = self.find(model, {SlotState.UNLOADING})
        if stay is None:
            return []
        self._move(stay, SlotEvent.STOPPED, now_s)
        self._left_s = now_s
        return [SampleHost()]

    # ── the one place where a stay is written ─────────────────────────────────────────

    def _end(
        self, stay: Stay, event: SlotEvent, why: AgentError | None, now_s: float
    ) -> list[Outcome]:
        """Send a stay towards EMPTY, and answer whoever waits for it."""
        outcomes: list[Outcome] = []
        after = self._move(replace(stay, askers=0), event, now_s)
        if after.state is SlotState.UNLOADING:
            outcomes.append(StopEngine(stay.model))
        if stay.state in _FETCHING and event is SlotEvent.RELEASED:
            outcomes.append(CancelFetch(stay.model))
        if stay.state in COMING:
            outcomes.append(
                LoadEnded(stay.model, stay.askers, why, stay.displaced)
                if stay.is_load
                else PrefetchEnded(stay.model, why)
            )
        return outcomes

    def _move(self, stay: Stay, event: SlotEvent, now_s: float) -> Stay:
        after = stay.after(event, now_s)
        self._put(stay, after)
        return after

    def _put(self, before: Stay, after: Stay) -> None:
        here = (before.model, before.state)
        at = [(stay.model, stay.state) for stay in self._stays].index(here)
        if after.state is SlotState.EMPTY:
            del self._stays[at]
        else:
            self._stays[at] = after


def holdings_of(
    stays: Iterable[Stay], busy: Collection[str], *, are_loaded: bool = False
) -> list[Holding]:
    """What each resident has of the memory, for the admission.

    Args:
        stays: Every stay, in any state.
        busy: Models with requests that have not ended.
        are_loaded: Whether to take it that those that load have taken all of theirs already.
    """
    return [
        Holding(
            held_bytes=stay.takes_bytes,
            is_promised=stay.state is SlotState.LOADING and not are_loaded,
            is_evictable=stay.model not in busy and stay.state not in COMING,
            due_bytes=stay.due_bytes,
            is_measured=(
                stay.holds_bytes is not None
                or stay.state is SlotState.UNLOADING
                or (are_loaded and stay.state is SlotState.LOADING)
            ),
        )
        for stay in stays
        if stay.state in HOLDS_MEMORY
    ]
