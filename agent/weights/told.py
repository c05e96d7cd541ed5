"""What a store tells of an object's bytes besides a sha256, and how far it is believed.

Text such as ``md5:<hex>``. It is asked for only where nobody promised a sha256, for md5 costs more
than twice what sha256 does. A tag of S3's may be an MD5, or only look like one: no listing says
which. An answer may (:mod:`.answers`), but some servers make their tags up. So a tag counts
against a file only if the tag of another file of the same fetch was the MD5 of that file, or if
there is no other file to ask. The tag of an upload in parts is the MD5 of its parts' MD5s, and
does not say how long they are: of the usual lengths the first is taken that makes so many. Such a
tag, and the name of a blob that a hub tells, counts against a file only if another one of its kind
was right.

Source:
    Amazon S3 API reference, "Object", on ETag.
    Git's object format: the name of a blob is the SHA-1 of a header with its length, and itself.
"""

import hashlib
import threading
from collections.abc import Iterable
from typing import Protocol, Self

from ...backends.stores.etags import ETAG, PARTS
from ...config.frozen import frozen
from .answers import ANSWER

_GIT = "git"


class Digest(Protocol):
    """What of a digest of the library's is used here."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def hexdigest(self) -> str:
        """Lower-case hex of what was taken so far."""
        ...

    def copy(self) -> Self:
        """The same, to be gone on with by itself."""
        ...


class _Whole(Digest, Protocol):
    def digest(self) -> bytes: ...


class _Parts:
    """The tag of an upload in parts: the MD5 of their MD5s, and how many they are.

    Args:
        part_bytes: Length of each but the last.
        done: MD5s of the parts so far.
        part: Of the one that is under way; ``None``: none of it is here.
        room_bytes: What is still to come of it.
    """

    def __init__(
        self,
        part_bytes: int,
        *,
        done: Iterable[bytes] = (),
        part: "_Whole | None" = None,
        room_bytes: int | None = None,
    ) -> None:
        self._part_bytes = part_bytes
        self._done = list(done)
        self._part = _md5() if part is None else part
        self._room_bytes = part_bytes if room_bytes is None else room_bytes

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        while view:
            if not self._room_bytes:
                self._end_part()
            piece = view[: self._room_bytes]
            self._part.update(piece)
            self._room_bytes -= len(piece)
            view = view[len(piece) :]

    def _end_part(self) -> None:
        self._done.append(self._part.digest())
        self._part, self._room_bytes = _md5(), self._part_bytes

    def hexdigest(self) -> str:
        """The tag, without quotes."""
        whole = _md5()
        for digest in (*self._done, self._part.digest()):
            whole.update(digest)
        return f"{whole.hexdigest()}-{len(self._done) + 1}"

    def copy(self) -> Self:
        """The same, to be gone on with by itself."""
        return type(self)(
            self._part_bytes, done=self._done, part=self._part.copy(), room_bytes=self._room_bytes
        )


class _Crc32:
    """The checksum of gzip and of S3, with the face of a digest.

    Args:
        value: Of the bytes so far.
    """

    def __init__(self, value: int = 0) -> None:
        from binascii import crc32  # noqa: PLC0415  # few stores tell one

        self._value, self._crc32 = value, crc32

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        self._value = self._crc32(data, self._value)

    def hexdigest(self) -> str:
        """Eight digits."""
        return f"{self._value:08x}"

    def copy(self) -> Self:
        """The same, to be gone on with by itself."""
        return type(self)(self._value)


class Both:
    """A sha256 and what the store tells, taken over the same bytes at once: see :func:`both`.

    Args:
        kind: What the store tells.
        sha256: Of the bytes so far.
        other: What the store tells, of the bytes so far.
    """

    def __init__(self, kind: str, sha256: Digest, other: Digest) -> None:
        self._kind = kind
        self._sha256 = sha256
        self._other = other

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        self._sha256.update(data)
        self._other.update(data)

    def hexdigest(self) -> str:
        """The sha256, lower-case hex."""
        return self._sha256.hexdigest()

    def told(self) -> str:
        """The other, in the form that the store's has here."""
        return f"{self._kind}:{self._other.hexdigest()}"

    def copy(self) -> Self:
        """The same, to be gone on with by itself."""
        return type(self)(self._kind, self._sha256.copy(), self._other.copy())


def both(told: str, *, size_bytes: int) -> Both:
    """Begin to digest an object.

    Args:
        told: What its store tells of it.
        size_bytes: Of the whole object.
    """
    kind = _kind(told)
    return Both(kind, hashlib.sha256(), _begin(kind, size_bytes))


def _begin(kind: str, size_bytes: int) -> Digest:
    if kind.startswith(PARTS):
        return _Parts(int(kind.removeprefix(PARTS)))
    if kind == _GIT:
        return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    if kind == f"{ANSWER}crc32":
        return _Crc32()
    if kind.startswith(ANSWER):
        return hashlib.new(kind.removeprefix(ANSWER), usedforsecurity=False)
    return _md5()


def _md5() -> "_Whole":
    return hashlib.md5(usedforsecurity=False)


class Witness:
    """What was seen of a store's word during one fetch; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._agreed: set[str] = set()

    def is_lie(self, told: str, found: str) -> bool:
        """Whether a file is not what the store tells, as far as is known by now.

        Args:
            told: What the store tells of the file.
            found: What the file was found to be.
        """
        kind = _kind(told)
        with self._lock:
            if told == found:
                self._agreed.add(kind)
                return False
            return not _is_unsure(kind) or kind in self._agreed


@frozen
class Checked:
    """One complete file.

    Attributes:
        path: Its name in the build.
        told: What the store tells of it; ``None``: nothing that counts.
        found: What it was found to be, if that was looked for.
    """

    path: str
    told: str | None
    found: str | None


def lies(files: Iterable[Checked]) -> tuple[str, ...]:
    """Which files are not what the store tells, once all of them are here.

    Returns:
        Their paths. Empty, too, if of several tags not one is that of its file: then this store's
        tags are no MD5s.
    """
    words = [
        (file.path, file.told, file.found)
        for file in files
        if file.told and file.found and _is_comparable(file.told, file.found)
    ]
    agreed = {_kind(told) for _, told, found in words if told == found}
    tags = sum(_kind(told) == ETAG for _, told, _ in words)
    sure = agreed | ({ETAG} if tags == 1 else set[str]())
    return tuple(
        path
        for path, told, found in words
        if told != found and (not _is_unsure(_kind(told)) or _kind(told) in sure)
    )


def _is_comparable(told: str, found: str) -> bool:
    """Else an answer told better: that its tag is of other bytes, or another checksum."""
    return _kind(told) == _kind(found)


def _is_unsure(kind: str) -> bool:
    """Whether it may be something else, and has to be seen to be right first."""
    return kind in {ETAG, _GIT} or kind.startswith(PARTS)


def _kind(told: str) -> str:
    return told.partition(":")[0]
