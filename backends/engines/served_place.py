"""Where a server of ours listens, and how nobody else gets in.

A Unix socket in a folder that only this user may enter, or a port of this machine; and a key
that is new at each start.
"""

import secrets
import shutil
import socket
import sys
import tempfile
from dataclasses import field
from pathlib import Path
from typing import Self

from ...config.frozen import frozen
from .http_call import Peer
from .profiles import HOST

SOCKET = "s.sock"

LONGEST_PATH = 103
"""Of a Unix socket. Source: ``sun_path`` has 104 bytes on macOS and 108 on Linux."""


@frozen
class Place:
    """One server's place.

    Attributes:
        folder: Of mode 0700, this start's own.
        socket_path: In it, for a server that can.
        port: For one that cannot.
    """

    folder: Path
    socket_path: str | None
    port: int | None
    key: str = field(repr=False)

    @classmethod
    def make(cls, *, takes_socket: bool) -> Self:
        """A new place.

        Raises:
            OSError: There is no room for one.
        """
        folder = Path(tempfile.mkdtemp(prefix="poolhand-"))
        if len(str(folder / SOCKET)) > LONGEST_PATH and sys.platform != "win32":
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="poolhand-", dir="/tmp"))
        key = secrets.token_urlsafe(24)
        if takes_socket:
            return cls(folder, str(folder / SOCKET), None, key)
        return cls(folder, None, _free_port(), key)

    @property
    def peer(self) -> Peer:
        """How the server is reached."""
        headers = {"Authorization": f"Bearer {self.key}"}
        if self.socket_path is not None:
            return Peer("http://localhost", headers, self.socket_path)
        return Peer(f"http://{HOST}:{self.port}", headers)

    def remove(self) -> None:
        """Leave nothing of it behind."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    """A port that is free now; whoever takes it before the server does is no server of ours."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        return int(bound.getsockname()[1])
