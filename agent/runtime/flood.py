"""Keeps one kind of line from filling a log: so many in a while, then how many were left out."""

from dataclasses import dataclass

from ...config.frozen import frozen

MOST_LINES = 200
"""Of one kind, in one window."""

WINDOW_S = 10.0
MOST_KINDS = 512
"""Kinds that are remembered; more than there are events, codes and messages together."""


@dataclass(slots=True)
class _Kind:
    since_s: float
    lines: int = 0


@frozen
class Passed:
    """What is to become of a line.

    Attributes:
        is_written: Whether it is written.
        is_first_left_out: Whether it is the first that is not, in this window.
        left_out: How many were not in the window that has just ended.
    """

    is_written: bool
    is_first_left_out: bool = False
    left_out: int = 0


LEFT_OUT = Passed(is_written=False)


class Flood:
    """Counts lines by kind."""

    def __init__(self) -> None:
        self._kinds: dict[object, _Kind] = {}

    def passes(self, kind: object, now_s: float) -> Passed:
        """Count a line of this kind.

        Args:
            kind: Whatever tells lines apart that may each be as frequent.
            now_s: The clock; one that jumps back begins a new window.
        """
        found = self._kinds.get(kind)
        left_out = 0
        if found is None or not 0 <= now_s - found.since_s < WINDOW_S:
            left_out = 0 if found is None else max(0, found.lines - MOST_LINES)
            if found is None and len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            found = self._kinds[kind] = _Kind(now_s)
        found.lines += 1
        if found.lines > MOST_LINES + 1 and not left_out:
            return LEFT_OUT
        return Passed(found.lines <= MOST_LINES, found.lines == MOST_LINES + 1, left_out)
