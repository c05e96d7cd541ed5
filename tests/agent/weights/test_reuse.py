"""A build's bytes that lie on this disk already are not fetched again, and never believed."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from weights_origin import Origin, OriginStore, manifest_of, quick, stores_of, toy

from poolhand.agent.weights import parts
from poolhand.agent.weights.boot import boot_id
from poolhand.agent.weights.bring import Bring
from poolhand.agent.weights.cache import Cache, allocated_bytes
from poolhand.agent.weights.digests import Interrupted
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.record import RECORD_NAME
from poolhand.agent.weights.reuse import here_now
from poolhand.agent.weights.scrub import scrub
from poolhand.backends.stores.base import Progress
from poolhand.config.refs import ModelRef
from poolhand.config.stores import Stores

OLD, NEW = "org/toy", "org/toy-2"
SHARDS = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
FLIPPED = 100_000
CHUNK_BYTES = 2**16


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin({}) as serving:
        yield serving


def put(
    origin: Origin, objects: Mapping[str, bytes], *, model: str | None, chunk_bytes: int = 0
) -> None:
    """What the store has from now on, with a manifest if it is told whose."""
    origin.objects = dict(objects)
    if model is None:
        return
    manifest = json.loads(manifest_of(objects, model=model))
    if chunk_bytes:
        manifest["chunk_bytes"] = chunk_bytes
        for entry in manifest["files"]:
            data = objects[entry["path"]]
            starts = range(0, len(data), chunk_bytes)
            entry["chunks"] = [
                hashlib.sha256(data[at : at + chunk_bytes]).hexdigest() for at in starts
            ]
    origin.objects["manifest.json"] = json.dumps(manifest).encode()


def bring(origin: Origin, cache: Path, model: str, *, ref: str | None = None) -> Progress:
    """Fetch; the last word of its progress, and only if the bytes are right."""
    return words_of(origin, cache, model, ref=ref)[-1]


def words_of(
    origin: Origin, cache: Path, model: str, *, ref: str | None = None
) -> Sequence[Progress]:
    """Fetch; all words of its progress, and only if the bytes are right."""
    place = ModelRef.parse(ref or f"s3://models/{model}")
    job = FetchJob(model, place, stores_of(origin), quick(chunk_bytes=CHUNK_BYTES), str(cache))
    heard: list[Progress] = []

    def store(_ref: ModelRef, _stores: Stores, _environ: Mapping[str, str]) -> OriginStore:
        return OriginStore(origin.port)

    _ = Bring(job, store, lambda _, progress: heard.append(progress)).run()
    build = Cache(cache).build(model, str(place))
    assert build is not None
    for name, data in origin.objects.items():
        if name != "manifest.json":
            assert (Path(build.folder) / name).read_bytes() == data, name
    return heard


def asked(origin: Origin) -> set[str]:
    """Which files were asked for since the last time."""
    names = {path for path, _ in origin.ranges if path != "manifest.json"}
    origin.ranges.clear()
    return names


def old_and_new() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Two builds that differ in one shard and in the configuration."""
    old = toy(shards=3)
    new = old | {"config.json": b'{"model_type": "toy", "version": 2}'}
    shard = bytearray(new[SHARDS[1]])
    shard[FLIPPED] ^= 1
    return old, new | {SHARDS[1]: bytes(shard)}


def rot(path: Path) -> None:
    """One bit changes, and nobody wrote: the file looks untouched."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[FLIPPED] ^= 4
    _ = path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_fetch_that_cannot_begin_leaves_the_build_that_is_here(
    origin: Origin, tmp_path: Path
) -> None:
    put(origin, toy(), model=None)
    _ = bring(origin, tmp_path, OLD)
    obstacle = Cache(tmp_path).folder(OLD) / ".partial"
    _ = obstacle.write_bytes(b"")
    with pytest.raises(FileExistsError):
        _ = bring(origin, tmp_path, OLD, ref="s3://elsewhere/toy")
    assert Cache(tmp_path).build(OLD, f"s3://models/{OLD}") is not None
    obstacle.unlink()
    _ = asked(origin)
    _ = bring(origin, tmp_path, OLD, ref="s3://elsewhere/toy")
    assert not asked(origin)


def test_after_a_power_cut_only_what_lost_bytes_comes_again(origin: Origin, tmp_path: Path) -> None:
    """Nothing is believed unread then, and all but one file turns out to be right."""
    put(origin, toy(shards=3), model=None)
    _ = bring(origin, tmp_path, OLD)
    folder = Cache(tmp_path).folder(OLD)
    record = folder / RECORD_NAME
    _ = record.write_bytes(record.read_bytes().replace(boot_id().encode(), b"another"))
    rot(folder / SHARDS[1])
    _ = asked(origin)
    _ = bring(origin, tmp_path, OLD)
    assert asked(origin) == {SHARDS[1]}


def test_what_the_disk_would_not_take_of_an_earlier_build_is_no_build(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it lies here, unsynced; the fetch is to sync it, and cannot."""
    put(origin, toy(), model=None)
    _ = bring(origin, tmp_path, OLD)
    place = "s3://elsewhere/toy"
    weights = quick(chunk_bytes=CHUNK_BYTES, sync_first=True)
    job = FetchJob(OLD, ModelRef.parse(place), stores_of(origin), weights, str(tmp_path))
    lost = (Cache(tmp_path).folder(OLD) / "tokenizer.json").stat().st_ino

    def flush(fd: int) -> None:
        if os.fstat(fd).st_ino == lost:
            raise OSError(5, "no disk")

    monkeypatch.setattr(parts, "flush", flush)
    with pytest.raises(OSError, match="no disk"):
        _ = Bring(job, lambda _, __, ___: OriginStore(origin.port), lambda _, __: None).run()
    assert Cache(tmp_path).build(OLD, place) is None


@pytest.mark.parametrize("promise", ["manifest", "tags"])
def test_only_what_is_new_in_a_build_is_fetched(
    origin: Origin,
    tmp_path: Path,
    promise: str,
) -> None:
    """A manifest's digests say what is the same, or else tags that S3 makes of the content."""
    old, new = old_and_new()
    put(origin, old, model=OLD if promise == "manifest" else None)
    assert bring(origin, tmp_path, OLD).bytes_reused == 0
    _ = asked(origin)
    put(origin, new, model=NEW if promise == "manifest" else None)
    told = bring(origin, tmp_path, NEW)
    assert asked(origin) - {"manifest.json"} == {"config.json", SHARDS[1]}
    same = sum(len(data) for name, data in new.items() if old[name] == data)
    assert (told.bytes_reused, told.bytes_resumed) == (same, same)


@pytest.mark.parametrize("promise", ["manifest", "tags"])
def test_rot_does_not_spread(origin: Origin, tmp_path: Path, promise: str) -> None:
    old, _ = old_and_new()
    put(origin, old, model=OLD if promise == "manifest" else None)
    _ = bring(origin, tmp_path, OLD)
    rot(Cache(tmp_path).folder(OLD) / SHARDS[0])
    _ = asked(origin)
    put(origin, old, model=NEW if promise == "manifest" else None)
    told = bring(origin, tmp_path, NEW)
    assert asked(origin) == {SHARDS[0]}
    assert told.bytes_reused == sum(map(len, old.values())) - len(old[SHARDS[0]])
    assert [one.path for one in scrub(Cache(tmp_path).folder(OLD), model=OLD).bad] == [SHARDS[0]]


def test_no_two_builds_share_a_file(origin: Origin, tmp_path: Path) -> None:
    """What is written to one is not written to the other, and each counts for itself."""
    old, _ = old_and_new()
    for model in (OLD, NEW):
        put(origin, old, model=model)
        _ = bring(origin, tmp_path, model)
    cache = Cache(tmp_path)
    one, two = (cache.folder(model) / SHARDS[0] for model in (OLD, NEW))
    assert (one.stat().st_nlink, two.stat().st_nlink) == (1, 1)
    assert one.stat().st_ino != two.stat().st_ino
    rot(one)
    assert scrub(cache.folder(NEW), model=NEW).bad == ()
    total = allocated_bytes(cache.models)
    assert total >= 2 * sum(map(len, old.values()))
    _ = cache.drop(OLD)
    assert scrub(cache.folder(NEW), model=NEW).bad == ()
    assert allocated_bytes(cache.models) <= total / 2 + 2**20


def test_pieces_that_are_the_same_are_taken_over(origin: Origin, tmp_path: Path) -> None:
    old, new = old_and_new()
    put(origin, old, model=OLD, chunk_bytes=CHUNK_BYTES)
    _ = bring(origin, tmp_path, OLD)
    origin.ranges.clear()
    put(origin, new, model=NEW, chunk_bytes=CHUNK_BYTES)
    told = bring(origin, tmp_path, NEW)
    piece = FLIPPED // CHUNK_BYTES
    span = f"bytes={piece * CHUNK_BYTES}-{(piece + 1) * CHUNK_BYTES - 1}"
    assert [asked for path, asked in origin.ranges if path == SHARDS[1]] == [span]
    fetched = CHUNK_BYTES + len(new["config.json"])
    assert told.bytes_reused == sum(map(len, new.values())) - fetched


def test_pieces_are_found_where_they_have_moved_to(origin: Origin, tmp_path: Path) -> None:
    """A file of a kind that nobody looks into: its pieces come in another order."""
    pieces = [os.urandom(CHUNK_BYTES) for _ in range(4)]
    put(origin, toy() | {"vocab.txt": b"".join(pieces)}, model=OLD, chunk_bytes=CHUNK_BYTES)
    _ = bring(origin, tmp_path, OLD)
    origin.ranges.clear()
    moved = b"".join([pieces[3], os.urandom(CHUNK_BYTES), pieces[0], pieces[0], b"end"])
    put(origin, toy() | {"vocab.txt": moved}, model=NEW, chunk_bytes=CHUNK_BYTES)
    _ = bring(origin, tmp_path, NEW)
    spans = [asked for path, asked in origin.ranges if path == "vocab.txt"]
    last = f"bytes={4 * CHUNK_BYTES}-{4 * CHUNK_BYTES + 2}"
    assert sorted(spans) == sorted([f"bytes={CHUNK_BYTES}-{2 * CHUNK_BYTES - 1}", last])


def test_rotten_pieces_are_fetched(origin: Origin, tmp_path: Path) -> None:
    old, new = old_and_new()
    put(origin, old, model=OLD)
    _ = bring(origin, tmp_path, OLD)
    rot(Cache(tmp_path).folder(OLD) / SHARDS[1])
    put(origin, new, model=NEW, chunk_bytes=CHUNK_BYTES)
    assert bring(origin, tmp_path, NEW).bytes_reused > 0  # and the bytes are right


def test_a_build_that_moved_keeps_what_stays_the_same(origin: Origin, tmp_path: Path) -> None:
    """The same model from another place: its files are not even copied."""
    old, new = old_and_new()
    put(origin, old, model=OLD)
    _ = bring(origin, tmp_path, OLD)
    inode = (Cache(tmp_path).folder(OLD) / SHARDS[0]).stat().st_ino
    _ = asked(origin)
    put(origin, new, model=OLD)
    told = bring(origin, tmp_path, OLD, ref="s3://models/elsewhere")
    assert asked(origin) == {"config.json", SHARDS[1]}
    assert (Cache(tmp_path).folder(OLD) / SHARDS[0]).stat().st_ino == inode
    assert told.bytes_reused == sum(len(new[name]) for name in new if old[name] == new[name])


def test_one_damaged_file_does_not_cost_the_others(origin: Origin, tmp_path: Path) -> None:
    old, _ = old_and_new()
    put(origin, old, model=None)
    _ = bring(origin, tmp_path, OLD)
    _ = asked(origin)
    _ = (Cache(tmp_path).folder(OLD) / SHARDS[2]).write_bytes(b"damaged")
    _ = bring(origin, tmp_path, OLD)
    assert asked(origin) == {SHARDS[2]}


@pytest.mark.parametrize("tag", ['"5f3a-1b2c"', 'W/"0123456789abcdef0123456789abcdef"'])
def test_a_tag_that_says_nothing_of_the_content_is_not_believed(
    origin: Origin, tmp_path: Path, tag: str
) -> None:
    """A web server makes them of size and date; a weak one says itself that bytes may differ."""
    old, _ = old_and_new()
    put(origin, old, model=None)
    origin.etag = lambda path: tag  # type: ignore[method-assign]  # a server of another make
    _ = bring(origin, tmp_path, OLD)
    _ = asked(origin)
    assert bring(origin, tmp_path, NEW).bytes_reused == 0
    assert asked(origin) == set(old)


def test_whoever_waits_hears_of_it_while_it_is_copied(origin: Origin, tmp_path: Path) -> None:
    put(origin, toy(), model=None)
    _ = bring(origin, tmp_path, OLD)
    words = [word for word in words_of(origin, tmp_path, NEW) if word.bytes_total]
    first, last = words[0], words[-1]
    assert 0 < first.bytes_reused == first.bytes_done < last.bytes_done == last.bytes_total


def test_a_build_that_was_touched_is_no_source(origin: Origin, tmp_path: Path) -> None:
    put(origin, toy(), model=None)
    _ = bring(origin, tmp_path, OLD)
    place = Cache(tmp_path).folder(OLD)
    names = {one.file.path for one in here_now(Cache(tmp_path))}
    (place / "config.json").touch()
    assert {one.file.path for one in here_now(Cache(tmp_path))} == names - {"config.json"}
    (place / "manifest.ok").unlink()
    assert here_now(Cache(tmp_path)) == ()


def test_somebody_who_asks_to_stop_is_heard(origin: Origin, tmp_path: Path) -> None:
    put(origin, toy(), model=None)
    _ = bring(origin, tmp_path, OLD)
    job = FetchJob(NEW, ModelRef.parse("s3://models/new"), Stores(), quick(), str(tmp_path))
    work = Bring(job, lambda _, __, ___: OriginStore(origin.port), lambda _, __: None)
    _ = work.stop()
    with pytest.raises(Interrupted):
        _ = work.run()
    assert Cache(tmp_path).build(NEW, str(job.ref)) is None
