"""Where things live, told for both platforms on any machine."""

import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.paths import (
    StateUnusable,
    cache_dir,
    config_file,
    control_socket,
    own_dir,
    state_dir,
)

HOME = Path("/home/ada")
MAC = Path("/Users/ada")


def nowhere(_: Path) -> bool:
    """No file is there."""
    return False


def test_a_linux_user() -> None:
    assert config_file("linux", {}, HOME, nowhere) == HOME / ".config/poolhand/agent.toml"
    assert state_dir("linux", {}, HOME) == HOME / ".local/state/poolhand"
    assert cache_dir("linux", {}, HOME) == HOME / ".cache/poolhand"


def test_a_linux_user_with_folders_of_their_own() -> None:
    environ = {"XDG_CONFIG_HOME": "/x/c", "XDG_STATE_HOME": "/x/s", "XDG_CACHE_HOME": "relative"}
    assert config_file("linux", environ, HOME, nowhere) == Path("/x/c/poolhand/agent.toml")
    assert state_dir("linux", environ, HOME) == Path("/x/s/poolhand")
    assert cache_dir("linux", environ, HOME) == HOME / ".cache/poolhand", "relative is ignored"


def test_the_system_s_file_is_read_where_the_user_has_none() -> None:
    own, system = HOME / ".config/poolhand/agent.toml", Path("/etc/poolhand/agent.toml")
    assert config_file("linux", {}, HOME, {system}.__contains__) == system
    assert config_file("linux", {}, HOME, {own, system}.__contains__) == own
    assert config_file("linux", {}, HOME, nowhere) == own, "the one to write"


def test_a_mac() -> None:
    support = MAC / "Library/Application Support/poolhand"
    environ = {"XDG_CONFIG_HOME": "/x/c"}
    xdg, system = Path("/x/c/poolhand"), Path("/Library/Application Support/poolhand")
    for there in ((), (xdg, support, system), (support, system), (system,)):
        files = {folder / "agent.toml" for folder in there}
        first = (*there, xdg)[0] / "agent.toml"
        assert config_file("darwin", environ, MAC, files.__contains__) == first
    assert state_dir("darwin", environ, MAC) == support
    assert cache_dir("darwin", environ, MAC) == MAC / "Library/Caches/poolhand"


def test_a_systemd_service() -> None:
    environ = {
        "CONFIGURATION_DIRECTORY": "/etc/poolhand",
        "STATE_DIRECTORY": "/var/lib/poolhand:/var/lib/other",
        "CACHE_DIRECTORY": "/var/cache/poolhand",
        "XDG_STATE_HOME": "/x/s",
    }
    assert config_file("linux", environ, HOME, nowhere) == Path("/etc/poolhand/agent.toml")
    assert state_dir("linux", environ, HOME) == Path("/var/lib/poolhand")
    assert cache_dir("linux", environ, HOME) == Path("/var/cache/poolhand")


def test_our_own_variables_win() -> None:
    environ = {
        "POOLHAND_CONFIG": "/a/b.toml",
        "POOLHAND_STATE_DIR": "rel",
        "STATE_DIRECTORY": "/var/lib/poolhand",
    }
    assert config_file("linux", environ, HOME, nowhere) == Path("/a/b.toml")
    assert state_dir("darwin", environ, HOME) == Path.cwd() / "rel"


def test_the_socket_lies_in_the_state_folder(tmp_path: Path) -> None:
    assert control_socket(tmp_path) == Path(os.path.realpath(tmp_path)) / "control.sock"


@pytest.mark.parametrize(("platform", "most"), [("darwin", 103), ("linux", 107)])
@given(length=st.integers(1, 300))
def test_the_socket_always_fits(platform: str, most: int, length: int) -> None:
    folder = Path("/nowhere") / ("s" * length)
    path = control_socket(folder, platform)
    assert len(os.fsencode(path)) <= most
    assert path == control_socket(folder, platform), "both sides come to the same place"
    inside = len(os.fsencode(folder / "control.sock")) <= most
    assert (path.parent == folder) == inside


def test_long_folders_do_not_share_a_socket(tmp_path: Path) -> None:
    one, two = (control_socket(tmp_path / ("s" * 200 + end)) for end in "ab")
    assert one != two


def test_a_folder_and_a_link_to_it_are_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert control_socket(tmp_path / "link") == control_socket(tmp_path)


def test_the_longest_path_can_be_bound(tmp_path: Path) -> None:
    room = 107 - len(os.fsencode(os.path.realpath(tmp_path))) - len("//control.sock")
    if room < 1:
        pytest.skip("this machine's temporary folder is too deep")
    folder = own_dir(tmp_path / ("s" * room))
    with socket.socket(socket.AF_UNIX) as door:
        path = control_socket(folder, "linux")
        assert path.parent == folder
        door.bind(str(path))


def test_a_private_folder_is_made_and_found_again(tmp_path: Path) -> None:
    made = own_dir(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert own_dir(made) == made


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750, 0o701])
def test_a_folder_that_others_may_look_into_is_taken(tmp_path: Path, mode: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    assert own_dir(tmp_path / "open").is_dir()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o720])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    with pytest.raises(StateUnusable, match="chmod 700"):
        own_dir(tmp_path / "open")


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert own_dir(tmp_path / "link").is_dir()
    (tmp_path / "real").chmod(0o777)
    with pytest.raises(StateUnusable, match="chmod 700"):
        own_dir(tmp_path / "link")


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable, match="it is no folder"):
        own_dir(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(StateUnusable, match="it is no folder"):
        own_dir(tmp_path / "nowhere")
