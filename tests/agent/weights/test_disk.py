"""Errors of the disk: a full one is told from a broken one."""

import errno
from pathlib import Path

import pytest

from poolhand.agent.weights.disk import disk_error
from poolhand.backends.stores.errors import DiskFailed, DiskFull


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(tmp_path: Path, number: int) -> None:
    place = tmp_path / "not" / "made"
    found = disk_error(OSError(number, "No space left on device", str(place)), str(place))
    assert isinstance(found, DiskFull)
    assert str(found).startswith("disk full: ")
    assert str(found).endswith(" free"), "nobody knows how much was needed"


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES])
def test_a_broken_one(tmp_path: Path, number: int) -> None:
    found = disk_error(OSError(number, "words", "/a", None, "/b"), str(tmp_path))
    assert isinstance(found, DiskFailed)
    assert (found.path, "words" in str(found)) == ("/b", True)
    nameless = disk_error(OSError(number, "words"), str(tmp_path))
    assert isinstance(nameless, DiskFailed)
    assert nameless.path == str(tmp_path)
