"""The same refusal again: what was refused is refused once more while nothing else happens.

A storm of loads is a thousand questions in which nothing changes from one to the next. Within one
moment, that is at one reading of both clocks and as long as nothing else is heard of, a load that
was refused is refused with the same words: the first asking of each name is decided by the node,
the others are counted. The first event of a moment is never kept: what both clocks demand is done
after it, and may change what is said to the second.
"""

from collections.abc import Sequence

from ..wire.inbound import LoadModel
from ..wire.outbound import LoadModelStatus
from .effects import Effect, Send
from .events import Event, Heard
from .node import Node
from .refused import Refusal

Moment = tuple[float, float | None]
"""The node's time, and the wall clock."""


class Again:
    """A node that is asked the same thing many times in one moment.

    Args:
        node: Decides; nobody else tells it anything.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._moment: Moment | None = None
        self._kept: dict[tuple[int, str], tuple[Sequence[Effect], Refusal]] = {}

    def handle(self, event: Event, now_s: float, unix_s: float | None = None) -> Sequence[Effect]:
        """Take one event in, as :meth:`.Node.handle` does, which is asked if anything is new."""
        asked = event.message if isinstance(event, Heard) else None
        if not isinstance(event, Heard) or not isinstance(asked, LoadModel):
            self._moment = now_s, unix_s
            self._kept.clear()
            return self._node.handle(event, now_s, unix_s)
        refusals, moment = self._node.loads.refusals, (now_s, unix_s)
        is_new, self._moment = moment != self._moment, moment
        if is_new:
            self._kept.clear()
        elif (found := self._kept.get((event.line, asked.model_id))) is not None:
            effects, refusal = found
            refusals.note(refusal.model, refusal.error, now_s)
            return effects
        counted = refusals.total
        effects = self._node.handle(event, now_s, unix_s)
        if refusals.last is None or refusals.total != counted + 1 or not _is_no(asked, effects):
            self._kept.clear()
        elif not is_new:
            self._kept[event.line, asked.model_id] = (effects, refusals.last)
        return effects


def _is_no(asked: LoadModel, effects: Sequence[Effect]) -> bool:
    """Whether nothing is done but to say that the load has failed."""
    if len(effects) != 1 or not isinstance(effects[0], Send):
        return False
    match effects[0].message:
        case LoadModelStatus(model_id=model, status="failed"):
            return model == asked.model_id
        case _:
            return False
