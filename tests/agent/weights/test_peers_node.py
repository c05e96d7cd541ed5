"""What a node is called among its peers, and the key that it shares with them."""

from pathlib import Path

import pytest
from peers_world import KEY, key_file

from poolhand.agent.weights.peers_node import NODE_NAME, key_of, own_node, serving
from poolhand.config.errors import SecretUnusable
from poolhand.config.paths import StateUnusable


def test_a_node_is_called_something_new_each_time(tmp_path: Path) -> None:
    names: set[bytes] = set()
    for _ in range(3):
        with serving(tmp_path / "models") as node:
            assert len(node) == 16
            assert own_node(tmp_path / "models") == node
            names.add(node)
    assert len(names) == 3


def test_it_is_called_nothing_while_it_serves_nobody(tmp_path: Path) -> None:
    assert own_node(tmp_path) is None
    with serving(tmp_path):
        pass
    assert (tmp_path / NODE_NAME).stat().st_size == 16
    assert own_node(tmp_path) is None, "what is left there is nobody's name"


def test_two_processes_do_not_serve_from_one_cache(tmp_path: Path) -> None:
    told = pytest.raises(StateUnusable, match="another process")
    with serving(tmp_path), told, serving(tmp_path):
        pass


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _ = out.write_bytes(b"mine")
    (tmp_path / NODE_NAME).symlink_to(out)
    with pytest.raises(OSError, match=r"symbolic|links"), serving(tmp_path):
        pass
    assert out.read_bytes() == b"mine"


def test_the_key_is_what_the_file_holds(tmp_path: Path) -> None:
    assert key_of(key_file(tmp_path)) == KEY


@pytest.mark.parametrize(
    ("text", "mode"), [("k" * 31, 0o600), ("", 0o600), ("k" * 64, 0o644), ("k k " * 20, 0o600)]
)
def test_a_key_that_protects_nothing_is_refused(tmp_path: Path, text: str, mode: int) -> None:
    path = tmp_path / "key"
    _ = path.write_text(text)
    path.chmod(mode)
    with pytest.raises(SecretUnusable) as refused:
        _ = key_of(str(path))
    assert "kkkk" not in str(refused.value)


def test_a_key_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretUnusable, match="not there"):
        _ = key_of(str(tmp_path / "key"))
