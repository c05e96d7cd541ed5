"""Lines for systemd's journal, with fields of their own, over its native socket.

``journalctl -o json``, ``journalctl POOLHAND_CODE=engine_died`` and ``-p warning`` then work
as they do for the system's own services.

Source:
    systemd, "Native Journal Protocol"; systemd.journal-fields(7); sd-daemon(3) for ``<N>``;
    systemd.exec(5) for ``JOURNAL_STREAM``.
"""

import logging
import os
import socket
from collections.abc import Mapping
from typing import Self

SOCKET = "/run/systemd/journal/socket"

_PRIORITIES = (
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_DEBUG = 7


def priority(level: int) -> int:
    """Syslog's number for a level of :mod:`logging`."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


def is_journal(environ: Mapping[str, str], descriptor: int) -> bool:
    """Whether what is written to a descriptor goes to the journal.

    Args:
        environ: The process's environment.
        descriptor: As a rule that of standard error.
    """
    try:
        facts = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"


def encoded(fields: Mapping[str, str]) -> bytes:
    """An entry as the socket takes it."""
    parts: list[bytes] = []
    for name, value in fields.items():
        raw = value.encode(errors="replace")
        if b"\n" in raw:
            parts.append(name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n")
        else:
            parts.append(name.encode() + b"=" + raw + b"\n")
    return b"".join(parts)


class Journald:
    """The journal's socket.

    Args:
        connected: A datagram socket that leads there.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    @classmethod
    def opened(cls, path: str = SOCKET) -> Self | None:
        """Connect; ``None`` if there is no journal."""
        found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            found.connect(path)
        except OSError:
            found.close()
            return None
        found.settimeout(0)
        return cls(found)

    def close(self) -> None:
        """Leave it."""
        self._socket.close()

    def write(self, level: int, message: str, what: str, facts: Mapping[str, object]) -> bool:
        """Write an entry.

        Args:
            level: As :mod:`logging` has it.
            message: The line for people.
            what: Becomes ``POOLHAND_WHAT``.
            facts: Become ``POOLHAND_`` and their names.

        Returns:
            ``False`` if the journal took it not: it is full, or gone.
        """
        own = {f"POOLHAND_{_name(name)}": str(value) for name, value in facts.items()}
        fields = {
            "PRIORITY": str(priority(level)),
            "SYSLOG_IDENTIFIER": "poolhand",
            "MESSAGE": message,
            "POOLHAND_WHAT": what,
        }
        try:
            _ = self._socket.send(encoded({**own, **fields}))
        except OSError:
            return False
        return True


def _name(name: str) -> str:
    """A field's name may have capitals, digits and underscores."""
    return "".join(one if one.isascii() and one.isalnum() else "_" for one in name).upper()
