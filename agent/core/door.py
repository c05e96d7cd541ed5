"""Refuses loads of models that are not here, cheaply, while nothing moves.

As long as nothing else happens, what a node says to one load more depends on the model's name
alone, so everything else is looked at once a moment. A model that might come in, one that is here
in any state, and a name that may mean something else are left to the node.

The order of the refusals is that of :meth:`.Loads.admits`; a law in the tests holds both together.
"""

from collections.abc import Sequence

from ...config.refusals import PlacementError, SlotsBusy
from ..wire.outbound import LoadModelStatus
from . import placement
from .effects import Send
from .node import Node
from .refused import Refusal


class Door:
    """What is said at the door in one moment.

    Args:
        node: At rest; whoever asks at the door makes sure that it still is.
        now_s: The node's time.
    """

    def __init__(self, node: Node, now_s: float) -> None:
        loads, settings = node.loads, node.settings
        pool, stays = loads.pool, loads.stays.all()
        self._loads = loads
        self._line = node.session.line
        # by its name a model may be an adapter's, the catalog's, or a reason to move
        has_names = any(entry.adapters for entry in settings.models) or settings.catalog.builds
        self._is_manned = (
            node.session.is_online and not has_names and not settings.pools.follow_coordinator
        )
        self._here = frozenset(stay.model for stay in stays)
        self._serves = frozenset(pool.models)
        self._slots = settings.slots.max_model_slots
        self._busy = node.answers.ledger.busy()
        self._is_full = placement.is_full(
            pool=pool,
            stays=stays,
            slots=self._slots,
            busy=self._busy,
            pinned=loads.kept(now_s),
        )

    def refuses(self, line: int, model: str, now_s: float) -> tuple[Sequence[Send], Refusal] | None:
        """The answer to one load, which is counted as refused; ``None``: ask the node."""
        if not self._is_manned or line != self._line or model in self._here:
            return None
        error = self._why(model, now_s)
        if error is None:
            return None
        self._loads.refusals.note(model, error, now_s)
        status = LoadModelStatus(model_id=model, status="failed", error=error.load_text)
        return (Send(line, status),), Refusal(model, error, 1, now_s)

    def _why(self, model: str, now_s: float) -> PlacementError | None:
        if self._loads.is_draining:
            return self._loads.drains.refusal
        if model not in self._serves:
            return placement.outside(model, self._loads.pool)
        if self._is_full:
            return SlotsBusy(model=model, slots=self._slots)
        answer = self._loads.admits(model, self._busy, now_s)
        return answer.error if isinstance(answer, placement.Refuse) else None
