"""What an error of the disk means, in our own words."""

import errno
import os
from pathlib import Path

from ...backends.stores.errors import DiskFailed, DiskFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def disk_error(error: OSError, place: str) -> DiskFull | DiskFailed:
    """The failure behind a call that the disk refused.

    Args:
        error: What the call raised.
        place: The folder that was written to, named where the error names nothing.
    """
    path = str(error.filename2 or error.filename or place)
    if error.errno in _FULL and (free_bytes := _free_bytes(Path(place))) is not None:
        return DiskFull(needs_bytes=None, free_bytes=free_bytes)
    return DiskFailed(path=path, reason=error.strerror or type(error).__name__)


def _free_bytes(place: Path) -> int | None:
    for folder in (place, *place.parents):
        try:
            room = os.statvfs(folder)
        except OSError:
            continue  # it was not made yet, or has just been removed
        return room.f_bavail * room.f_frsize
    return None
