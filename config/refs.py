"""Where a model lives, as one value: parsed once, never read again.

A reference is a URI whose scheme names the kind of store; a bare ``org/name`` means Hugging
Face. Schemes are case-insensitive and blanks around the text are dropped; everything after
the scheme is kept as it was written, for object keys are case-sensitive.

NGC is spelled in two ways, with the version behind a colon or as the last segment; both give
the same value. Which files are wanted is no matter of the place, but for the one GGUF file that is
meant of a repository: no reference has a query.

Source:
    ModelExpress, ``modelexpress_common/src/providers/ngc.rs``: ``org/name/version``,
    ``org/team/name/version``, ``org/team/type/name/version`` and ``org/team/name:version``.
    huggingface_hub, ``HfFileSystem``: ``hf://org/name@revision/path/in/repository``; of such paths
    only GGUF files are taken, of which one repository often has a dozen.
"""

import re
from typing import Literal

from .errors import RefInvalid
from .frozen import frozen
from .patterns import pattern
from .urls import quote, unquote

Scheme = Literal["s3", "gs", "ngc", "hf", "file", "https", "http"]
SCHEMES: tuple[Scheme, ...] = ("s3", "gs", "ngc", "hf", "file", "https", "http")

_URI = pattern(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_BUCKET = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_NAME = pattern(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_BARE = pattern(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*(?:@\S+)?")
_ONE_FILE = pattern(
    r"(?P<place>[^/@]+(?:@(?:refs/(?:pr|convert)/)?[^/@]+)?)/(?P<file>[^@]*[^/@]\.gguf)",
    re.IGNORECASE,
)
_AUTHORITY = pattern(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
_MOST_PORT = 65535
_MANIFEST = "manifest.json"
_NGC_MOST_NAMES = 3
"""Of team, type and name."""


@frozen
class ModelRef:
    """A place in a store.

    Attributes:
        scheme: Lower-case kind of store.
        container: Bucket (s3, gs), organisation (hf, ngc), host and perhaps port (https, http)
            or empty (file).
        path: Key prefix without slashes at its ends; for ``file`` an absolute path; for
            ``https`` and ``http`` the manifest's path as it stands in the URL.
        revision: What follows ``@`` (hf) or ``:`` (ngc) in the last segment; empty if none.
        file: The one GGUF file of a repository that is meant (hf); empty: the repository holds one.
    """

    scheme: Scheme
    container: str
    path: str
    revision: str = ""
    file: str = ""

    def __str__(self) -> str:
        """The reference, spelled canonically; reading it again gives an equal one."""
        mark = {"hf": "@", "ngc": ":"}.get(self.scheme, "")
        tail = f"{mark}{self.revision}" if self.revision else ""
        if self.scheme == "file":
            return f"file://{_spelled(self.path)}"
        file = f"/{self.file}" if self.file else ""
        return f"{self.scheme}://{self.container}/{self.path}{tail}{file}".rstrip("/")

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Read a reference.

        Args:
            text: For example ``s3://models/org/name``, ``FILE:///srv/models/name`` or
                ``org/name``.

        Returns:
            The reference; equal texts up to blanks and the scheme's case give equal values.

        Raises:
            RefInvalid: No scheme, an unknown one, or a path that could leave its place.
        """
        found = _URI.fullmatch(text.strip())
        if found is None:
            if not _BARE.fullmatch(text.strip()):
                raise RefInvalid(ref=text, reason="it has no scheme, such as s3://")
            found = _URI.fullmatch(f"hf://{text.strip()}")
        assert found is not None  # noqa: S101  # for the type checker: a scheme was put before it
        scheme, rest = found["scheme"].lower(), found["rest"]
        if scheme not in SCHEMES:
            raise RefInvalid(ref=text, reason=f"unknown scheme; known are {', '.join(SCHEMES)}")
        if any(ord(letter) < 32 or letter in "?#" for letter in rest):  # noqa: PLR2004  # C0 controls
            raise RefInvalid(ref=text, reason="control characters, ? and # are not allowed")
        match scheme:
            case "file":
                return cls("file", "", _absolute(text, unquote(rest)))
            case "https" | "http" as web:
                return cls(web, *_manifest(text, rest))
            case "hf":
                return cls("hf", *_hugging_face(text, *_place(text, rest)))
            case "ngc":
                return cls("ngc", *_ngc(text, *_place(text, rest)))
            case "s3" | "gs" as bucket:
                return cls(bucket, *_place(text, rest))


def _place(text: str, rest: str) -> tuple[str, str]:
    container, _, path = rest.partition("/")
    path = path.strip("/")
    _refuse_odd_segments(text, path)
    if not _BUCKET.fullmatch(container):
        raise RefInvalid(ref=text, reason="no valid bucket or organisation after the scheme")
    return container, path


def _absolute(text: str, rest: str) -> str:
    path = rest.removeprefix("localhost")
    if not path.startswith("/"):
        raise RefInvalid(ref=text, reason="a file reference needs an absolute path: file:///…")
    if any(ord(letter) < 32 for letter in path):  # noqa: PLR2004  # C0 controls, %00 among them
        raise RefInvalid(ref=text, reason="control characters are not allowed")
    _refuse_odd_segments(text, path.strip("/"))
    return "/" + path.strip("/")


def _hugging_face(text: str, org: str, path: str) -> tuple[str, str, str, str]:
    path, file = _gguf(path)
    # a revision may hold slashes (refs/pr/1), a name may not
    name, mark, revision = path.partition("@")
    if not name:
        raise RefInvalid(ref=text, reason="no model name after the organisation")
    if not _NAME.fullmatch(name):
        raise RefInvalid(
            ref=text,
            reason="Hugging Face models are org/name, org/name@revision or either/FILE.gguf",
        )
    if mark and (not revision or not all(map(_NAME.fullmatch, revision.split("/")))):
        raise RefInvalid(ref=text, reason="no valid revision after @")
    return org, name, revision, file


def _gguf(path: str) -> tuple[str, str]:
    """A repository, perhaps with a revision, and the one file of it that is meant."""
    found = _ONE_FILE.fullmatch(path)
    return (found["place"], found["file"]) if found else (path, "")


def _ngc(text: str, org: str, path: str) -> tuple[str, str, str]:
    if not path:
        raise RefInvalid(ref=text, reason="no model name after the organisation")
    names, mark, version = path.rpartition(":")
    if not mark:
        names, _, version = path.rpartition("/")
    parts = names.split("/")
    if not names or len(parts) > _NGC_MOST_NAMES or not all(map(_NAME.fullmatch, parts)):
        reason = "NGC models are ngc://org/[team/[type/]]name:version"
        raise RefInvalid(ref=text, reason=reason)
    if not _NAME.fullmatch(version):
        raise RefInvalid(ref=text, reason="no valid version after the model name")
    return org, names, version


def _manifest(text: str, rest: str) -> tuple[str, str]:
    authority, _, path = rest.partition("/")
    found = _AUTHORITY.fullmatch(authority)
    if found is None or not 0 < int(found["port"] or "1") <= _MOST_PORT:
        raise RefInvalid(ref=text, reason="no valid host[:port] after the scheme")
    _refuse_odd_segments(text, path)
    _refuse_odd_segments(text, unquote(path))
    if path.rpartition("/")[2] != _MANIFEST:
        reason = f"a web reference names a registry's manifest: https://host/…/{_MANIFEST}"
        raise RefInvalid(ref=text, reason=reason)
    if re.search(r"[^!-~]|%(?![0-9A-Fa-f]{2})", path):
        raise RefInvalid(ref=text, reason="a web reference is percent-encoded ASCII")
    return authority.lower(), path


def _spelled(path: str) -> str:
    return "".join(quote(x) if x in "%?#" or x.isspace() else x for x in path)


def _refuse_odd_segments(text: str, path: str) -> None:
    if path and any(part in {"", ".", ".."} for part in path.split("/")):
        raise RefInvalid(ref=text, reason="empty, '.' and '..' segments are not allowed")
