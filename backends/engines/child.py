"""One supervised child process, at the other end of a socket.

The child gets an environment built from nothing, a session of its own and one inherited
socket. Nothing here waits in the background: the loop calls back when bytes come, when they
end and when the process is gone. When ``stop`` has returned the process is no more, so its
memory is back.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from .manners import quiet_environment

TAIL_BYTES = 8 * 2**10
TERM_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""

_HANG_UP_S = 2.0
"""Seconds a process may live on without its socket, or its socket or log without it."""

_INHERITED = ("PATH", "HOME", "TMPDIR", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


_Part = Literal["process", "line", "log"]


class Listener(Protocol):
    """Who hears what a child says and what becomes of it."""

    def heard(self, data: bytes) -> None:
        """Take bytes in, as they came off the socket."""
        ...

    def gone(self, exit_code: int | None) -> None:
        """Learn, once, that the process has ended; all its bytes were heard before."""
        ...


def clean_environment(parent: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: where things are, and no network; no key, no token.

    Args:
        parent: The agent's own environment.
    """
    kept = {name: parent[name] for name in _INHERITED if name in parent}
    return {**kept, "LANG": "C.UTF-8", **quiet_environment()}


class _Ear(Protocol):
    def took(self, data: bytes) -> None: ...
    def ended(self, part: Literal["line"]) -> None: ...


class Line(asyncio.Protocol):
    """Our end of a line to a child, whatever it is.

    Args:
        other: Told what comes, and the end.
    """

    def __init__(self, other: _Ear) -> None:
        self._other = other

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._other.took(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        """No more will."""
        self._other.ended("line")


class Child:
    """A process, its socket, and the last words of its log.

    Args:
        command: Its argument vector; the socket's number and our process id are added.
        listener: Told on the event loop.
    """

    def __init__(self, command: Sequence[str], listener: Listener) -> None:
        self._command = tuple(command)
        self._listener = listener
        self._process: asyncio.SubprocessTransport | None = None
        self._line: asyncio.Transport | None = None
        self._log = bytearray()
        self._said: list[bytes] = []
        self._open: set[_Part] = {"process", "line", "log"}
        self._is_leaving = False
        self._gone = asyncio.Event()
        self._hurry: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The process, once there is one."""
        return self._process.get_pid() if self._process else None

    @property
    def exit_code(self) -> int | None:
        """How it ended, as :mod:`subprocess` counts; ``None`` while it runs."""
        return self._process.get_returncode() if self._process else None

    @property
    def log_tail(self) -> str:
        """The end of what it wrote to standard error."""
        return self._log.decode("utf-8", "replace").strip()

    async def start(self) -> None:
        """Start the process.

        Raises:
            OSError: It cannot be started.
        """
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as stack:
            stack.callback(theirs.close)
            stack.callback(ours.close)
            descriptor = theirs.fileno()
            process, _ = await loop.subprocess_exec(
                lambda: _Log(self),
                *self._command,
                str(descriptor),
                str(os.getpid()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(descriptor,),
                env=clean_environment(os.environ),
                cwd="/",
                start_new_session=True,
            )
            self._process = process
            line, _ = await loop.create_unix_connection(lambda: Line(self), sock=ours)
            self._line = line
            stack.pop_all()
            theirs.close()

    def say(self, frame: bytes) -> None:
        """Send a frame; it is kept until the child takes it, and lost if it is gone.

        What is said in one turn of the loop goes in one piece: an engine that sees all of many
        requests at once has them begin together.
        """
        if not self._said:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._said.append(frame)

    def _hand_over(self) -> None:
        said, self._said = self._said, []
        if self._line and not self._line.is_closing():
            self._line.write(b"".join(said))

    def listen(self, *, to_more: bool) -> None:
        """Take more bytes from the child, or leave them to it until its own room is full."""
        if self._line and not self._line.is_closing():
            if to_more:
                self._line.resume_reading()
            else:
                self._line.pause_reading()

    def kill(self) -> None:
        """End the process and all it started, at once."""
        self._signal(signal.SIGKILL)

    async def stop(self, farewell: Iterable[bytes], *, patience_s: float) -> bool:
        """Ask the process to leave, then make it leave; return when it is no more.

        Args:
            farewell: Frames that ask it; empty: it is not asked but told.
            patience_s: Seconds it may take after it was asked.

        Returns:
            Whether it had to be killed.
        """
        if self._process is None:
            return False
        try:
            return await self._leave(tuple(farewell), patience_s)
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            self._process.close()
            if self._line:
                self._line.close()

    async def _leave(self, farewell: Sequence[bytes], patience_s: float) -> bool:
        self.listen(to_more=True)
        self._is_leaving = True
        for frame in farewell:
            self.say(frame)
        is_gone = bool(farewell and self._line) and await self._wait(patience_s)
        if not is_gone:
            self._signal(signal.SIGTERM)
            is_gone = await self._wait(TERM_S)
        if not is_gone:
            self.kill()
            await self._gone.wait()
        return not is_gone

    async def _wait(self, patience_s: float) -> bool:
        try:
            async with asyncio.timeout(patience_s):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None and "process" in self._open:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)

    def took(self, data: bytes) -> None:
        """The socket brought bytes."""
        self._listener.heard(data)

    def logged(self, data: bytes) -> None:
        """The log brought bytes; only its end is kept."""
        self._log += data
        del self._log[:-TAIL_BYTES]

    def ended(self, part: _Part) -> None:
        """One part of it has ended: the others shall too, soon; then all is told."""
        self._open.discard(part)
        if self._hurry is not None:
            self._hurry.cancel()
        later = asyncio.get_running_loop().call_later
        if not self._open:
            if not self._gone.is_set():
                self._gone.set()
                self._listener.gone(self.exit_code)
        elif "process" not in self._open:
            self.listen(to_more=True)
            self._hurry = later(_HANG_UP_S, self._cut)
        elif "line" not in self._open and not self._is_leaving:
            self._hurry = later(_HANG_UP_S, self.kill)

    def _cut(self) -> None:
        """Something else holds what the process held; there is nothing to hear from it."""
        if self._line:
            self._line.abort()
        else:
            self.ended("line")
        self.ended("log")


class _Log(asyncio.SubprocessProtocol):
    def __init__(self, child: Child) -> None:
        self._child = child

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 - asyncio's form
        self._child.logged(data)

    def process_exited(self) -> None:
        self._child.ended("process")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - as above
        self._child.ended("log")
