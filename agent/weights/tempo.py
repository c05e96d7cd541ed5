"""How fast bytes come, and how long the rest will take (pure).

The time left is judged by the last third of the time so far: the first moments of a fetch say
little, for connections are added as long as they pay, and its last seconds alone swing with
every stall.
"""

from collections import deque

_MOST_MARKS = 512
_JUDGED_RATIO = 1 / 3


class Pace:
    """How fast bytes come, and how long the rest will take."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def told(self, fetched_bytes: int, now_s: float) -> None:
        """Take a measurement.

        Args:
            fetched_bytes: Brought by this run alone, so resumed ones are not counted.
            now_s: A clock that only goes forward, in seconds.
        """
        if self._marks and fetched_bytes < self._marks[-1][1]:
            self._marks.clear()  # a file is read again: what was counted is not to be had
        self._marks.append((now_s, fetched_bytes))
        if len(self._marks) > _MOST_MARKS:
            first = self._marks[0]
            self._marks = deque([first, *list(self._marks)[2::2]])

    @property
    def rate_bytes_s(self) -> float | None:
        """Bytes a second over the last third of the time so far; ``None`` until measured."""
        if len(self._marks) < 2:  # noqa: PLR2004  # two points make a line
            return None
        now_s, now_bytes = self._marks[-1]
        since_s = now_s - (now_s - self._marks[0][0]) * _JUDGED_RATIO
        then_s, then_bytes = max(
            (mark for mark in self._marks if mark[0] <= since_s), default=self._marks[0]
        )
        return (now_bytes - then_bytes) / (now_s - then_s) if now_s > then_s else None

    def left_s(self, left_bytes: int) -> float | None:
        """Seconds that so many bytes will take; ``None`` if nobody can tell."""
        rate = self.rate_bytes_s
        return left_bytes / rate if rate else None
