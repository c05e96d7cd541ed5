"""What several threads have done together, told now and then."""

import threading
import time
from collections.abc import Callable


class Telling:
    """Counts, and tells the sum; to be called from any thread, with how much more was done.

    Args:
        tell: Takes all that was done so far, and when; one call at a time.
        tick_s: From one call of it to the next, at least.
    """

    def __init__(self, tell: Callable[[int, float], None], *, tick_s: float) -> None:
        self._tell = tell
        self._tick_s = tick_s
        self._done = 0
        self._told_s = float("-inf")
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        """Count."""
        with self._lock:
            self._done += count
            if (now_s := time.monotonic()) - self._told_s >= self._tick_s:
                self._told_s = now_s
                self._tell(self._done, now_s)
