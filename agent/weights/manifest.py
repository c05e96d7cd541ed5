"""A model's files as a registry publishes them, and the one hash that names their bytes.

Everything here is a rule over texts and digests: which names are safe to write to a disk,
which files count for the ``weight_hash``, where a registry keeps a build, and when a
published manifest may be believed. A manifest that breaks one rule is not believed at all.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from ...config.foreign_json import TooMuch, parsed
from ...config.frozen import frozen
from ...config.patterns import pattern

MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 64 * 2**20
"""A manifest of 100,000 files has about 20 MB; more than this is not read."""

INTEGRITY_SUFFIXES = frozenset({".safetensors", ".npz", ".bin"})
INTEGRITY_NAMES = frozenset(
    {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "generation_config.json",
        "chat_template.jinja",
        "quantize_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "model.safetensors.index.json",
        "vocab.json",
        "merges.txt",
        "preprocessor_config.json",
        "processor_config.json",
    }
)

_LEAST_CHUNK_BYTES, _MOST_CHUNK_BYTES = 2**16, 2**25
_UNFIT = pattern(r"[\\\x00-\x1f\x7f]")
"""Source: the C0 controls and DEL of ISO 646, and what is a separator elsewhere."""

_MAX_PATH_BYTES = 1024
_MAX_SEGMENT_BYTES = 255
_SHA256_HEX = pattern(r"[0-9a-f]{64}")
_UNSAFE = pattern(r"[^A-Za-z0-9._-]")
_RESERVED = frozenset({"manifest.ok"})
"""Names that the cache writes itself."""


class ManifestInvalid(ValueError):
    """A manifest breaks a rule; the text says which."""

    def __init__(self, *, problem: str) -> None:
        super().__init__(problem)


@frozen
class ManifestFile:
    """One promised file.

    Attributes:
        sha256: Lower-case hex.
        role: The registry's word for it; empty if it has none.
        chunks: Digests of its pieces in file order, lower-case hex; empty if none are promised.
    """

    path: str
    size_bytes: int
    sha256: str
    role: str = ""
    chunks: tuple[str, ...] = ()


@frozen
class Manifest:
    """What a registry promises about one build; made by :func:`parse` only.

    Attributes:
        aggregate_sha256: The build's ``weight_hash``.
        chunk_bytes: Length of the pieces that ``ManifestFile.chunks`` digest; 0: none are promised.
    """

    model: str
    version: str
    prefix: str
    aggregate_sha256: str
    files: tuple[ManifestFile, ...]
    chunk_bytes: int = 0


def is_hidden(path: str) -> bool:
    """Whether any segment begins with a dot; such files are neither fetched nor hashed."""
    return path.startswith(".") or "/." in path


def is_integrity(path: str) -> bool:
    """Whether the file counts for the ``weight_hash``; names are case-sensitive."""
    name = path.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    counts = (bool(stem) and dot + suffix in INTEGRITY_SUFFIXES) or name in INTEGRITY_NAMES
    return counts and not is_hidden(path)


def weight_hash(digests: Iterable[tuple[str, bytes]]) -> str:
    """The hash that names a build's bytes.

    Args:
        digests: (relative POSIX path, raw sha256 of the file); any order. Files that do
            not count are left out.

    Returns:
        Lower-case hex sha256 over the raw digests in byte order of their paths.
    """
    counted = sorted((path.encode(), raw) for path, raw in digests if is_integrity(path))
    return hashlib.sha256(b"".join(raw for _, raw in counted)).hexdigest()


def slug(model: str) -> str:
    """The model's id as a readable name that every file system takes; not unique."""
    return _UNSAFE.sub("-", model).strip("-.") or "model"


def folder_name(model: str) -> str:
    """Name of the model's folder: readable, and unique by the first 12 hex of its sha256."""
    return f"{slug(model)[:120]}--{_short_hash(model)}"


def prefix(model: str, version: str) -> str:
    """Where a registry keeps a build's objects."""
    return f"v2/{slug(model)}--{_short_hash(model)}/{version}"


def path_problem(path: str) -> str:
    """What makes a relative path unfit to be written below a folder; empty if nothing."""
    segments = path.split("/")
    if not path or path.startswith("/") or "" in segments:
        return "has an empty segment or is absolute"
    if {".", ".."} & set(segments):
        return "would leave the folder"
    if _UNFIT.search(path):
        return "has a backslash or a control character"
    raw = path.encode(errors="surrogateescape")
    if len(raw) > _MAX_PATH_BYTES or max(map(len, raw.split(b"/"))) > _MAX_SEGMENT_BYTES:
        return "is too long"
    if path.casefold() in _RESERVED:
        return "is a name that the cache keeps for itself"
    return ""


def paths_problem(paths: Sequence[str]) -> str:
    """What makes a set of paths unfit for one folder; empty if nothing."""
    for path in paths:
        if problem := path_problem(path):
            return f"{path[:200]!r} {problem}"
    return meeting_problem(paths)


def meeting_problem(paths: Sequence[str]) -> str:
    """What makes paths unfit for one folder of which each is fit; empty if nothing.

    Two names that differ in case only, or a file that would also have to be a folder,
    are a problem on every platform, so that a build is the same everywhere.
    """
    seen: dict[str, str] = {}
    for path in paths:
        folded = path.casefold()
        if folded in seen:
            other = seen[folded]
            return f"{path[:200]!r} and {other[:200]!r} are one name where case does not count"
        seen[folded] = path
    for folded, path in seen.items():
        segments = folded.split("/")
        if any("/".join(segments[:depth]) in seen for depth in range(1, len(segments))):
            return f"{path[:200]!r} lies below another file"
    return ""


def is_foreign(data: bytes) -> bool:
    """Whether a ``manifest.json`` is some other tool's file, to be treated like any other."""
    try:
        found = parsed(data)
    except (ValueError, RecursionError):
        return False
    ours = {"schema_version", "aggregate_sha256"}
    return not (
        isinstance(found, dict) and ours & {str(key) for key in cast("dict[object, object]", found)}
    )


def model_of(data: bytes) -> str:
    """Which model a manifest says that it is about; empty if it does not say."""
    try:
        found = parsed(data)
    except (ValueError, RecursionError):
        return ""
    named = cast("dict[str, object]", found).get("model_id") if isinstance(found, dict) else None
    return named if isinstance(named, str) else ""


def parse(data: bytes, *, model: str) -> Manifest:
    """Read a published manifest and hold it against every rule.

    Args:
        data: UTF-8 JSON.
        model: The id that was asked for.

    Raises:
        ManifestInvalid: It breaks a rule.
    """
    try:
        found = parsed(data)
    except TooMuch as error:
        raise ManifestInvalid(problem=str(error)) from error
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(problem="is no JSON") from error
    if not isinstance(found, dict):
        raise ManifestInvalid(problem="is no JSON object")
    fields = cast("dict[str, object]", found)
    if fields.get("schema_version") != 1 or isinstance(fields["schema_version"], bool):
        raise ManifestInvalid(problem=f"has schema_version {fields.get('schema_version')!r}, not 1")
    if _text(fields, "model_id") != model:
        named = _text(fields, "model_id")[:200]
        raise ManifestInvalid(problem=f"belongs to another model, {named!a}: fetch it by that id")
    listed = fields.get("files")
    if not isinstance(listed, list):
        raise ManifestInvalid(problem="has no list of files")
    chunk_bytes = _chunk_bytes(fields)
    files = tuple(_file(entry, chunk_bytes) for entry in cast("list[object]", listed))
    aggregate = _digest(fields, "aggregate_sha256")
    _hold_together(files, fields, aggregate)
    return Manifest(
        model=model,
        version=_text(fields, "version"),
        prefix=_text(fields, "r2_prefix"),
        aggregate_sha256=aggregate,
        files=files,
        chunk_bytes=chunk_bytes,
    )


def _hold_together(
    files: tuple[ManifestFile, ...], fields: Mapping[str, object], aggregate: str
) -> None:
    if problem := paths_problem([file.path for file in files]):
        raise ManifestInvalid(problem=problem)
    if _count(fields, "file_count") != len(files):
        raise ManifestInvalid(problem="file_count is not the number of files")
    if _count(fields, "total_size_bytes") != sum(file.size_bytes for file in files):
        raise ManifestInvalid(problem="total_size_bytes is not the sum of the sizes")
    if weight_hash((file.path, bytes.fromhex(file.sha256)) for file in files) != aggregate:
        raise ManifestInvalid(problem="aggregate_sha256 does not follow from the files")


def _chunk_bytes(fields: Mapping[str, object]) -> int:
    """How long the pieces are whose digests an entry may list: an addition of ours."""
    if "chunk_bytes" not in fields:
        return 0
    chunk_bytes = _count(fields, "chunk_bytes")
    if not _LEAST_CHUNK_BYTES <= chunk_bytes <= _MOST_CHUNK_BYTES:
        raise ManifestInvalid(problem="chunk_bytes is out of bounds")
    return chunk_bytes


def _chunks(fields: Mapping[str, object], size_bytes: int, chunk_bytes: int) -> tuple[str, ...]:
    listed = fields.get("chunks")
    if not chunk_bytes or listed is None:
        return ()
    if not isinstance(listed, list):
        raise ManifestInvalid(problem="chunks is no list")
    chunks = tuple(_digest({"chunks": one}, "chunks") for one in cast("list[object]", listed))
    if len(chunks) != -(-size_bytes // chunk_bytes):
        raise ManifestInvalid(problem="chunks are not as many as the size asks for")
    return chunks


def _file(entry: object, chunk_bytes: int) -> ManifestFile:
    if not isinstance(entry, dict):
        raise ManifestInvalid(problem="an entry of files is no object")
    fields = cast("dict[str, object]", entry)
    role, size_bytes = fields.get("role"), _count(fields, "size_bytes")
    return ManifestFile(
        path=_text(fields, "path"),
        size_bytes=size_bytes,
        sha256=_digest(fields, "sha256"),
        role=role if isinstance(role, str) else "",
        chunks=_chunks(fields, size_bytes, chunk_bytes),
    )


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ManifestInvalid(problem=f"{name} is no text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ManifestInvalid(problem=f"{name} is no Unicode text") from error
    return value


def _count(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ManifestInvalid(problem=f"{name} is no count")
    return value


def _digest(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not _SHA256_HEX.fullmatch(value):
        raise ManifestInvalid(problem=f"{name} is no sha256 in lower-case hex")
    return value


def _short_hash(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()[:12]
