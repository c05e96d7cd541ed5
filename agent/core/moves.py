"""This machine's way from one pool to another, and the assignment that stands at its end.

A move reserves first and lets go last: the assignment changes and is written down, the new
model comes, the old one leaves when its requests are answered, and only then is anything
unsaid to the coordinator. If the new model does not come in time, everything is put back.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from ...backends.stores.base import Stock
from ...config.errors import AgentError
from ...config.frozen import frozen
from ...config.refusals import ModelNotReady, PlacementError
from ...config.settings import Settings
from ..wire.inbound import DesiredModels
from . import placement
from .admission import ceiling_bytes
from .assignment import Assignment, Source, obstacle, seed
from .effects import PersistAssignment, RefreshInventory
from .loads import Loads, Said
from .pool import Topology, allowed_of, candidates, digest_of, pool_for
from .requests import Ledger, RequestState
from .slots import COMING, HOLDS_MEMORY, SlotState, most_used_first
from .stays import LoadEnded

QUIET_S = 1.0
"""After a move the line is left alone for so long: what waited for the model comes now."""


@frozen
class Move:
    """A move that is under way.

    Attributes:
        before: What held, and holds again if the move fails.
        residents: Models that were in memory and are outside the new pool.
        model: The model that the machine moves for; ``None`` if it only makes room.
        deadline_s: When it is given up, in the node's time.
        planned: What is to hold once nobody waits for a model any more; ``None``: it holds.
    """

    before: Assignment
    residents: tuple[str, ...]
    model: str | None
    deadline_s: float
    planned: Assignment | None = None


class Moves:
    """Owner of the assignment and of what is known of aliases.

    Args:
        settings: What the operator chose.
        loads: Whose pool this is.
        ledger: The requests that a move must not lose.
        machine_id: A random value that stays with the machine.
    """

    def __init__(
        self, settings: Settings, loads: Loads, ledger: Ledger, *, machine_id: str
    ) -> None:
        self._settings = settings
        self._loads = loads
        self._ledger = ledger
        self._machine_id = machine_id
        self._too_large: frozenset[str] = frozenset()
        self.topology = Topology()
        self.move: Move | None = None
        self.given_up = 0
        self.failure: AgentError | None = None
        self.quiet_s: float | None = None
        self.assignment = seed(settings, self._names(), machine_id=machine_id)
        self._repool()

    # ── what chooses ──────────────────────────────────────────────────────────────────

    def recalled(self, read: Assignment | None, now_s: float) -> list[Said]:
        """The state file was read: what it says holds, if it still can."""
        if read is not None:
            moved_s = None if read.moved_s is None else now_s + read.moved_s
            kept = replace(read, source="persisted", since_s=now_s + read.since_s, moved_s=moved_s)
            self.assignment = seed(
                self._settings, self._names(), machine_id=self._machine_id, kept=kept, now_s=now_s
            )
        else:
            self.assignment = replace(self.assignment, since_s=now_s)
        return self._assign(self.assignment, now_s)

    def chosen(self, settings: Settings, now_s: float) -> list[Said]:
        """The operator chose otherwise; a move that was under way ends where it is."""
        self.given_up += self.move is not None
        self._settings, self.move, self.failure = settings, None, None
        self._loads.drains.end("move")
        after = self._seeded(now_s)
        changed = after != self.assignment
        said = self._assign(after, now_s) if changed else []
        self._repool()
        return [*said, *self._loads.repool(settings, self._loads.pool, self._busy, now_s)]

    def sized(self, stocks: Iterable[Stock], total_bytes: int | None, now_s: float) -> list[Said]:
        """Sizes are known: a pool that this machine cannot hold is not chosen by chance."""
        if total_bytes is None:
            return []
        most = ceiling_bytes(total_bytes)
        self._too_large = frozenset(s.model for s in stocks if (s.size_bytes or 0) > most)
        names = self._names()
        fits = {key for keys in names.values() for key in keys}
        is_chance = self.assignment.source in {"sole", "hash"}
        if not is_chance or not fits or fits & {*self.assignment.scope} or self.obstacle(now_s):
            return []
        kept = replace(self.assignment, scope=())
        after = seed(self._settings, names, machine_id=self._machine_id, kept=kept, now_s=now_s)
        return [*self._assign(after, now_s), RefreshInventory(self._loads.pool.models)]

    def desired(
        self, said: DesiredModels, before: DesiredModels | None, now_s: float
    ) -> list[Said]:
        """A coordinator told which builds stand behind its aliases.

        Whatever is in memory keeps its place: if the assigned alias is gone, the pool falls back
        to the keys that are left of what is here; if several were left, a statement that names
        one of them decides.
        """
        fell = self._redrawn(self.topology.after(said, before, self._settings), now_s)
        if fell:
            return fell
        named = {model.model_name for model in said.models}
        if len(named & {*self.assignment.scope}) == 1:
            return self._narrow(named, "desired", now_s)
        return []

    def listed(self, aliases: Mapping[str, Collection[str]] | None, now_s: float) -> list[Said]:
        """A public catalog told which builds stand behind its aliases, retired ones too."""
        return [] if aliases is None else self._redrawn(self.topology.listed(aliases), now_s)

    def taken(self, model: str, source: Source, now_s: float) -> list[Said]:
        """A load or a request was taken on: it chooses, or narrows, what nobody chose."""
        stay = self._loads.stays.find(model, COMING | {SlotState.READY})
        entry = self._settings.entry(model)
        if entry is None or stay is None or not stay.is_load:
            return []
        keys = self.topology.keys_of(entry)
        if self.assignment.scope:
            said = self._narrow({*keys, model}, source, now_s)
        else:
            said = self._assign(self.assignment.then(keys, source, now_s), now_s)
        return [*said, *self._loads.expel(self._busy, now_s, is_all=False)] if said else []

    # ── moving ────────────────────────────────────────────────────────────────────────

    def asked(self, model: str, now_s: float) -> list[Said]:
        """A ``load_model``: of the pool, or, if the operator follows it, a reason to move."""
        entry = self._settings.entry(model)
        is_allowed = any(one is entry for one in allowed_of(self._settings))
        follows = self._settings.pools.follow_coordinator and not self._loads.pool.serves(model)
        if entry is None or not follows or not is_allowed or self.obstacle(now_s):
            said = self._loads.asked(model, self._busy, now_s)
            return [*self.taken(model, "load", now_s), *said]
        after = self.assignment.then(self.topology.keys_of(entry), "load", now_s)
        refused = self._loads.admits(
            model, self._busy, now_s, pool_for(after, self._settings, self.topology)
        )
        if isinstance(refused, placement.Refuse):
            return self._loads.refused(model, refused.error, now_s)
        said = self.begin(after, model, now_s)
        return [*said, *self._loads.asked(model, self._busy, now_s)]

    def begin(
        self,
        after: Assignment,
        model: str | None,
        now_s: float,
        *,
        deadline_s: float | None = None,
        drains: bool = False,
        now: bool = False,
    ) -> list[Said]:
        """Set out for another pool; whoever begins has asked :func:`.assignment.obstacle`.

        Requests that were accepted and wait for a model are served first: until the last of
        them runs, nothing new is taken and nothing else changes.

        Args:
            after: What is to hold.
            model: The model that the machine moves for; ``None`` if it only makes room.
            now_s: The node's time.
            deadline_s: When the move is given up; ``None``: after ``pools.move_deadline_s``.
            drains: Whether nothing at all is taken until the move is over.
            now: Whether those who wait are sent elsewhere instead.
        """
        if deadline_s is None:
            deadline_s = now_s + self._settings.pools.move_deadline_s
        if drains or (self._is_awaited and not now):
            self._loads.drains.begin("move", now_s)
        if self._is_awaited and not now:
            self.move = Move(self.assignment, (), model, deadline_s, after)
            return []
        return self._set_out(after, model, deadline_s, now_s)

    def _set_out(
        self, after: Assignment, model: str | None, deadline_s: float, now_s: float
    ) -> list[Said]:
        before = self.assignment
        said = self._assign(replace(after, moved_s=now_s), now_s)
        self.move = Move(before, self.outside(), model, deadline_s)
        said += self._loads.expel(self._busy, now_s, is_all=model is None)
        if model is None:
            return said
        said += self._loads.move_in(model, now_s)
        return [*said, *self._finish(now_s)] if self._loads.stays.ready(model) else said

    @property
    def planned(self) -> Assignment:
        """What holds, or is to hold once nobody waits for a model any more."""
        planned = None if self.move is None else self.move.planned
        return planned or self.assignment

    @property
    def _is_awaited(self) -> bool:
        return any(e.state is RequestState.WAITING for e in self._ledger.entries())

    def adopt(self, after: Assignment, now_s: float) -> list[Said]:
        """Take a new epoch for the pool that is served anyway."""
        return self._assign(after, now_s)

    def is_allowed(self, pool: str, models: Iterable[str]) -> bool:
        """Whether local policy lets this machine serve these builds of a pool, or any of it."""
        members = {*self.members(pool)}
        return bool(members) and members.issuperset(models)

    def members(self, pool: str) -> tuple[str, ...]:
        """The builds that are offered, allowed and of a pool, in the config's order."""
        names = candidates(self._settings, self.topology)
        return tuple(name for name, keys in names.items() if pool == name or pool in keys)

    def released(self, now_s: float) -> list[Said]:
        """The operator takes his choice back: what is in memory decides, or else chance."""
        self.assignment = replace(self.assignment, scope=(), only=())
        said = self._assign(self._seeded(now_s), now_s)
        return [*said, *self._loads.repool(self._settings, self._loads.pool, self._busy, now_s)]

    def chosen_by(self, pool: str | None, model: str | None, now_s: float) -> tuple[str, ...]:
        """The keys that a wish means; without one, those that this machine would choose."""
        if pool is not None:
            return (
                tuple(self.topology.keys_of(entry))
                if pool == model and (entry := self._settings.entry(pool)) is not None
                else (pool,)
            )
        kept = replace(self.assignment, scope=())
        here = self._here()
        return seed(
            self._settings,
            self._names(),
            machine_id=self._machine_id,
            kept=kept,
            here=here,
            now_s=now_s,
        ).scope

    def look(self, now_s: float) -> list[Said]:
        """Go on with a move as far as things are."""
        if self.quiet_s is not None and now_s >= self.quiet_s:
            self.quiet_s = None
        if self.move is None:
            return []
        if now_s >= self.move.deadline_s:
            model = self.move.model or self._loads.pool.name
            return self._undo(ModelNotReady(model=model, reason="the move took too long"), now_s)
        if self.move.planned is not None:
            after, model, end_s = self.move.planned, self.move.model, self.move.deadline_s
            pool = pool_for(after, self._settings, self.topology)
            if (kept := self._loads.pinned_outside(pool)) is not None:  # pinned since
                return self._undo(ModelNotReady(model=kept, reason="it is pinned"), now_s)
            return [] if self._is_awaited else self._set_out(after, model, end_s, now_s)
        here = {s.model for s in self._loads.stays.all() if s.state in HOLDS_MEMORY}
        is_clear = not here - {*self._loads.pool.models}
        return self._finish(now_s) if self.move.model is None and is_clear else []

    def load_ended(self, ended: LoadEnded, now_s: float) -> list[Said]:
        """A load is over; perhaps the one that the machine moved for."""
        said = self._loads.ended(ended, now_s)
        move = self.move
        if move is None or move.planned is not None or ended.model != move.model:
            return said
        after = self._finish(now_s) if ended.error is None else self._undo(ended.error, now_s)
        return [*said, *after]

    def obstacle(
        self, now_s: float, *, may_drain: bool = False, is_operator: bool = False
    ) -> str | None:
        """What keeps this machine from moving now, for those who look.

        Args:
            now_s: The node's time.
            may_drain: Whether what runs may be waited for.
            is_operator: Whether its operator asks: he waits neither for the end of a drain nor
                for the least time between two moves.
        """
        drains = self._loads.drains
        if self.move is not None:
            return "a move is under way"
        holds = replace(self.assignment, moved_s=None) if is_operator else self.assignment
        return obstacle(
            holds,
            self._settings,
            stays=self._loads.stays.all(),
            requests=len(self._ledger),
            pinned=self._loads.pins.of(self._settings),
            is_draining=drains.has("leaving") if is_operator else drains.is_draining,
            now_s=now_s,
            may_drain=may_drain,
        )

    @property
    def deadline_s(self) -> float | None:
        """By when :meth:`look` wants to be called; ``None`` if only an event can help."""
        if self.move is not None:
            return self.move.deadline_s
        return self.quiet_s

    def outside(self) -> tuple[str, ...]:
        """Models that answer, or could, and are outside the pool."""
        stays = self._loads.stays.all()
        ready = [s.model for s in stays if s.state in {SlotState.READY, SlotState.DRAINING}]
        return tuple(model for model in ready if not self._loads.pool.serves(model))

    # ── inside ────────────────────────────────────────────────────────────────────────

    @property
    def _busy(self) -> frozenset[str]:
        return self._ledger.busy()

    def _names(self) -> dict[str, frozenset[str]]:
        return dict(candidates(self._settings, self.topology, too_large=self._too_large))

    def _here(self) -> list[str]:
        return most_used_first(self._loads.stays.all(), self._busy)

    def _seeded(self, now_s: float) -> Assignment:
        return seed(
            self._settings,
            self._names(),
            machine_id=self._machine_id,
            kept=self.assignment,
            here=self._here(),
            now_s=now_s,
        )

    def _redrawn(self, topology: Topology, now_s: float) -> list[Said]:
        """Builds belong together otherwise: an assigned alias that is gone falls back."""
        if topology == self.topology:
            return []
        members, self.topology = self._loads.pool.models, topology
        names, scope = self._names(), {*self.assignment.scope}
        known = {key for keys in names.values() for key in keys} | names.keys()
        if scope and not scope & known:
            here = [m for m in (*self._here(), *members) if m in names]
            after = self.assignment.then(names[here[0]], "resident", now_s) if here else None
            return self._assign(after or self._seeded(now_s), now_s)
        self._repool()
        return []

    def _narrow(self, keys: Iterable[str], source: Source, now_s: float) -> list[Said]:
        after = self.assignment.narrowed(keys, source, now_s)
        return [] if after is self.assignment else self._assign(after, now_s)

    def _assign(self, after: Assignment, now_s: float) -> list[Said]:
        self.assignment = after
        self._repool()
        return [PersistAssignment(after, now_s, digest_of(self._names()))]

    def _repool(self) -> None:
        self._loads.pool = pool_for(self.assignment, self._settings, self.topology)

    def _finish(self, now_s: float) -> list[Said]:
        self.move, self.quiet_s = None, now_s + QUIET_S
        self._loads.drains.end("move")
        said = self._loads.expel(self._busy, now_s, is_all=True)
        return [*said, RefreshInventory(self._loads.pool.models)]

    def _undo(self, error: AgentError, now_s: float) -> list[Said]:
        """Put everything back: what held holds again, under a new epoch."""
        move, self.move = self.move, None
        if move is None:
            return []
        self.given_up, self.failure = self.given_up + 1, error
        self._loads.drains.end("move")
        if move.planned is not None:
            return []
        before = move.before
        again = self.assignment.then(before.scope, before.source, now_s, only=before.only)
        said = self._assign(again, now_s)
        if not isinstance(error, PlacementError) and move.model is not None:
            error = ModelNotReady(model=move.model, reason="the move failed")
        said += self._loads.expel(self._busy, now_s, is_all=True, why=error)
        for model in move.residents:
            said += self._loads.bring_back(model, now_s)
        return said
