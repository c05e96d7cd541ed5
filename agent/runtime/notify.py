"""Tells systemd how things are: ready, reading its file again, leaving, alive.

One datagram a message to the socket that ``NOTIFY_SOCKET`` names; without one, nothing. What
finds no room in that socket is owed and goes with the next message: a lost ``READY=1`` would
end the start. The sign of life is the caller's to give, for it alone knows whether the line
still moves.

Source:
    sd_notify(3), sd_watchdog_enabled(3); `$NOTIFY_SOCKET` may begin with ``@``, which stands
    for the NUL of an abstract address.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping

LOOKS = 4
"""Signs of life in the time after which the agent would be taken for dead."""

WORDS_S = 1.0
"""Seconds between two looks at what could be said."""

MOST_OWED = 16
"""Lines that are kept for a socket without room."""

_US = 1_000_000


class Notifier:
    """The agent's end of the talk with its service manager.

    Args:
        address: As ``NOTIFY_SOCKET`` says it; empty: there is nobody to tell.
        watchdog_s: After how much silence the agent is ended, in seconds; ``None``: never.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        is_known = address.startswith(("/", "@")) and len(address) > 1
        self._address = ("\0" + address[1:] if address[0] == "@" else address) if is_known else ""
        self._watchdog_s = watchdog_s if is_known else None
        self._socket: socket.socket | None = None
        self._owed: list[str] = []
        self._fed_s = self._asked_s = float("-inf")
        self._said = ""

    @property
    def look_s(self) -> float:
        """Seconds between two signs of life; infinite if nobody waits for one."""
        return self._watchdog_s / LOOKS if self._watchdog_s else float("inf")

    def ready(self) -> None:
        """It answers its owner, and tries to reach its coordinator; or: the file is read."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """The file is being read again; :meth:`ready` says that it was."""
        # the manager compares it with its own clock, which is this one
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self, within_s: float) -> None:
        """It leaves.

        Args:
            within_s: How long that may take, in seconds; the manager waits as long, even if
                its unit says less.
        """
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(within_s * _US)}")

    def turn(self, now_s: float, *, is_moving: bool, words: Callable[[], str]) -> None:
        """Give a sign of life and say how things are, each if it is due.

        Args:
            now_s: Seconds on the daemon's clock.
            is_moving: Whether the line's machine makes progress; without that, silence, and
                the manager ends the process and starts it again.
            words: One line for ``systemctl status``; asked for once a second at most, and
                told when it changes.
        """
        if not self._address:
            return
        if self._watchdog_s and is_moving and now_s - self._fed_s >= self.look_s:
            self._fed_s = now_s
            self._tell("WATCHDOG=1")
        if now_s - self._asked_s >= WORDS_S:
            self._asked_s = now_s
            said = " ".join(words().split())
            if said != self._said:
                self._said = said
                self._tell(f"STATUS={said}")

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        self._owed = [*self._owed, *lines][-MOST_OWED:]
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.settimeout(0)
            self._socket.sendto("\n".join(self._owed).encode(), self._address)
        except OSError:
            # full, gone or out of reach: it is owed, and a manager that never hears it acts
            return
        self._owed.clear()


def notifier(environ: Mapping[str, str]) -> Notifier:
    """Whoever this process was told to notify.

    Args:
        environ: The process's environment.
    """
    return Notifier(environ.get("NOTIFY_SOCKET", ""), _watchdog_s(environ))


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """How much silence is too much; ``None`` if it is not this process that is watched."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    is_ours = pid in {"", str(os.getpid())}
    return int(text) / _US if is_ours and text.isascii() and text.isdigit() and int(text) else None
