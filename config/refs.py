"""Where a model lives, as one value: parsed once, never read again.

A reference is a URI whose scheme names the kind of store. Schemes are case-insensitive and
blanks around the text are dropped; everything after the scheme is kept as it was written,
for object keys are case-sensitive.
"""

import re
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import unquote

from .errors import RefInvalid

Scheme = Literal["s3", "gs", "ngc", "hf", "file"]
SCHEMES: tuple[Scheme, ...] = ("s3", "gs", "ngc", "hf", "file")

_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A place in a store.

    Attributes:
        scheme: Lower-case kind of store.
        container: Bucket (s3, gs), organisation (hf, ngc) or empty (file).
        path: Key prefix without slashes at its ends; for ``file`` an absolute path.
        revision: What follows ``@`` (hf) or ``:`` (ngc) in the last segment; empty if none.
    """

    scheme: Scheme
    container: str
    path: str
    revision: str = ""

    def __str__(self) -> str:
        """The reference, spelled canonically."""
        mark = {"hf": "@", "ngc": ":"}.get(self.scheme, "")
        tail = f"{mark}{self.revision}" if self.revision else ""
        if self.scheme == "file":
            return f"file://{self.path}"
        return f"{self.scheme}://{self.container}/{self.path}{tail}".rstrip("/")

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Read a reference.

        Args:
            text: For example ``s3://models/org/name`` or ``FILE:///srv/models/name``.

        Returns:
            The reference; equal texts up to blanks and the scheme's case give equal values.

        Raises:
            RefInvalid: No scheme, an unknown one, or a path that could leave its place.
        """
        found = _URI.fullmatch(text.strip())
        if found is None:
            raise RefInvalid(ref=text, reason="it has no scheme, such as s3://")
        scheme, rest = found["scheme"].lower(), found["rest"]
        if scheme not in SCHEMES:
            raise RefInvalid(ref=text, reason=f"unknown scheme; known are {', '.join(SCHEMES)}")
        if any(ord(letter) < 32 or letter in "?#" for letter in rest):  # noqa: PLR2004  # C0 controls
            raise RefInvalid(ref=text, reason="control characters, ? and # are not allowed")
        if scheme == "file":
            return cls("file", "", _absolute(text, unquote(rest)))
        container, _, path = rest.partition("/")
        path, revision = _split_revision(scheme, path.strip("/"))
        _refuse_odd_segments(text, path)
        if not _BUCKET.fullmatch(container):
            raise RefInvalid(ref=text, reason="no valid bucket or organisation after the scheme")
        if scheme in {"hf", "ngc"} and not path:
            raise RefInvalid(ref=text, reason="no model name after the organisation")
        return cls(cast("Scheme", scheme), container, path, revision)


def _absolute(text: str, rest: str) -> str:
    path = rest.removeprefix("localhost")
    if not path.startswith("/"):
        raise RefInvalid(ref=text, reason="a file reference needs an absolute path: file:///…")
    _refuse_odd_segments(text, path.strip("/"))
    return "/" + path.strip("/")


def _split_revision(scheme: str, path: str) -> tuple[str, str]:
    mark = {"hf": "@", "ngc": ":"}.get(scheme)
    if mark is None or mark not in path:
        return path, ""
    head, _, revision = path.rpartition(mark)
    return head, revision


def _refuse_odd_segments(text: str, path: str) -> None:
    if path and any(part in {"", ".", ".."} for part in path.split("/")):
        raise RefInvalid(ref=text, reason="empty, '.' and '..' segments are not allowed")
