"""Does a file hold code, whatever its name says?

A pickle is a program that its reader runs. One of protocol 2 or later says so in its first two
bytes; an older one is a text that happens to be a program, so it is read as one, to its end.
They also lie in what else the libraries of this field write: zip and tar archives (PyTorch's new
and old files), arrays of objects (NumPy's), and compressed (joblib's).

Source:
    The library's ``pickletools``; PyTorch, serialization.py, ``_is_zipfile`` and
    ``_legacy_load``; NumPy, lib/format.py; POSIX, pax, "ustar Interchange Format".
"""

import io
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

from ...config.patterns import pattern

if TYPE_CHECKING:  # seldom needed, and no small things in an idle agent
    import pickletools
    import zipfile

HEAD_BYTES = 4096
_PEEK_BYTES = 2**16
_MOST_OPCODES = 2**18
"""So many are read one by one; behind them only what names code is looked for."""

_MOST_MEMBERS = 2**14
_MOST_LINE_BYTES = 2**16
_NAMES = (".pkl", ".pickle")
_TAR_BLOCK = 512
_GZIP_BITS = 31
_MOST_XZ_BYTES = 2**25
_MANY_OPCODES = 3
_TELLING_OPCODES = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "REDUCE", "NEWOBJ", "BUILD"})
_NAMING_OPCODES = frozenset({"GLOBAL", "STACK_GLOBAL", "INST"})
_OPCODES = frozenset(
    b"().012BCFGIJKLMNPQRSTUVX]abcdeghijlopqrstu}"
    b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f"
    b"\x90\x91\x92\x93\x94\x95\x96\x97\x98"
)
"""What a pickle of any protocol begins with. ``pickletools`` takes longer to import than it takes
to look into many files: JSON, templates and most headers begin otherwise."""

_PICKLE_PROTOCOLS = frozenset({2, 3, 4, 5})
_LINE, _SIGNED = -1, -3
_LENGTH_BYTES: Mapping[int, int] = MappingProxyType({-2: 1, -3: 4, -4: 4, -5: 8})
"""How long the length of an argument is, by what ``pickletools`` calls its ``n``."""

_LONG_TEXTS = frozenset({"STRING", "UNICODE", "PERSID", "GLOBAL", "INST"})
_ZIP, _TAR, _NUMPY = b"PK\x03\x04", b"ustar", b"\x93NUMPY"
_NAMING = pattern(rb"[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\x93")
_NAMING_BYTES = 512
_PIECE_BYTES = 2**20
_OBJECTS = pattern(rb"""['"][|<>=]?(?:O\d*|object_?)['"]""")
_GZIP, _BZIP2, _XZ = b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00"
_BZIP2_BLOCK = b"1AY&SY"
_PROGRAMS = (
    *(b"\x7fELF", b"#!/", b"#! /", b"MZ\x90\x00", b"\x00asm", b"\xca\xfe\xba\xbe"),
    *(b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
)
_ARCHIVES = (_GZIP, _XZ, b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", _NUMPY)
_ZIP_HEAD_BYTES = 30


def foreign(head: bytes) -> str:
    """What a file is that bears the name of a text or a tokenizer and is none; empty: neither.

    Args:
        head: Its first :data:`HEAD_BYTES`.
    """
    if head.startswith(_PROGRAMS):
        return "a program"
    # a text may well begin with the letters of the others
    is_zip = head.startswith(_ZIP) and b"\0" in head[:_ZIP_HEAD_BYTES]
    is_packed = head.startswith(_BZIP2) and head[4:10] == _BZIP2_BLOCK
    is_archive = is_zip or is_packed or _is_tar(head) or head.startswith(_ARCHIVES)
    return "an archive" if is_archive else ""


def holds_pickle(file: BinaryIO, head: bytes) -> bool:
    """Whether a file is a pickle, or has one in it.

    Args:
        file: Open, at any place.
        head: Its first :data:`HEAD_BYTES`.

    Raises:
        OSError: It cannot be read.
    """
    if head.startswith(_ZIP):
        return _in_zip(file)
    if head.startswith((_GZIP, _BZIP2, _XZ)):
        _ = file.seek(0)
        inner = _unpacked(file.read(_PEEK_BYTES))
        return _is_tar(inner) or _in_pieces(inner, is_cut=len(inner) == _PEEK_BYTES)
    if _is_tar(head):
        return any(_in_pieces(inner, is_cut=is_cut) for inner, is_cut in _members(file))
    if head.startswith(_NUMPY):
        return _OBJECTS.search(head) is not None
    if not head or head[0] not in _OPCODES:
        return False
    _ = file.seek(0)
    return _runs(file, is_cut=False)


def _in_pieces(data: bytes, *, is_cut: bool) -> bool:
    if data.startswith(_NUMPY):
        return _OBJECTS.search(data[:HEAD_BYTES]) is not None
    return bool(data) and data[0] in _OPCODES and _runs(io.BytesIO(data), is_cut=is_cut)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == _TAR


def _runs(file: BinaryIO, *, is_cut: bool) -> bool:
    """Read a file as the program that it may be.

    Args:
        file: Any that can be searched.
        is_cut: Whether there is more of it than this.
    """
    import pickletools  # noqa: PLC0415  # the agent keeps verify.py loaded and never gets here

    known = {one.code.encode("latin-1"): one for one in pickletools.opcodes}
    size_bytes = file.seek(0, os.SEEK_END)
    _ = file.seek(0)
    names: list[str] = []
    is_whole = False
    while not is_whole and len(names) < _MOST_OPCODES:
        opcode = known.get(file.read(1))
        if opcode is None:
            is_whole = is_cut and file.tell() == size_bytes
            break
        if not names and opcode.stack_before:
            break  # it takes what nothing has put there: no unpickler would go on
        argument = opcode.arg
        if argument is not None:
            is_passed = _pass(file, argument, opcode.name, size_bytes)
            if not is_passed:
                is_whole = is_cut and is_passed is None
                break
        names.append(opcode.name)
        is_whole = opcode.name == "STOP"
    if len(names) == _MOST_OPCODES and not is_whole:
        is_whole = not _NAMING_OPCODES.isdisjoint(names) or _names_code(file)
        names.append("GLOBAL" if is_whole else "")
    return _is_program(names, is_whole=is_whole)


def _names_code(file: BinaryIO) -> bool:
    """Whether a function of some module is named in what is left."""
    before = b""
    while piece := file.read(_PIECE_BYTES):
        if _NAMING.search(before + piece):
            return True
        before = piece[-_NAMING_BYTES:]
    return False


def _is_program(names: Sequence[str], *, is_whole: bool) -> bool:
    if not names:
        return False
    if names[0] == "PROTO" and len(names) >= _MANY_OPCODES:
        return True
    return is_whole and not _TELLING_OPCODES.isdisjoint(names)


def _pass(
    file: BinaryIO, argument: "pickletools.ArgumentDescriptor", name: str, size_bytes: int
) -> bool | None:
    """Pass over an argument: whether it is one; ``None``: the file ends within it."""
    if argument.n == _LINE:
        lines = _lines(file, 2 if argument.name.endswith("pair") else 1)
        if lines is None:
            return None
        try:
            _ = argument.reader(io.BytesIO(lines))
        except (ValueError, OverflowError):
            return name in _LONG_TEXTS and len(lines) > _MOST_LINE_BYTES
        return True
    count, signed = argument.n, argument.n == _SIGNED
    if count < 0:
        length = file.read(_LENGTH_BYTES[count])
        if len(length) < _LENGTH_BYTES[count]:
            return None
        count = int.from_bytes(length, "little", signed=signed)
        if count < 0:
            return False
    if count > size_bytes - file.tell():
        return None
    passed = file.read(count) if count == 1 else b""
    if count != 1:
        _ = file.seek(count, os.SEEK_CUR)
    return name != "PROTO" or passed[0] in _PICKLE_PROTOCOLS


def _lines(file: BinaryIO, count: int) -> bytes | None:
    """So many lines, of each no more than its begin; ``None``: the file ends within them."""
    found = b""
    for _ in range(count):
        line = piece = file.readline(_MOST_LINE_BYTES)
        while piece and not piece.endswith(b"\n"):
            piece = file.readline(_MOST_LINE_BYTES)
        if not piece:
            return None
        found += line if line.endswith(b"\n") else line + b"\n"
    return found


def _in_zip(file: BinaryIO) -> bool:
    """Whether an archive has a pickle in it, or what cannot be looked into."""
    import struct  # noqa: PLC0415  # see above
    import zipfile  # noqa: PLC0415  # see above

    odd = (zipfile.BadZipFile, struct.error, ValueError, OverflowError, NotImplementedError)
    # damaged or encrypted, or of a kind that nobody here unpacks
    odder = (*odd, RuntimeError, EOFError, OSError, zlib.error, _lzma_error())
    try:
        archive = zipfile.ZipFile(file)
    except odd:
        return False
    with archive:
        members = archive.infolist()
        try:
            return len(members) > _MOST_MEMBERS or any(_in_member(archive, one) for one in members)
        except odder:
            return True


def _in_member(archive: "zipfile.ZipFile", member: "zipfile.ZipInfo") -> bool:
    if member.filename.endswith(_NAMES):
        return True
    with archive.open(member) as opened:
        begin = opened.read(_PEEK_BYTES)
    return _in_pieces(begin, is_cut=member.file_size > len(begin))


def _members(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """The begin of each file in a tar archive, and whether there is more of it."""
    at = 0
    for _ in range(_MOST_MEMBERS):
        _ = file.seek(at)
        head = file.read(_TAR_BLOCK)
        digits = head[124:136].strip(b" \0")
        if not _is_tar(head) or not digits.isdigit():
            return
        size_bytes = int(digits, 8) if digits.translate(None, b"89") == digits else 0
        begin = file.read(min(size_bytes, _PEEK_BYTES))
        yield begin, size_bytes > len(begin)
        at += _TAR_BLOCK + -(-size_bytes // _TAR_BLOCK) * _TAR_BLOCK


def _unpacked(data: bytes) -> bytes:
    """The begin of what was compressed; nothing if it cannot be read."""
    try:
        if data.startswith(_GZIP):
            return zlib.decompressobj(_GZIP_BITS).decompress(data, _PEEK_BYTES)
        if data.startswith(_BZIP2):
            import bz2  # noqa: PLC0415  # seldom needed

            return bz2.BZ2Decompressor().decompress(data, _PEEK_BYTES)
        import lzma  # noqa: PLC0415  # likewise

        unpacking = lzma.LZMADecompressor(memlimit=_MOST_XZ_BYTES)
        return unpacking.decompress(data, _PEEK_BYTES)
    except (zlib.error, _lzma_error(), OSError, EOFError, MemoryError, ValueError, ImportError):
        return b""


def _lzma_error() -> type[Exception]:
    """What the library for xz raises; some builds of Python are without it."""
    try:
        from lzma import LZMAError  # noqa: PLC0415  # seldom needed
    except ImportError:
        return zlib.error
    return LZMAError
