"""What a node can give away: only what lies verified in its cache, or what a fetch offers."""

import json
import os
from pathlib import Path

import pytest
from peers_world import publish_build, raw
from weights_origin import toy

from poolhand.agent.weights.cache import SHARED_NAME
from poolhand.agent.weights.peers_holdings import Held, Holdings, opened
from poolhand.agent.weights.peers_shared import Sharing
from poolhand.agent.weights.record import RECORD_NAME

OBJECTS = toy(shard_bytes=50_000)
SHARD = "model-00001-of-00002.safetensors"
DATA = OBJECTS[SHARD]
SHA = raw(DATA).hex()


def fresh(holdings: Holdings) -> Holdings:
    """The same, with eyes that look at once."""
    holdings.keep_back([])
    return holdings


def bytes_of(held: Held) -> bytes | None:
    with opened(held) as fd:
        return None if fd is None else os.pread(fd, held.size_bytes, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish_build(tmp_path, OBJECTS)


@pytest.fixture
def holdings(folder: Path) -> Holdings:
    return Holdings(folder.parent)


def test_every_file_of_a_build_is_found_by_its_digest(holdings: Holdings) -> None:
    for data in OBJECTS.values():
        held = holdings.find(raw(data).hex())
        assert held is not None
        assert held.is_whole
        assert held.reach(0) == len(data)
        assert bytes_of(held) == data


def test_nothing_else_is_found(holdings: Holdings) -> None:
    assert holdings.find("0" * 64) is None
    assert holdings.find("") is None
    assert holdings.find("../" + SHA) is None


def test_an_empty_or_missing_cache_holds_nothing(tmp_path: Path) -> None:
    assert Holdings(tmp_path / "nowhere").find(SHA) is None
    assert Holdings(tmp_path).find(SHA) is None


def test_a_build_without_its_record_is_none(folder: Path, holdings: Holdings) -> None:
    assert holdings.find(SHA) is not None
    (folder / RECORD_NAME).unlink()
    assert fresh(holdings).find(SHA) is None


def test_a_record_that_is_no_record_is_none(folder: Path, holdings: Holdings) -> None:
    _ = (folder / RECORD_NAME).write_text("{")
    assert holdings.find(SHA) is None


def test_a_build_that_is_removed_is_forgotten(folder: Path, holdings: Holdings) -> None:
    assert holdings.find(SHA) is not None
    _ = folder.rename(folder.with_name(".leaving-x"))
    assert fresh(holdings).find(SHA) is None


def test_what_is_kept_back_is_not_given(holdings: Holdings) -> None:
    holdings.keep_back(["org/other"])
    assert holdings.find(SHA) is not None
    holdings.keep_back(["org/toy"])
    assert holdings.find(SHA) is None
    holdings.keep_back([])
    assert holdings.find(SHA) is not None


def test_a_file_that_was_written_to_is_not_given(folder: Path, holdings: Holdings) -> None:
    held = holdings.find(SHA)
    assert held is not None
    path = folder / SHARD
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    _ = path.write_bytes(data)
    assert bytes_of(held) is None
    path.unlink()
    assert bytes_of(held) is None


def test_a_folder_that_is_a_link_is_not_looked_into(tmp_path: Path, folder: Path) -> None:
    models = tmp_path / "other" / "models"
    models.mkdir(parents=True)
    (models / folder.name).symlink_to(folder)
    assert Holdings(models).find(SHA) is None


def test_a_link_inside_a_build_is_not_followed(tmp_path: Path) -> None:
    folder = publish_build(tmp_path, {"config.json": b"{}", "sub/" + SHARD: DATA})
    held = Holdings(folder.parent).find(SHA)
    assert held is not None
    assert held.path == folder / "sub" / SHARD
    out = tmp_path / "out"
    _ = (folder / "sub").rename(out)
    (folder / "sub").symlink_to(out)
    assert bytes_of(held) is None


@pytest.mark.parametrize("name", ["../../outside", "/etc/hostname"])
def test_a_record_that_points_out_of_its_folder_gives_nothing(
    folder: Path, tmp_path: Path, name: str
) -> None:
    """Nobody but us writes records; if somebody did, this is what it would be for."""
    _ = (tmp_path / "outside").write_bytes(DATA)
    said = json.loads((folder / RECORD_NAME).read_text())
    for file in said["files"]:
        if file["path"] == SHARD:
            facts = (tmp_path / "outside").stat()
            file |= {"path": name, "mtime_ns": facts.st_mtime_ns, "inode": facts.st_ino}
    _ = (folder / RECORD_NAME).write_text(json.dumps(said))
    held = Holdings(folder.parent).find(SHA)
    assert held is None or bytes_of(held) is None


def test_a_build_outside_the_cache_is_not_given(folder: Path, holdings: Holdings) -> None:
    said = json.loads((folder / RECORD_NAME).read_text())
    said["folder"] = str(folder)
    _ = (folder / RECORD_NAME).write_text(json.dumps(said))
    assert holdings.find(SHA) is None


def test_what_a_fetch_offers_is_found_as_it_comes(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "org-x--000000000000"
    (folder / ".partial").mkdir(parents=True)
    _ = (folder / ".partial" / SHARD).write_bytes(DATA)
    sharing = Sharing(folder / SHARED_NAME, [(SHA, len(DATA), SHARD)])
    sharing.progressed(9)
    holdings = Holdings(tmp_path / "models")
    held = holdings.find(SHA)
    assert held is not None
    assert not held.is_whole
    assert (held.reach(0), held.progress_bytes) == (0, 9)
    sharing.arrived(0, 0, 100)
    held = fresh(holdings).find(SHA)
    assert held is not None
    assert held.reach(0) == 100
    assert bytes_of(held) == DATA
    _ = (folder / ".partial" / SHARD).rename(folder / SHARD)
    assert bytes_of(held) is None, "it has moved: whoever asks again finds it"
    sharing.whole(0)
    held = fresh(holdings).find(SHA)
    assert held is not None
    assert held.is_whole
    assert bytes_of(held) == DATA
    sharing.close()
    assert fresh(holdings).find(SHA) is None


def test_what_is_whole_comes_before_what_is_on_its_way(folder: Path) -> None:
    """A file that two builds have, of which one is still being fetched."""
    for name in ("a-earlier--000000000000", "z-later--000000000000"):
        other = folder.parent / name
        other.mkdir()
        sharing = Sharing(other / SHARED_NAME, [(SHA, len(DATA), SHARD)])
        held = Holdings(folder.parent).find(SHA)
        assert held is not None
        assert held.path == folder / SHARD
        assert held.is_whole
        sharing.close()
