"""Bytes read again, and what is mended: only what is bad."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weights_origin import CHILD, REF, Origin, digested, lay, quick, stores_of, toy

from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.digests import Interrupted
from poolhand.agent.weights.fetch import fetch
from poolhand.agent.weights.journal import JOURNAL_NAME, load
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.publish import publish
from poolhand.agent.weights.record import RECORD_NAME
from poolhand.agent.weights.repair import set_aside
from poolhand.agent.weights.scrub import Throttle, due, read_s, scrub
from poolhand.agent.weights.verify import read_record
from poolhand.backends.stores.base import Progress
from poolhand.backends.stores.errors import CacheBusy, ModelMissing, WeightsCorrupt
from poolhand.config.atomic import write_atomically
from poolhand.config.settings import Stores, Weights

MODEL = "org/toy"
OBJECTS = toy(shard_bytes=1_000_000)
TOTAL = sum(map(len, OBJECTS.values()))
SHARD = "model-00001-of-00002.safetensors"
PIECE = 2**17


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def fill(cache: Cache) -> Path:
    folder = cache.folder(MODEL)
    targets = lay(folder, OBJECTS)
    job = FetchJob(MODEL, REF, Stores(), Weights(), "")
    _ = publish(folder, folder, job, digested(folder, targets), is_promised=True)
    return folder


def rot(path: Path, at: int) -> None:
    """Flip a bit as a disk does: nothing about the file says so."""
    before = path.stat()
    with path.open("r+b") as file:
        _ = file.seek(at)
        byte = file.read(1)[0]
        _ = file.seek(at)
        _ = file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_clean_build(cache: Cache) -> None:
    folder = fill(cache)
    counts: list[int] = []
    found = scrub(folder, model=MODEL, told=counts.append)
    assert (found.bad, found.read_bytes, sum(counts)) == ((), TOTAL, TOTAL)
    record = read_record(folder)
    assert record is not None
    assert record.chunk_bytes == 16 * 2**20
    assert all(len(file.chunks) == (1 if file.size_bytes else 0) for file in record.files)
    assert cache.build(MODEL, str(REF)) is not None


def test_a_clean_build_on_a_disk_that_takes_nothing(cache: Cache) -> None:
    """It cannot be remembered, which says nothing of what was read."""
    folder = fill(cache)
    before = (folder / RECORD_NAME).read_bytes()
    (folder / f"{RECORD_NAME}.new").mkdir()
    found = scrub(folder, model=MODEL)
    assert (found.bad, found.read_bytes) == ((), TOTAL)
    assert (folder / RECORD_NAME).read_bytes() == before


def test_rot_that_no_fingerprint_shows(cache: Cache) -> None:
    folder = fill(cache)
    rot(folder / SHARD, 500_000)
    assert cache.build(MODEL, str(REF)) is not None, "nobody wrote, as far as one can see"
    before = (folder / RECORD_NAME).read_bytes()
    (bad,) = scrub(folder, model=MODEL).bad
    assert (bad.path, bad.pieces) == (SHARD, ())
    assert (folder / RECORD_NAME).read_bytes() == before


@pytest.mark.parametrize("damage", ["gone", "short", "folder"])
def test_other_damage(damage: str, cache: Cache) -> None:
    folder = fill(cache)
    (folder / SHARD).unlink()
    if damage == "short":
        _ = (folder / SHARD).write_bytes(b"x")
    elif damage == "folder":
        (folder / SHARD).mkdir()
    (bad,) = scrub(folder, model=MODEL).bad
    assert bad.path == SHARD
    assert bad.reason


def test_a_touched_file_is_remembered_as_it_is(cache: Cache) -> None:
    folder = fill(cache)
    os.utime(folder / SHARD, (1, 1))
    assert cache.build(MODEL, str(REF)) is None
    assert scrub(folder, model=MODEL).bad == ()
    assert cache.build(MODEL, str(REF)) is not None


def test_stopping(cache: Cache) -> None:
    with pytest.raises(Interrupted):
        _ = scrub(fill(cache), model=MODEL, is_stopped=lambda: True)
    with pytest.raises(ModelMissing):
        _ = scrub(cache.folder("other"), model="other")


def test_what_is_due(cache: Cache) -> None:
    folder = fill(cache)
    os.utime(folder / RECORD_NAME, (1000.0, 1000.0))
    day_s = 86400.0
    assert due(cache, interval_days=1, now_s=1000.0 + day_s) == ()
    assert due(cache, interval_days=1, now_s=1001.0 + day_s) == (folder,)
    assert due(cache, interval_days=0, now_s=1e12) == ()
    _ = scrub(folder, model=MODEL)
    assert read_s(folder) > 1001.0 + day_s
    assert due(cache, interval_days=1, now_s=1001.0 + day_s) == ()
    assert read_s(cache.folder("none")) == 0.0


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 10)), max_size=30))
def test_a_throttled_reading_never_runs_ahead(steps: list[tuple[int, float]]) -> None:
    now_s, read = 0.0, 0

    def pause(wait_s: float) -> None:
        nonlocal now_s
        assert wait_s >= 0
        now_s += wait_s

    throttle = Throttle(1e5, clock=lambda: now_s, pause=pause)
    idle_s = 0.0
    for count, wait_s in steps:
        now_s += wait_s
        idle_s += wait_s
        read += count
        throttle.took(count)
        assert read <= now_s * 1e5 + 1, "never more than the rate"
        assert now_s <= idle_s + read / 1e5 + 1e-6, "and never slower than that"


def pieces_of(cache: Cache, folder: Path) -> None:
    """Take digests of small pieces, as a record of another make might have them."""
    record = read_record(folder)
    assert record is not None
    write_atomically(folder / RECORD_NAME, replace(record, chunk_bytes=PIECE).encode())
    assert scrub(folder, model=MODEL).bad == ()


def damage(folder: Path) -> int:
    """Rot in one piece of the one shard, and another shard gone."""
    rot(folder / SHARD, 3 * PIECE + 5)
    (folder / "model-00002-of-00002.safetensors").unlink()
    return PIECE + len(OBJECTS["model-00002-of-00002.safetensors"])


async def test_only_what_is_bad_is_fetched_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with Origin(OBJECTS) as origin:
        job = FetchJob(MODEL, REF, stores_of(origin), quick(), str(tmp_path))
        _ = await fetch(job, told=lambda _: None, command=CHILD)
        folder = cache.folder(MODEL)
        pieces_of(cache, folder)
        lost = damage(folder)
        found = scrub(folder, model=MODEL)
        assert {bad.path: bad.pieces for bad in found.bad}[SHARD] == (3,)
        chunk_bytes = job.weights.chunk_bytes
        kept = set_aside(cache, MODEL, found.record, found.bad, chunk_bytes=chunk_bytes)
        assert kept == TOTAL - lost
        assert cache.build(MODEL, str(REF)) is None, "until it is mended it is no build"
        before, told = origin.sent_bytes, list[Progress]()
        build = await fetch(job, told=told.append, command=CHILD)
        listing_bytes = 2000
        assert lost <= origin.sent_bytes - before < lost + listing_bytes
        assert told[-1].bytes_resumed == TOTAL - lost
        for name, data in OBJECTS.items():
            assert (Path(build.folder) / name).read_bytes() == data


async def test_right_after_the_first_fetch_only_what_is_bad_is_fetched_again(
    tmp_path: Path,
) -> None:
    """Two pieces of one big file, of which the marks show the first and the fetch the other."""
    cache, piece, tail = Cache(tmp_path), 16 * 2**20, 2**20
    big = toy(shard_bytes=2 * piece + tail, shards=1)
    (shard,) = (name for name in big if name.endswith(".safetensors"))
    with Origin(big) as origin:
        weights = quick(chunk_bytes=8 * 2**20)
        job = FetchJob(MODEL, REF, stores_of(origin), weights, str(tmp_path))
        _ = await fetch(job, told=lambda _: None, command=CHILD)
        folder = cache.folder(MODEL)
        rot(folder / shard, 7)
        rot(folder / shard, 2 * piece + 7)
        found = scrub(folder, model=MODEL)
        assert [(bad.path, bad.pieces) for bad in found.bad] == [(shard, (0,))]
        _ = set_aside(cache, MODEL, found.record, found.bad, chunk_bytes=8 * 2**20)
        before = origin.sent_bytes
        build = await fetch(job, told=lambda _: None, command=CHILD)
        assert piece + tail <= origin.sent_bytes - before < piece + 2 * tail
        assert (Path(build.folder) / shard).read_bytes() == big[shard]
        assert scrub(folder, model=MODEL).bad == ()


async def test_what_the_store_has_changed_is_fetched_too(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with Origin(OBJECTS) as origin:
        job = FetchJob(MODEL, REF, stores_of(origin), quick(), str(tmp_path))
        _ = await fetch(job, told=lambda _: None, command=CHILD)
        rot(cache.folder(MODEL) / SHARD, 0)
        found = scrub(cache.folder(MODEL), model=MODEL)
        origin.objects["tokenizer.json"] = b"[]"
        chunk_bytes = job.weights.chunk_bytes
        _ = set_aside(cache, MODEL, found.record, found.bad, chunk_bytes=chunk_bytes)
        build = await fetch(job, told=lambda _: None, command=CHILD)
        assert (Path(build.folder) / "tokenizer.json").read_bytes() == b"[]"


@pytest.mark.parametrize("unsynced_boot", [None, "this boot"])
def test_after_a_power_cut_what_was_on_the_platter_still_counts(
    cache: Cache, unsynced_boot: str | None
) -> None:
    folder = fill(cache)
    rot(folder / SHARD, 0)
    found = scrub(folder, model=MODEL)
    record = replace(found.record, unsynced_boot=unsynced_boot)
    kept = set_aside(cache, MODEL, record, found.bad, chunk_bytes=2**20)
    claims = load(folder / JOURNAL_NAME, boot_id="another boot")
    assert claims is not None
    assert kept == TOTAL - len(OBJECTS[SHARD])
    assert claims.bytes_here == (0 if unsynced_boot else kept)


def test_what_is_not_ours_is_not_mended(cache: Cache) -> None:
    folder = fill(cache)
    rot(folder / SHARD, 0)
    found = scrub(folder, model=MODEL)
    with cache.lock(MODEL), pytest.raises(CacheBusy):
        _ = set_aside(cache, MODEL, found.record, found.bad, chunk_bytes=2**20)
    elsewhere = replace(found.record, folder=str(folder))
    with pytest.raises(WeightsCorrupt, match="not ours"):
        _ = set_aside(cache, MODEL, elsewhere, found.bad, chunk_bytes=2**20)
    assert (folder / SHARD).is_file()
