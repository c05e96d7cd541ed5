"""What a coordinator may command beyond the protocol: only what local policy allows anyway.

Every command is answered on the line it came on, and nothing is sent that was not asked for.
Repetitions change nothing, old epochs are told the current one, and no command ends an answer,
save a drain's own deadline.
"""

from datetime import datetime

from ...config.errors import AgentError
from ...config.frozen import frozen
from ...config.refusals import RequestCancelled
from ...config.settings import Settings
from ..wire.extensions import (
    AssignPool,
    AssignPoolStatus,
    CancelLoad,
    CancelLoadStatus,
    Command,
    Drain,
    DrainStatus,
    Undrain,
    UnloadModel,
    UnloadModelStatus,
)
from .answers import Answers
from .assignment import MOST_EPOCH, Assignment
from .effects import Send
from .loads import Loads, Said
from .moves import Moves
from .requests import RequestState
from .slots import COMING, HOLDS_MEMORY


@frozen
class _Asked:
    """An ``assign_pool`` whose last answer is still owed.

    Attributes:
        given_up: How many moves had failed when this one began.
    """

    line: int
    wish: AssignPool
    given_up: int


class Commands:
    """Answers the extension messages.

    Args:
        settings: What the operator chose.
        loads: The models.
        answers: The requests.
        moves: The assignment.
    """

    def __init__(self, settings: Settings, loads: Loads, answers: Answers, moves: Moves) -> None:
        self.settings = settings
        self._loads = loads
        self._answers = answers
        self._moves = moves
        self._asked: _Asked | None = None
        self._unloads: list[tuple[int, str]] = []
        self._drain: int | None = None
        self._has_drained = False

    def heard(self, line: int, command: Command, now_s: float, unix_s: float) -> list[Said]:
        """A command came."""
        match command:
            case AssignPool():
                return self._assign(line, command, now_s, unix_s)
            case UnloadModel(model_id=model):
                return self._unload(line, model, now_s)
            case CancelLoad(model_id=model):
                return self._cancel(line, model, now_s)
            case Drain(deadline_s=deadline_s):
                return self._begin_drain(line, deadline_s, now_s)
            case Undrain():
                return self._end_drain(line)

    def look(self) -> list[Said]:
        """Tell what has become of commands, as far as it is known."""
        said: list[Said] = []
        if self._unloads:
            here = {s.model for s in self._loads.stays.all() if s.state in HOLDS_MEMORY}
            for line, model in [each for each in self._unloads if each[1] not in here]:
                self._unloads.remove((line, model))
                said.append(Send(line, UnloadModelStatus(model_id=model, status="unloaded")))
        if self._asked is not None and self._moves.move is None:
            asked, self._asked = self._asked, None
            is_applied = self._moves.given_up == asked.given_up
            why = None if is_applied else "the move was undone"
            word = "applied" if is_applied else "failed"
            said.append(self._told(asked.line, asked.wish, word, why))
        if self._drain is not None and not self._has_drained and not len(self._answers.ledger):
            self._has_drained = True
            said.append(Send(self._drain, DrainStatus(status="drained", in_flight=0)))
        return said

    def line_lost(self) -> None:
        """Nobody is there to be answered; a drain ends with the line it came on."""
        self._asked, self._unloads = None, []
        if self._drain is not None:
            self._drain = None
            self._loads.drains.end("coordinator")

    def leaving(self) -> None:
        """The node leaves for good: a drain is no longer the coordinator's to end."""
        self._drain = None
        self._loads.drains.end("coordinator")

    # ── assign_pool ───────────────────────────────────────────────────────────────────

    def _assign(self, line: int, wish: AssignPool, now_s: float, unix_s: float) -> list[Said]:
        holds = self._moves.planned
        if wish.epoch == holds.epoch and self._is_same(wish, holds):
            is_moving = self._moves.move is not None
            self._asked = _Asked(line, wish, self._moves.given_up) if is_moving else None
            return [self._told(line, wish, "draining" if is_moving else "applied")]
        why, left_s = self._objection(wish, holds, now_s, unix_s)
        if why is not None:
            return [self._told(line, wish, "refused", why)]
        was_busy = len(self._answers.ledger) > 0
        chosen = self._moves.choice.chosen_by(wish.pool, wish.preload, now_s)
        after = holds.then(chosen, "message", now_s, epoch=wish.epoch, only=wish.models)
        if self._is_at_home(wish, holds):
            return [*self._moves.choice.adopt(after, now_s), self._told(line, wish, "applied")]
        said = self._moves.begin(after, wish.preload, now_s, deadline_s=now_s + left_s)
        self._asked = _Asked(line, wish, self._moves.given_up)
        draining = [self._told(line, wish, "draining")] if was_busy else []
        return [*said[:1], *draining, *said[1:]]

    def _is_same(self, wish: AssignPool, holds: Assignment) -> bool:
        return (wish.pool == holds.pool or wish.pool is None) and wish.models == holds.only

    def _objection(
        self, wish: AssignPool, holds: Assignment, now_s: float, unix_s: float
    ) -> tuple[str | None, float]:
        """Why not, if not; and the seconds that it may take."""
        left_s = self.settings.pools.move_deadline_s
        if wish.expires_at is not None:
            ends_s = _unix_s(wish.expires_at)
            if ends_s is None or ends_s <= unix_s:
                return "expired, or no date", 0.0
            left_s = min(left_s, ends_s - unix_s)
        if wish.epoch == holds.epoch:
            return "epoch conflict", left_s
        if not holds.epoch < wish.epoch <= MOST_EPOCH:
            return "stale epoch", left_s
        if wish.pool is not None and not self._moves.choice.is_allowed(wish.pool, wish.models):
            return f"pool '{wish.pool}' not allowed by local policy", left_s
        is_odd = wish.preload is not None and not (
            wish.pool is not None
            and self._moves.choice.is_allowed(wish.pool, (wish.preload,))
            and wish.preload in (wish.models or (wish.preload,))
        )
        if is_odd:
            return "preload is not of this pool", left_s
        if self._is_at_home(wish, holds):
            return None, left_s
        return self._moves.obstacle(now_s, may_drain=True), left_s

    def _is_at_home(self, wish: AssignPool, holds: Assignment) -> bool:
        """Whether nothing but the epoch would change."""
        is_same = wish.pool is not None and self._is_same(wish, holds)
        return is_same and wish.preload is None and self._moves.move is None

    def _told(self, line: int, wish: AssignPool, status: str, why: str | None = None) -> Send:
        epoch, assigned = self._moves.planned.epoch, self._moves.choice.assignment.pool
        fields = {"pool": wish.pool, "epoch": epoch, "status": status}
        told = {**fields, "error": why, "assigned": assigned}
        return Send(line, AssignPoolStatus.model_validate(told))

    # ── one model ─────────────────────────────────────────────────────────────────────

    def _unload(self, line: int, model: str, now_s: float) -> list[Said]:
        def told(status: str, why: str | None = None) -> Send:
            fields = {"model_id": model, "status": status, "error": why}
            return Send(line, UnloadModelStatus.model_validate(fields))

        is_awaited = any(entry.model == model for entry in self._answers.ledger.entries())
        if self._loads.stays.find(model, HOLDS_MEMORY) is None:
            return [told("unloaded")]
        if model in self._loads.pins.of(self.settings):
            return [told("refused", "the model is pinned by local policy")]
        if is_awaited or self._loads.stays.find(model, COMING) is not None:
            return [told("refused", "the model is loading or answering")]
        self._unloads.append((line, model))
        return [told("unloading"), *self._loads.let_go(model, self._busy, now_s)]

    def _cancel(self, line: int, model: str, now_s: float) -> list[Said]:
        def told(status: str, why: str | None = None) -> Send:
            fields = {"model_id": model, "status": status, "error": why}
            return Send(line, CancelLoadStatus.model_validate(fields))

        stay = self._loads.stays.find(model, COMING)
        if stay is None or not stay.is_load:
            return [told("not_loading")]
        if self._answers.ledger.of(model, RequestState.WAITING):
            return [told("refused", "requests wait for the model")]
        error: AgentError = RequestCancelled()
        return [told("cancelled"), *self._loads.let_go(model, self._busy, now_s, error)]

    @property
    def _busy(self) -> frozenset[str]:
        return self._answers.ledger.busy()

    # ── drain ─────────────────────────────────────────────────────────────────────────

    def _begin_drain(self, line: int, deadline_s: float | None, now_s: float) -> list[Said]:
        running = len(self._answers.ledger)
        if self._loads.is_draining and self._drain is None:
            return [Send(line, DrainStatus(status="refused", in_flight=running))]
        cut_s = None if deadline_s is None else now_s + deadline_s
        self._loads.drains.begin("coordinator", now_s, cut_s=cut_s)
        self._drain, self._has_drained = line, False
        return [Send(line, DrainStatus(status="draining", in_flight=running))]

    def _end_drain(self, line: int) -> list[Said]:
        running = len(self._answers.ledger)
        if self._loads.is_draining and self._drain is None:
            return [Send(line, DrainStatus(status="refused", in_flight=running))]
        self._loads.drains.end("coordinator")
        self._drain = None
        word = "refused" if self._loads.is_draining else "undrained"
        return [Send(line, DrainStatus(status=word, in_flight=running))]


def _unix_s(text: str) -> float | None:
    """A date of RFC 3339 as seconds since 1970; ``None`` if it is none, or has no zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else at.timestamp()
