"""The cache as a whole, on a real disk; and removal, killed at every step."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from weights_origin import digested, lay, toy

from poolhand.agent.weights import shelves
from poolhand.agent.weights.boot import boot_id
from poolhand.agent.weights.cache import Cache, remove
from poolhand.agent.weights.journal import JOURNAL_NAME, Header, Journal, Listed, nothing
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.publish import publish
from poolhand.backends.stores.errors import CacheBusy, CacheFull
from poolhand.config.refs import ModelRef
from poolhand.config.settings import Cache as CacheSettings
from poolhand.config.settings import Stores, Weights

FREE = CacheSettings(reserve_gib=0.0, reserve_ratio=0.0)
REF = "s3://bucket/toy"
OBJECTS = toy(shard_bytes=100_000)
TOTAL = sum(map(len, OBJECTS.values()))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def fill(cache: Cache, model: str, used_s: float | None = None) -> Path:
    folder = cache.folder(model)
    targets = lay(folder, OBJECTS)
    job = FetchJob(model, ModelRef.parse(REF), Stores(), Weights(), "")
    _ = publish(folder, folder, job, digested(folder, targets), is_promised=True)
    os.utime(folder / "manifest.ok", (1.0, 1.0))
    if used_s is not None:
        shelves.touch(cache, model, now_s=used_s)
    return folder


def quota(gib: float) -> CacheSettings:
    return CacheSettings(reserve_gib=0.0, reserve_ratio=0.0, quota_gib=gib)


def builds(count: float) -> CacheSettings:
    """Bounds that have room for so many builds."""
    return quota(count * (TOTAL + 40_000) / 2**30)


def test_what_is_held(cache: Cache) -> None:
    folder = fill(cache, "org/a", used_s=77.0)
    (one,) = shelves.held(cache)
    assert (one.folder, one.model, one.is_whole) == (folder.name, "org/a", True)
    assert one.size_bytes >= TOTAL
    assert one.last_used_s == 77.0
    _ = (folder / "config.json").write_bytes(b"{ }")
    assert not shelves.held(cache)[0].is_whole


def test_what_an_unfinished_fetch_still_needs(cache: Cache) -> None:
    folder = cache.folder("org/a")
    folder.mkdir(parents=True)
    files = (Listed(path="a", size_bytes=10_000_000, etag=None),)
    header = Header(ref=REF, boot_id=boot_id(), block_bytes=2**20, files=files)
    Journal(folder / JOURNAL_NAME, nothing(header)).close()
    (one,) = shelves.held(cache)
    assert (one.model, one.is_whole) == (None, False)
    assert 9_900_000 < one.pending_bytes <= 10_000_000


def test_a_use_is_one_call_and_makes_no_folder(cache: Cache) -> None:
    shelves.touch(cache, "org/none")
    assert not cache.models.exists()
    folder = fill(cache, "org/a")
    (folder / shelves.USED_NAME).symlink_to(folder / "config.json")
    before = (folder / "config.json").stat().st_mtime_ns
    shelves.touch(cache, "org/a")
    assert (folder / "config.json").stat().st_mtime_ns == before, "no link is followed"


def test_the_longest_unused_build_leaves(cache: Cache) -> None:
    folders = {name: fill(cache, name, at) for name, at in (("a", 30), ("b", 10), ("c", 20))}
    gone = shelves.make_room(cache, "new", TOTAL, settings=builds(3), protected=())
    assert gone == (folders["b"].name,)
    gone = shelves.make_room(cache, "new", TOTAL, settings=builds(2), protected={"c"})
    assert gone == (folders["a"].name,)
    assert folders["c"].is_dir()


def test_a_model_that_does_not_fit_disturbs_nobody(cache: Cache) -> None:
    folder = fill(cache, "a", 1)
    with pytest.raises(CacheFull, match=r"quota of"):
        _ = shelves.make_room(cache, "new", 2 * TOTAL, settings=builds(1), protected=())
    with pytest.raises(CacheFull, match="reserve"):
        _ = shelves.make_room(
            cache, "new", TOTAL, settings=CacheSettings(reserve_gib=2.0**20), protected=()
        )
    assert folder.is_dir()


def test_what_is_here_of_it_already_is_not_needed_again(cache: Cache) -> None:
    _ = fill(cache, "a", 1)
    assert shelves.make_room(cache, "a", TOTAL, settings=builds(1), protected=()) == ()


def test_a_folder_that_is_written_to_stays(cache: Cache) -> None:
    folder = fill(cache, "a", 1)
    with cache.lock("a"):
        assert shelves.leave(cache, [folder.name]) == ()
    assert folder.is_dir()


def test_pruning(cache: Cache) -> None:
    folders = {name: fill(cache, name, at) for name, at in (("a", 30), ("b", 10), ("c", 20))}
    (cache.models / ".leaving-x-1").mkdir()
    gone = shelves.prune(cache, settings=FREE, known={"a", "b"}, protected=())
    assert gone == (folders["c"].name,)
    assert not (cache.models / ".leaving-x-1").exists()
    assert shelves.prune(cache, settings=FREE, known=None, protected=()) == ()
    assert shelves.prune(cache, settings=builds(1), known=None, protected=()) == (
        folders["b"].name,
    )
    assert shelves.prune(cache, settings=builds(0.1), known=[], protected={"a"}) == ()


def test_a_link_is_taken_away_and_not_followed(cache: Cache, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    _ = (outside / "precious").write_bytes(b"x")
    cache.models.mkdir(parents=True)
    cache.folder("a").symlink_to(outside)
    assert cache.drop("a") == 0
    assert (outside / "precious").is_file()
    assert not cache.folder("a").is_symlink()


def test_dropping_what_is_fetched(cache: Cache) -> None:
    folder = fill(cache, "a")
    with cache.lock("a"), pytest.raises(CacheBusy):
        _ = remove(folder, model="a")


STEPS = """
import os, signal, sys
from pathlib import Path
from poolhand.agent.weights.cache import remove
seen = 0
WATCHED = {"os.remove", "os.rename", "os.rmdir"}
def hook(event, args):
    global seen
    if event in WATCHED:
        seen += 1
        if seen > int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
sys.addaudithook(hook)
remove(folder, model="a")
"""


@pytest.mark.parametrize("step", range(12))
def test_kill_9_between_two_steps_leaves_nothing_like_a_build(step: int, cache: Cache) -> None:
    folder = fill(cache, "a", 1)
    command = [sys.executable, "-c", STEPS, str(folder), str(step)]
    ended = subprocess.run(command, check=False, capture_output=True)  # noqa: S603  # our own
    assert ended.returncode in {-signal.SIGKILL, 0}, ended.stderr
    whole = cache.build("a", REF) is not None
    assert whole == (step == 0), "whole until the first step, and never again"
    assert all(one.model is None for one in shelves.held(cache)) or step == 0
    _ = shelves.prune(cache, settings=FREE, known=[], protected=())
    assert list(cache.models.iterdir()) == [], "and the rest is swept"
