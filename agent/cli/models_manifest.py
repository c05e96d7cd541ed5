"""``poolhand models manifest``: what a folder of files would be promised as.

Put beside the files in a store, it lets every node hold each byte to a promise, and take over
from an older build whatever pieces are the same.
"""

import hashlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import cast

from ...backends.stores.paths import is_wanted
from ..weights.manifest import (
    MANIFEST_NAME,
    ManifestInvalid,
    is_hidden,
    parse,
    paths_problem,
    prefix,
    weight_hash,
)
from .exits import Exit

CHUNK_BYTES = 16 * 2**20
_READ_BYTES = 2**20


def models_manifest(args: Namespace) -> int:
    """Print the manifest of a folder.

    Returns:
        0 if there is one.
    """
    folder, model = cast("Path", args.folder), cast("str", args.id)
    paths = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and _counts(path.relative_to(folder).as_posix())
    )
    problem = paths_problem(paths) if paths else "no file of a model lies there"
    if problem:
        print(f"poolhand: {problem}", file=sys.stderr)
        return Exit.FAILURE
    try:
        text = manifest_of(folder, paths, model=model, version=cast("str", args.version))
    except (OSError, ManifestInvalid) as error:
        print(f"poolhand: {error}", file=sys.stderr)
        return Exit.FAILURE
    print(text)
    return Exit.OK


def manifest_of(folder: Path, paths: list[str], *, model: str, version: str) -> str:
    """The manifest as JSON text; every file is read once.

    Args:
        folder: Where the files lie.
        paths: Their names, relative, ``/`` between segments.
        model: The build's id.
        version: The build's version, such as ``v1``.

    Raises:
        OSError: A file cannot be read.
        ManifestInvalid: A name or the version would not be believed by any reader.
    """
    files = [_entry(folder, path) for path in paths]
    digests = [
        (cast("str", one["path"]), bytes.fromhex(cast("str", one["sha256"]))) for one in files
    ]
    said = {
        "schema_version": 1,
        "model_id": model,
        "version": version,
        "r2_prefix": prefix(model, version),
        "aggregate_sha256": weight_hash(digests),
        "total_size_bytes": sum(cast("int", one["size_bytes"]) for one in files),
        "file_count": len(files),
        "chunk_bytes": CHUNK_BYTES,
        "files": files,
    }
    text = json.dumps(said, indent=1)
    _ = parse(text.encode(), model=model)  # what we would not believe is not written
    return text


def _counts(path: str) -> bool:
    return is_wanted(path) and not is_hidden(path) and path != MANIFEST_NAME


def _entry(folder: Path, path: str) -> dict[str, object]:
    whole, chunks, size_bytes = hashlib.sha256(), list[str](), 0
    with (folder / path).open("rb") as file:
        while True:
            chunk, left = hashlib.sha256(), CHUNK_BYTES
            while left and (data := file.read(min(_READ_BYTES, left))):
                whole.update(data)
                chunk.update(data)
                left -= len(data)
            if left == CHUNK_BYTES:
                break
            size_bytes += CHUNK_BYTES - left
            chunks.append(chunk.hexdigest())
    return {
        "path": path,
        "size_bytes": size_bytes,
        "sha256": whole.hexdigest(),
        "chunks": chunks,
    }
