"""What lies verified in a model's folder: the file ``manifest.ok``, written last.

The record is the only thing that makes a folder a build. It holds every file's digest and
the fingerprint it had when the digest was taken: as long as the fingerprint is the same,
nothing has to be read again.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...backends.stores.base import VerifiedBy
from ...config.frozen import frozen

RECORD_NAME = "manifest.ok"
MAX_RECORD_BYTES = 64 * 2**20

_Count = Annotated[int, Field(ge=0)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@frozen
class Fingerprint:
    """What a file system says about a file; any write changes it."""

    size_bytes: int
    mtime_ns: int
    inode: int


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, defer_build=True)


class RecordFile(_Part):
    """One verified file.

    Attributes:
        etag: The store's version tag when the bytes were read; ``None`` if it had none.
        mtime_ns: Last change, in nanoseconds of the file system's clock.
        chunks: sha256 of each ``Record.chunk_bytes`` of the file; empty if not taken.
        marks: sha256 of the file's beginning, up to each multiple of ``Record.mark_bytes`` and to
            its end; empty if not taken, or if there is but one.
    """

    path: str
    size_bytes: _Count
    sha256: _Sha256
    etag: str | None
    mtime_ns: int
    inode: int
    chunks: tuple[_Sha256, ...] = Field(default=(), strict=False)
    marks: tuple[_Sha256, ...] = Field(default=(), strict=False)

    @property
    def fingerprint(self) -> Fingerprint:
        """What the file must still look like for its digest to hold."""
        return Fingerprint(self.size_bytes, self.mtime_ns, self.inode)


class Record(_Part):
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

    schema_version: Literal[1] = 1
    model: str
    ref: str
    folder: str | None = None
    verified_by: VerifiedBy
    weight_hash: _Sha256
    weights_bytes: _Count
    has_chat_template: bool
    chunk_bytes: _Count = 0
    mark_bytes: _Count = 0
    unsynced_boot: str | None = None
    files: tuple[RecordFile, ...] = Field(strict=False)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)

    def encode(self) -> bytes:
        """The record as JSON text."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> "Record | None":
        """Read a record; ``None`` if these bytes are none."""
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            return None
