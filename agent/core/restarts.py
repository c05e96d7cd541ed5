"""Engines that ended unasked: their model is brought back after a pause, a few times.

The pause doubles with each crash and is never quite the same, so that what made engines crash
together does not load them together. Whoever crashes again and again is left alone until a
coordinator asks for the model: its word counts at any time, for it has pauses of its own.
"""

from collections.abc import Callable

from ...config.frozen import frozen
from ...config.refusals import ModelCrashed

FIRST_S = 1.0
LONGEST_S = 60.0
"""The pause after the first crash, and after many."""

STEADY_S = 600.0
"""An engine that lived so long starts from the first pause again."""

PATIENT = 1
"""After so many crashes in a row, a request brings the model back at once as ever."""

MOST = 3
WITHIN_S = 300.0
"""So many crashes in so long are too many."""


@frozen
class Crashed:
    """A model whose engine ended.

    Attributes:
        times: Crashes in a row.
        at_s: When those of the last while were, in the node's time.
        again_s: When it is brought back; ``None``: not by this node.
        is_over: Whether it is here again, or somebody else brings it.
    """

    times: int
    at_s: tuple[float, ...]
    again_s: float | None
    is_over: bool = False

    def error(self, model: str, now_s: float) -> ModelCrashed:
        """The same as a failure."""
        waits_s = None if self.again_s is None else max(0.0, self.again_s - now_s)
        return ModelCrashed(model=model, times=self.times, waits_s=waits_s)


class Restarts:
    """Which models crashed, and when they come back; the only one that knows.

    Args:
        chance: Gives numbers in [0, 1).
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._crashed: dict[str, Crashed] = {}

    def crashed(self, model: str, now_s: float) -> None:
        """A model that answered answers no more, and nobody asked for that."""
        before = self._crashed.get(model)
        at_s = () if before is None else before.at_s
        is_row = bool(at_s) and now_s - at_s[-1] < STEADY_S
        times = 1 + (before.times if before is not None and is_row else 0)
        recent = (*(one for one in at_s if now_s - one < WITHIN_S), now_s)
        pause_s = min(LONGEST_S, FIRST_S * 2.0 ** min(times - 1, 16))
        pause_s *= 0.5 + self._chance() / 2
        again_s = now_s + pause_s if len(recent) < MOST else None
        self._crashed[model] = Crashed(times, recent, again_s)

    def due(self, now_s: float) -> list[str]:
        """The models whose pause is over; each is named once."""
        found = [
            model
            for model, one in self._crashed.items()
            if not one.is_over and one.again_s is not None and one.again_s <= now_s
        ]
        for model in found:
            self.settled(model)
        return found

    @property
    def deadline_s(self) -> float | None:
        """When the next pause ends."""
        waits = [one.again_s for one in self._crashed.values() if not one.is_over]
        return min((at_s for at_s in waits if at_s is not None), default=None)

    def refusal(self, model: str, now_s: float) -> ModelCrashed | None:
        """Why a request cannot have the model now, if so; after one crash it still can.

        Args:
            model: A build's id.
            now_s: The node's time.
        """
        one = self._crashed.get(model)
        if one is None or one.is_over or one.times <= PATIENT:
            return None
        return one.error(model, now_s)

    def settled(self, model: str) -> None:
        """It is on its way again, or wanted by nobody; its crashes are remembered."""
        one = self._crashed.get(model)
        if one is not None:
            self._crashed[model] = Crashed(one.times, one.at_s, one.again_s, is_over=True)

    def waiting(self) -> dict[str, Crashed]:
        """The models that are not back yet."""
        return {model: one for model, one in self._crashed.items() if not one.is_over}
