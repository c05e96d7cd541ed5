"""This machine's way from one pool to another.

A move reserves first and lets go last: the assignment changes and is written down, the new
model comes, the old one leaves when its requests are answered, and only then is anything
unsaid to the coordinator. If the new model does not come in time, everything is put back.
"""

from dataclasses import replace

from ...config.errors import AgentError
from ...config.frozen import frozen
from ...config.refusals import ModelNotReady, PlacementError
from ...config.settings import Settings
from . import placement
from .assignment import Assignment, obstacle
from .choice import Choice
from .effects import RefreshInventory
from .loads import Said
from .pool import allowed_of
from .requests import RequestState
from .slots import HOLDS_MEMORY, SlotState
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
    """Owner of the move that is under way.

    Args:
        choice: Which pool holds, of which loads; a move changes it at its beginning, and loses no
            request of its ledger.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._loads = choice.loads
        self.move: Move | None = None
        self.given_up = 0
        self.failure: AgentError | None = None
        self.quiet_s: float | None = None

    def chosen(self, settings: Settings, now_s: float) -> list[Said]:
        """The operator chose otherwise; a move that was under way ends where it is."""
        self.given_up += self.move is not None
        self.move = self.failure = None
        self._loads.drains.end("move")
        said = self.choice.settings_changed(settings, now_s)
        return [*said, *self._loads.repool(settings, self._loads.pool, self.choice.busy, now_s)]

    def asked(self, model: str, now_s: float) -> list[Said]:
        """A ``load_model``: of the pool, or, if the operator follows it, a reason to move."""
        entry = self.choice.settings.entry(model)
        is_allowed = any(one is entry for one in allowed_of(self.choice.settings))
        follows = self.choice.settings.pools.follow_coordinator and not self._loads.pool.serves(
            model
        )
        if entry is None or not follows or not is_allowed or self.obstacle(now_s):
            said = self._loads.asked(model, self.choice.busy, now_s)
            return [*self.choice.taken(model, "load", now_s), *said]
        after = self.choice.assignment.then(self.choice.topology.keys_of(entry), "load", now_s)
        pool = self.choice.pool_under(after)
        refused = self._loads.admits(model, self.choice.busy, now_s, pool)
        if isinstance(refused, placement.Refuse):
            return self._loads.refused(model, refused.error, now_s)
        said = self.begin(after, model, now_s)
        return [*said, *self._loads.asked(model, self.choice.busy, now_s)]

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
            deadline_s = now_s + self.choice.settings.pools.move_deadline_s
        if drains or (self._is_awaited and not now):
            self._loads.drains.begin("move", now_s)
        if self._is_awaited and not now:
            self.move = Move(self.choice.assignment, (), model, deadline_s, after)
            return []
        return self._set_out(after, model, deadline_s, now_s)

    def _set_out(
        self, after: Assignment, model: str | None, deadline_s: float, now_s: float
    ) -> list[Said]:
        before = self.choice.assignment
        said = self.choice.adopt(replace(after, moved_s=now_s), now_s)
        self.move = Move(before, self.outside(), model, deadline_s)
        said += self._loads.expel(self.choice.busy, now_s, is_all=model is None)
        if model is None:
            return said
        said += self._loads.move_in(model, now_s)
        return [*said, *self._finish(now_s)] if self._loads.stays.ready(model) else said

    @property
    def planned(self) -> Assignment:
        """What holds, or is to hold once nobody waits for a model any more."""
        planned = None if self.move is None else self.move.planned
        return planned or self.choice.assignment

    @property
    def _is_awaited(self) -> bool:
        return any(e.state is RequestState.WAITING for e in self.choice.ledger.entries())

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
            pool = self.choice.pool_under(after)
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
        holds = self.choice.assignment
        if is_operator:
            holds = replace(holds, moved_s=None)
        return obstacle(
            holds,
            self.choice.settings,
            stays=self._loads.stays.all(),
            requests=len(self.choice.ledger),
            pinned=self._loads.pins.of(self.choice.settings),
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

    def _finish(self, now_s: float) -> list[Said]:
        self.move, self.quiet_s = None, now_s + QUIET_S
        self._loads.drains.end("move")
        said = self._loads.expel(self.choice.busy, now_s, is_all=True)
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
        again = self.choice.assignment.then(before.scope, before.source, now_s, only=before.only)
        said = self.choice.adopt(again, now_s)
        if not isinstance(error, PlacementError) and move.model is not None:
            error = ModelNotReady(model=move.model, reason="the move failed")
        said += self._loads.expel(self.choice.busy, now_s, is_all=True, why=error)
        for model in move.residents:
            said += self._loads.bring_back(model, now_s)
        return said
