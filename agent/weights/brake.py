"""One rate over all connections of a fetch, which may change while they run."""

import threading
import time

from .digests import Interrupted
from .pace import Bucket


class Brake:
    """What every connection pays to for what it brought; safe for many threads.

    Args:
        max_bytes_per_s: What all of them together may bring; ``None``: anything.
        stopped: Ends every rest.
    """

    def __init__(self, max_bytes_per_s: int | None, stopped: threading.Event) -> None:
        self._bucket = Bucket(max_bytes_per_s)
        self._lock = threading.Lock()
        self._stopped = stopped

    @property
    def rate_bytes_s(self) -> int | None:
        """What holds now."""
        return self._bucket.rate_bytes_s

    def limit(self, max_bytes_per_s: int | None) -> None:
        """Change it; ``None``: anything."""
        with self._lock:
            self._bucket.rate_bytes_s = max_bytes_per_s

    def pay(self, count: int) -> None:
        """Rest as long as these bytes ask for.

        Raises:
            Interrupted: Somebody asked to stop.
        """
        rest_s = 0.0
        if self._bucket.rate_bytes_s is not None:
            with self._lock:
                rest_s = self._bucket.debit(count, time.monotonic())
        while rest_s > 0 and not self._stopped.wait(rest_s):
            with self._lock:
                rest_s = self._bucket.debit(0, time.monotonic())
        if self._stopped.is_set():
            raise Interrupted
