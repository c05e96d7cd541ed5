"""Which models come, by whose wish, and who is told what became of it.

Three wishes bring a model: the coordinator's ``load_model``, a request for a model of the
pool that is not loaded, and a wish for bytes alone (``prefetch_model`` or a desired build).
The pool decides first, whoever wishes; a refusal changes nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from ...backends.engines.base import Load, Loaded
from ...backends.stores.base import Build, Progress, Stock
from ...config.errors import AgentError
from ...config.refusals import (
    ModelNotReady,
    PlacementError,
    RequestCancelled,
    RequestError,
    SlotsBusy,
)
from ...config.settings import Settings
from ..wire.inbound import DesiredModels, PrefetchModel
from ..wire.outbound import LoadModelStatus, Outbound
from . import placement
from .cold import estimate, is_too_slow
from .drains import Drains
from .effects import Effect, PersistMeasured, RefreshInventory
from .guard import Guard
from .measured import Measurements
from .pins import Pins
from .pool import Pool
from .refused import Refused
from .restarts import Restarts
from .slots import COMING, HOLDS_MEMORY, SlotState
from .stays import LoadEnded, Outcome, PrefetchEnded, Stays
from .wishes import Wishes, prefetch_status

NO_STOCKS: Mapping[str, Stock] = MappingProxyType({})

Said: TypeAlias = Effect | LoadEnded | Outbound
"""What comes of a wish: something to do, something to say, or the end of a load."""


class Loads:
    """Every wish for a model, and the stays that come of them."""

    def __init__(
        self, settings: Settings, pool: Pool, *, chance: Callable[[], float] = lambda: 0.5
    ) -> None:
        self.stays = Stays()
        self.settings = settings
        self.pool = pool
        self.drains = Drains()
        self.pins = Pins()
        self.refusals = Refused()
        self.wishes = Wishes(self.stays, chance)
        self.measured = Measurements()
        self.guard = Guard()
        self.restarts = Restarts(chance)
        self._swap: tuple[str, str] | None = None

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is taken."""
        return self.drains.is_draining

    # ── wishes ────────────────────────────────────────────────────────────────────────

    def asked(self, model: str, busy: Collection[str], now_s: float) -> list[Said]:
        """The coordinator wants the model in memory; each asking gets exactly one answer."""
        match self.admits(model, busy, now_s):
            case placement.Refuse(error):
                return self.refused(model, error, now_s)
            case placement.Join(stay) if stay.state is SlotState.READY:
                return [_status(model, None)]
            case placement.Join(stay):
                self.stays.join(stay, is_load=True, askers=1)
                return [LoadModelStatus(model_id=model, status="started")]
            case placement.Admit():
                began = self._begin(model, now_s, askers=1)
                return [LoadModelStatus(model_id=model, status="started"), *began]

    def needed(
        self,
        model: str,
        busy: Collection[str],
        now_s: float,
        stocks: Mapping[str, Stock] = NO_STOCKS,
    ) -> list[Said] | AgentError:
        """A request needs the model; nobody is told of the load but those who wait for it.

        Args:
            model: A build's id.
            busy: Models with requests that have not ended.
            now_s: The node's time.
            stocks: What lies on disk: what does not takes time to come.

        Returns:
            What is to be done, nothing if it is on its way already; or why it cannot come.
        """
        if (error := self.objection(model, busy, now_s, stocks)) is not None:
            self.refusals.note(model, error, now_s)
            return error
        answer = self.admits(model, busy, now_s)
        if not isinstance(answer, placement.Join):
            return self._begin(model, now_s, askers=0)
        if answer.stay.state in COMING:
            self.stays.join(answer.stay, is_load=True, askers=0)
        return []

    def objection(
        self, model: str, busy: Collection[str], now_s: float, stocks: Mapping[str, Stock]
    ) -> AgentError | None:
        """Why a request for the model would be refused now, if so; nothing is changed."""
        if late := self.restarts.refusal(model, now_s):
            return late
        answer = self.admits(model, busy, now_s)
        if isinstance(answer, placement.Refuse):
            return answer.error
        stay = answer.stay if isinstance(answer, placement.Join) else None
        if stay is not None and stay.state not in COMING:
            return None
        stock = stocks.get(model)
        if is_too_slow(model, self.measured, self.settings, stock=stock, stay=stay):
            return ModelNotReady(model=model, reason="its load takes too long to wait for")
        return None

    def prefetch(self, wish: PrefetchModel, now_s: float) -> list[Said]:
        """The coordinator wants the model's bytes here."""
        if self.is_draining:
            return [prefetch_status(wish.model_id, self.drains.refusal)]
        return self._carry(self.wishes.prefetch(wish, self.settings, now_s))

    def desire(self, wish: DesiredModels, stocks: Mapping[str, Stock], now_s: float) -> list[Said]:
        """The coordinator says what it wants here, in full; an empty list stops everything."""
        said = self._carry(self.wishes.desire(wish, now_s))
        wanted = {row.desired_build for row in wish.models}
        if self._swap is not None and self._swap[1] not in wanted:
            stay = self.stays.find(self._swap[1], COMING - HOLDS_MEMORY)
            if stay is not None and not stay.askers:
                said += self._carry(self.stays.release(stay.model, RequestCancelled(), now_s))
        return [*said, *self.pursue(stocks, now_s)]

    @property
    def deadline_s(self) -> float | None:
        """By when :meth:`look` wants to be called; ``None`` if only an event can help."""
        known = (self.wishes.deadline_s, self.restarts.deadline_s)
        return min((at_s for at_s in known if at_s is not None), default=None)

    def look(self, stocks: Mapping[str, Stock], now_s: float) -> list[Said]:
        """Begin what has its turn now."""
        return [*self._back(now_s), *self._ahead(stocks, now_s)]

    def _back(self, now_s: float) -> list[Said]:
        """Bring models back whose engine ended, where nothing has taken their place."""
        said: list[Said] = []
        for model in self.restarts.due(now_s):
            slots_taken = sum(stay.is_load for stay in self.stays.all())
            has_slot = slots_taken < self.settings.slots.max_model_slots
            if has_slot and isinstance(self.admits(model, (), now_s), placement.Admit):
                said += self._begin(model, now_s, askers=0)
        return said

    def _ahead(self, stocks: Mapping[str, Stock], now_s: float) -> list[Said]:
        if not self.wishes.look(now_s) or self.is_draining:
            return []
        return self._carry(self.wishes.next(self.pool, stocks, now_s))

    def swap(
        self, stocks: Mapping[str, Stock], wanted: Collection[str], now_s: float
    ) -> list[Said]:
        """Put a desired build into the place of the previous one of its alias, once that is idle.

        Args:
            stocks: What lies on disk.
            wanted: Models with requests that have not ended, in any state.
            now_s: The node's time.
        """
        if self.is_draining:
            return []
        kept = self.kept(now_s)
        idle = [m for m in self.wishes.superseded() if m not in wanted and m not in kept]
        if idle:
            return [effect for model in idle for effect in self.let_go(model, wanted, now_s)]
        found = self.wishes.swap(self.pool, stocks)
        if found is None or found[0] in wanted or found[0] in kept:
            return []
        if not isinstance(self.admits(found[1], wanted, now_s), placement.Admit):
            return []
        self._swap = found
        self.wishes.swapped(found[1])
        return self._begin(found[1], now_s, askers=0)

    def pursue(self, stocks: Mapping[str, Stock], now_s: float) -> list[Said]:
        """Bring the next desired build of the pool to disk, one at a time."""
        if self.is_draining:
            return []
        return self._carry(self.wishes.pursue(self.pool, stocks, now_s))

    def admits(
        self, model: str, busy: Collection[str], now_s: float, pool: Pool | None = None
    ) -> placement.Refuse | placement.Join | placement.Admit:
        """Whether the model may come, into this pool or into another one."""
        if self.is_draining:
            return placement.Refuse(self.drains.refusal)
        slots = self.settings.slots
        answer = placement.admit(
            model,
            pool=pool or self.pool,
            stays=self.stays.all(),
            slots=slots.max_model_slots,
            busy=busy,
            pinned=self.kept(now_s),
        )
        is_new = not isinstance(answer, placement.Refuse | placement.Join) or (
            isinstance(answer, placement.Join) and not answer.stay.is_load
        )
        if is_new and (cause := self.guard.objection(model, slots, now_s)) is not None:
            count = slots.max_model_slots
            return placement.Refuse(SlotsBusy(model=model, slots=count, cause=cause))
        return answer

    def kept(self, now_s: float) -> frozenset[str]:
        """Models that make way for no other now: pinned, or here for too short a time."""
        newest_s = now_s - self.settings.slots.min_residency_s
        ready = (s for s in self.stays.all() if s.state is SlotState.READY)
        return self.pins.of(self.settings).union(s.model for s in ready if s.since_s > newest_s)

    def pinned_outside(self, pool: Pool) -> str | None:
        """A pinned model that answers and is none of this pool's."""
        here = [m for m in self.pins.of(self.settings) if self.stays.ready(m)]
        return next((model for model in here if not pool.serves(model)), None)

    def refused(self, model: str, error: AgentError, now_s: float) -> list[Said]:
        """A load that does not come: counted, and told."""
        self.refusals.note(model, error, now_s)
        return [_status(model, error)]

    # ── what the rooms tell ───────────────────────────────────────────────────────────

    def progressed(self, model: str, progress: Progress, now_s: float) -> list[Said]:
        """More bytes are here."""
        self.stays.progressed(model, progress)
        self.measured.fetched(progress.rate_bytes_s)
        return [*self.wishes.progressed(model, progress, now_s)]

    def verified(self, model: str, build: Build, now_s: float) -> list[Said]:
        """The bytes are right: now it can be told what memory they need."""
        needs = self.measured.corrected(model, estimate(self.settings, model, build))
        # what somebody else runs takes nothing here
        needs_bytes = needs.total_bytes if build.is_here else 0
        outcomes = self.stays.verified(model, build, needs_bytes, now_s)
        return [*self._carry(outcomes), RefreshInventory()]

    def loaded(self, model: str, loaded: Loaded, now_s: float) -> list[Said]:
        """Its engine answers, and was measured: the next load is judged by that."""
        stay = self.stays.find(model, {SlotState.LOADING})
        if stay is None or stay.build is None:
            return []
        guess = estimate(self.settings, model, stay.build)
        self.measured.loaded(model, guess, loaded)
        needs = self.measured.corrected(model, guess)
        needs_bytes = needs.total_bytes if stay.build.is_here else 0
        came = self.stays.loaded(model, loaded, now_s, needs_bytes=needs_bytes)
        return [*self._carry(came), self._kept()]

    def sampled(self, loads: Mapping[str, Load]) -> list[Said]:
        """Engines were read: a peak that was never seen before is written down."""
        self.stays.measured(loads)
        return [self._kept()] if self.measured.sampled(loads) else []

    def came(self, outcomes: Iterable[Outcome]) -> list[Said]:
        """Carry on what the stays gave back."""
        return self._carry(outcomes)

    def ended(self, ended: LoadEnded, now_s: float) -> list[Said]:
        """A load is over: what is to be learnt of it for the next one."""
        ready = self.stays.ready(ended.model)
        if ended.error is None and ready is not None:
            self.guard.ended(ended.model, took_s=ready.load_s or 0.0, now_s=now_s)
        elif ended.error is not None and not isinstance(ended.error, PlacementError | RequestError):
            self.guard.ended(ended.model, took_s=None, now_s=now_s)
        swap, self._swap = self._swap, None
        if swap is None or swap[1] != ended.model:
            self._swap = swap
            return [] if ended.error is None else self._restored(ended.displaced, now_s)
        if isinstance(ended.error, SlotsBusy):
            self.wishes.swapped(ended.model, is_over=False)  # it was asked again meanwhile
        elif ended.error is not None:
            return self.bring_back(swap[0], now_s)
        return []

    def _restored(self, displaced: Iterable[str], now_s: float) -> list[Said]:
        """Have those back who went for a model that does not come, if nothing is in their way."""
        said: list[Said] = []
        for model in displaced:
            if isinstance(self.admits(model, (), now_s), placement.Admit):
                said += self.bring_back(model, now_s)
        return said

    # ── what the owner and the line change ────────────────────────────────────────────

    def line_lost(self) -> None:
        """Whoever asked is gone: one answer is owed to the line that comes, not one each."""
        self.stays.owe_one_answer_each()
        self.wishes.line_lost()

    def repool(
        self, settings: Settings, pool: Pool, busy: Collection[str], now_s: float
    ) -> list[Said]:
        """The operator chose otherwise: whoever is outside the pool or the slots goes."""
        self.settings, self.pool = settings, pool
        said = self.expel(busy, now_s, is_all=True)
        said += self._carry(self.stays.narrow(settings.slots.max_model_slots, busy, now_s))
        return [*said, *self._carry(self.stays.drained(busy, now_s))]

    def expel(
        self,
        busy: Collection[str],
        now_s: float,
        *,
        is_all: bool,
        why: AgentError | None = None,
    ) -> list[Said]:
        """Let go of whoever is outside the pool.

        Args:
            busy: Models with requests that have not ended; they end first.
            now_s: The node's time.
            is_all: Whether those go that are in memory; otherwise only those on their way.
            why: What whoever asked for them is told; usually that they are outside.
        """
        said: list[Said] = []
        for stay in self.stays.all():
            is_here = stay.state is SlotState.READY
            if not self.pool.serves(stay.model) and (is_all or not is_here):
                error = why or placement.outside(stay.model, self.pool)
                said += self._carry(self.stays.release(stay.model, error, now_s))
        return [*said, *self._carry(self.stays.drained(busy, now_s))]

    def move_in(self, model: str, now_s: float) -> list[Said]:
        """Bring the model that the machine moves for; whoever is in its slot goes in time."""
        stay = self.stays.find(model, COMING | {SlotState.READY})
        if stay is None:
            return self._begin(model, now_s, askers=0)
        if stay.state in COMING:
            self.stays.join(stay, is_load=True, askers=0)
        return []

    def let_go(
        self, model: str, busy: Collection[str], now_s: float, why: AgentError | None = None
    ) -> list[Said]:
        """Let one model go, which nobody waits for; others that leave answer to their end."""
        said = self._carry(self.stays.release(model, why, now_s))
        return [*said, *self._carry(self.stays.drained(busy, now_s))]

    def bring_back(self, model: str, now_s: float) -> list[Said]:
        """Have a model again that had to go, if it did not come back by itself."""
        if self.stays.find(model, COMING | {SlotState.READY}) or self.drains.has("leaving"):
            return []
        return self._begin(model, now_s, askers=0)

    def empty(self, why: AgentError, busy: Collection[str], now_s: float) -> list[Said]:
        """Take nothing new, and let everyone go who is here."""
        self.drains.begin("leaving", now_s)
        said: list[Said] = []
        for stay in self.stays.all():
            said += self._carry(self.stays.release(stay.model, why, now_s))
        return [*said, *self._carry(self.stays.drained(busy, now_s))]

    # ── inside ────────────────────────────────────────────────────────────────────────

    def _kept(self) -> PersistMeasured:
        return PersistMeasured(tuple(self.measured.known.values()))

    def _begin(self, model: str, now_s: float, *, askers: int) -> list[Said]:
        self.restarts.settled(model)
        self.guard.began(self.settings.slots, now_s)
        return self._carry(self.stays.begin(model, now_s, is_load=True, askers=askers))

    def _carry(self, came: Iterable[Outcome | Outbound]) -> list[Said]:
        said: list[Said] = []
        for outcome in came:
            match outcome:
                case LoadEnded(model, askers, error):
                    said += [_status(model, error)] * askers
                    said += self.wishes.told(model, error)
                    said.append(outcome)
                case PrefetchEnded(model, error):
                    said += self.wishes.ended(model, error)
                case _:
                    said.append(outcome)
        return said


def _status(model: str, error: AgentError | None) -> LoadModelStatus:
    if error is None:
        return LoadModelStatus(model_id=model, status="succeeded")
    return LoadModelStatus(model_id=model, status="failed", error=error.load_text)
