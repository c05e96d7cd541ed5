"""What the operator orders at run time: another pool, a pin, a drain.

Each order is answered by its number, with :class:`~.effects.TellOwner`: once if it is done or
refused at once, or first ``under_way`` and later how it ended. No order kills a request unless
it says so. What is to outlive this process is written down before it is answered.
"""

from collections.abc import Iterable
from dataclasses import replace

from ...config.frozen import frozen
from . import ordered
from .answers import Answers
from .effects import PersistOrders, TellOwner
from .loads import Loads, Said
from .machine import Machine
from .moves import Moves

_FIXED = "the configuration assigns the pool: change pools.assigned there, or take it out"


@frozen
class _Moving:
    """A ``pool set`` whose end is still to be told.

    Attributes:
        given_up: How many moves had failed when this one began.
    """

    ask: int
    pool: str
    given_up: int


class Orders:
    """Carries out what the operator orders.

    Args:
        loads: The models, the pins and the drains.
        answers: The requests.
        moves: The assignment.
        machine: What lies on disk.
    """

    def __init__(self, loads: Loads, answers: Answers, moves: Moves, machine: Machine) -> None:
        self._loads = loads
        self._answers = answers
        self._moves = moves
        self._machine = machine
        self._moving: _Moving | None = None
        self._draining: list[int] = []

    def heard(self, order: ordered.OrderEvent, now_s: float) -> list[Said]:
        """An order came."""
        match order:
            case ordered.PoolSetAsked(ask, pool, now):
                return self._set(ask, pool, now_s, now=now)
            case ordered.PoolReleased(ask):
                return self._release(ask, now_s)
            case ordered.PinAsked(ask, model):
                return self._pin(ask, model)
            case ordered.UnpinAsked(ask, model):
                return self._unpin(ask, model)
            case ordered.DrainAsked(ask, deadline_s):
                return self._drain(ask, deadline_s, now_s)
            case ordered.UndrainAsked(ask):
                return self._undrain(ask)

    def recalled(self, pins: Iterable[str], now_s: float, *, is_drained: bool) -> None:
        """What an earlier run was ordered still holds."""
        self._loads.pins.recalled(pins)
        if is_drained:
            self._loads.drains.begin("operator", now_s)

    def look(self) -> list[Said]:
        """Tell how orders ended, as far as that is known."""
        said: list[Said] = []
        if self._moving is not None and self._moves.move is None:
            moving, self._moving = self._moving, None
            is_done = self._moves.given_up == moving.given_up
            words = f"the pool is '{moving.pool}'" if is_done else self._undone()
            said.append(TellOwner(moving.ask, "done" if is_done else "failed", words))
        if self._draining and not len(self._answers.ledger):
            asks, self._draining = self._draining, []
            said += [TellOwner(ask, "done", "drained: no request is left") for ask in asks]
        return said

    # ── the pool ──────────────────────────────────────────────────────────────────────

    def _set(self, ask: int, pool: str, now_s: float, *, now: bool) -> list[Said]:
        holds = self._moves.choice.assignment
        if not self._moves.choice.is_allowed(pool, ()):
            words = f"no model that is offered and allowed belongs to pool '{pool}'"
            return [TellOwner(ask, "refused", words)]
        preload = self._preload(pool)
        scope = self._moves.choice.chosen_by(pool, pool if preload == pool else None, now_s)
        if self._moves.move is None and tuple(sorted(scope)) == holds.scope and not holds.only:
            after = replace(holds, source=holds.source if self._is_fixed else "operator")
            words = f"the pool is '{pool}' already"
            return [*self._moves.choice.adopt(after, now_s), TellOwner(ask, "done", words)]
        why = self._moves.obstacle(now_s, may_drain=True, is_operator=True)
        if self._is_fixed:
            why = _FIXED
        if why is not None:
            return [TellOwner(ask, "refused", why)]
        return self._move(ask, pool, scope, preload, now_s, now=now)

    def _move(
        self,
        ask: int,
        pool: str,
        scope: tuple[str, ...],
        preload: str | None,
        now_s: float,
        *,
        now: bool,
    ) -> list[Said]:
        running = len(self._answers.ledger)
        after = self._moves.choice.assignment.then(scope, "operator", now_s)
        self._moving = _Moving(ask, pool, self._moves.given_up)
        said = self._moves.begin(after, preload, now_s, drains=running > 0, now=now)
        if now:
            said += self._answers.stop_off(self._loads.pool)
        words = f"{running} request(s) run; they are {'ended' if now else 'finished'} first"
        told = TellOwner(ask, "under_way", words if running else "the machine moves")
        return [*said[:1], told, *said[1:]]

    def _release(self, ask: int, now_s: float) -> list[Said]:
        if self._is_fixed:
            return [TellOwner(ask, "refused", _FIXED)]
        if self._moves.move is not None:
            return [TellOwner(ask, "refused", "a move is under way")]
        said = self._moves.choice.released(now_s)
        holds = self._moves.choice.assignment
        words = f"the pool is {', '.join(holds.scope) or 'none'}, by {holds.source}"
        return [*said, TellOwner(ask, "done", words)]

    def _preload(self, pool: str) -> str | None:
        """The build of a pool that comes first: named, wanted, or the first that lies here."""
        members, stocks = self._moves.choice.members(pool), self._machine.stocks
        here = [m for m in members if m in stocks and stocks[m].state == "here"]
        desired = self._loads.wishes.desired
        rows = desired.models if desired is not None else ()
        wanted = [row.desired_build for row in rows if row.model_name == pool]
        return next((model for model in (pool, *wanted, *here) if model in here), None)

    @property
    def _is_fixed(self) -> bool:
        return self._loads.settings.pools.assigned is not None

    def _undone(self) -> str:
        refusal = self._moves.failure
        return f"undone: {refusal}" if refusal is not None else "the move was undone"

    # ── pins ──────────────────────────────────────────────────────────────────────────

    def _pin(self, ask: int, model: str) -> list[Said]:
        if self._loads.settings.entry(model) is None:
            return [TellOwner(ask, "refused", f"model '{model}' is not offered here")]
        self._loads.pins.add(model)
        is_here = self._loads.stays.ready(model) is not None
        words = "it makes way for no other" if is_here else "it will, once it is in memory"
        return [self._kept(), TellOwner(ask, "done", f"'{model}' is pinned: {words}")]

    def _unpin(self, ask: int, model: str) -> list[Said]:
        if model in self._loads.settings.pinned:
            words = f"'{model}' is pinned by local configuration"
            return [TellOwner(ask, "refused", words)]
        self._loads.pins.remove(model)
        return [self._kept(), TellOwner(ask, "done", f"'{model}' is not pinned")]

    # ── drain ─────────────────────────────────────────────────────────────────────────

    def _drain(self, ask: int, deadline_s: float | None, now_s: float) -> list[Said]:
        cut_s = None if deadline_s is None else now_s + deadline_s
        self._loads.drains.begin("operator", now_s, cut_s=cut_s)
        self._draining.append(ask)
        running = len(self._answers.ledger)
        words = f"{running} request(s) run and are finished; nothing new is taken"
        return [self._kept(), TellOwner(ask, "under_way", words)]

    def _undrain(self, ask: int) -> list[Said]:
        self._loads.drains.end("operator")
        asks, self._draining = self._draining, []
        said: list[Said] = [TellOwner(each, "failed", "undrained meanwhile") for each in asks]
        left = self._loads.drains.first
        words = "work is taken again" if left is None else f"but nothing is taken: {left.words}"
        return [self._kept(), *said, TellOwner(ask, "done", words)]

    def _kept(self) -> PersistOrders:
        return PersistOrders(self._loads.pins.added, self._loads.drains.has("operator"))
