"""The macOS keychain, by the system's own tool.

A secret is never an argument, for those are public: it is read from the tool's output, and
handed to it over its standard input.

Source:
    security(1): ``find-generic-password``, ``add-generic-password``, ``-i``; an item that is not
    there ends with 44, the low byte of errSecItemNotFound.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence

from .errors import SecretUnusable
from .secrets import FoundToken, Secret, checked

ACCOUNT = "poolhand"
"""Under which account our entries stand; their service is the name that the settings give."""

TOOL = "security"
PATIENCE_S = 20.0
"""How long it may take; a keychain that is locked asks its owner first."""

_NOT_THERE = 44


def from_keychain(name: str, environ: Mapping[str, str]) -> FoundToken:
    """Read a generic password.

    Args:
        name: Its service.
        environ: The process's environment; its ``PATH`` says where the tool is.

    Raises:
        SecretUnusable: It is there, but is not given out, or cannot be a token.
    """
    source = _source(name)
    tool = shutil.which(TOOL, path=environ.get("PATH"))
    if tool is None:
        return FoundToken(None, source, f"{source}: no keychain here: going without a token")
    code, out = _asked(tool, ["find-generic-password", "-s", name, "-w"], source)
    if code == _NOT_THERE:
        return FoundToken(None, source, f"{source} is not there: going without a token")
    if code != 0:
        raise SecretUnusable(source=source, reason=f"the keychain does not give it out ({code})")
    return FoundToken(checked(out, source), source)


def into_keychain(name: str, secret: Secret, environ: Mapping[str, str]) -> None:
    """Store a generic password, in place of one of that name.

    Raises:
        SecretUnusable: There is no keychain, or it did not take it.
    """
    source = _source(name)
    tool = _tool(source, environ)
    # in hexadecimal, so that nothing in it means anything to the tool's own command line
    words = (
        f'add-generic-password -U -a "{ACCOUNT}" -s "{name}" -X {secret.reveal().encode().hex()}'
    )
    _ = _asked(tool, ["-i"], source, said=f"{words}\n".encode())
    # its exit code speaks of the last line alone: what counts is whether it is there
    if from_keychain(name, environ).secret != secret:
        raise SecretUnusable(source=source, reason="the keychain did not take it")


def out_of_keychain(name: str, environ: Mapping[str, str]) -> bool:
    """Delete a generic password; whether there was one.

    Raises:
        SecretUnusable: There is no keychain, or it keeps the entry.
    """
    source = _source(name)
    tool = _tool(source, environ)
    code, _ = _asked(tool, ["delete-generic-password", "-a", ACCOUNT, "-s", name], source)
    if code not in {0, _NOT_THERE}:
        raise SecretUnusable(source=source, reason=f"the keychain keeps it ({code})")
    return code == 0


def _source(name: str) -> str:
    return f"keychain entry {name!r}"


def _tool(source: str, environ: Mapping[str, str]) -> str:
    tool = shutil.which(TOOL, path=environ.get("PATH"))
    if tool is None:
        raise SecretUnusable(source=source, reason="there is no keychain on this machine")
    return tool


def _asked(tool: str, words: Sequence[str], source: str, said: bytes = b"") -> tuple[int, bytes]:
    """The tool's exit code and output."""
    try:
        ended = subprocess.run(  # noqa: S603  # the system's own tool, our own words
            [tool, *words], input=said, capture_output=True, check=False, timeout=PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        ended = None
    # raised here and not above: an error's context would hold what the tool said so far
    if ended is None:
        raise SecretUnusable(source=source, reason="the keychain does not answer")
    return ended.returncode, ended.stdout
