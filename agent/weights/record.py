"""What lies verified in a model's folder: the file ``manifest.ok``, written last.

The record is the only thing that makes a folder a build. It holds every file's digest and
the fingerprint it had when the digest was taken: as long as the fingerprint is the same,
nothing has to be read again.
"""

import json
from typing import cast, get_args

from ...backends.stores.base import VerifiedBy
from ...config.frozen import as_table, frozen
from ...config.patterns import pattern

RECORD_NAME = "manifest.ok"
MAX_RECORD_BYTES = 64 * 2**20

_VERSION = 1
_SHA256 = pattern(r"[0-9a-f]{64}")


@frozen
class Fingerprint:
    """What a file system says about a file; any write changes it."""

    size_bytes: int
    mtime_ns: int
    inode: int


@frozen
class RecordFile:
    """One verified file.

    Attributes:
        etag: The store's version tag when the bytes were read; ``None`` if it had none.
        mtime_ns: Last change, in nanoseconds of the file system's clock.
        chunks: sha256 of each ``Record.chunk_bytes`` of the file; empty if not taken.
        marks: sha256 of the file's beginning, up to each multiple of ``Record.mark_bytes`` and to
            its end; empty if not taken, or if there is but one.
        promise: What it was held to, as ``sha256:…`` or in the terms of ``RemoteFile.told``;
            ``None``: nobody had promised anything.
    """

    path: str
    size_bytes: int
    sha256: str
    etag: str | None
    mtime_ns: int
    inode: int
    chunks: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    promise: str | None = None

    @property
    def told(self) -> str | None:
        """What the store told of it, and it was found to be; ``None``: not looked for."""
        is_told = self.promise is not None and not self.promise.startswith("sha256:")
        return self.promise if is_told else None

    @property
    def fingerprint(self) -> Fingerprint:
        """What the file must still look like for its digest to hold."""
        return Fingerprint(self.size_bytes, self.mtime_ns, self.inode)


@frozen
class Record:
    """A verified build.

    Attributes:
        ref: Where the bytes came from.
        folder: Absolute path of the files if they do not lie beside the record.
        weights_bytes: Tensor bytes, from the safetensors headers.
        chunk_bytes: Length of the pieces that ``RecordFile.chunks`` digest; 0: none.
        unsynced_boot: The boot of the machine in which the bytes were written, as long as nobody
            saw them onto the platter: in another boot, none of them is believed unread.
        mark_bytes: From one of ``RecordFile.marks`` to the next; 0: none.
    """

    model: str
    ref: str
    verified_by: VerifiedBy
    weight_hash: str
    weights_bytes: int
    has_chat_template: bool
    files: tuple[RecordFile, ...]
    folder: str | None = None
    chunk_bytes: int = 0
    mark_bytes: int = 0
    unsynced_boot: str | None = None

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)

    @property
    def unpromised(self) -> tuple[str, ...]:
        """Files whose bytes nobody had promised; a manifest says by itself which count."""
        if self.verified_by == "manifest":
            return ()
        return tuple(file.path for file in self.files if file.promise is None)

    def encode(self) -> bytes:
        """The record as JSON text."""
        files = [as_table(file) for file in self.files]
        said = {"schema_version": _VERSION, **as_table(self), "files": files}
        return json.dumps(said).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> "Record | None":
        """Read a record; ``None`` if these bytes are none."""
        try:
            return _record(_Fields(json.loads(data)))
        except (ValueError, RecursionError):
            return None


class _Fields:
    """A JSON object's fields, each asked for by its kind; what is of another is no record.

    Raises:
        ValueError: From every method, and if it is no object at all.
    """

    def __init__(self, said: object) -> None:
        if not isinstance(said, dict):
            raise ValueError  # noqa: TRY004  # whoever reads the bytes expects this one
        self._said = cast("dict[str, object]", said)

    def text(self, name: str) -> str:
        found = self._said.get(name)
        if not isinstance(found, str):
            raise ValueError(name)  # noqa: TRY004  # likewise
        return found

    def text_or_none(self, name: str) -> str | None:
        return None if self._said.get(name) is None else self.text(name)

    def sha256(self, name: str) -> str:
        return _sha256(self._said.get(name))

    def whole(self, name: str) -> int:
        found = self._said.get(name)
        if type(found) is not int:  # a truth value is one, too
            raise ValueError(name)
        return found

    def count(self, name: str, default: int | None = None) -> int:
        if default is not None and name not in self._said:
            return default
        found = self.whole(name)
        if found < 0:
            raise ValueError(name)
        return found

    def truth(self, name: str) -> bool:
        found = self._said.get(name)
        if not isinstance(found, bool):
            raise ValueError(name)  # noqa: TRY004  # likewise
        return found

    def items(self, name: str) -> list[object]:
        found = self._said.get(name, [])
        if not isinstance(found, list):
            raise ValueError(name)  # noqa: TRY004  # likewise
        return cast("list[object]", found)


def _sha256(found: object) -> str:
    if not isinstance(found, str) or not _SHA256.fullmatch(found):
        raise ValueError
    return found


def _record(said: _Fields) -> Record:
    verified_by = said.text("verified_by")
    files = tuple(_file(_Fields(each)) for each in said.items("files"))
    if said.count("schema_version", _VERSION) != _VERSION or not files:
        raise ValueError
    if verified_by not in get_args(VerifiedBy):
        raise ValueError(verified_by)
    return Record(
        model=said.text("model"),
        ref=said.text("ref"),
        verified_by=cast("VerifiedBy", verified_by),
        weight_hash=said.sha256("weight_hash"),
        weights_bytes=said.count("weights_bytes"),
        has_chat_template=said.truth("has_chat_template"),
        files=files,
        folder=said.text_or_none("folder"),
        chunk_bytes=said.count("chunk_bytes", 0),
        mark_bytes=said.count("mark_bytes", 0),
        unsynced_boot=said.text_or_none("unsynced_boot"),
    )


def _file(said: _Fields) -> RecordFile:
    return RecordFile(
        path=said.text("path"),
        size_bytes=said.count("size_bytes"),
        sha256=said.sha256("sha256"),
        etag=said.text_or_none("etag"),
        mtime_ns=said.whole("mtime_ns"),
        inode=said.whole("inode"),
        chunks=tuple(_sha256(each) for each in said.items("chunks")),
        marks=tuple(_sha256(each) for each in said.items("marks")),
        promise=said.text_or_none("promise"),
    )
