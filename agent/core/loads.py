"""Which models come, by whose wish, and who is told what became of it.

Three wishes bring a model: the coordinator's ``load_model``, a request for a model of the
pool that is not loaded, and a wish for bytes alone (``prefetch_model`` or a desired build).
The pool decides first, whoever wishes; a refusal changes nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ...backends.stores.base import Build, Progress, Stock
from ...config.errors import AgentError
from ...config.refusals import ModelNotReady, NodeDraining, PlacementError, RequestError, SlotsBusy
from ...config.settings import Settings
from ..wire.inbound import DesiredModels, PrefetchModel
from ..wire.outbound import LoadModelStatus, Outbound, PrefetchModelStatus
from . import placement
from .admission import needs_of
from .ahead import Ahead
from .effects import Effect, RefreshInventory
from .guard import Guard
from .pool import Pool, is_allowed
from .shape import ModelShape
from .slots import COMING, SlotState
from .stays import LoadEnded, Outcome, PrefetchEnded, Stays

PROGRESS_EVERY_S = 2.0
PROGRESS_EVERY_RATIO = 0.05
"""A prefetch is reported at most so often: the reference node's pace."""

Said: TypeAlias = Effect | LoadEnded | Outbound
"""What comes of a wish: something to do, something to say, or the end of a load."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A load that this node refused, for the owner's eyes.

    Attributes:
        count: How often the same was refused in a row.
        at_s: When last, in the node's time.
    """

    model: str
    error: AgentError
    count: int
    at_s: float


@dataclass(frozen=True, slots=True)
class _Told:
    """What was last reported of a prefetch."""

    at_s: float
    ratio: float


class Loads:
    """Every wish for a model, and the stays that come of them."""

    def __init__(
        self, settings: Settings, pool: Pool, *, chance: Callable[[], float] = lambda: 0.5
    ) -> None:
        self.stays = Stays()
        self.settings = settings
        self.pool = pool
        self.is_draining = False
        self.refusal: Refusal | None = None
        self.refusals = 0
        self.refusals_by_reason: dict[str, int] = {}
        self.desired: DesiredModels | None = None
        self._guard = Guard()
        self._ahead = Ahead(chance)
        self._prefetches: dict[str, _Told] = {}
        self._wished: set[str] = set()
        self._tried: set[str] = set()

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

    def needed(self, model: str, busy: Collection[str], now_s: float) -> list[Said] | AgentError:
        """A request needs the model; nobody is told of the load but those who wait for it.

        Returns:
            What is to be done, nothing if it is on its way already; or why it cannot come.
        """
        match self.admits(model, busy, now_s):
            case placement.Refuse(error):
                self.note(model, error, now_s)
                return error
            case placement.Admit() if self._is_too_slow(model):
                late = ModelNotReady(model=model, reason="its load takes too long to wait for")
                self.note(model, late, now_s)
                return late
            case placement.Join(stay):
                if stay.state in COMING:
                    self.stays.join(stay, is_load=True, askers=0)
                return []
            case placement.Admit():
                return self._begin(model, now_s, askers=0)

    def prefetch(self, wish: PrefetchModel, now_s: float) -> list[Said]:
        """The coordinator wants the model's bytes here; whatever is allowed may come."""
        model = wish.model_id
        entry = self.settings.entry(model)
        if self.is_draining:
            return [_prefetch_status(model, error=NodeDraining())]
        if entry is None or not is_allowed(entry, self.settings.pools.allowed):
            text = f"model '{model}' not in advertised model list"
            return [PrefetchModelStatus(model_id=model, status="failed", error=text)]
        self._prefetches[model] = _Told(now_s, 0.0)
        started = PrefetchModelStatus(model_id=model, status="started")
        if self.stays.ready(model):
            return [started, *self._prefetched(model, None)]
        others = (s for s in self.stays.all() if s.state in COMING and s.model != model)
        if any(not stay.is_load for stay in others):
            return [started] if self._ahead.put(model, wish.priority) else self._full(model)
        return [started, *self._bring(model, now_s)]

    def desire(self, wish: DesiredModels, stocks: Mapping[str, Stock], now_s: float) -> list[Said]:
        """The coordinator says what it wants here, in full; an empty list stops everything."""
        if wish != self.desired:
            self._tried.clear()
            self._ahead.forgive()
        self.desired = wish
        wanted = {model.desired_build for model in wish.models}
        said: list[Said] = []
        for model in sorted(self._wished - wanted):
            self._wished.discard(model)
            stay = self.stays.find(model, COMING)
            if stay is not None and not stay.is_load and model not in self._prefetches:
                said += self._carry(self.stays.release(model, None, now_s))
        return [*said, *self.pursue(stocks, now_s)]

    @property
    def deadline_s(self) -> float | None:
        """By when :meth:`look` wants to be called; ``None`` if only an event can help."""
        return self._ahead.deadline_s

    def look(self, stocks: Mapping[str, Stock], now_s: float) -> list[Said]:
        """Begin what has its turn now: prefetches first, then what is desired."""
        if not self._ahead.look(now_s) or self.is_draining:
            return []
        if any(stay.state in COMING and not stay.is_load for stay in self.stays.all()):
            return []
        model = self._ahead.next()
        if model is None:
            return self.pursue(stocks, now_s)
        is_here = self.stays.ready(model) is not None
        return self._prefetched(model, None) if is_here else self._bring(model, now_s)

    def pursue(self, stocks: Mapping[str, Stock], now_s: float) -> list[Said]:
        """Bring the next desired build of the pool to disk, one at a time."""
        if self.desired is None or self.is_draining:
            return []
        if any(stay.state in COMING and not stay.is_load for stay in self.stays.all()):
            return []
        for wanted in self.desired.models:
            model = wanted.desired_build
            is_here = model in stocks and stocks[model].state == "here"
            is_here = is_here or self.stays.ready(model) is not None
            may_try = model not in self._tried and self._ahead.may_try(model)
            if self.pool.serves(model) and not is_here and may_try:
                self._wished.add(model)
                return self._bring(model, now_s)
        return []

    def admits(
        self, model: str, busy: Collection[str], now_s: float, pool: Pool | None = None
    ) -> placement.Refuse | placement.Join | placement.Admit:
        """Whether the model may come, into this pool or into another one."""
        if self.is_draining:
            return placement.Refuse(NodeDraining())
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
        if is_new and not self._guard.lets(model, slots, now_s):
            return placement.Refuse(SlotsBusy(model=model, slots=slots.max_model_slots))
        return answer

    def kept(self, now_s: float) -> frozenset[str]:
        """Models that make way for no other now: pinned, or here for too short a time."""
        newest_s = now_s - self.settings.slots.min_residency_s
        ready = (s for s in self.stays.all() if s.state is SlotState.READY)
        return self.settings.pinned.union(s.model for s in ready if s.since_s > newest_s)

    def refused(self, model: str, error: AgentError, now_s: float) -> list[Said]:
        """A load that does not come: counted, and told."""
        self.note(model, error, now_s)
        return [_status(model, error)]

    def note(self, model: str, error: AgentError, now_s: float) -> None:
        """Count a refusal, for the owner's eyes."""
        self.refusals += 1
        counted = self.refusals_by_reason
        counted[error.code] = counted.get(error.code, 0) + 1
        last = self.refusal
        again = last is not None and (last.model, last.error.code) == (model, error.code)
        self.refusal = Refusal(model, error, last.count + 1 if last and again else 1, now_s)

    # ── what the rooms tell ───────────────────────────────────────────────────────────

    def progressed(self, model: str, progress: Progress, now_s: float) -> list[Said]:
        """More bytes are here."""
        self.stays.progressed(model, progress)
        told = self._prefetches.get(model)
        ratio = progress.bytes_done / progress.bytes_total if progress.bytes_total else 0.0
        if told is None or (
            now_s - told.at_s < PROGRESS_EVERY_S and ratio - told.ratio < PROGRESS_EVERY_RATIO
        ):
            return []
        self._prefetches[model] = _Told(now_s, ratio)
        return [
            PrefetchModelStatus(
                model_id=model,
                status="downloading",
                bytes_done=progress.bytes_done,
                bytes_total=progress.bytes_total,
            )
        ]

    def verified(self, model: str, build: Build, now_s: float) -> list[Said]:
        """The bytes are right: now it can be told what memory they need."""
        entry = self.settings.entry(model)
        most_tokens = self.settings.memory.kv_context_tokens
        if entry is not None and entry.context_tokens is not None:
            most_tokens = min(most_tokens, entry.context_tokens)
        needs = needs_of(
            build.weights_bytes, ModelShape.from_config(build.config), context_tokens=most_tokens
        )
        outcomes = self.stays.verified(model, build, needs.total_bytes, now_s)
        return [*self._carry(outcomes), RefreshInventory()]

    def came(self, outcomes: Iterable[Outcome]) -> list[Said]:
        """Carry on what the stays gave back."""
        return self._carry(outcomes)

    def ended(self, ended: LoadEnded, now_s: float) -> None:
        """A load is over: what is to be learnt of it for the next one."""
        ready = self.stays.ready(ended.model)
        if ended.error is None and ready is not None:
            self._guard.ended(ended.model, took_s=ready.load_s or 0.0, now_s=now_s)
        elif ended.error is not None and not isinstance(ended.error, PlacementError | RequestError):
            self._guard.ended(ended.model, took_s=None, now_s=now_s)

    # ── what the owner and the line change ────────────────────────────────────────────

    def line_lost(self) -> None:
        """Whoever asked is gone: one answer is owed to the line that comes, not one each."""
        self.stays.owe_one_answer_each()
        self._prefetches.clear()
        self._ahead.clear_queue()
        self.desired = None

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

    def let_go(self, model: str, now_s: float, why: AgentError | None = None) -> list[Said]:
        """Let one model go, which nobody waits for."""
        said = self._carry(self.stays.release(model, why, now_s))
        return [*said, *self._carry(self.stays.drained((), now_s))]

    def bring_back(self, model: str, now_s: float) -> list[Said]:
        """Have a model again that had to go, if it did not come back by itself."""
        if self.stays.find(model, COMING | {SlotState.READY}) or self.is_draining:
            return []
        return self._begin(model, now_s, askers=0)

    def empty(self, why: AgentError, busy: Collection[str], now_s: float) -> list[Said]:
        """Take nothing new, and let everyone go who is here."""
        self.is_draining = True
        said: list[Said] = []
        for stay in self.stays.all():
            said += self._carry(self.stays.release(stay.model, why, now_s))
        return [*said, *self._carry(self.stays.drained(busy, now_s))]

    # ── inside ────────────────────────────────────────────────────────────────────────

    def _is_too_slow(self, model: str) -> bool:
        took_s = self._guard.took_s(model)
        return took_s is not None and took_s > self.settings.requests.cold_wait_s

    def _begin(self, model: str, now_s: float, *, askers: int) -> list[Said]:
        self._guard.began(self.settings.slots, now_s)
        return self._carry(self.stays.begin(model, now_s, is_load=True, askers=askers))

    def _full(self, model: str) -> list[Said]:
        del self._prefetches[model]
        return [PrefetchModelStatus(model_id=model, status="failed", error="server busy")]

    def _bring(self, model: str, now_s: float) -> list[Said]:
        stay = self.stays.find(model, COMING)
        if stay is not None:
            return []
        return self._carry(self.stays.begin(model, now_s, is_load=False, askers=0))

    def _carry(self, outcomes: Iterable[Outcome]) -> list[Said]:
        said: list[Said] = []
        for outcome in outcomes:
            match outcome:
                case LoadEnded(model, askers, error):
                    said += [_status(model, error)] * askers
                    said += self._prefetched(model, error)
                    said.append(outcome)
                case PrefetchEnded(model, error):
                    if error is None:
                        self._tried.add(model)
                        self._ahead.came(model)
                    else:
                        self._ahead.failed(model)
                    said += self._prefetched(model, error)
                case _:
                    said.append(outcome)
        return said

    def _prefetched(self, model: str, error: AgentError | None) -> list[Said]:
        if self._prefetches.pop(model, None) is None:
            return []
        return [_prefetch_status(model, error=error)]


def _status(model: str, error: AgentError | None) -> LoadModelStatus:
    if error is None:
        return LoadModelStatus(model_id=model, status="succeeded")
    return LoadModelStatus(model_id=model, status="failed", error=error.load_text)


def _prefetch_status(model: str, *, error: AgentError | None) -> PrefetchModelStatus:
    if error is None:
        return PrefetchModelStatus(model_id=model, status="verified")
    return PrefetchModelStatus(model_id=model, status="failed", error=error.load_text)
