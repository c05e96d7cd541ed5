"""Is this a build that an engine may open? Digests, headers and a look for code.

Three questions, asked at different times: :func:`check_file` about one complete file before
it gets its final name, :func:`check_build` about the folder as a whole, and :func:`verify`
about a folder that was found good before. All of them block.
"""

import io
import mmap
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, cast

from ...backends.stores.base import Build
from ...backends.stores.errors import ModelMissing, WeightsCorrupt, WeightsUnsafe
from ...backends.stores.paths import is_wanted
from ...config.atomic import write_atomically
from ...config.foreign_json import TooMuch, parsed
from ...config.frozen import frozen, replace
from .boot import boot_id
from .digests import sha256_of
from .headers import PREFIX_BYTES, HeaderInvalid, check_header, tensor_bytes
from .pickles import HEAD_BYTES, foreign, holds_pickle
from .record import MAX_RECORD_BYTES, RECORD_NAME, Fingerprint, Record, RecordFile

_PIECE_BYTES = 2**20
_NOTHING: Mapping[str, int] = MappingProxyType({})
_MAX_JSON_BYTES = 64 * 2**20
_MAX_CONFIG_BYTES = 4 * 2**20


@frozen
class Contents:
    """What a folder holds, as far as a slot has to know.

    Attributes:
        weights_bytes: Tensor bytes of all safetensors and GGUF files.
    """

    weights_bytes: int
    has_chat_template: bool


def fingerprint(path: Path) -> Fingerprint | None:
    """What the file system says about a regular file; ``None`` if there is none.

    A symbolic link is followed: hub caches are made of them.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return Fingerprint(found.st_size, found.st_mtime_ns, found.st_ino)


def check_file(
    file: Path | BinaryIO | memoryview, *, path: str, model: str, is_plain: bool = False
) -> int | None:
    """Look into one complete file.

    Args:
        file: Where it lies, or itself, open or in memory.
        path: Its name in the build.
        model: For messages.
        is_plain: Whether any bytes will do that are no pickle.

    Returns:
        Bytes of the tensors that it holds; ``None`` if any bytes would do and these hold none that
        an engine could read.

    Raises:
        WeightsCorrupt: It is not what its name says.
        WeightsUnsafe: It is a pickle or holds one, or is a program, whatever its name says.
        OSError: It cannot be read.
    """
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return check_file(opened, path=path, model=model, is_plain=is_plain)
    if isinstance(file, memoryview):
        return _check_held(file, path=path, model=model, is_plain=is_plain)
    is_weights = path.endswith((".safetensors", ".gguf"))
    if is_plain or not is_weights:
        head = file.read(HEAD_BYTES)
        if holds_pickle(file, head):
            raise WeightsUnsafe(model=model, reason=f"{path[:200]!r} is a pickle, or holds one")
        if not is_plain and is_wanted(path) and (kind := foreign(head)):
            reason = f"{path[:200]!r} is {kind}, not what it is called"
            raise WeightsUnsafe(model=model, reason=reason)
    try:
        return _tensors_in(file, path) if is_weights else 0
    except HeaderInvalid as error:
        if is_plain:
            return None
        raise _broken(path, model, error) from error


def _check_held(view: memoryview, *, path: str, model: str, is_plain: bool) -> int | None:
    if is_plain or not path.endswith(".safetensors"):
        return check_file(io.BytesIO(view), path=path, model=model, is_plain=is_plain)
    # to copy all of it would take longer than to look at its header
    header = view[: PREFIX_BYTES + int.from_bytes(view[:PREFIX_BYTES], "little")]
    try:
        return check_header(io.BytesIO(header), size_bytes=len(view))
    except HeaderInvalid as error:
        raise _broken(path, model, error) from error


def _broken(path: str, model: str, error: HeaderInvalid) -> WeightsCorrupt:
    kind = "GGUF" if path.endswith(".gguf") else "safetensors"
    return WeightsCorrupt(model=model, file=path, reason=f"{kind}: {error}")


def _tensors_in(file: BinaryIO, path: str) -> int:
    size_bytes = file.seek(0, 2)
    _ = file.seek(0)
    if not path.endswith(".gguf"):
        return check_header(file, size_bytes=size_bytes)
    from .gguf import check_gguf  # noqa: PLC0415  # most builds have none

    return check_gguf(file, size_bytes=size_bytes)


def check_build(
    folder: Path, paths: Sequence[str], *, model: str, seen: Mapping[str, int] = _NOTHING
) -> Contents:
    """Look at a folder whose files have all been checked.

    Args:
        folder: Where the files lie.
        paths: The build's files.
        model: For messages.
        seen: Tensor bytes of files that were just looked into, by path.

    Raises:
        WeightsCorrupt: A file that the index names is not there, or a JSON file is none.
    """
    known = set(paths)
    for path in paths:
        if path.endswith(".safetensors.index.json"):
            _check_index(folder, path, known, model=model)
    _ = config_of(folder, model=model)
    try:
        weights = sum(
            seen[path] if path in seen else _weights_bytes(folder, path) for path in paths
        )
    except HeaderInvalid as error:
        raise WeightsCorrupt(model=model, file="a header", reason=str(error)) from error
    return Contents(weights, _has_chat_template(folder, known, model=model))


def _weights_bytes(folder: Path, path: str) -> int:
    if path.endswith(".safetensors"):
        return tensor_bytes(folder / path)
    if not path.endswith(".gguf"):
        return 0
    from .gguf import gguf_bytes  # noqa: PLC0415  # most builds have none

    return gguf_bytes(folder / path)


def config_of(folder: Path, *, model: str, name: str = "config.json") -> dict[str, object]:
    """The parsed ``config.json``, or another configuration; empty if the build has none.

    Raises:
        WeightsCorrupt: It is no JSON object, or absurdly large.
    """
    return _json(folder, name, model=model, most_bytes=_MAX_CONFIG_BYTES)


def read_record(folder: Path) -> Record | None:
    """The record of a model's folder; ``None`` if there is no readable one."""
    path = folder / RECORD_NAME
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            return None
        return _believed(Record.decode(path.read_bytes()))
    except OSError:
        return None


def renewed(record: Record, files: Sequence[RecordFile]) -> Record:
    """A record after its files were read again, whose bytes were found to be right."""
    boot = record.unsynced_boot
    kept = boot if boot is not None and boot == boot_id() else None
    return replace(record, files=tuple(files), unsynced_boot=kept)


def _believed(record: Record | None) -> Record | None:
    """Take no file at its word whose bytes may have been lost with the power."""
    if record is None or record.unsynced_boot in {None, boot_id()}:
        return record
    # no file has a negative inode: the fingerprint can never match, so the file is read
    files = tuple(replace(file, inode=-1) for file in record.files)
    return replace(record, files=files)


def place_of(folder: Path, record: Record) -> Path:
    """Where the record's files lie: beside it, or where a ``file://`` reference points."""
    return folder if record.folder is None else Path(record.folder)


def describe(folder: Path, record: Record) -> Build:
    """What a record says, as the rest of the agent wants it.

    Raises:
        WeightsCorrupt: ``config.json`` cannot be used.
    """
    place = place_of(folder, record)
    return Build(
        folder=str(place),
        size_bytes=record.size_bytes,
        weights_bytes=record.weights_bytes,
        weight_hash=record.weight_hash,
        verified_by=record.verified_by,
        config=config_of(place, model=record.model),
        has_chat_template=record.has_chat_template,
    )


def changed_files(folder: Path, record: Record) -> list[RecordFile]:
    """Files whose fingerprint is no longer the recorded one, or which are gone."""
    place = place_of(folder, record)
    return [file for file in record.files if fingerprint(place / file.path) != file.fingerprint]


def verify(folder: Path, *, model: str, is_stopped: Callable[[], bool] = lambda: False) -> Build:
    """Hold a model's folder against its record.

    A file with an unchanged fingerprint is taken at its word; any other is read whole, and
    if its bytes are the same its new fingerprint is remembered.

    Args:
        folder: The model's folder in the cache.
        model: For messages.
        is_stopped: Asked while files are read.

    Raises:
        ModelMissing: There is no record.
        WeightsCorrupt: A file is gone, or has other bytes than it had.
        Interrupted: ``is_stopped`` said so.
    """
    record = read_record(folder)
    if record is None or record.model != model:
        raise ModelMissing(model=model, reason="nothing verified lies in the cache")
    place = place_of(folder, record)
    doubtful = changed_files(folder, record)
    if not doubtful:
        return describe(folder, record)
    fresh: dict[str, RecordFile] = {}
    view = memoryview(mmap.mmap(-1, _PIECE_BYTES))
    for file in doubtful:
        found = fingerprint(place / file.path)
        if found is None:
            raise WeightsCorrupt(model=model, file=file.path, reason="file is gone")
        if sha256_of(place / file.path, view, is_stopped=is_stopped) != file.sha256:
            raise WeightsCorrupt(model=model, file=file.path, reason="hash mismatch")
        fresh[file.path] = replace(file, mtime_ns=found.mtime_ns, inode=found.inode)
    record = renewed(record, [fresh.get(file.path, file) for file in record.files])
    write_atomically(folder / RECORD_NAME, record.encode())
    return describe(folder, record)


def mark_of_same(
    path: Path, file: RecordFile, view: memoryview, *, is_stopped: Callable[[], bool]
) -> Fingerprint | None:
    """What a file that was touched looks like now, if its bytes are those that were verified.

    Args:
        path: Where it lies.
        file: What was verified.
        view: Where pieces are read into.
        is_stopped: Asked while it is read.

    Returns:
        ``None`` if it is gone, or another file.

    Raises:
        Interrupted: ``is_stopped`` said so.
    """
    mark = fingerprint(path)
    if mark is None or mark.size_bytes != file.size_bytes:
        return None
    return mark if sha256_of(path, view, is_stopped=is_stopped) == file.sha256 else None


def _check_index(folder: Path, path: str, known: Collection[str], *, model: str) -> None:
    index = _json(folder, path, model=model, most_bytes=_MAX_JSON_BYTES)
    shards = index.get("weight_map")
    if not isinstance(shards, dict):
        raise WeightsCorrupt(model=model, file=path, reason="index has no weight_map")
    base = path.rpartition("/")[0]
    for shard in sorted({str(name) for name in cast("dict[str, object]", shards).values()}):
        if (f"{base}/{shard}" if base else shard) not in known:
            raise WeightsCorrupt(
                model=model, file=path, reason=f"it names {shard[:200]!r}, missing"
            )


def _has_chat_template(folder: Path, known: Collection[str], *, model: str) -> bool:
    if {"chat_template.jinja", "chat_template.json"} & set(known):
        return True
    settings = _json(folder, "tokenizer_config.json", model=model, most_bytes=_MAX_JSON_BYTES)
    return bool(settings.get("chat_template"))


def _json(folder: Path, path: str, *, model: str, most_bytes: int) -> dict[str, object]:
    try:
        with (folder / path).open("rb") as file:
            data = file.read(most_bytes + 1)
    except FileNotFoundError:
        return {}
    if len(data) > most_bytes:
        raise WeightsCorrupt(model=model, file=path, reason=f"longer than {most_bytes} bytes")
    try:
        found = parsed(data)
    except TooMuch as error:
        raise WeightsCorrupt(model=model, file=path, reason=str(error)) from error
    except (ValueError, RecursionError) as error:
        raise WeightsCorrupt(model=model, file=path, reason="no JSON") from error
    if not isinstance(found, dict):
        raise WeightsCorrupt(model=model, file=path, reason="no JSON object")
    return cast("dict[str, object]", found)
