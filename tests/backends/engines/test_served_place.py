"""Where a server listens: nobody else's folder, nobody else's key."""

import stat
import tempfile
from pathlib import Path

import pytest

from poolhand.backends.engines.served_place import LONGEST_PATH, Place


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "r"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_socket_lies_in_a_folder_that_only_we_may_enter(rooms: Path) -> None:
    place = Place.make(takes_socket=True)
    assert place.folder.parent == rooms
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    assert place.socket_path == str(place.folder / "s.sock")
    assert place.port is None
    assert place.peer.socket_path == place.socket_path
    place.remove()
    place.remove()
    assert not list(rooms.iterdir())


def test_a_port_is_of_this_machine(rooms: Path) -> None:
    place = Place.make(takes_socket=False)
    assert place.socket_path is None
    assert place.port is not None
    assert 1024 <= place.port < 65536
    assert place.peer.url == f"http://127.0.0.1:{place.port}"
    place.remove()
    assert not list(rooms.iterdir())


@pytest.mark.parametrize("takes_socket", [True, False])
def test_each_start_has_a_key_of_its_own_that_no_repr_shows(takes_socket: bool) -> None:  # noqa: FBT001
    first, second = (Place.make(takes_socket=takes_socket) for _ in range(2))
    assert first.key != second.key
    assert len(first.key) == 32
    assert first.peer.headers == {"Authorization": f"Bearer {first.key}"}
    assert first.key not in repr(first) + repr(first.peer)
    first.remove()
    second.remove()


def test_a_path_that_is_too_long_for_a_socket_goes_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    far = tmp_path / ("x" * 100)
    far.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(far))
    place = Place.make(takes_socket=True)
    assert place.socket_path is not None
    assert len(place.socket_path) <= LONGEST_PATH
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    assert not list(far.iterdir())
    place.remove()
    assert not place.folder.exists()
