"""The cache keeps its bounds by itself, and never lets go of what is in use."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from runtime_world import Inbox, group

from poolhand.agent.core.events import (
    CacheSurveyed,
    InventoryChanged,
    WeightsFailed,
    WeightsFetched,
)
from poolhand.agent.core.wanted import Wanted
from poolhand.agent.dev.checkpoint import make_model
from poolhand.agent.runtime.keeper import ORPHAN_S, Keeper
from poolhand.agent.runtime.shelf import Shelf
from poolhand.agent.weights.cache import LEAVING_PREFIX, Cache
from poolhand.agent.weights.fetch import fetch
from poolhand.agent.weights.lines import Alone, FetchJob
from poolhand.agent.weights.scrub import SCRUBBED_NAME
from poolhand.agent.weights.shelves import USED_NAME, touch
from poolhand.backends.stores.base import Survey
from poolhand.backends.stores.errors import CacheFull
from poolhand.config.refs import ModelRef
from poolhand.config.settings import Settings
from poolhand.config.stores import Stores
from poolhand.config.weights import Weights

DAY_S = 86400.0


def settings_of(folder: Path, *models: str, **cache: float) -> Settings:
    bounds = {"reserve_gib": 0.0, "reserve_ratio": 0.0, **cache}
    return Settings.model_validate(
        {
            "coordinator": {"url": "ws://localhost/"},
            "models": [{"id": name, "ref": (folder / "origin").as_uri()} for name in models],
            "cache": bounds,
        }
    )


async def fill(folder: Path, *models: str) -> Cache:
    """Copies of one build in the cache, the first the longest unused."""
    if not (folder / "origin").exists():
        make_model(folder / "origin")
    cache = Cache(folder / "cache")
    for number, model in enumerate(models):
        # a copy of a folder lies in the cache; without ``alone`` it would stay where it is
        job = FetchJob(
            model,
            ModelRef.parse((folder / "origin").as_uri()),
            Stores(),
            Weights(),
            str(folder / "cache"),
            Alone(),
        )
        _ = await fetch(job, told=lambda _: None)
        touch(cache, model, now_s=time.time() - DAY_S + number)
    return cache


def size_of(cache: Cache, model: str) -> int:
    return cache.size_bytes(model)


class Kept:
    """A keeper at work."""

    def __init__(self, settings: Settings, cache: Cache, inbox: Inbox) -> None:
        self.wanted = Wanted()
        self.changes = 0
        self.inbox = inbox
        self.keeper = Keeper(
            settings,
            cache,
            wanted=lambda: self.wanted,
            tell=inbox.tell,
            changed=self._changed,
        )

    def _changed(self) -> None:
        self.changes += 1

    def want(self, *here: str, kept: tuple[str, ...] = ()) -> None:
        self.wanted = Wanted(frozenset(here), frozenset({*here, *kept}))

    async def survey(self, nth: int = 1) -> Survey:
        told = (await self.inbox.first(CacheSurveyed, nth)).survey
        assert told is not None
        return told


async def test_it_says_how_things_are(inbox: Inbox, tmp_path: Path) -> None:
    cache = await fill(tmp_path, "a")
    async with group() as tasks:
        kept = Kept(settings_of(tmp_path, "a", quota_gib=1.0), cache, inbox)
        tasks.create_task(kept.keeper.keep())
        told = await kept.survey()
    assert told.used_bytes == size_of(cache, "a")
    assert (told.quota_bytes, told.reserve_bytes, told.pending_bytes) == (2**30, 0, 0)
    assert told.free_bytes > 0
    assert told.read_whole_s["a"] > 0
    assert (told.left, told.damaged, told.scrubbing) == ((), (), None)


async def test_whoever_is_unused_longest_leaves_and_nobody_who_is_wanted(
    inbox: Inbox, tmp_path: Path
) -> None:
    cache = await fill(tmp_path, "a", "b", "c")
    room_gib = 1.5 * size_of(cache, "a") / 2**30
    async with group() as tasks:
        settings = settings_of(tmp_path, "a", "b", "c", quota_gib=room_gib)
        kept = Kept(settings, cache, inbox)
        kept.want("a", kept=("c",))
        tasks.create_task(kept.keeper.keep())
        told = await kept.survey()
    assert [cache.folder(name).exists() for name in "abc"] == [True, False, True]
    assert told.left == (cache.folder("b").name,)
    assert inbox.of(CacheSurveyed)[0].left == cache.folder("b").name
    assert kept.changes == 1


async def test_room_is_made_before_and_what_was_promised_is_taken(
    inbox: Inbox, tmp_path: Path
) -> None:
    cache = await fill(tmp_path, "a", "b")
    size = size_of(cache, "a")
    kept = Kept(settings_of(tmp_path, quota_gib=3.2 * size / 2**30), cache, inbox)
    with kept.keeper.promise("x", size):
        await kept.keeper.make_room("x", size)
        assert cache.folder("a").exists(), "three fit"
        with kept.keeper.promise("y", size):
            await kept.keeper.make_room("y", size)
            assert not cache.folder("a").exists(), "x has not begun to write, and is counted"
            with kept.keeper.promise("z", 3 * size), pytest.raises(CacheFull):
                await kept.keeper.make_room("z", 3 * size)
    assert cache.folder("b").exists(), "nobody leaves for what does not fit anyway"


async def test_the_reserve_of_the_disk_holds(inbox: Inbox, tmp_path: Path) -> None:
    cache = await fill(tmp_path, "a")
    kept = Kept(settings_of(tmp_path, reserve_gib=2.0**19), cache, inbox)
    kept.want("a")
    with kept.keeper.promise("x", 1), pytest.raises(CacheFull) as caught:
        await kept.keeper.make_room("x", 1)
    assert caught.value.remedy
    assert cache.folder("a").exists()


async def test_orphans_are_collected_after_a_week_and_leavings_at_once(
    inbox: Inbox, tmp_path: Path
) -> None:
    cache = await fill(tmp_path, "mine", "fresh", "old")
    touch(cache, "mine", now_s=1.0)
    await asyncio.to_thread(make_old, cache)
    async with group() as tasks:
        kept = Kept(settings_of(tmp_path, "mine"), cache, inbox)
        tasks.create_task(kept.keeper.keep())
        await kept.survey()
    assert [cache.folder(name).exists() for name in ("mine", "fresh", "old")] == [True, True, False]
    assert not (cache.models / f"{LEAVING_PREFIX}x-1").exists()


def make_old(cache: Cache) -> None:
    before_s = time.time() - ORPHAN_S - 60
    for name in (USED_NAME, "manifest.ok"):
        os.utime(cache.folder("old") / name, (before_s, before_s))
    (cache.models / f"{LEAVING_PREFIX}x-1").mkdir()


def shard_of(cache: Cache, model: str) -> Path:
    return min(cache.folder(model).glob("*.safetensors"))


def rot(cache: Cache, model: str) -> None:
    """Damage a build as a disk does, and make its last reading long ago."""
    file = shard_of(cache, model)
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    with file.open("r+b") as opened:
        _ = opened.write(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(cache.folder(model) / "manifest.ok", (1.0, 1.0))


async def test_what_the_disk_forgot_is_found_and_set_aside(inbox: Inbox, tmp_path: Path) -> None:
    cache = await fill(tmp_path, "a")
    name = shard_of(cache, "a").name
    await asyncio.to_thread(rot, cache, "a")
    async with group() as tasks:
        kept = Kept(settings_of(tmp_path, "a"), cache, inbox)
        kept.want(kept=("a",))
        tasks.create_task(kept.keeper.keep())
        assert (await kept.survey(2)).scrubbing == "a"
        (damage,) = (await kept.survey(3)).damaged
    assert (damage.model, damage.files, damage.is_mending) == ("a", (name,), True)
    assert kept.changes == 1
    assert not (cache.folder("a") / "manifest.ok").exists()


async def test_what_an_engine_uses_is_told_of_and_left_alone(inbox: Inbox, tmp_path: Path) -> None:
    cache = await fill(tmp_path, "a")
    await asyncio.to_thread(rot, cache, "a")
    async with group() as tasks:
        kept = Kept(settings_of(tmp_path, "a"), cache, inbox)
        kept.want("a")
        tasks.create_task(kept.keeper.keep())
        (damage,) = (await kept.survey(3)).damaged
        assert not damage.is_mending
        kept.keeper.wake()
        assert (await kept.survey(4)).scrubbing is None, "it is not read again for nothing"
        kept.want()
        kept.keeper.wake()
        (damage,) = (await kept.survey(7)).damaged
    assert damage.is_mending, "its engine is gone"


async def test_a_reading_is_slow_and_makes_way(inbox: Inbox, tmp_path: Path) -> None:
    cache = await fill(tmp_path, "a")
    await asyncio.to_thread(os.utime, cache.folder("a") / "manifest.ok", (1.0, 1.0))
    async with group() as tasks:
        kept = Kept(settings_of(tmp_path, "a", scrub_mib_s=1e-6), cache, inbox)
        tasks.create_task(kept.keeper.keep())
        assert (await kept.survey(2)).scrubbing == "a"
        kept.keeper.leave_alone("a")
        kept.keeper.wake()
        assert (await kept.survey(3)).scrubbing is None
    assert not (cache.folder("a") / SCRUBBED_NAME).exists()


async def test_a_disk_that_is_gone_is_told_of(inbox: Inbox, tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "cache").write_bytes, b"no folder")
    async with group() as tasks:
        kept = Kept(settings_of(tmp_path), Cache(tmp_path / "cache"), inbox)
        tasks.create_task(kept.keeper.keep())
        told = await inbox.first(CacheSurveyed)
    assert told.survey is None
    assert told.error is not None
    assert told.error.code == "disk_failed"


async def test_the_shelf_has_its_cache_kept(inbox: Inbox, tmp_path: Path) -> None:
    make_model(tmp_path / "origin")
    async with group() as tasks:
        settings = settings_of(tmp_path, "a")
        shelf = Shelf(settings, tmp_path / "cache", tell=inbox.tell, tasks=tasks)
        shelf.refresh([])
        await inbox.first(InventoryChanged)
        await inbox.first(CacheSurveyed)
        shelf.fetch("a")
        await inbox.first(WeightsFetched)
        shelf.used("a")
    assert not inbox.of(WeightsFailed)
