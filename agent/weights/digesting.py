"""Who digests while the connections bring more: threads that wait for complete chunks.

A connection that digests what others brought stands still meanwhile, and on a slow link that is
bytes lost for good. So where connections wait for their link, a few threads beside them read back
what has come out of order. A file has one turn at a time, and another one for what came meanwhile.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from .outlook import Trail
from .parts import Part

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


class Trails:
    """How far the digests of large files are behind their bytes; small ones go with theirs.

    Args:
        parts: The files, before anything comes.
        small_bytes: Which of them are small: those up to this length.
    """

    def __init__(self, parts: Sequence[Part], *, small_bytes: int) -> None:
        self._parts = [each for each in parts if not each.seal and each.size_bytes > small_bytes]
        self._most = min(MOST_DIGESTERS, os.cpu_count() or 1)

    def look(self) -> Trail:
        """How they stand."""
        found = [(part.size_bytes, part.seal is not None, *part.trail) for part in self._parts]
        read_bytes = sum(count for *_, count, _ in found)
        read_s = sum(took_s for *_, took_s in found)
        coming = [each for each in found if not each[1]]
        return Trail(
            tuple(max(0, here - at) for _, _, here, at, *_ in coming),
            left_bytes=sum(size - here for size, _, here, *_ in coming),
            alone_bytes_s=read_bytes / read_s if read_s else None,
            most=self._most,
        )
