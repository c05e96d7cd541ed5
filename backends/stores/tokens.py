"""Tokens and keys for stores: read where they are kept, sent in one header, never shown."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import StoreDenied

MOST_TOKEN_BYTES = 16 * 2**10


def first(environ: Mapping[str, str], names: Iterable[str]) -> str:
    """The first variable of these that is set to anything; empty if none is."""
    return next((text for name in names if (text := environ.get(name, "").strip())), "")


def from_file(path: Path, *, store: str, is_needed: bool) -> str:
    """A file's one line.

    Args:
        path: The file.
        store: For the message.
        is_needed: Whether the operator named it; else a file that is not there is no failure.

    Raises:
        StoreDenied: It cannot be read, or holds no token.
    """
    try:
        with path.open("rb") as opened:
            text = opened.read(MOST_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
        if is_needed:
            reason = f"the token file {path} cannot be read"
            raise StoreDenied(store=store, reason=reason) from None
    if is_needed and not text:
        raise StoreDenied(store=store, reason=f"the token file {path} is empty")
    return text


def bearer(token: str, *, store: str) -> dict[str, str]:
    """The header that shows a token; none for an empty one.

    Raises:
        StoreDenied: It holds what no token holds, such as a line break.
    """
    if not token:
        return {}
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise StoreDenied(store=store, reason="the token holds blanks or odd characters")
    return {"authorization": f"Bearer {token}"}


def basic(user: str, word: str) -> dict[str, str]:
    """The header of HTTP's own user and password."""
    return {"authorization": f"Basic {base64.b64encode(f'{user}:{word}'.encode()).decode()}"}
