"""The last look at a build, and the record that makes it one."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from weights_origin import digested, lay, toy

from poolhand.agent.weights.digests import Interrupted
from poolhand.agent.weights.lines import Alone, FetchJob
from poolhand.agent.weights.parts import Target
from poolhand.agent.weights.publish import digest_in_place, publish
from poolhand.agent.weights.record import RECORD_NAME, Record
from poolhand.agent.weights.verify import read_record
from poolhand.backends.stores.base import RemoteFile
from poolhand.backends.stores.errors import (
    ModelMissing,
    WeightsChanged,
    WeightsCorrupt,
    WeightsUnsafe,
)
from poolhand.config.refs import ModelRef
from poolhand.config.settings import Stores, Weights

OBJECTS = toy(shard_bytes=5000)


def job(alone: Alone | None = None) -> FetchJob:
    ref = ModelRef.parse("s3://bucket/toy")
    return FetchJob("org/toy", ref, Stores(), Weights(), "/unused", alone)


def record_of(folder: Path, objects: dict[str, bytes], alone: Alone | None = None) -> Record:
    found = digested(folder, lay(folder, objects))
    is_promised = alone is not None and alone.checksums is not None
    return publish(folder, folder, job(alone), found, is_promised=is_promised)


def test_a_record_says_what_lies_there(tmp_path: Path) -> None:
    record = record_of(tmp_path, OBJECTS)
    assert read_record(tmp_path) == record
    assert {file.path: file.size_bytes for file in record.files} == {
        name: len(data) for name, data in OBJECTS.items()
    }
    assert (record.weights_bytes, record.folder, record.verified_by) == (10_000, None, "self")


def test_a_build_that_does_not_hold_together_is_none(tmp_path: Path) -> None:
    torn = {name: data for name, data in OBJECTS.items() if "00002-of" not in name}
    with pytest.raises(WeightsCorrupt, match="missing"):
        _ = record_of(tmp_path, torn)
    assert not (tmp_path / RECORD_NAME).exists()


@pytest.mark.parametrize(
    ("alone", "is_taken"),
    [
        (Alone(), False),
        (Alone(checksums="SUMS"), True),
        (Alone(is_verified=False), True),
        (Alone(checksums="SUMS", is_all=False), False),
        (Alone(is_verified=False, is_all=False), False),
    ],
)
def test_only_a_copy_may_hold_what_no_engine_could_load(
    alone: Alone, tmp_path: Path, *, is_taken: bool
) -> None:
    objects = {"config.json": b"no JSON at all"}
    if is_taken:
        assert record_of(tmp_path, objects, alone).weights_bytes == 0
    else:
        with pytest.raises(WeightsCorrupt):
            _ = record_of(tmp_path, objects, alone)


def in_place(folder: Path, *targets: Target) -> None:
    _ = digest_in_place(folder, targets, model="m", is_stopped=lambda: False)


def target(name: str, size_bytes: int, sha256: str | None = None) -> Target:
    return Target(RemoteFile(name, size_bytes, None, name), sha256)


def test_what_is_wrong_in_place_is_named(tmp_path: Path) -> None:
    _ = (tmp_path / "a.txt").write_bytes(b"hello")
    in_place(tmp_path, target("a.txt", 5))
    with pytest.raises(ModelMissing, match=r"b\.txt"):
        in_place(tmp_path, target("b.txt", 5))
    with pytest.raises(WeightsChanged):
        in_place(tmp_path, target("a.txt", 6))
    with pytest.raises(WeightsCorrupt, match="hash mismatch"):
        in_place(tmp_path, target("a.txt", 5, "0" * 64))
    data = pickle.dumps(print)
    _ = (tmp_path / "c.txt").write_bytes(data)
    with pytest.raises(WeightsUnsafe):
        in_place(tmp_path, target("c.txt", len(data)))
    with pytest.raises(Interrupted):
        _ = digest_in_place(tmp_path, [target("a.txt", 5)], model="m", is_stopped=lambda: True)


def test_a_build_that_is_not_the_one_that_was_named_gets_no_record(tmp_path: Path) -> None:
    found = digested(tmp_path, lay(tmp_path, OBJECTS))
    right = publish(tmp_path, tmp_path, job(), found, is_promised=False).weight_hash
    (tmp_path / RECORD_NAME).unlink()
    with pytest.raises(WeightsCorrupt, match="not the build that was named"):
        publish(tmp_path, tmp_path, replace(job(), weight_hash="0" * 64), found, is_promised=True)
    assert not (tmp_path / RECORD_NAME).exists()
    named = replace(job(), weight_hash=right)
    assert publish(tmp_path, tmp_path, named, found, is_promised=True).weight_hash == right
