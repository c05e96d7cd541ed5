"""Why this node takes nothing new, if it does not: each reason by itself, and all of them together.

A drain ends nothing that runs, save by its own deadline. Whoever began one ends it; as long as
one is left, loads and requests are refused with the text that keeps a coordinator's queue.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from ...config.frozen import frozen
from ...config.refusals import NodeDraining, NodeResting, PlacementError

Reason = Literal["leaving", "operator", "coordinator", "move", "hours", "owner"]
"""Who drains: the node that leaves, its operator, the coordinator, a move to another pool, the
hours at which it serves, or whoever sits before the machine."""

WORDS: Mapping[Reason, str] = MappingProxyType(
    {
        "leaving": "the node finishes what runs and then leaves",
        "operator": "its operator had it drained",
        "coordinator": "the coordinator had it drained",
        "move": "it finishes what runs, then moves to another pool",
        "hours": "it is outside the hours at which it serves",
        "owner": "its owner uses the machine",
    }
)
"""What a person is told, if whoever began it says nothing better."""


RESTS = frozenset({"hours", "owner"})
"""The reasons that pass by themselves, after hours maybe: nobody is to wait for their end."""


@frozen
class Drain:
    """One reason to take nothing new.

    Attributes:
        since_s: Since when, in the node's time.
        cut_s: When what still runs is ended; ``None`` if never, or if that was done.
        words: For a person.
        sign: What of the machine's owner began it; empty for all other reasons.
    """

    reason: Reason
    since_s: float
    cut_s: float | None
    words: str
    sign: str = ""


class Drains:
    """Every reason that holds now; the only one that writes them."""

    def __init__(self) -> None:
        self._held: dict[Reason, Drain] = {}

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is taken."""
        return bool(self._held)

    @property
    def first(self) -> Drain | None:
        """The reason that holds longest."""
        return min(self._held.values(), key=lambda drain: drain.since_s, default=None)

    @property
    def refusal(self) -> PlacementError:
        """What is answered to whoever wants something new; of no use unless it drains."""
        first = self.first
        is_rest = first is not None and self._held.keys() <= RESTS
        return NodeResting(cause=first.words) if first and is_rest else NodeDraining()

    @property
    def deadline_s(self) -> float | None:
        """By when :meth:`is_cut` wants to be asked; ``None`` if nothing is ever cut."""
        known = [drain.cut_s for drain in self._held.values() if drain.cut_s is not None]
        return min(known, default=None)

    def all(self) -> tuple[Drain, ...]:
        """Every reason that holds, in the order in which they began."""
        return tuple(self._held.values())

    def has(self, reason: Reason) -> bool:
        """Whether this one holds."""
        return reason in self._held

    def begin(
        self,
        reason: Reason,
        now_s: float,
        *,
        cut_s: float | None = None,
        words: str = "",
        sign: str = "",
    ) -> None:
        """Have a reason hold; if it does, only its deadline and its words change."""
        before = self._held.get(reason)
        since_s = now_s if before is None else before.since_s
        self._held[reason] = Drain(reason, since_s, cut_s, words or WORDS[reason], sign)

    def end(self, reason: Reason) -> None:
        """A reason holds no more; if it did not, nothing changes."""
        self._held.pop(reason, None)

    def is_cut(self, now_s: float) -> bool:
        """Whether what still runs is to be ended now; said once for each deadline."""
        due = [d for d in self._held.values() if d.cut_s is not None and now_s >= d.cut_s]
        for drain in due:
            self._held[drain.reason] = replace(drain, cut_s=None)
        return bool(due)
