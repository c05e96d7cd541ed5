"""How long one write is: a whole buffer, or pieces that a worn memory still has room for.

A kernel with large folios gives out a file's pages in runs as long as the write. Long runs are
cheaper while there are any; after hours of other programs there are few, and to get one may cost
four times as much as short ones, most of all where a host takes free memory away. No figure of
the system's tells which it is, so both are tried, and what takes less time is used.
"""

import os
import time

LONG_BYTES = 512 * 1024
"""Half a buffer of a connection's; all of it at once wins nothing."""

SHORT_BYTES = 128 * 1024
"""Measured on ext4: 0.86 s of system time a GiB where long ones took 2.74, and 0.78 where they took
0.67; half of it costs more in both."""

_FIRST_TURNS = 16
_EVERY = 32
"""So often the dearer one is tried again, for memory changes."""

_WEIGHT = 1 / 8
_MOST_RATIO = 4.0
"""Who lost the processor in between looks slow; the thread's own clock would tell, and costs more
than is won here."""


class Strokes:
    """The writes of one fetch; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._cost_s = {LONG_BYTES: 0.0, SHORT_BYTES: 0.0}
        self._turn = 0

    def write(self, fd: int, view: memoryview, offset: int) -> None:
        """Write bytes to their place; the kernel may take them in pieces, too.

        Raises:
            OSError: The disk would not take them.
        """
        most_bytes, size_bytes, done = self.next_bytes(), len(view), 0
        begun_s = time.perf_counter()
        while done < size_bytes:
            done += os.pwrite(fd, view[done : done + most_bytes], offset + done)
        if size_bytes > SHORT_BYTES:
            self.took(most_bytes, (time.perf_counter() - begun_s) / size_bytes)

    def next_bytes(self) -> int:
        """How long the next writes may be."""
        self._turn = turn = self._turn + 1
        long_s, short_s = self._cost_s.values()
        if turn <= _FIRST_TURNS:
            return LONG_BYTES if turn % 2 else SHORT_BYTES
        is_long = (long_s <= short_s) != (turn % _EVERY == 0)
        return LONG_BYTES if is_long else SHORT_BYTES

    def took(self, most_bytes: int, cost_s: float) -> None:
        """Learn what writes of such a length cost.

        Args:
            most_bytes: As :meth:`next_bytes` said.
            cost_s: Seconds for each byte.
        """
        known_s = self._cost_s[most_bytes] or cost_s
        seen_s = min(cost_s, _MOST_RATIO * known_s)
        # two threads may each take the other's word away: one of many, and no sum is kept
        self._cost_s[most_bytes] = known_s + (seen_s - known_s) * _WEIGHT
