"""Has a store say what it knows, from threads that may block.

What a store is asked is written as coroutines, because some stores wait for clients that live
in an event loop. Importing one takes half of the child's start, so there is one only for the
stores that need it: the others run to their end in the thread that asks.
"""

import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, TypeVar

from ...backends.stores.base import LooplessStore, Store
from ...backends.stores.errors import StoreUnreachable
from ...backends.stores.loops import LoopWanted
from .patience import Patience

if TYPE_CHECKING:  # see above
    import asyncio

T = TypeVar("T")
Begin = Callable[[], Coroutine[object, None, T]]
"""Makes the coroutine of one question; a second time, if the first one finds no loop."""


class Plane:
    """One store's control plane; questions may come from many threads.

    Args:
        store: Who is asked.
        busy_s: Whoever says that it is busy is asked again for so long; 0: not here.
        stopped: Set, it is waited for no longer.
    """

    def __init__(
        self, store: Store, *, busy_s: float = 0.0, stopped: threading.Event | None = None
    ) -> None:
        self._busy_s = busy_s
        self._stopped = stopped or threading.Event()
        self._has_loop = not (isinstance(store, LooplessStore) and store.is_loopless)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def ask(
        self, begin: Begin[T], *, timeout_s: float | None = None, is_patient: bool = False
    ) -> T:
        """Ask one question and wait for the answer.

        Args:
            begin: See :data:`Begin`.
            timeout_s: To wait in a loop for so long; ``None``: as long as the store does.
            is_patient: Ask again not only who is busy, but also who cannot be reached.

        Raises:
            TimeoutError: It took longer.
        """
        patience, begun_s = None, time.monotonic()
        while True:
            try:
                return self._once(begin, timeout_s)
            except StoreUnreachable as error:
                if not (self._busy_s and (error.is_busy or is_patient)):
                    raise
                now_s = time.monotonic()
                if not error.is_busy and now_s - begun_s >= self._busy_s:
                    raise  # each try may have waited for long: a few of them are too many
                patience = patience or Patience(
                    no_progress_s=self._busy_s, block_bytes=1, now_s=now_s
                )
                wait_s = patience.wait_s(got_bytes=0, asked_s=None, now_s=now_s, chance=0.0)
                if wait_s is None or self._stopped.wait(wait_s):
                    raise

    def _once(self, begin: Begin[T], timeout_s: float | None) -> T:
        if not self._has_loop:
            try:
                return _run(begin())
            except LoopWanted:
                self._has_loop = True
        import asyncio  # noqa: PLC0415  # see above

        asked = asyncio.run_coroutine_threadsafe(begin(), self._running())
        try:
            return asked.result(timeout_s)
        finally:
            _ = asked.cancel()

    def _running(self) -> "asyncio.AbstractEventLoop":
        import asyncio  # noqa: PLC0415  # see above

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="plane", daemon=True).start()
            return self._loop


def _run(question: Coroutine[object, None, T]) -> T:
    try:
        _ = question.send(None)
    except StopIteration as end:
        return end.value
    question.close()
    message = "a store that needs no event loop waits for one"
    raise RuntimeError(message)
