"""A file is replaced whole or not at all."""

from pathlib import Path

import pytest

from poolhand.config.atomic import write_atomically


@pytest.mark.parametrize("is_synced", [True, False])
def test_a_file_is_replaced_whole(tmp_path: Path, *, is_synced: bool) -> None:
    for data in (b"1", b"22", b""):
        write_atomically(tmp_path / "f", data, is_synced=is_synced)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [data]


def test_it_has_its_permissions_whatever_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / "f.json.new").write_bytes(b"torn, and longer than what comes")
    (tmp_path / "f.json.new").chmod(0o644)
    write_atomically(tmp_path / "f.json", b"{}", mode=0o600)
    (found,) = tmp_path.iterdir()
    assert (found.name, found.read_bytes()) == ("f.json", b"{}")
    assert found.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    (tmp_path / "f.new").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
