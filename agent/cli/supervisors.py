"""Who keeps the agent running: systemd or launchd, as files to write and commands to run.

Nothing here runs a command or writes a file; ``units.py`` does. So what would be done can be
shown before it is done, and a Mac's answers can be held against its manual on any machine.

Source:
    systemctl(1), systemd.unit(5); launchctl(1), launchd.plist(5).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ...config.frozen import frozen

LABEL = "dev.poolhand.agent"
"""The agent's name for launchd."""

Words = tuple[str, ...]
"""A command and its arguments."""


class Supervisor(Protocol):
    """One job of a service manager, by the commands that steer it."""

    @property
    def name(self) -> str:
        """As its manager knows it."""
        ...

    @property
    def path(self) -> Path:
        """Where its file belongs."""
        ...

    @property
    def is_running(self) -> Words:
        """Ends with 0 while the agent runs, and prints so."""
        ...

    @property
    def is_held(self) -> Words:
        """Ends with 0 as long as anything of an old one is left."""
        ...

    @property
    def load(self) -> Sequence[Words]:
        """After the file was written: have it known, now and at each start of the machine."""
        ...

    @property
    def start(self) -> Sequence[Words]:
        """Start what is known."""
        ...

    @property
    def stop(self) -> Sequence[Words]:
        """Ask it to leave; it stays known."""
        ...

    @property
    def unload(self) -> Sequence[Words]:
        """Stop it and have it forgotten; the file is deleted afterwards."""
        ...

    @property
    def forget(self) -> Sequence[Words]:
        """After the file was deleted."""
        ...

    def runs(self, code: int, output: str) -> bool:
        """Whether the answer to :attr:`is_running` says that it runs."""
        ...

    def logs(self, lines: int, *, is_followed: bool) -> Words:
        """Print the end of its log."""
        ...


@frozen
class Systemd:
    """A unit of systemd.

    Attributes:
        is_user: Of the user's own manager.
        rival: Another that starts with the machine now, and must not beside this one; or empty.
    """

    name: str
    path: Path
    is_user: bool
    rival: str = ""

    @property
    def is_running(self) -> Words:
        """As :attr:`Supervisor.is_running`."""
        return self._say("is-active", self.name)

    @property
    def is_held(self) -> Words:
        """As :attr:`Supervisor.is_held`: active, or on its way in or out."""
        return self._say("is-active", self.name)

    @property
    def load(self) -> Sequence[Words]:
        """As :attr:`Supervisor.load`."""
        rival = (self._say("disable", self.rival),) if self.rival else ()
        return (self._say("daemon-reload"), *rival, self._say("enable", self.name))

    @property
    def start(self) -> Sequence[Words]:
        """As :attr:`Supervisor.start`; returns when the agent says that it is ready."""
        return (self._say("reset-failed", self.name), self._say("start", self.name))

    @property
    def stop(self) -> Sequence[Words]:
        """As :attr:`Supervisor.stop`; returns when it has left."""
        return (self._say("stop", self.name),)

    @property
    def unload(self) -> Sequence[Words]:
        """As :attr:`Supervisor.unload`."""
        return (self._say("disable", "--now", self.name),)

    @property
    def forget(self) -> Sequence[Words]:
        """As :attr:`Supervisor.forget`."""
        return (self._say("daemon-reload"),)

    def runs(self, code: int, output: str) -> bool:
        """As :meth:`Supervisor.runs`."""
        return code == 0 or output.strip() in {"activating", "deactivating", "reloading"}

    def logs(self, lines: int, *, is_followed: bool) -> Words:
        """As :meth:`Supervisor.logs`."""
        which = ("--user-unit" if self.is_user else "--unit", self.name)
        more = ("--follow",) if is_followed else ("--no-pager",)
        return ("journalctl", *which, "--output=cat", f"--lines={lines}", *more)

    def _say(self, *words: str) -> Words:
        return ("systemctl", *(("--user",) if self.is_user else ()), *words)


@frozen
class Launchd:
    """A job of launchd.

    Attributes:
        domain: ``gui/501`` for a user's agent, ``system`` for a daemon.
        log: Where it writes.
    """

    name: str
    path: Path
    domain: str
    log: Path

    @property
    def is_running(self) -> Words:
        """As :attr:`Supervisor.is_running`."""
        return ("launchctl", "print", self._target)

    @property
    def is_held(self) -> Words:
        """As :attr:`Supervisor.is_held`: known, running or not."""
        return ("launchctl", "print", self._target)

    @property
    def load(self) -> Sequence[Words]:
        """As :attr:`Supervisor.load`; a job that was disabled could not be loaded."""
        enable = ("launchctl", "enable", self._target)
        return (enable, ("launchctl", "bootstrap", self.domain, str(self.path)))

    @property
    def start(self) -> Sequence[Words]:
        """As :attr:`Supervisor.start`; nothing happens to one that runs."""
        return (("launchctl", "kickstart", self._target),)

    @property
    def stop(self) -> Sequence[Words]:
        """As :attr:`Supervisor.stop`: it ends with 0, and is not started again for that."""
        return (("launchctl", "kill", "SIGTERM", self._target),)

    @property
    def unload(self) -> Sequence[Words]:
        """As :attr:`Supervisor.unload`; returns before it has left."""
        return (("launchctl", "bootout", self._target),)

    @property
    def forget(self) -> Sequence[Words]:
        """As :attr:`Supervisor.forget`: nothing is left to forget."""
        return ()

    def runs(self, code: int, output: str) -> bool:
        """As :meth:`Supervisor.runs`."""
        return code == 0 and re.search(r"(?m)^\s*state = running$", output) is not None

    def logs(self, lines: int, *, is_followed: bool) -> Words:
        """As :meth:`Supervisor.logs`."""
        return ("tail", "-n", str(lines), *(("-f",) if is_followed else ()), str(self.log))

    @property
    def _target(self) -> str:
        return f"{self.domain}/{self.name}"


def unit_text(template: str, command: Sequence[str]) -> str:
    """A unit that starts this command.

    Args:
        template: One of ``packaging/units``.
        command: Program and arguments, absolute.
    """
    line = "ExecStart=" + " ".join(map(_quoted, command))
    return re.sub(r"(?m)^ExecStart=.*$", lambda _: line, template)


def plist_text(template: bytes, command: Sequence[str], log: Path, user: str | None = None) -> str:
    """A property list that starts this command.

    Args:
        template: ``packaging/units/poolhand.plist``.
        command: Program and arguments, absolute.
        log: Where it writes.
        user: As whom a daemon runs; ``None``: whoever it is loaded by.
    """
    import plistlib  # noqa: PLC0415  # only on a Mac

    told: dict[str, object] = plistlib.loads(template)
    told |= {
        "ProgramArguments": list(command),
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
    }
    if user is not None:
        told["UserName"] = user
    return plistlib.dumps(told, sort_keys=False).decode()


def unreachable(command: Sequence[str], homes: Sequence[Path]) -> str | None:
    """The first word of a command that a service without a home could not open.

    Args:
        command: Program and arguments.
        homes: Folders that are hidden from it.
    """
    paths = [Path(word) for word in command if word.startswith("/")]
    return next((str(p) for p in paths if any(h == p or h in p.parents for h in homes)), None)


def _quoted(word: str) -> str:
    """A word as systemd reads it in ``ExecStart=``.

    Source:
        systemd.service(5), "Command lines": quotes, ``%`` and ``$`` doubled.
    """
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if re.search(r"[\s\"';]", word) else word
