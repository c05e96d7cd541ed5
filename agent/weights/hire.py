"""Threads with a small stack, for there may be many of them."""

import threading
from collections.abc import Callable, Iterable

STACK_BYTES = 512 * 1024
_hiring = threading.Lock()


def hire(work: Callable[[], None], names: Iterable[str]) -> None:
    """Start a thread for each name; daemon threads, so that nothing they wait for delays an exit.

    Args:
        work: What each of them does.
        names: For whoever looks at threads.
    """
    with _hiring:  # the size is the whole process's
        previous = threading.stack_size(STACK_BYTES)
        for name in names:
            threading.Thread(target=work, name=name, daemon=True).start()
        _ = threading.stack_size(previous)
