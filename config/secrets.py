"""Secrets, such as the coordinator's token: where they come from, what keeps them out of texts.

It is read from a file that nobody else can read, an environment variable, a credential of the
service manager or the macOS keychain. It is never an argument of a command, for those are public.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from .errors import SecretUnusable
from .frozen import frozen
from .settings import Coordinator

DEFAULT_VARIABLE = "POOLHAND_TOKEN"
"""The environment variable that is asked when the configuration names no source."""

MOST_BYTES = 8 * 2**10

UNIT_CREDENTIAL = "token"  # a name
UNIT_TOKEN = Path("/etc/poolhand/token")
"""The credential that our units hand out, and the file of root's that it is made of."""

_NO_FILE = b"\n"
"""What our units hand out if the token's file is not there: nothing would not parse."""


class Secret:
    """A text that cannot get into a log, a message or a file by accident.

    ``repr``, ``str`` and every format give ``[secret]``; it does not pickle, copy or
    serialise. Only :meth:`reveal` gives it away.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    def reveal(self) -> str:
        """The text itself; called where it is sent, and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        """Nothing of the text, nor its length."""
        return "[secret]"

    def __format__(self, spec: str) -> str:
        """Nothing of the text, whatever is asked for."""
        return "[secret]"

    def __eq__(self, other: object) -> bool:
        """Whether two secrets are the same, in a time that does not tell how nearly."""
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac  # noqa: PLC0415  # no verb compares two

        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        """The hash of the text; Python salts it for each process."""
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        problem = "a secret cannot be pickled"
        raise TypeError(problem)


@frozen
class FoundToken:
    """What the named source holds.

    Attributes:
        secret: The token; ``None`` if the source is not there, which is no failure: a
            coordinator may want none.
        source: Where it was looked for, for people.
        warning: What the operator should be told; empty if all is well.
    """

    secret: Secret | None
    source: str
    warning: str = ""


def coordinator_token(section: Coordinator, environ: Mapping[str, str]) -> FoundToken:
    """Read the token from the one source that the configuration names.

    Args:
        section: ``[coordinator]``, its paths absolute.
        environ: The process's environment.

    Raises:
        SecretUnusable: The source is there, but cannot be read, lies open to other users,
            or holds nothing that could be a token.
    """
    if section.token_file is not None:
        return from_file(section.token_file)
    if section.token_credential is not None:
        return from_credential(section.token_credential, environ)
    if section.token_keychain is not None:
        from .keychain import from_keychain  # noqa: PLC0415  # it runs a program, on Macs alone

        return from_keychain(section.token_keychain, environ)
    found = from_variable(section.token_env or DEFAULT_VARIABLE, environ)
    # nobody has named the default, so nobody misses it
    return found if section.token_env else replace(found, warning="")


def from_file(path: str) -> FoundToken:
    """Read a secret from a file of ours that nobody else can read.

    Raises:
        SecretUnusable: As for :func:`coordinator_token`.
    """
    return _from_file(Path(path), f"file {path}", is_ours=True)


def from_variable(name: str, environ: Mapping[str, str]) -> FoundToken:
    """Read a secret from an environment variable.

    Raises:
        SecretUnusable: As for :func:`coordinator_token`.
    """
    source = f"environment variable {name}"
    text = environ.get(name)
    if text is None:
        return FoundToken(None, source, f"{source} is not set: going without a token")
    return FoundToken(checked(text.encode(errors="surrogateescape"), source), source)


def from_credential(name: str, environ: Mapping[str, str]) -> FoundToken:
    """Read a secret that the service manager hands out.

    Raises:
        SecretUnusable: As for :func:`coordinator_token`.
    """
    source = f"credential {name!r}"
    if "/" in name or name in {"", ".", ".."}:
        raise SecretUnusable(source=source, reason="a credential's name has no slashes")
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder.startswith("/"):
        warning = f"{source}: no service manager hands out credentials: going without a token"
        return FoundToken(None, source, warning)
    # the service manager guards this folder; its modes are not ours to judge
    return _from_file(Path(folder) / name, source, is_ours=False)


def _from_file(path: Path, source: str, *, is_ours: bool) -> FoundToken:
    try:
        # not blocking: a named pipe in its place must not hold up the start
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return FoundToken(None, source, f"{source} is not there: going without a token")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise SecretUnusable(source=source, reason=reason or "no valid path") from error
    try:
        facts = os.fstat(opened)
        if not stat.S_ISREG(facts.st_mode):
            raise SecretUnusable(source=source, reason="it is no regular file")
        if is_ours:
            _refuse_what_others_touch(path, source, facts)
        raw = os.read(opened, MOST_BYTES + 3)  # a token, its line end, and one byte too many
    finally:
        os.close(opened)
    if raw == _NO_FILE and not is_ours:
        return FoundToken(None, source, f"{source} stands for no file: going without a token")
    return FoundToken(checked(raw, source), source)


def _refuse_what_others_touch(path: Path, source: str, facts: os.stat_result) -> None:
    if facts.st_uid not in {os.geteuid(), 0}:
        raise SecretUnusable(source=source, reason="it belongs to another user")
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        reason = f"others may read it (mode {mode:04o}): chmod 600 {path}"
        raise SecretUnusable(source=source, reason=reason)


def checked(raw: bytes, source: str) -> Secret:
    """The secret in what a source holds; a line's end is none of it.

    Raises:
        SecretUnusable: It cannot be one.
    """
    # no error below may be raised inside an except block: its context would hold the bytes
    text = raw.decode(errors="replace").rstrip("\r\n")
    if not text.strip():
        raise SecretUnusable(source=source, reason="it is empty")
    if len(text.encode()) > MOST_BYTES:
        raise SecretUnusable(source=source, reason=f"it is longer than {MOST_BYTES} bytes")
    if "\N{REPLACEMENT CHARACTER}" in text:
        raise SecretUnusable(source=source, reason="it is not UTF-8 text")
    if any(letter.isspace() or not letter.isprintable() for letter in text):
        raise SecretUnusable(source=source, reason="it holds blanks or control characters")
    return Secret(text)
