"""A request's way through the node: admitted, perhaps waiting for its model, ended once.

The body travels sealed and is opened by the relay; here only its id, its model and its
longest answer are known. Everything is said on the line the request came on; a program on this
machine, which is on none, is told by itself.
"""

from collections.abc import Mapping

from ...backends.stores.base import Stock
from ...config.errors import AgentError
from ...config.refusals import (
    ModelNotReady,
    NodeDraining,
    Overloaded,
    PlacementError,
    RequestCancelled,
    RequestUnreadable,
)
from ..wire.inbound import InferenceRequest
from ..wire.outbound import InferenceAccepted, Outbound
from .effects import (
    CancelGeneration,
    Effect,
    EndLocal,
    ForgetRequest,
    OpenRequest,
    Send,
    StartGeneration,
)
from .events import GenerationEnded, RequestOpened
from .loads import NO_STOCKS, Loads, Said
from .placement import outside
from .pool import Pool
from .request_key import LOCAL, RequestKey
from .requests import Entry, Ledger, RequestState
from .stays import LoadEnded


class Answers:
    """Every request of every line; owner of the ledger."""

    def __init__(self, loads: Loads) -> None:
        self._loads = loads
        self.ledger = Ledger()

    def heard(self, line: int, request: InferenceRequest, now_s: float) -> list[Said]:
        """A request came: refuse it at once if that can be told from outside."""
        key = RequestKey(line, request.request_id)
        if self.ledger.entry(key) is not None:
            return []
        if self._loads.is_draining:
            return [self._refuse(key, self._loads.drains.refusal)]
        if request.has_plain_body:
            return [self._refuse(key, RequestUnreadable(reason="the body is not sealed"))]
        if request.encrypted_body is None:
            return [self._refuse(key, RequestUnreadable(reason="there is no sealed body"))]
        if full := self._full():
            return [self._refuse(key, full)]
        self.ledger.heard(key, now_s)
        return [OpenRequest(key, request)]

    def _full(self) -> AgentError | None:
        """Why not one more, if so."""
        most = self._loads.settings.requests.max_concurrent
        return Overloaded(running=len(self.ledger), most=most) if len(self.ledger) >= most else None

    def opened(
        self, opened: RequestOpened, now_s: float, stocks: Mapping[str, Stock] = NO_STOCKS
    ) -> list[Said]:
        """A request is readable: accept it, with its model here or on the way, or refuse it.

        Args:
            opened: What was read.
            now_s: The node's time.
            stocks: What lies on disk.
        """
        key = opened.request
        if key.line == LOCAL:
            # nobody had to open it, so it is heard and readable in one
            full = self._loads.drains.refusal if self._loads.is_draining else self._full()
            if full is not None:
                return [ForgetRequest(key), self._refuse(key, full)]
            self.ledger.heard(key, now_s)
        entry = self.ledger.entry(key)
        if entry is None:
            return [ForgetRequest(key)]
        if entry.state is not RequestState.OPENING:
            return []
        longest = opened.max_tokens or self._loads.settings.requests.default_max_tokens
        accepted = _accepted(key)
        if self._loads.pool.serves(opened.model) and self._loads.stays.ready(opened.model):
            entry = self.ledger.move(
                key, RequestState.RUNNING, model=opened.model, max_tokens=longest
            )
            return [*accepted, _start(entry)]
        came = self._loads.needed(opened.model, self.ledger.busy(), now_s, stocks)
        if isinstance(came, AgentError):
            return [ForgetRequest(key), self._refuse(key, came)]
        self.ledger.move(key, RequestState.WAITING, model=opened.model, max_tokens=longest)
        return [*accepted, *came]

    def unreadable(self, key: RequestKey, error: AgentError) -> list[Said]:
        """A request cannot be opened."""
        entry = self.ledger.entry(key)
        is_mine = entry is not None and entry.state is RequestState.OPENING
        return [self._refuse(key, error)] if is_mine else []

    def cancelled(self, key: RequestKey) -> list[Said]:
        """The coordinator wants no answer any more; most of these come after the end."""
        entry = self.ledger.entry(key)
        if entry is None:
            return []
        self.ledger.count("cancellations_received", line=key.line)
        return self._stop(entry, RequestCancelled())

    def withdrawn(self, key: RequestKey) -> list[Said]:
        """A program on this machine has gone, or hung up."""
        entry = self.ledger.entry(key)
        return [] if entry is None else self._stop(entry, RequestCancelled())

    def ended(self, ended: GenerationEnded, now_s: float) -> list[Said]:
        """An answer is over: say so, once."""
        entry = self.ledger.entry(ended.request)
        message = self.ledger.end(ended)
        if entry is None or message is None:
            return []
        self._loads.stays.used(entry.model, now_s)
        said: Effect = Send(ended.request.line, message)
        if ended.request.line == LOCAL:
            why = entry.why or RequestCancelled()
            is_whole = ended.outcome == "complete"
            said = EndLocal(ended.request, None if is_whole else ended.error or why)
        return [said, *self._drained(now_s)]

    def loaded(self, ended: LoadEnded) -> list[Said]:
        """A load is over: start those who waited for it, or send them elsewhere."""
        waiting = self.ledger.of(ended.model, RequestState.WAITING)
        if ended.error is None:
            return [_start(self.ledger.move(e.key, RequestState.RUNNING)) for e in waiting]
        said: list[Said] = []
        for entry in waiting:
            error = ended.error
            if not isinstance(error, PlacementError):
                # these words also keep the coordinator from asking again at once
                error = ModelNotReady(model=ended.model, reason=f"model load failed: {error.code}")
            said += [ForgetRequest(entry.key), self._refuse(entry.key, error)]
        return said

    def line_lost(self, line: int, now_s: float) -> list[Said]:
        """Nobody can be answered on that line any more: stop working for it."""
        mine = [entry for entry in self.ledger.entries() if LOCAL < entry.key.line <= line]
        running = [entry for entry in mine if entry.state is RequestState.RUNNING]
        idle = [entry for entry in mine if entry not in running]
        said: list[Said] = []
        for entry in running:
            self.ledger.move(entry.key, RequestState.ENDING)
            said.append(CancelGeneration(entry.key))
        said += [
            ForgetRequest(entry.key) for entry in idle if entry.state is not RequestState.ENDING
        ]
        self.ledger.forget(e.key for e in idle if e.state is not RequestState.ENDING)
        return [*said, *self._drained(now_s)]

    def turn_away(self, why: AgentError) -> list[Said]:
        """Send everyone elsewhere whose answer has not begun."""
        entries = [e for e in self.ledger.entries() if e.state in _NOT_BEGUN]
        return [effect for entry in entries for effect in self._stop(entry, why)]

    def stop_off(self, pool: Pool) -> list[Said]:
        """End every answer that a pool does not serve, now, with words that have it asked again."""
        entries = [e for e in self.ledger.entries() if e.model and not pool.serves(e.model)]
        return [effect for e in entries for effect in self._stop(e, outside(e.model, pool))]

    def stop_all(self) -> list[Said]:
        """End every answer now; of whom nothing was said yet may be asked elsewhere."""
        drains = self._loads.drains
        why = drains.refusal if drains.is_draining else NodeDraining()
        return [effect for e in self.ledger.entries() for effect in self._stop(e, why)]

    def _stop(self, entry: Entry, why: AgentError) -> list[Said]:
        if entry.state is RequestState.ENDING:
            return []
        if entry.state is RequestState.RUNNING:
            self.ledger.move(entry.key, RequestState.ENDING, why=why)
            return [CancelGeneration(entry.key)]
        if isinstance(why, RequestCancelled):
            self.ledger.count("cancellations_before_output", line=entry.key.line)
            if entry.state is RequestState.WAITING:
                self.ledger.count("cancel_during_model_load", line=entry.key.line)
        return [ForgetRequest(entry.key), self._refuse(entry.key, why)]

    def _refuse(self, key: RequestKey, error: AgentError) -> Effect:
        message: Outbound = self.ledger.refuse(key, error)
        return EndLocal(key, error) if key.line == LOCAL else Send(key.line, message)

    def _drained(self, now_s: float) -> list[Said]:
        return self._loads.came(self._loads.stays.drained(self.ledger.busy(), now_s))


_NOT_BEGUN = frozenset({RequestState.OPENING, RequestState.WAITING})


def _accepted(key: RequestKey) -> list[Said]:
    return [] if key.line == LOCAL else [Send(key.line, InferenceAccepted(request_id=key.id))]


def _start(entry: Entry) -> Effect:
    return StartGeneration(entry.key, entry.model, entry.max_tokens)
