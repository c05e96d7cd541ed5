"""Has the kernel begin to write out what just arrived, so that the last sync finds little left.

Dirty pages that pile up are all written when the file is synced, after the last byte; begun at
once they go out while others still arrive. Only Linux knows the call, and it is a hint: where
it is missing or refused, the sync at the end does all of it.
"""

import sys
import threading
from collections.abc import Callable, Sequence

from .journal import Journal
from .parts import Part

_WRITE = 2
"""SYNC_FILE_RANGE_WRITE. Source: sync_file_range(2)."""

Begin = Callable[[int, int, int], None]
"""Takes the file, the first byte and how many."""


def writing_behind(*, is_wanted: bool = True) -> Begin:
    """The hint, as this platform has it; does nothing where there is none, or none is wanted."""
    call = _call() if is_wanted and sys.platform == "linux" else None
    if call is None:
        return lambda _fd, _start, _count: None

    def begin(fd: int, start: int, count: int) -> None:
        _ = call(fd, start, count, _WRITE)

    return begin


def _call() -> "Callable[[int, int, int, int], int] | None":
    import ctypes  # noqa: PLC0415  # most fetches do without

    try:
        found = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found


def sync_all(parts: Sequence[Part], journal: Journal) -> None:
    """Put on the platter, and into the journal, what has arrived until now.

    Raises:
        OSError: The disk would not take some files; nothing that was claimed of them counts now.
    """
    count, failed = journal.count, None
    for file, part in enumerate(parts):
        try:
            part.sync()
        except OSError as error:
            journal.forget(file)
            failed = failed or error
    if failed is not None:
        raise failed
    journal.synced(count)


class Syncing:
    """Syncs in a thread of its own, one time at a time, so that nobody waits for the platter.

    Args:
        sync: What is done in the thread.

    Attributes:
        error: Why the last one failed.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._thread: threading.Thread | None = None
        self.error: OSError | None = None

    def begin(self) -> None:
        """Begin to sync, unless it is under way."""
        if self._thread is None or not self._thread.is_alive():
            # a daemon thread: the end of a fetch does not wait for what is only for the next
            self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            self._sync()
        except OSError as error:
            self.error = error
