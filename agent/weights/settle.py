"""Syncs what a fetch left to be written later, and says so in the record.

A fetch is quick because it does not wait for the disk: its record says in which boot of the
machine the bytes were written, and in another boot they are read and digested before anybody
believes them. Once everything is synced that mark is taken away.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...backends.stores.errors import CacheBusy
from ...config.atomic import write_atomically
from .cache import Cache
from .parts import flush, sync_path
from .record import RECORD_NAME
from .scrub import read_s
from .verify import changed_files, place_of, read_record


def settle(cache: Cache, put: Callable[[int], None] = flush) -> tuple[str, ...]:
    """Sync every build that is not known to be on the platter; blocks as long as the disk does.

    Args:
        cache: Where builds lie.
        put: Puts an open file on the platter.

    Returns:
        The models that are safe from now on.

    Raises:
        OSError: The disk would not take them; the build is none any more, for a second try would
            succeed although the bytes are lost.
    """
    done: list[str] = []
    for folder in cache.orphans(()):
        record = read_record(folder)
        if record is None or record.unsynced_boot is None:
            continue
        try:
            with cache.lock(record.model):
                if _is_settled(folder, put):
                    done.append(record.model)
        except CacheBusy:
            continue  # somebody brings another one there
    return tuple(done)


def _is_settled(folder: Path, put: Callable[[int], None]) -> bool:
    record = read_record(folder)
    if record is None or record.unsynced_boot is None or changed_files(folder, record):
        return False
    place = place_of(folder, record)
    paths = {place / file.path for file in record.files}
    try:
        for path in (*paths, *{path.parent for path in paths}):
            sync_path(path, put)
    except OSError:
        (folder / RECORD_NAME).unlink(missing_ok=True)
        raise
    settled, before = replace(record, unsynced_boot=None), read_s(folder)
    write_atomically(folder / RECORD_NAME, settled.encode())
    # its time says when the bytes were last seen to be right, and nobody looked at them now
    os.utime(folder / RECORD_NAME, (before, before))
    return True
