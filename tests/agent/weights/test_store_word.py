"""A fetch of which nobody promised a sha256 is held to what the store tells of its bytes."""

import base64
import hashlib
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from weights_origin import (
    REF,
    Fault,
    Origin,
    OriginStore,
    Reply,
    always,
    manifest_of,
    quick,
    stores_of,
    toy,
)

from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.here import bring_here
from poolhand.agent.weights.lines import Alone, FetchJob
from poolhand.agent.weights.record import Record
from poolhand.agent.weights.verify import read_record
from poolhand.backends.stores.base import RemoteFile, Store
from poolhand.backends.stores.errors import WeightsCorrupt
from poolhand.config.refs import ModelRef
from poolhand.config.settings import Stores

MODEL = "org/toy"
SHARD = "model-00001-of-00002.safetensors"


class TellingStore(OriginStore):
    """The origin, whose tags are said to be MD5s."""

    def __init__(self, origin: Origin, is_right: Callable[[str], bool]) -> None:
        super().__init__(origin.port)
        self._is_right = is_right

    async def files(self) -> tuple[RemoteFile, ...]:
        return tuple(self._told(file) for file in await super().files())

    def _told(self, file: RemoteFile) -> RemoteFile:
        md5 = (file.etag or "").strip('"') if self._is_right(file.path) else "0" * 32
        return replace(file, told=f"etag:{md5}")


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(toy()) as serving:
        yield serving


def bring(
    origin: Origin,
    folder: Path,
    *,
    is_right: Callable[[str], bool] = lambda _: True,
    alone: Alone | None = None,
    tells: bool = True,
) -> Record:
    def find(_ref: ModelRef, _stores: Stores, _environ: Mapping[str, str]) -> Store:
        return TellingStore(origin, is_right) if tells else OriginStore(origin.port)

    job = FetchJob(
        MODEL, REF, stores_of(origin), quick(connections=1, chunk_bytes=2**20), str(folder), alone
    )
    _ = bring_here(job, told=lambda _: None, find_store=find)
    record = read_record(Cache(folder).folder(MODEL))
    assert record is not None
    return record


def here(folder: Path) -> dict[str, bytes]:
    place = Cache(folder).folder(MODEL)
    paths = (path for path in place.rglob("*") if path.is_file())
    named = {path.relative_to(place).as_posix(): path for path in paths}
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if not name.startswith(".") and name != "manifest.ok"
    }


def flipped(path: str, *, times: int) -> Fault:
    left = times

    def fault(_number: int, asked: str, _range: str) -> Reply | None:
        nonlocal left
        if asked != path or not left:
            return None
        left -= 1
        return Reply(flip=True)

    return fault


def test_right_bytes_are_verified_by_the_store(origin: Origin, tmp_path: Path) -> None:
    record = bring(origin, tmp_path)
    assert (record.verified_by, record.unpromised) == ("store", ())
    tags = {file.path: f"etag:{origin.etag(file.path)[1:-1]}" for file in record.files}
    assert {file.path: file.promise for file in record.files} == tags
    assert Record.decode(record.encode()) == record


def test_a_flipped_byte_is_read_again(origin: Origin, tmp_path: Path) -> None:
    origin.fault = flipped(SHARD, times=1)
    assert bring(origin, tmp_path).unpromised == ()
    assert here(tmp_path) == origin.objects


def test_one_that_stays_flipped_is_no_build(origin: Origin, tmp_path: Path) -> None:
    origin.fault = flipped(SHARD, times=100)
    with pytest.raises(WeightsCorrupt, match=SHARD):
        _ = bring(origin, tmp_path)
    right = set(here(tmp_path))
    assert SHARD not in right
    origin.fault = None
    origin.ranges.clear()
    assert bring(origin, tmp_path).unpromised == ()
    asked = {path for path, _ in origin.ranges}
    assert (SHARD in asked, asked & right) == (True, set()), "what was right is here still"
    assert here(tmp_path) == origin.objects


def test_what_makes_no_sense_is_read_again_where_nobody_tells(
    origin: Origin, tmp_path: Path
) -> None:
    origin.fault = flipped(SHARD, times=1)
    assert bring(origin, tmp_path, tells=False).verified_by == "self"
    assert here(tmp_path) == origin.objects


def test_what_came_senseless_twice_comes_again_with_the_next_fetch(
    origin: Origin, tmp_path: Path
) -> None:
    origin.fault = flipped(SHARD, times=2)
    with pytest.raises(WeightsCorrupt, match=SHARD):
        _ = bring(origin, tmp_path, tells=False)
    assert SHARD not in here(tmp_path)
    assert bring(origin, tmp_path, tells=False).verified_by == "self"
    assert here(tmp_path) == origin.objects


def test_damage_that_is_known_only_in_the_end_is_read_again(tmp_path: Path) -> None:
    """The damaged file is complete before any tag was seen to be right."""
    with Origin({"a.json": b'{"a": 1}', "b.json": b'{"b": 2}'}) as origin:
        origin.fault = flipped("a.json", times=1)
        assert bring(origin, tmp_path, alone=Alone(is_metadata=True)).unpromised == ()
        assert here(tmp_path) == origin.objects
        assert [path for path, _ in origin.ranges].count("b.json") == 1


def test_damage_that_is_known_only_in_the_end_and_stays(tmp_path: Path) -> None:
    with Origin({"a.json": b'{"a": 1}', "b.json": b'{"b": 2}'}) as origin:
        origin.fault = flipped("a.json", times=2)
        with pytest.raises(WeightsCorrupt, match=r"a\.json"):
            _ = bring(origin, tmp_path, alone=Alone(is_metadata=True))
        assert set(here(tmp_path)) == {"b.json"}
        assert bring(origin, tmp_path, alone=Alone(is_metadata=True)).unpromised == ()


def test_a_single_file_has_nobody_to_speak_for_it(tmp_path: Path) -> None:
    with Origin({"a.json": b'{"a": 1}'}) as origin:
        origin.fault = flipped("a.json", times=2)
        with pytest.raises(WeightsCorrupt, match="etag_is_md5"):
            _ = bring(origin, tmp_path, alone=Alone(is_metadata=True))
        assert here(tmp_path) == {}


def test_what_an_earlier_run_left_damaged_comes_again(origin: Origin, tmp_path: Path) -> None:
    """All others are here already, so that no tag is seen to be right this time."""
    origin.fault = flipped(SHARD, times=100)
    with pytest.raises(WeightsCorrupt):
        _ = bring(origin, tmp_path)
    origin.fault = flipped(SHARD, times=1)
    assert bring(origin, tmp_path).unpromised == ()
    assert here(tmp_path) == origin.objects


@pytest.mark.parametrize("is_promised", [True, False])
def test_an_empty_file_that_should_not_be_is_no_build(
    origin: Origin, tmp_path: Path, *, is_promised: bool
) -> None:
    """There is nothing of it that could be read once more."""
    sums = tmp_path / "sums"
    meant = {**origin.objects, "merges.txt": b"more"}
    rows = (f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in meant.items())
    _ = sums.write_text("".join(rows))
    origin.objects["merges.txt"] = b""
    alone = Alone(checksums=str(sums) if is_promised else None)
    with pytest.raises(WeightsCorrupt, match=r"merges\.txt"):
        _ = bring(origin, tmp_path, is_right=lambda path: path != "merges.txt", alone=alone)


def test_tags_that_are_no_md5s_are_not_believed(origin: Origin, tmp_path: Path) -> None:
    record = bring(origin, tmp_path, is_right=lambda _: False)
    assert (record.verified_by, set(record.unpromised)) == ("self", set(origin.objects))
    assert here(tmp_path) == origin.objects
    asked = [path for path, _ in origin.ranges if path == "config.json"]
    assert len(asked) == 1, "and nothing is fetched twice for them"


def test_a_manifest_is_a_better_word(origin: Origin, tmp_path: Path) -> None:
    expected = dict(origin.objects)
    origin.objects["manifest.json"] = manifest_of(expected, model=MODEL)
    record = bring(origin, tmp_path, is_right=lambda _: False)
    assert (record.verified_by, record.unpromised) == ("manifest", ())
    digests = {
        name: f"sha256:{hashlib.sha256(data).hexdigest()}" for name, data in expected.items()
    }
    assert {file.path: file.promise for file in record.files} == digests


@pytest.mark.parametrize("is_damaged", [True, False])
def test_what_an_unverified_fetch_left_is_held_to_it(
    origin: Origin, tmp_path: Path, *, is_damaged: bool
) -> None:
    """Interrupted without verification, gone on with: nothing that is here goes unheld."""
    kept = tmp_path / "kept"

    def fault(number: int, path: str, asked: str) -> Reply | None:
        if path.startswith("model-00002"):
            time.sleep(0.3)  # the other one is whole by then
            return Reply(status=403)
        return flipped(SHARD, times=100)(number, path, asked) if is_damaged else None

    origin.fault = fault
    with pytest.raises(Exception, match="403"):
        _ = bring(origin, kept, alone=Alone(is_verified=False))
    origin.fault = None
    origin.ranges.clear()
    record = bring(origin, kept)
    assert record.unpromised == ()
    assert here(kept) == origin.objects
    again = {path for path, _ in origin.ranges}
    assert ("config.json" in again, SHARD in again) == (False, is_damaged)


def test_one_file_of_an_encrypted_bucket_is_not_refused_for_its_tag(tmp_path: Path) -> None:
    """Objects under a key of KMS have tags that look like MD5s and are none."""
    with Origin({"a.json": b'{"a": 1}'}) as origin:
        origin.fault = always(Reply(headers={"x-amz-server-side-encryption": "aws:kms"}))
        alone = Alone(is_metadata=True)
        record = bring(origin, tmp_path, is_right=lambda _: False, alone=alone)
        assert (record.verified_by, record.unpromised) == ("self", ("a.json",))
        assert here(tmp_path) == origin.objects


def test_a_file_that_is_encrypted_is_no_lie_beside_others_that_are_not(
    origin: Origin, tmp_path: Path
) -> None:
    """Whoever turns encryption on in a bucket has objects of both kinds there."""

    def fault(_number: int, path: str, _range: str) -> Reply | None:
        veil = {"x-amz-server-side-encryption": "aws:kms"}
        return Reply(headers=veil) if path == SHARD else None

    origin.fault = fault
    record = bring(origin, tmp_path, is_right=lambda path: path != SHARD)
    assert record.unpromised == (SHARD,)
    assert here(tmp_path) == origin.objects


def checksummed(origin: Origin, *, wrong: int) -> Fault:
    """Answers with checksums, the first few of them of other bytes."""
    left = wrong

    def fault(_number: int, path: str, _range: str) -> Reply:
        nonlocal left
        data = origin.objects[path]
        if path == "config.json" and left:
            left -= 1
            data += b"?"
        crc32 = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
        return Reply(headers={"x-amz-checksum-crc32": crc32})

    return fault


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_checksum_in_an_answer_is_held_to(origin: Origin, tmp_path: Path, wrong: int) -> None:
    origin.fault = checksummed(origin, wrong=wrong)
    record = bring(origin, tmp_path, is_right=lambda _: False)
    assert (record.verified_by, record.unpromised) == ("store", ())
    asked = [path for path, _ in origin.ranges if path == "config.json"]
    assert len(asked) == 1 + wrong
    origin.ranges.clear()
    (Cache(tmp_path).folder(MODEL) / "tokenizer.json").unlink()
    assert bring(origin, tmp_path, is_right=lambda _: False).unpromised == ()
    assert {path for path, _ in origin.ranges} == {"tokenizer.json"}, "what was right stays so"


def test_a_checksum_that_stays_wrong_is_no_build(origin: Origin, tmp_path: Path) -> None:
    origin.fault = checksummed(origin, wrong=100)
    with pytest.raises(WeightsCorrupt, match=r"config\.json"):
        _ = bring(origin, tmp_path)
    assert "config.json" not in here(tmp_path)
