"""A folder seen as buckets: ``folder/bucket/key`` is the object ``key`` of ``bucket``.

Nothing outside the folder can be named: a key is looked up part by part, and what a link
leads out of its bucket is not there. An object's ETag is the MD5 of its bytes, worked out
once for each state of the file.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from ...config.frozen import frozen
from .s3_answers import S3Problem

_MOST_KEYS = 1000


@frozen
class FoundObject:
    """One object as it is now; ``etag`` comes without quotes, the time is since the epoch."""

    path: Path
    size_bytes: int
    modified_s: float
    etag: str


@frozen
class Page:
    """A page of keys: those to list, their common prefixes, and whether there are more."""

    keys: Sequence[str]
    prefixes: Sequence[str]
    next_token: str


class Buckets:
    """The buckets in one folder.

    Args:
        root: The folder; it has to be there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve(strict=True)
        self._etags: dict[tuple[int, int, int, int], str] = {}

    def names(self) -> list[str]:
        """All buckets, in order."""
        names = sorted(entry.name for entry in self._root.iterdir())
        return [name for name in names if self.folder(name) is not None]

    def folder(self, bucket: str) -> Path | None:
        """A bucket's folder, or ``None`` if there is no such bucket."""
        if bucket in {"", ".", ".."} or "/" in bucket or "\0" in bucket:
            return None
        path = self._real(self._root / bucket, within=self._root)
        return path if path is not None and path.is_dir() else None

    def keys(self, bucket: Path) -> list[str]:
        """All keys of a bucket, in the order of their UTF-8 bytes."""
        # code points sort as their UTF-8 bytes do
        return sorted(self._walk(bucket))

    def find(self, bucket: Path, key: str) -> FoundObject | None:
        """Look an object up; reads the whole file the first time it is seen.

        Blocks: call it in a thread.
        """
        # S3 takes these as they are; no file can bear them, so they are not there
        if "\0" in key or any(part in {"", ".", ".."} for part in key.split("/")):
            return None
        path = self._real(bucket / key, within=bucket)
        if path is None or not path.is_file():
            return None
        try:
            with path.open("rb") as file:
                facts = os.fstat(file.fileno())
                state = (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size)
                if state not in self._etags:
                    self._etags[state] = _md5(file)
        except OSError:
            return None
        return FoundObject(path, facts.st_size, facts.st_mtime, self._etags[state])

    def _walk(self, bucket: Path) -> Iterator[str]:
        for folder, _, files in os.walk(bucket):
            for file in files:
                path = Path(folder, file)
                key = path.relative_to(bucket).as_posix()
                # a name that is no UTF-8 cannot be a key
                with suppress(UnicodeEncodeError):
                    key.encode()
                    if (real := self._real(path, within=bucket)) is not None and real.is_file():
                        yield key

    @staticmethod
    def _real(path: Path, *, within: Path) -> Path | None:
        """Where a path really leads, if that is inside ``within``."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            return None  # not there, a circle of links, or no possible name
        return real if real.is_relative_to(within) else None


def _md5(file: BufferedReader) -> str:
    return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def page_of(keys: Sequence[str], query: Mapping[str, str]) -> Page | S3Problem:
    """Choose one page of a bucket's keys, as ListObjectsV2 does.

    Args:
        keys: All keys, in order.
        query: ``prefix``, ``delimiter``, ``max-keys``, ``start-after``,
            ``continuation-token``; each may be missing.
    """
    most = query.get("max-keys", str(_MOST_KEYS))
    if not (most.isascii() and most.isdigit()):
        return S3Problem("InvalidArgument", "max-keys is no count")
    after = _Mark(query.get("start-after", ""), is_prefix=False)
    if "continuation-token" in query:
        try:
            text = base64.urlsafe_b64decode(query["continuation-token"]).decode()
        except (binascii.Error, ValueError):
            text = ""
        if text[:1] not in {"k", "p"}:
            return S3Problem("InvalidArgument", "The continuation token provided is incorrect")
        after = _Mark(text[1:], is_prefix=text[0] == "p")
    shown = [key for key in keys if key.startswith(query.get("prefix", "")) and after.precedes(key)]
    return _page(
        shown,
        skip=len(query.get("prefix", "")),
        delimiter=query.get("delimiter", ""),
        most=min(int(most), _MOST_KEYS),
    )


@frozen
class _Mark:
    """How far a client has read: up to a key, or past all that one common prefix hides."""

    name: str
    is_prefix: bool

    def precedes(self, key: str) -> bool:
        return key > self.name and not (self.is_prefix and key.startswith(self.name))

    def token(self) -> str:
        text = f"{'p' if self.is_prefix else 'k'}{self.name}"
        return base64.urlsafe_b64encode(text.encode()).decode()


def _page(keys: Iterable[str], *, skip: int, delimiter: str, most: int) -> Page:
    """The first ``most`` entries; a delimiter after ``skip`` letters ends a common prefix."""
    chosen: list[str] = []
    prefixes: list[str] = []
    last = _Mark("", is_prefix=False)
    for key in keys:
        if last.is_prefix and not last.precedes(key):
            continue
        if len(chosen) + len(prefixes) >= most:
            # a page of nothing has nothing after it, or a client would ask for ever
            return Page(chosen, prefixes, last.token() if most else "")
        end = key.find(delimiter, skip) if delimiter else -1
        last = _Mark(key if end < 0 else key[: end + len(delimiter)], is_prefix=end >= 0)
        (prefixes if last.is_prefix else chosen).append(last.name)
    return Page(chosen, prefixes, "")
