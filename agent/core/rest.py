"""When this node rests: outside its hours, while its owner needs the machine, model by model.

A rest is a drain: what runs is finished, nothing new is taken, and whoever is idle leaves
memory. Who had to go comes back before the next window begins, or when the owner has left. The
wall clock is looked at anew each time, so that one which jumps needs no rule of its own.
"""

from datetime import UTC, datetime, tzinfo

from ...backends.hosts.base import Activity, ThermalState
from ...config.refusals import NodeResting
from ...config.settings import Settings
from .answers import Answers
from .effects import ReadActivity, RefreshInventory
from .loads import Loads, Said
from .owner import NOBODY, Verdict, judge
from .schedule import ALWAYS, FOREVER_S, Moment, Phase, idle_ends, moment
from .slots import COMING, SlotState

SOONEST_S = 0.05
"""Two clocks never tick alike: the next look is no sooner than this."""

PRESENT = COMING | {SlotState.READY}


class Rest:
    """Owner of what the hours and the machine's owner ask for.

    Args:
        settings: What the operator chose.
        loads: The models and the drains.
        answers: The requests.
    """

    def __init__(self, settings: Settings, loads: Loads, answers: Answers) -> None:
        self._loads = loads
        self._answers = answers
        self._settings = settings
        self._zone = _zone_of(settings)
        self._asleep: list[str] = []
        self._turns_s: float | None = None
        self._reads_s: float | None = None
        self.moment: Moment = ALWAYS
        self.verdict: Verdict = NOBODY

    @property
    def deadline_s(self) -> float | None:
        """By when :meth:`look` wants to be called; ``None`` if only an event can help."""
        known = [self._turns_s, self._reads_s, min(self._idle_ends().values(), default=None)]
        return min((at_s for at_s in known if at_s is not None), default=None)

    @property
    def asleep(self) -> tuple[str, ...]:
        """The models that come back when the rest is over."""
        return tuple(self._asleep)

    @property
    def turns_at(self) -> str | None:
        """When the window that is open ends, or the next begins, in local time; ISO 8601."""
        if self.moment.turns_s == FOREVER_S:
            return None
        return datetime.fromtimestamp(self.moment.turns_s, self._zone).isoformat()

    @property
    def code(self) -> str | None:
        """Why it rests, for a program; ``None`` if it does not."""
        if self._loads.drains.has("hours"):
            return "outside_hours"
        return "owner_active" if self._loads.drains.has("owner") else None

    @property
    def cause(self) -> str:
        """The same for a person; empty if it does not rest."""
        match self.code:
            case "outside_hours":
                word = "end" if self.moment.phase is Phase.CLOSING else "begin"
                return f"its serving hours {word} at {self.turns_at or 'another time'}"
            case "owner_active":
                return f"its owner needs the machine: {self.verdict.words}"
            case _:
                return ""

    @property
    def remedy(self) -> str:
        """What helps."""
        table = "[hours]" if self.code == "outside_hours" else "[owner]"
        return f"Wait, or change {table}; SIGHUP has the file read again."

    def chosen(self, settings: Settings) -> None:
        """The operator chose otherwise; what follows is seen at the next look."""
        self._settings, self._zone = settings, _zone_of(settings)
        self.moment, self._turns_s, self._reads_s = ALWAYS, None, None
        if not settings.owner.yield_to:
            self.verdict = NOBODY

    def read(self, activity: Activity, heat: ThermalState | None, now_s: float) -> None:
        """The machine was read; what follows is seen at the next look."""
        if self._settings.owner.yield_to:
            self.verdict = judge(self.verdict, self._settings.owner, activity, heat, now_s)

    def look(self, now_s: float, unix_s: float | None) -> list[Said]:
        """Look at both clocks.

        Args:
            now_s: The node's time.
            unix_s: The wall clock, in seconds since 1970; ``None`` leaves the hours alone.
        """
        said = self._ask(now_s)
        if unix_s is not None:
            self._look_at_the_wall(now_s, unix_s)
        if self._is_free:
            return [*said, *self._wake(now_s), *self._unload_idle(now_s)]
        was_resting, was_held = self._is_resting, self.code is not None
        self._hold(now_s, unix_s)
        if self._is_resting:
            return [*said, *self._let_go(now_s, is_new=not was_resting)]
        if was_held and self.code is None:
            said.append(RefreshInventory())  # bytes that are wanted begin again with a look at them
        return [*said, *self._wake(now_s), *self._unload_idle(now_s)]

    # ── what is so ────────────────────────────────────────────────────────────────────

    def _ask(self, now_s: float) -> list[Said]:
        """Have the machine read, if its owner is to be heeded."""
        owner = self._settings.owner
        if not owner.yield_to:
            self._reads_s = None
            return []
        if self._reads_s is not None and now_s < self._reads_s:
            return []
        self._reads_s = now_s + owner.check_interval_s
        return [ReadActivity(owner.yield_to)]

    def _look_at_the_wall(self, now_s: float, unix_s: float) -> None:
        if self.moment is ALWAYS or not self.moment.span.holds(unix_s):
            self.moment = moment(self._settings.hours, self._zone, unix_s)
        left_s = self.moment.span.ends_s - unix_s
        self._turns_s = None if left_s == FOREVER_S else now_s + max(left_s, SOONEST_S)

    def _hold(self, now_s: float, unix_s: float | None) -> None:
        """Begin and end the drains that stand for a rest."""
        drains, patience_s = self._loads.drains, self._settings.requests.drain_s
        if self.moment.phase is Phase.OPEN:
            drains.end("hours")
        elif not drains.has("hours"):
            is_closing = self.moment.phase is Phase.CLOSING and unix_s is not None
            left_s = self.moment.turns_s - (unix_s or 0.0) if is_closing else 0.0
            cut_s = now_s + left_s + patience_s
            drains.begin("hours", now_s, cut_s=cut_s)
        if not self.verdict.is_owners:
            drains.end("owner")
        elif not drains.has("owner"):
            sign = self.verdict.sign or ""
            drains.begin("owner", now_s, cut_s=now_s + patience_s, sign=sign)

    @property
    def _is_free(self) -> bool:
        """Whether nothing asks for a rest and nothing drains: so it is at nearly every look."""
        is_open = self.moment.phase is Phase.OPEN and not self.verdict.is_owners
        return is_open and not self._loads.drains.is_draining

    @property
    def _is_resting(self) -> bool:
        """Whether models have to leave memory; they may come back while the hours still wake."""
        is_closed = self.moment.phase in {Phase.CLOSING, Phase.CLOSED}
        drains = self._loads.drains
        return (is_closed and drains.has("hours")) or drains.has("owner")

    # ── what follows ──────────────────────────────────────────────────────────────────

    def _let_go(self, now_s: float, *, is_new: bool) -> list[Said]:
        """Nobody stays: who answers goes when it has, and who was here is remembered."""
        why = NodeResting(cause=self.cause)
        said: list[Said] = []
        for stay in self._loads.stays.all():
            if stay.state in PRESENT:
                if stay.is_load and stay.model not in self._asleep:
                    self._asleep.append(stay.model)
                said += self._loads.came(self._loads.stays.release(stay.model, why, now_s))
        busy = self._answers.ledger.busy()
        said += self._loads.came(self._loads.stays.drained(busy, now_s))
        return [*said, *self._answers.turn_away(why)] if is_new else said

    def _wake(self, now_s: float) -> list[Said]:
        """Have those back who had to go, as many as there is room for."""
        drains = self._loads.drains.all()
        if not self._asleep or any(drain.reason not in {"hours", "owner"} for drain in drains):
            return []
        asleep, self._asleep = self._asleep, []
        mine = [m for m in asleep if self._loads.pool.serves(m) and self._settings.entry(m)]
        said: list[Said] = []
        for model in mine[: self._settings.slots.max_model_slots]:
            said += self._loads.bring_back(model, now_s)
        return said

    def _unload_idle(self, now_s: float) -> list[Said]:
        said: list[Said] = []
        for model, ends_s in self._idle_ends().items():
            if ends_s <= now_s:
                said += self._loads.came(self._loads.stays.release(model, None, now_s))
        return [*said, *self._loads.came(self._loads.stays.drained(self._busy, now_s))]

    def _idle_ends(self) -> dict[str, float]:
        """When each idle model leaves; for none while a request may yet turn out to be its own."""
        if self._answers.ledger.is_opening:
            return {}
        return idle_ends(
            self._loads.stays.all(),
            idle_unload_s=self._settings.slots.idle_unload_s,
            busy=self._busy,
            pinned=self._loads.pins.of(self._settings),
        )

    @property
    def _busy(self) -> frozenset[str]:
        return frozenset(self._answers.ledger.busy())


def _zone_of(settings: Settings) -> tzinfo:
    """The clock on the wall; not looked for where no window is told by it."""
    return settings.hours.zone if settings.hours.windows else UTC
