"""How this node leaves: patience for what runs, then an end to it, then a last word.

A second wish to leave can only hurry it.
"""

GRACE_S = 5.0
"""How long past a drain's end a last word may still take."""


class Leaving:
    """Two moments: when answers are cut, and when the node is gone whatever is left."""

    def __init__(self) -> None:
        self._cut_s: float | None = None
        self._gone_s: float | None = None

    @property
    def is_begun(self) -> bool:
        """Whether somebody wants the node to leave."""
        return self._gone_s is not None

    @property
    def deadline_s(self) -> float | None:
        """The next of the two moments; ``None`` if nobody wants to leave."""
        known = [at_s for at_s in (self._cut_s, self._gone_s) if at_s is not None]
        return min(known, default=None)

    def begin(self, now_s: float, drain_s: float) -> None:
        """Leave; what runs has ``drain_s`` seconds left."""
        cut_s = now_s + drain_s
        if self._gone_s is None or cut_s + GRACE_S < self._gone_s:
            self._cut_s, self._gone_s = cut_s, cut_s + GRACE_S

    def is_over(self, now_s: float, *, is_empty: bool) -> bool:
        """Whether nothing is left, or nothing is waited for any more; said once."""
        if self._gone_s is None or not (is_empty or now_s >= self._gone_s):
            return False
        self._cut_s = self._gone_s = None
        return True

    def is_cut(self, now_s: float) -> bool:
        """Whether what still runs is to be ended now; said once."""
        if self._cut_s is None or now_s < self._cut_s:
            return False
        self._cut_s = None
        return True
