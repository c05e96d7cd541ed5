"""Files replaced in one step: a crash leaves the old bytes or the new ones, never some of both."""

import os
from pathlib import Path


def write_atomically(
    path: Path, data: bytes, *, is_synced: bool = True, mode: int | None = None
) -> None:
    """Replace a file by these bytes; after a crash it holds the old ones or the new.

    Args:
        path: The file; one of the same name with ``.new`` behind it is in use meanwhile.
        data: All of its bytes.
        is_synced: Whether they have to outlive a power cut from now on; else one may leave the
            old ones, the new ones, or what is neither.
        mode: Its permissions, from its first byte on; ``None``: as new files have them.

    Raises:
        OSError: It could not be written; the old one is there.
    """
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        _ = file.write(data)
        file.flush()
        if is_synced:
            os.fsync(file.fileno())
    _ = fresh.replace(path)
    if not is_synced:
        return
    fd = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
