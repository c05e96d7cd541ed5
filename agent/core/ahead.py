"""Bytes that are wanted ahead of time: whose turn it is, and when a failed one is tried again.

One build at a time, the highest priority first, the oldest among equals. What failed waits
longer and longer, each wait with its own jitter, and is tried for ever.
"""

from collections.abc import Callable

from ...config.frozen import frozen

WAITS_S = (30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Longest wait after each failure in a row; the last for ever. The reference node's, and on."""

MAX_QUEUED = 256
"""More prefetches than this are not remembered."""


@frozen
class _Failed:
    """A build that did not come.

    Attributes:
        due_s: When it may be tried again; ``None`` if it may be already.
    """

    times: int
    due_s: float | None


class Ahead:
    """The queue and the waits.

    Args:
        chance: Gives numbers in [0, 1).
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._queue: dict[str, int] = {}
        self._failed: dict[str, _Failed] = {}
        self._fresh: list[str] = []

    def put(self, model: str, priority: int) -> bool:
        """Have a build wait for its turn; a second wish can only promote it.

        Returns:
            ``False`` if too many wait already.
        """
        if model not in self._queue and len(self._queue) >= MAX_QUEUED:
            return False
        self._queue[model] = max(priority, self._queue.get(model, priority))
        return True

    def next(self) -> str | None:
        """Take the build whose turn it is."""
        if not self._queue:
            return None
        model = max(self._queue, key=lambda name: self._queue[name])
        del self._queue[model]
        return model

    def clear_queue(self) -> None:
        """Whoever wished is gone."""
        self._queue.clear()

    @property
    def deadline_s(self) -> float | None:
        """When the next failed build may be tried again."""
        due = [failed.due_s for failed in self._failed.values() if failed.due_s is not None]
        return min(due, default=None)

    def failed(self, model: str) -> None:
        """A build did not come; its wait begins at the next look at the clock."""
        self._fresh.append(model)

    def failures(self, model: str) -> tuple[int, float | None]:
        """How often in a row a build did not come, and when it is tried again, if it waits."""
        failed = self._failed.get(model)
        return (0, None) if failed is None else (failed.times, failed.due_s)

    def came(self, model: str) -> None:
        """A build came: nothing is held against it."""
        self._failed.pop(model, None)

    def forgive(self) -> None:
        """Something new is wanted: everything may be tried at once."""
        self._failed.clear()
        self._fresh.clear()

    def may_try(self, model: str) -> bool:
        """Whether a build need not wait."""
        failed = self._failed.get(model)
        return model not in self._fresh and (failed is None or failed.due_s is None)

    def look(self, now_s: float) -> bool:
        """Look at the clock.

        Returns:
            Whether something may be begun that could not be before.
        """
        for model in self._fresh:
            before = self._failed.get(model)
            times = before.times + 1 if before else 1
            longest_s = WAITS_S[min(times, len(WAITS_S)) - 1]
            self._failed[model] = _Failed(times, now_s + longest_s * (1.0 + self._chance()) / 2.0)
        self._fresh.clear()
        due = [m for m, f in self._failed.items() if f.due_s is not None and f.due_s <= now_s]
        for model in due:
            self._failed[model] = _Failed(self._failed[model].times, None)
        return bool(due or self._queue)
