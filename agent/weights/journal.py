"""What has arrived of one model: append-only, true after a crash at any byte.

One text file. The first line is the header (JSON); then, each written *after* what it
claims:

* ``B file block``: this block's bytes were written;
* ``M file mark…``: the marks of the file (see ``digests``), as they were when it was whole;
* ``X file``: nothing said about this file so far counts any more;
* ``D file sha256 size mtime_ns inode told``: the file was digested and moved to its final name;
  ``told`` is what it was found to be in the terms of its store, and may be missing;
* ``S n``: the first ``n`` lines of the kinds above are on the platter, not only in memory.

A line without its end is no line. SIGKILL cannot take back a write, so after it everything
counts; after a power cut (another boot id) only what an ``S`` line covers does. A file that
the store lists with another size or ETag is forgotten.
"""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ...config.atomic import write_atomically
from ...config.frozen import field, frozen
from ...config.patterns import pattern
from .plan import Grid, bytes_here, recut
from .record import Fingerprint

JOURNAL_NAME = ".journal"
MAX_JOURNAL_BYTES = 256 * 2**20
_DIGITS = 64  # of a sha256 in hex
_TOLD = pattern(rb"[a-z0-9-]{1,24}:[0-9a-f]{1,64}(-[0-9]{1,5})?")


@frozen
class Listed:
    """One file as it was listed when the journal began."""

    path: str
    size_bytes: int
    etag: str | None


@frozen
class Header:
    """What the lines of a journal refer to.

    Attributes:
        boot_id: The machine's boot in which the lines are written; empty if unknown, which
            no boot equals.
    """

    ref: str
    boot_id: str
    block_bytes: int
    files: tuple[Listed, ...]

    def encode(self) -> bytes:
        """The journal's first line, without its end."""
        files = [
            {"path": file.path, "size_bytes": file.size_bytes, "etag": file.etag}
            for file in self.files
        ]
        said = {"ref": self.ref, "boot_id": self.boot_id, "block_bytes": self.block_bytes}
        return json.dumps({**said, "files": files}).encode()


@frozen
class Seal:
    """A file that was digested and has its final name.

    Attributes:
        told: What it was found to be in the terms of ``RemoteFile.told``; ``None``: not looked for.
    """

    sha256: str
    fingerprint: Fingerprint
    told: str | None = None


class Claim:
    """What the journal says about one file.

    Attributes:
        have: One byte a block, 1 for "on disk".
        seal: Its digest, if the file is complete.
        marks: What its digest is on the way; empty if not known.
    """

    __slots__ = ("have", "marks", "seal")

    def __init__(self, have: bytearray) -> None:
        self.have = have
        self.seal: Seal | None = None
        self.marks: tuple[str, ...] = ()


@frozen
class Claims:
    """A whole journal, read: one claim for each file of the header, in its order."""

    header: Header
    files: list[Claim] = field(default_factory=list[Claim])

    @property
    def bytes_here(self) -> int:
        """Bytes on this disk, as far as the journal may be believed."""
        grid = Grid(self.header.block_bytes, self.header.block_bytes)
        return sum(
            listed.size_bytes
            if claim.seal
            else bytes_here(claim.have, size_bytes=listed.size_bytes, grid=grid)
            for listed, claim in zip(self.header.files, self.files, strict=True)
        )


def nothing(header: Header) -> Claims:
    """The claims of a journal without lines."""
    grid = Grid(header.block_bytes, header.block_bytes)
    return Claims(header, [Claim(bytearray(grid.blocks(file.size_bytes))) for file in header.files])


def read(data: bytes, *, boot_id: str) -> Claims | None:
    """What a journal's bytes claim.

    Args:
        data: The file, whole or cut anywhere.
        boot_id: The machine's boot now.

    Returns:
        ``None`` if not even the header is whole.
    """
    *lines, _torn = data.split(b"\n")
    header = _header(lines[0]) if lines else None
    if header is None:
        return None
    claims = nothing(header)
    body = lines[1:]
    # after a power cut, lines may be there whose bytes are not
    covered = None if boot_id and boot_id == header.boot_id else _covered(body)
    counted = 0
    for line in body:
        kind, _, rest = line.partition(b" ")
        if kind == b"S" and rest.isdigit():
            continue
        is_believed = covered is None or counted < covered
        counted += 1
        if not _apply(claims, kind, rest.split(b" "), is_believed=is_believed):
            break  # a hole in the file: nothing behind it means what it says
    return claims


def carry_over(old: Claims | None, header: Header) -> Claims:
    """What of an earlier journal holds for a new listing."""
    new = nothing(header)
    if old is None or old.header.ref != header.ref:
        return new
    blocks = old.header.block_bytes, header.block_bytes
    known = dict(zip(old.header.files, old.files, strict=True))
    for listed, claim in zip(header.files, new.files, strict=True):
        if (earlier := known.get(listed)) is not None:
            claim.have[:] = recut(earlier.have, *blocks, size_bytes=listed.size_bytes)
            claim.seal = earlier.seal
            claim.marks = earlier.marks
    return new


class Journal:
    """The journal being written; its methods may be called from many threads.

    Args:
        path: Replaced at once by a compact journal that says what ``claims`` say.
        claims: What is on the disk, and safely so: the caller has synced what an earlier
            boot left.
    """

    def __init__(self, path: Path, claims: Claims) -> None:
        lines = [claims.header.encode()]
        for file, claim in enumerate(claims.files):
            lines += [b"B %d %d" % (file, block) for block, here in enumerate(claim.have) if here]
            if claim.marks:
                lines.append(_marks_line(file, claim.marks))
            if claim.seal:
                lines.append(_seal_line(file, claim.seal))
        # an empty one may be lost, but not what an older one claimed
        write_atomically(path, b"\n".join(lines) + b"\n", is_synced=len(lines) > 1)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._count = len(lines) - 1

    @property
    def count(self) -> int:
        """Lines so far that claim or forget; ask before syncing, tell :meth:`synced` after."""
        return self._count

    def arrived(self, file: int, block: int) -> None:
        """A block's bytes were written."""
        self._append(b"B %d %d" % (file, block))

    def forget(self, file: int) -> None:
        """Nothing of this file is to be believed any more."""
        self._append(b"X %d" % file)

    def sealed(self, file: int, seal: Seal, marks: Sequence[str] = ()) -> None:
        """A file was digested and has its final name."""
        if marks:
            self._append(_marks_line(file, marks))
        self._append(_seal_line(file, seal))

    def synced(self, count: int) -> None:
        """What the first ``count`` lines claim is on the platter."""
        with self._lock:
            if self._fd >= 0:
                os.fsync(self._fd)
                _write_line(self._fd, b"S %d" % count)

    def close(self, *, is_kept: bool = True) -> None:
        """Sync the journal's own lines and give back the file; later lines are dropped.

        Args:
            is_kept: Whether anybody is going to read it.
        """
        with self._lock:
            if self._fd >= 0:
                if is_kept:
                    os.fsync(self._fd)
                os.close(self._fd)
            self._fd = -1

    def _append(self, line: bytes) -> None:
        with self._lock:
            if self._fd >= 0:  # else a straggler's claim: to be forgotten is always safe
                _write_line(self._fd, line)
                self._count += 1


def _write_line(fd: int, line: bytes) -> None:
    """Write all of a line, or none of it: half a line would spoil all that come behind it.

    Raises:
        OSError: The disk would not take it; what was there before is what is there.
    """
    rest = line + b"\n"
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        os.ftruncate(fd, os.fstat(fd).st_size - (len(line) + 1 - len(rest)))
        raise


def load(path: Path, *, boot_id: str) -> Claims | None:
    """What the journal at ``path`` claims; ``None`` if there is none to be read."""
    try:
        if path.stat().st_size > MAX_JOURNAL_BYTES:
            return None
        return read(path.read_bytes(), boot_id=boot_id)
    except OSError:
        return None


def _marks_line(file: int, marks: Sequence[str]) -> bytes:
    return b"M %d %s" % (file, " ".join(marks).encode())


def _seal_line(file: int, seal: Seal) -> bytes:
    mark = seal.fingerprint
    numbers = (mark.size_bytes, mark.mtime_ns, mark.inode)
    told = b"" if seal.told is None else b" " + seal.told.encode()
    return b"D %d %s %d %d %d%s" % (file, seal.sha256.encode(), *numbers, told)


def _header(line: bytes) -> Header | None:
    try:
        said: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match said:
        case {
            "ref": str(ref),
            "boot_id": str(boot),
            "block_bytes": int(block_bytes),
            "files": list(),
        }:
            files = [_listed(each) for each in cast("dict[str, list[object]]", said)["files"]]
        case _:
            return None
    known = tuple(file for file in files if file is not None)
    if len(known) != len(files) or isinstance(block_bytes, bool):
        return None
    header = Header(ref, boot, block_bytes, known)
    if header.block_bytes < 1 or any(file.size_bytes < 0 for file in header.files):
        return None
    return header


def _listed(said: object) -> Listed | None:
    match said:
        case {"path": str(path), "size_bytes": int(size_bytes), "etag": str() | None as etag}:
            return None if isinstance(size_bytes, bool) else Listed(path, size_bytes, etag)
        case _:
            return None


def _covered(lines: Sequence[bytes]) -> int:
    counts = [line[2:] for line in lines if line.startswith(b"S ")]
    return max((int(count) for count in counts if count.isdigit()), default=0)


def _apply(claims: Claims, kind: bytes, words: list[bytes], *, is_believed: bool) -> bool:
    try:
        claim = claims.files[_natural(words[0])]
        match kind, words[1:]:
            case b"B", [block]:
                where = _natural(block)
                claim.have[where] |= is_believed
            case b"X", []:
                claim.have[:] = bytes(len(claim.have))
                claim.seal = None
                claim.marks = ()
            case b"M", [*marks] if all(len(mark) == _DIGITS for mark in marks):
                claim.marks = tuple(mark.decode("ascii") for mark in marks) if is_believed else ()
            case b"D", [digest, *numbers] if len(digest) == _DIGITS:
                size, mtime_ns, inode = map(_natural, numbers[:3])
                mark, told = Fingerprint(size, mtime_ns, inode), _told(numbers[3:])
                seal = Seal(digest.decode("ascii"), mark, told)
                claim.seal = seal if is_believed else None
            case _:
                return False
    except (IndexError, ValueError):
        return False
    return True


def _told(words: Sequence[bytes]) -> str | None:
    if len(words) > 1 or not all(_TOLD.fullmatch(word) for word in words):
        raise ValueError(words)
    return words[0].decode("ascii") if words else None


def _natural(word: bytes) -> int:
    if not word.isdigit():
        raise ValueError(word)
    return int(word)
