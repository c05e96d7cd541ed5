"""A bound on how long some Python may run, in whichever thread it runs."""

import _thread
import ctypes
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def at_most(limit_s: float) -> Generator[None]:
    """Raise TimeoutError in the block if it takes longer.

    It arrives between two steps of the interpreter: a single long step, such as making a huge
    text, is not cut short.

    Args:
        limit_s: Seconds.

    Raises:
        RuntimeError: The system gives no thread to watch with.

    Source:
        PyThreadState_SetAsyncExc of Python's C API; with no exception it takes back one that
        has not arrived.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    turn, over = threading.Lock(), threading.Lock()
    is_over = False

    def watch() -> None:
        if over.acquire(timeout=limit_s):
            return
        with turn:
            if not is_over:
                _raise_in(thread, ctypes.py_object(TimeoutError))

    _ = over.acquire()
    # not a threading.Thread: where memory has run out, its start waits for ever for a thread
    # that could not begin
    _ = _thread.start_new_thread(watch, ())
    try:
        yield
    finally:
        over.release()
        with turn:
            is_over = True
        _raise_in(thread, None)


def _raise_in(thread: ctypes.c_ulong, kind: "ctypes.py_object[type[TimeoutError]] | None") -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, kind)
