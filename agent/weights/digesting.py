"""Who digests while the connections bring more: threads that wait for complete chunks.

A connection that digests what others brought stands still meanwhile, and on a slow link that is
bytes lost for good. So where connections wait for their link, a few threads beside them read back
what has come out of order. A file has one turn at a time, and another one for what came meanwhile.
"""

import threading
from collections import deque
from collections.abc import Callable

MOST_DIGESTERS = 4
"""One of them digests 12 Gbit/s where the processor has instructions for it, a third of it else."""

Work = Callable[[memoryview], None]
"""Takes a buffer of its own, and ends when there is nothing more to do."""


class Digesting:
    """The files whose digest can go on; its methods may be called from any thread.

    Args:
        digest: Goes on with one file as far as its bytes reach.
        live: What a thread does with its work, and with what that raises.
    """

    def __init__(
        self, digest: Callable[[int, memoryview], None], live: Callable[[Work], None]
    ) -> None:
        self._digest = digest
        self._live = live
        self._files: deque[int] = deque()
        self._in_turn: set[int] = set()
        self._idle = self._started = 0
        self._is_over = False
        self._change = threading.Condition()

    def put(self, file: int) -> None:
        """Have somebody look how far this file's digest can go."""
        with self._change:
            if file in self._files:
                return
            self._files.append(file)
            due = sum(each not in self._in_turn for each in self._files)
            is_lacking = self._idle < due and self._started < MOST_DIGESTERS
            self._started += is_lacking
            self._change.notify()
        if is_lacking:
            threading.Thread(
                target=self._live, args=(self._work,), name="digest", daemon=True
            ).start()

    def end(self) -> None:
        """Let every thread go."""
        with self._change:
            self._is_over = True
            self._change.notify_all()

    def _work(self, buffer: memoryview) -> None:
        while (file := self._next()) is not None:
            self._digest(file, buffer)
            with self._change:
                self._in_turn.discard(file)

    def _next(self) -> int | None:
        with self._change:
            self._idle += 1
            while not self._is_over:
                due = next((each for each in self._files if each not in self._in_turn), None)
                if due is not None:
                    self._files.remove(due)
                    self._in_turn.add(due)
                    self._idle -= 1
                    return due
                _ = self._change.wait()
            return None
