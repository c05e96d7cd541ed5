"""Repeats a refusal without deciding it anew, as long as nothing else happens.

In a storm of loads a thousand questions come, and nothing changes from one to the next. For a few
milliseconds, and only while nothing else is heard, a load that was refused is refused with the
same words, and of a model that answers it is said again that it does: the first load of each name
is decided, the others are told and counted. Once the node is at rest, even the first load of a name
is decided by the :class:`.Door`, which answers as the node would and skips the look at everything
that may have become due meanwhile.

The first event of a moment is never kept: what the clocks demand is done after it, and may change
what is said to the second.
"""

from collections.abc import Sequence

from ..wire.inbound import LoadModel
from ..wire.outbound import LoadModelStatus
from .door import Door
from .effects import Effect, Send
from .events import Event, Heard
from .node import Node
from .refused import Refusal

MOMENT_S = 0.005
"""So old may an answer be, by both clocks: what the clocks demand waits no longer than that."""


class Again:
    """A node that is asked the same thing many times in one moment.

    Args:
        node: Decides; nobody else tells it anything.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._begun_s = self._unix_s = float("-inf")
        self._kept: dict[tuple[int, str], tuple[Sequence[Effect], Refusal | None]] = {}
        self._door: Door | None = None

    def handle(self, event: Event, now_s: float, unix_s: float | None = None) -> Sequence[Effect]:
        """Take one event in, as :meth:`.Node.handle` does, which is asked if anything is new."""
        if not isinstance(event, Heard) or not isinstance(asked := event.message, LoadModel):
            self._begin(now_s, unix_s)
            return self._node.handle(event, now_s, unix_s)
        if not self._is_now(now_s, unix_s):
            self._begin(now_s, unix_s)
            return self._node.handle(event, now_s, unix_s)
        key = event.line, asked.model_id
        if (found := self._kept.get(key)) is not None:
            effects, refusal = found
            if refusal is not None:
                self._node.loads.refusals.note(refusal.model, refusal.error, now_s)
            return effects
        if self._door is not None and (told := self._door.refuses(*key, now_s)) is not None:
            effects, refusal = told
            self._kept[key] = effects, refusal
            return effects
        return self._decided(event, asked, now_s, unix_s)

    def _decided(
        self, event: Heard, asked: LoadModel, now_s: float, unix_s: float | None
    ) -> Sequence[Effect]:
        """Have the node decide, and keep what it says if it does nothing else."""
        refusals = self._node.loads.refusals
        counted = refusals.total
        effects = self._node.handle(event, now_s, unix_s)
        word = _word(asked, effects)
        if word == "failed" and refusals.total == counted + 1:
            self._kept[event.line, asked.model_id] = effects, refusals.last
        elif word == "succeeded" and refusals.total == counted:
            self._kept[event.line, asked.model_id] = effects, None
        else:
            self._forget()
            return effects
        self._door = self._door or Door(self._node, now_s)
        return effects

    def _is_now(self, now_s: float, unix_s: float | None) -> bool:
        """Whether the moment that has begun goes on."""
        gone_s, by_wall_s = now_s - self._begun_s, (unix_s or 0.0) - self._unix_s
        return 0.0 <= gone_s < MOMENT_S and 0.0 <= by_wall_s < MOMENT_S

    def _begin(self, now_s: float, unix_s: float | None) -> None:
        self._begun_s, self._unix_s = now_s, unix_s or 0.0
        self._forget()

    def _forget(self) -> None:
        self._kept.clear()
        self._door = None


def _word(asked: LoadModel, effects: Sequence[Effect]) -> str | None:
    """How the load has gone, if nothing is done but to say it: failed, succeeded or started."""
    if len(effects) != 1 or not isinstance(effects[0], Send):
        return None
    match effects[0].message:
        case LoadModelStatus(model_id=model, status=status) if model == asked.model_id:
            return status
        case _:
            return None
