"""Between the agent and a server that is not ours: ends it, and all it started, in any case.

``python -m poolhand.backends.engines.served_keeper SOCKET PARENT``. The first line on the
socket says what to run; nothing secret is in an argument of ours. Afterwards a line asks the
server to leave, and the socket's end means that the agent is gone: the server is ended then,
however the agent ended, and nothing of the place where it listened is left. Nobody's text passes
through here.

What the server says goes to standard error. This process ends as the server did.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TypedDict, cast

from .leash import OOM_SCORE

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
"""Source: linux/prctl.h."""

ORPHANED_S = 5.0
"""How long a server may take to leave when the agent is gone."""

STRAGGLERS_S = 2.0
"""How long what a server started may live on after it."""

LOOK_S = 0.02
LINE_BYTES = 2**20
CANNOT_RUN = 127


class Order(TypedDict):
    """What to run.

    Attributes:
        argv: Its arguments; the first is the program's path.
        environment: All of its environment.
        folder: Where it listens; removed after its end.
    """

    argv: list[str]
    environment: dict[str, str]
    folder: str


def main(descriptor: str, _parent: str) -> None:
    """Run one server until it ends, or has to."""
    line = socket.socket(fileno=int(descriptor))
    line.set_inheritable(False)
    if os.getpgrp() != os.getpid():
        # it ends its whole group, which therefore has to be its own
        os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, _noted)
    libc = ctypes.CDLL(None)
    if sys.platform == "linux":
        # what the server leaves behind becomes ours, so that it can be found and ended
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    first = _line_of(line, bytearray())
    if first is None:
        return
    order = cast("Order", json.loads(first))
    server = _start(order, libc)
    line.sendall(json.dumps({"pid": server}).encode() + b"\n")
    status = _keep(line, server)
    with contextlib.suppress(OSError):
        line.sendall(json.dumps({"ended": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
    _end_the_rest()
    # the agent does so too, unless it was killed
    shutil.rmtree(order["folder"], ignore_errors=True)
    _end_as(status)


def _line_of(line: socket.socket, kept: bytearray) -> bytes | None:
    """The next line; ``None`` if the other end is gone."""
    while b"\n" not in kept and len(kept) < LINE_BYTES:
        data = line.recv(2**16)
        if not data:
            return None
        kept += data
    found, _, rest = bytes(kept).partition(b"\n")
    kept[:] = rest
    return found


def _start(order: Order, libc: ctypes.CDLL) -> int:
    # whoever ends the server before it has begun shall not be lost on it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid
    try:
        if sys.platform == "linux":
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.dup2(2, 1)
        os.execve(order["argv"][0], order["argv"], order["environment"])  # noqa: S606 - a server
    except OSError as error:
        os.write(2, f"cannot run {order['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(CANNOT_RUN)


def _keep(line: socket.socket, server: int) -> int:
    """Wait for the server's end; ask for it when the agent does, or when the agent is gone.

    Returns:
        How it ended, as ``waitpid`` says it.
    """
    wake, waker = socket.socketpair()
    waker.settimeout(0)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _noted)
    kept, deadline_s = bytearray(), None
    listening = [line, wake]
    while (status := _ended(server)) is None:
        wait_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        ready, _, _ = select.select(listening, [], [], wait_s)
        if wake in ready:
            wake.recv(4096)
        if line in ready:
            asked = _line_of(line, kept)
            patience_s = ORPHANED_S if asked is None else _patience_s(asked)
            os.kill(server, signal.SIGTERM)
            deadline_s = time.monotonic() + patience_s
            if asked is None:
                listening = [wake]
        if deadline_s is not None and time.monotonic() >= deadline_s:
            os.kill(server, signal.SIGKILL)
            deadline_s = time.monotonic() + ORPHANED_S
    signal.set_wakeup_fd(-1)
    return status


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The wake-up socket has told it already."""


def _patience_s(asked: bytes) -> float:
    told = cast("Mapping[str, float]", json.loads(asked))
    return float(told["stop"])


def _ended(server: int) -> int | None:
    """Bury whoever has ended; how the server did, once it has."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == server:
            return status
        if pid == 0:
            return None


def _end_the_rest() -> None:
    """End what the server has started and left, wherever it went."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(0, signal.SIGTERM)
    until_s = time.monotonic() + STRAGGLERS_S
    while _has_children():
        if time.monotonic() >= until_s:
            for pid in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_S)


def _has_children() -> bool:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False


def _children() -> list[int]:
    """Our own children, which on Linux all orphans below us have become."""
    try:
        told = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(pid) for pid in told.split()]


def _end_as(status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:3])
