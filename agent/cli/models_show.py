"""``poolhand models show``: what is known of one build in the cache."""

import time
from argparse import Namespace
from pathlib import Path
from typing import cast

from ...backends.stores.errors import ModelMissing
from ..weights import scrub, shelves
from ..weights.cache import Cache
from ..weights.record import Record
from ..weights.verify import changed_files, place_of, read_record
from .exits import Exit
from .models_place import ground_of, id_of
from .render import items, plain, size, told


def models_show(args: Namespace) -> int:
    """Say what is known of one build, from its record; reads no weights.

    Returns:
        0; 1 if nothing of it is here.
    """
    ground = ground_of(args)
    model = id_of(ground, cast("str", args.model))
    cache = Cache(ground.cache_dir)
    folder = cache.folder(model)
    record = read_record(folder)
    one = next((held for held in shelves.held(cache) if held.folder == folder.name), None)
    if one is None:
        raise ModelMissing(model=model, reason="nothing of it lies in the cache")
    said: dict[str, object] = {
        "model": model,
        "folder": str(folder),
        "state": "here" if one.is_whole else "damaged" if record else "partial",
        "disk_bytes": one.size_bytes,
        "last_used_s": one.last_used_s or None,
    }
    if record is not None:
        said |= _of_record(folder, record)
    lines = [f"{key}: {_cell(key, value)}" for key, value in said.items()]
    told(said, lines, is_json=args.json)
    return Exit.OK


def _of_record(folder: Path, record: Record) -> dict[str, object]:
    changed = [file.path for file in changed_files(folder, record)]
    return {
        "ref": record.ref,
        "place": str(place_of(folder, record)),
        "size_bytes": record.size_bytes,
        "weights_bytes": record.weights_bytes,
        "weight_hash": record.weight_hash,
        "verified_by": record.verified_by,
        "read_whole_s": scrub.read_s(folder),
        "files": len(record.files),
        "changed": changed,
    }


def _cell(key: str, value: object) -> str:
    if key.endswith("_bytes") and isinstance(value, int):
        return size(value)
    if key.endswith("_s") and isinstance(value, float):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if isinstance(value, list):
        return ", ".join(map(plain, items(cast("object", value)))) or "-"
    return plain(value)
