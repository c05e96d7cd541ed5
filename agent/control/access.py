"""Who may ask over TCP: whoever has the key, from a program on this machine and not from a page.

A browser sends what any web page tells it to, to this machine too. So a question has to bear
the key, the name it was sent to has to be this machine's own (a name that a stranger's resolver
points here is none), and one that says it comes from a page has to come from our own address.

Source:
    CVE-2024-28224: DNS rebinding against a local model server without such checks.
"""

import hmac
import os
import secrets
import socket
import stat
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ...config import paths
from ...config.control import Control
from ...config.errors import SecretUnusable
from ...config.paths import StateUnusable
from ...config.secrets import MOST_BYTES, Secret
from .api import Api, Guard, control_socket
from .asked import Asked, NotAnswered, Routes

LOOPBACK = "127.0.0.1"
KEY_NAME = "control.key"
_KEY_BYTES = 32
_SHORTEST = 16


def guard(key: Secret, port: int) -> Guard:
    """The guard of a port.

    Args:
        key: What ``Authorization: Bearer`` has to say.
        port: The port that is guarded; part of every name it may be called by.
    """
    names = {f"{host}:{port}" for host in (LOOPBACK, "localhost")}
    origins = {f"http://{name}" for name in names}

    def look(question: Asked) -> None:
        headers = question.headers
        if headers.get("host", "").lower() not in names:
            raise NotAnswered(421, "wrong_host", "that is no name of this port")
        if headers.get("origin", next(iter(origins))).lower() not in origins:
            raise NotAnswered(403, "wrong_origin", "pages of others are not answered")
        told = headers.get("authorization", "").partition(" ")
        is_bearer = told[0].lower() == "bearer"
        if not is_bearer or not hmac.compare_digest(told[2].encode(), key.reveal().encode()):
            raise NotAnswered(401, "no_key", "say Authorization: Bearer, and the key")
        kind = headers.get("content-type", "application/json").partition(";")[0].strip()
        if question.method == "POST" and kind.lower() != "application/json":
            raise NotAnswered(415, "wrong_type", "the body has to be application/json")

    return look


def key_of(key_file: str | None, state_dir: Path) -> Secret:
    """The key of the port, made if it is nowhere.

    Args:
        key_file: What the configuration names.
        state_dir: Where the key is made and kept if it names none.

    Raises:
        SecretUnusable: The file cannot be read, others may read it, or its key is too short.
    """
    path = Path(key_file) if key_file is not None else state_dir / KEY_NAME
    source = f"file {path}"
    try:
        if key_file is None and not path.exists():
            _make(path)
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SecretUnusable(source=source, reason=error.strerror or "it is not there") from error
    try:
        facts = os.fstat(opened)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid not in {os.geteuid(), 0}:
            raise SecretUnusable(source=source, reason="it is no file of this user's own")
        if facts.st_mode & 0o077:
            reason = f"others may read it: chmod 600 {path}"
            raise SecretUnusable(source=source, reason=reason)
        text = os.read(opened, MOST_BYTES).decode(errors="replace").strip()
    finally:
        os.close(opened)
    if len(text) < _SHORTEST or not text.isascii() or not text.isprintable() or " " in text:
        reason = f"a key has at least {_SHORTEST} plain characters and no blanks"
        raise SecretUnusable(source=source, reason=reason)
    return Secret(text)


@contextmanager
def doors(
    control: Control, state_dir: Path, routes: Routes
) -> Generator[list[tuple[Api, socket.socket]]]:
    """Every way in, for as long as the block runs: the Unix socket, and the port if there is one.

    Args:
        control: Whether there is a port.
        state_dir: Where the socket and the key are.
        routes: Who answers what, whichever way it came.

    Raises:
        SecretUnusable: The key of the port cannot be used.
        StateUnusable: The socket or the port cannot be had.
    """
    with ExitStack() as held:
        own = held.enter_context(control_socket(paths.control_socket(state_dir)))
        found = [(Api(routes), own)]
        if control.port is not None:
            look = guard(key_of(control.key_file, state_dir), control.port)
            found.append((Api(routes, guard=look), held.enter_context(port(control.port))))
        yield found


@contextmanager
def port(number: int) -> Generator[socket.socket]:
    """A TCP socket on loopback, for as long as the block runs.

    Raises:
        StateUnusable: The port is taken, or may not be had.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, number))
    except OSError as error:
        bound.close()
        reason = f"control.port {number}: {error.strerror or error}"
        raise StateUnusable(path=LOOPBACK, reason=reason) from error
    try:
        yield bound
    finally:
        bound.close()


def _make(path: Path) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "w") as file:
        file.write(secrets.token_urlsafe(_KEY_BYTES) + "\n")
