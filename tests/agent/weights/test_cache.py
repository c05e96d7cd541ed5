"""The cache folder, and what the inventory makes of it."""

import fcntl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from weights_origin import digested, lay, toy

from poolhand.agent.weights.boot import boot_id
from poolhand.agent.weights.cache import Cache, listed_key
from poolhand.agent.weights.inventory import inventory
from poolhand.agent.weights.journal import JOURNAL_NAME, Header, Journal, Listed, nothing
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.publish import publish
from poolhand.backends.stores.base import Stock
from poolhand.backends.stores.errors import CacheBusy, WeightsUnsafe
from poolhand.config.refs import ModelRef
from poolhand.config.settings import ModelEntry, Stores, Weights

ENTRY = ModelEntry(id="org/toy", ref="s3://bucket/toy")
TOTAL = sum(map(len, toy().values()))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def fill(cache: Cache) -> Path:
    folder = cache.folder(ENTRY.id)
    targets = lay(folder, toy())
    job = FetchJob(ENTRY.id, ModelRef.parse(ENTRY.ref), Stores(), Weights(), str(cache.models))
    _ = publish(folder, folder, job, digested(folder, targets), is_promised=True)
    return folder


def begin(cache: Cache, ref: str = ENTRY.ref) -> None:
    folder = cache.folder(ENTRY.id)
    folder.mkdir(parents=True)
    files = (Listed(path="a", size_bytes=10, etag=None),)
    header = Header(ref=ref, boot_id=boot_id(), block_bytes=4, files=files)
    journal = Journal(folder / JOURNAL_NAME, nothing(header))
    journal.arrived(0, 2)
    journal.close()


def test_a_folder_is_never_named_by_the_raw_id(cache: Cache) -> None:
    assert cache.folder("../../etc").parent == cache.models
    assert cache.folder("org/toy-a").name == "org-toy-a--1d9e4c717c57"


def test_an_empty_cache(cache: Cache) -> None:
    assert cache.build(ENTRY.id, ENTRY.ref) is None
    assert cache.drop(ENTRY.id) == 0
    assert cache.size_bytes(ENTRY.id) == 0
    assert cache.orphans([]) == ()
    assert not cache.has_partial(ENTRY.id)
    assert inventory(cache, [ENTRY]) == (Stock(ENTRY.id, "listed"),)
    assert not cache.models.exists(), "looking makes nothing"


def test_a_build_is_here_until_touched(cache: Cache) -> None:
    folder = fill(cache)
    (stock,) = inventory(cache, [ENTRY])
    assert (stock.state, stock.size_bytes, stock.here_bytes) == ("here", TOTAL, TOTAL)
    assert stock.build is not None
    assert stock.build.verified_by == "manifest"
    _ = (folder / "config.json").write_bytes(b"{ }")
    assert inventory(cache, [ENTRY])[0].state == "listed"


def test_a_build_from_elsewhere_is_not_this_one(cache: Cache) -> None:
    _ = fill(cache)
    other = ENTRY.model_copy(update={"ref": "s3://bucket/other"})
    assert inventory(cache, [other])[0].state == "listed"
    assert cache.build(ENTRY.id, other.ref) is None


def test_a_build_whose_config_is_damaged_is_not_here(cache: Cache) -> None:
    folder = cache.folder(ENTRY.id)
    targets = lay(folder, {**toy()})
    files = digested(folder, targets)
    job = FetchJob(ENTRY.id, ModelRef.parse(ENTRY.ref), Stores(), Weights(), "")
    _ = publish(folder, folder, job, files, is_promised=False)
    (folder / "config.json").unlink()
    assert cache.build(ENTRY.id, ENTRY.ref) is None


def test_what_is_partly_here_is_counted(cache: Cache) -> None:
    begin(cache)
    assert cache.has_partial(ENTRY.id)
    assert inventory(cache, [ENTRY]) == (Stock(ENTRY.id, "partial", 10, 2),)


def test_a_part_of_another_source_is_not_counted(cache: Cache) -> None:
    begin(cache, ref="s3://bucket/other")
    assert inventory(cache, [ENTRY]) == (Stock(ENTRY.id, "listed"),)


def test_listed_sizes_are_remembered_by_model_and_source(cache: Cache) -> None:
    cache.remember(ENTRY.id, ENTRY.ref, 5)
    cache.remember("other", "s3://bucket/x", 6)
    assert cache.listed() == {listed_key(ENTRY.id, ENTRY.ref): 5, "other s3://bucket/x": 6}
    assert inventory(cache, [ENTRY])[0].size_bytes == 5
    moved = ENTRY.model_copy(update={"ref": "s3://bucket/new"})
    assert inventory(cache, [moved])[0].size_bytes is None


def test_many_may_remember_a_size_at_once(tmp_path: Path) -> None:
    def remember(size_bytes: int) -> None:
        Cache(tmp_path).remember(f"org/{size_bytes}", ENTRY.ref, size_bytes)

    with ThreadPoolExecutor(8) as pool:
        _ = list(pool.map(remember, range(64)))
    assert sorted(Cache(tmp_path).listed().values()) == list(range(64))


@pytest.mark.parametrize("data", [b"", b"[", b"[]", b'{"a": "b"}', b"\xff"])
def test_a_damaged_index_is_an_empty_one(cache: Cache, data: bytes) -> None:
    cache.models.mkdir(parents=True)
    _ = (cache.models / ".listed.json").write_bytes(data)
    assert cache.listed() == {}
    cache.remember(ENTRY.id, ENTRY.ref, 5)
    assert inventory(cache, [ENTRY])[0].size_bytes == 5


def test_dropping_gives_the_disk_back(cache: Cache) -> None:
    folder = fill(cache)
    size_bytes = cache.size_bytes(ENTRY.id)
    assert size_bytes >= TOTAL
    assert cache.drop(ENTRY.id) >= size_bytes
    assert not folder.exists()


def test_what_nobody_offers_is_an_orphan(cache: Cache) -> None:
    folder = fill(cache)
    cache.remember(ENTRY.id, ENTRY.ref, 5)
    assert cache.orphans([ENTRY.id]) == ()
    assert cache.orphans(["org/other"]) == (folder,)


def test_a_folder_that_is_written_cannot_be_dropped(cache: Cache) -> None:
    folder = fill(cache)
    with cache.lock(ENTRY.id), pytest.raises(CacheBusy):
        _ = cache.drop(ENTRY.id)
    assert folder.exists()


HOLD = """
import sys
from poolhand.agent.weights.cache import Cache
with Cache(sys.argv[1]).lock(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_holds_between_processes_and_waits_if_told(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path), ENTRY.id]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:  # noqa: S603  # our own
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(CacheBusy), Cache(tmp_path).lock(ENTRY.id):
            pass
        other.stdin.close()
        with Cache(tmp_path).lock(ENTRY.id, patience_s=20):
            pass


def test_the_lock_of_a_folder_that_was_dropped_meanwhile_is_none(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next one would make the folder and its lock anew, and two would write there."""
    with ExitStack() as first:
        first.enter_context(cache.lock(ENTRY.id))

        def rest(_seconds: float) -> None:
            first.close()
            _ = cache.drop(ENTRY.id)

        monkeypatch.setattr(time, "sleep", rest)
        with cache.lock(ENTRY.id, patience_s=20):
            assert cache.folder(ENTRY.id).is_dir()
            with pytest.raises(CacheBusy), cache.lock(ENTRY.id):
                pass


def test_who_comes_late_drops_nothing_that_is_made_anew(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, is_first = fill(cache), fcntl.flock, True
    with ExitStack() as other:

        def flock(fd: int, how: int) -> None:
            nonlocal is_first
            if is_first:
                is_first = False
                _ = cache.drop(ENTRY.id)
                other.enter_context(cache.lock(ENTRY.id))
            real(fd, how)

        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(CacheBusy):
            _ = cache.drop(ENTRY.id)
        assert folder.is_dir()


def test_a_folder_that_is_a_link_is_refused(cache: Cache, tmp_path: Path) -> None:
    cache.models.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    cache.folder(ENTRY.id).symlink_to(tmp_path / "outside")
    with pytest.raises(WeightsUnsafe, match="symbolic link"), cache.lock(ENTRY.id):
        pass
    assert list((tmp_path / "outside").iterdir()) == []


def test_links_in_a_folder_are_taken_away_before_anything_is_written(
    cache: Cache, tmp_path: Path
) -> None:
    folder = fill(cache)
    (tmp_path / "outside").mkdir()
    _ = (tmp_path / "outside" / "precious").write_bytes(b"x")
    for name in ("sub", ".partial", "deep/er"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(tmp_path / "outside")
    with cache.lock(ENTRY.id):
        assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert (tmp_path / "outside" / "precious").read_bytes() == b"x"
    assert cache.build(ENTRY.id, ENTRY.ref) is not None


def test_this_boot_has_a_name() -> None:
    assert boot_id() == boot_id() != ""


def test_another_build_than_the_one_that_was_named_is_not_here(cache: Cache) -> None:
    _ = fill(cache)
    build = cache.build(ENTRY.id, ENTRY.ref)
    assert build is not None
    for named, state in ((build.weight_hash, "here"), ("0" * 64, "listed")):
        entry = ENTRY.model_copy(update={"weight_hash": named})
        assert inventory(cache, [entry])[0].state == state
