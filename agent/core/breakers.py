"""What a stock coordinator makes of our failures: a model, or the whole node, is left alone.

Nobody tells a node that it is passed over, so the count is kept here too, by the coordinator's own
rules, for the owner to see; it decides nothing. A line that is gone takes all of it along: a
coordinator knows a node by its line.

Source:
    The public coordinator's breakers and load skips, June 2026.
"""

from collections import deque

from ...config.frozen import frozen
from .requests import End

FAULTS = frozenset({500, 502, 504})
"""Statuses that are a fault; everything else is a lack of room, or the client's doing."""

SKIP_S = 120.0
"""A model that found no memory, or whose load failed for a request, is not asked for so long."""

SKIP_TEXTS = ("insufficient memory", "model load failed")

MODEL_FAULTS, MODEL_WITHIN_S, MODEL_PAUSE_S = 2, 60.0, 300.0
"""So many faults of one model in so long pause it for so long."""

NODE_FAULTS = 5
"""So many faults in a row pause the whole node."""

NODE_WITHIN_S, NODE_LEAST, NODE_RATIO = 120.0, 20, 0.8
"""So does a larger part of faults among so many ends in so long."""

NODE_PAUSE_S, NODE_LONGEST_S = 60.0, 300.0
"""The first such pause; each one doubles, up to the longest."""


@frozen
class Pause:
    """Something is left alone for a while.

    Attributes:
        model: A build's id; empty: the whole node.
        until_s: In the node's time.
        words: Why, for a person.
    """

    model: str
    until_s: float
    words: str


class Breakers:
    """Counts what went wrong on the line that stands."""

    def __init__(self) -> None:
        self._pauses: dict[str, Pause] = {}
        self._faults: dict[str, deque[float]] = {}
        self._ends: deque[tuple[float, bool]] = deque(maxlen=1000)
        self._row = 0
        self._times = 0

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """All of them, also such as are over by now."""
        return tuple(self._pauses.values())

    def ended(self, end: End, now_s: float) -> None:
        """A request of the line has ended; one that went well closes what was open."""
        model, status, text = end
        is_fault = status in FAULTS
        self._ends.append((now_s, is_fault))
        if status == 200:  # noqa: PLR2004  # HTTP's word for well
            self._row = self._times = 0
            self._faults.pop(model, None)
            for name in (model, ""):
                self._pauses.pop(name, None)
            return
        if any(words in text for words in SKIP_TEXTS):
            self._pause(model, now_s + SKIP_S, f"its last request failed: {text}")
        if is_fault:
            self._row += 1
            self._fault(model, now_s)

    def _fault(self, model: str, now_s: float) -> None:
        faults = self._faults.setdefault(model, deque(maxlen=MODEL_FAULTS))
        faults.append(now_s)
        if len(faults) == MODEL_FAULTS and now_s - faults[0] <= MODEL_WITHIN_S:
            words = f"{MODEL_FAULTS} of its requests failed within a minute"
            self._pause(model, now_s + MODEL_PAUSE_S, words)
        of_late = [was_fault for at_s, was_fault in self._ends if now_s - at_s <= NODE_WITHIN_S]
        is_most = len(of_late) >= NODE_LEAST and sum(of_late) > NODE_RATIO * len(of_late)
        if self._row >= NODE_FAULTS or is_most:
            pause_s = min(NODE_LONGEST_S, NODE_PAUSE_S * 2.0**self._times)
            self._times, self._row = self._times + 1, 0
            self._pause("", now_s + pause_s, "too many requests in a row failed here")

    def _pause(self, model: str, until_s: float, words: str) -> None:
        before = self._pauses.get(model)
        if before is None or before.until_s < until_s:
            self._pauses[model] = Pause(model, until_s, words)
