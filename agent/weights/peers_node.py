"""What this node is called among its peers, and the key that it shares with them.

The name is made anew each time the node begins to serve: 16 bytes of chance, in the cache
folder for the fetches of this machine to read. It is locked by whoever serves, so that a
fetch can tell whether anybody does.
"""

import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...config.errors import SecretUnusable
from ...config.paths import StateUnusable
from ...config.secrets import from_file
from .peers_talk import ID_BYTES, SHORTEST_KEY

NODE_NAME = ".peer"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def key_of(key_file: str | None) -> bytes:
    """The pool's key.

    Args:
        key_file: ``peers.key_file``.

    Raises:
        SecretUnusable: It is not there, others may read it, or it is too short.
    """
    source = f"file {key_file}"
    secret = from_file(key_file or "").secret
    if secret is None:
        raise SecretUnusable(source=source, reason="it is not there")
    key = secret.reveal().encode()
    if len(key) < SHORTEST_KEY:
        reason = f"a key of peers has at least {SHORTEST_KEY} characters: openssl rand -hex 32"
        raise SecretUnusable(source=source, reason=reason)
    return key


@contextmanager
def serving(models: Path) -> Generator[bytes]:
    """A new name for as long as this process serves.

    Args:
        models: The folder of all builds; made if need be.

    Raises:
        StateUnusable: Another process serves from this cache.
        OSError: The folder cannot be used.
    """
    models.mkdir(parents=True, exist_ok=True)
    fd = os.open(models / NODE_NAME, _FLAGS, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            reason = "another process serves peers from it"
            raise StateUnusable(path=str(models), reason=reason) from error
        node = secrets.token_bytes(ID_BYTES)
        _ = os.pwrite(fd, node, 0)
        yield node
    finally:
        os.close(fd)


def own_node(models: Path) -> bytes | None:
    """What this machine's server is called; ``None`` if none runs.

    Args:
        models: The folder of all builds.
    """
    with suppress(OSError):
        fd = os.open(models / NODE_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            node = os.pread(fd, ID_BYTES, 0)
            return node if len(node) == ID_BYTES else None
        finally:
            os.close(fd)
    return None
