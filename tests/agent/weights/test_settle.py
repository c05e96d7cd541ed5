"""What is written later: believed in this boot, read again in another, settled by the keeper."""

import errno
import os
from pathlib import Path

import pytest
from weights_origin import digested, lay, toy

from poolhand.agent.weights.boot import boot_id
from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.publish import publish
from poolhand.agent.weights.record import RECORD_NAME
from poolhand.agent.weights.scrub import read_s
from poolhand.agent.weights.settle import settle
from poolhand.agent.weights.verify import changed_files, read_record, verify
from poolhand.backends.stores.errors import WeightsCorrupt
from poolhand.config.refs import ModelRef
from poolhand.config.settings import Stores, Weights

MODEL, REF = "org/toy", "s3://bucket/toy"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def published(cache: Cache, boot: str | None) -> Path:
    folder = cache.folder(MODEL)
    files = digested(folder, lay(folder, toy()))
    job = FetchJob(MODEL, ModelRef.parse(REF), Stores(), Weights(), str(folder))
    _ = publish(folder, folder, job, files, is_promised=False, unsynced_boot=boot)
    return folder


def test_in_the_same_boot_it_is_taken_at_its_word(cache: Cache) -> None:
    folder = published(cache, boot_id())
    assert verify(folder, model=MODEL, is_stopped=lambda: True).folder == str(folder)
    assert cache.build(MODEL, REF) is not None


def test_in_another_boot_every_byte_is_read_again_and_then_believed(cache: Cache) -> None:
    folder = published(cache, "another")
    record = read_record(folder)
    assert record is not None
    assert changed_files(folder, record) == list(record.files)
    assert cache.build(MODEL, REF) is None
    assert verify(folder, model=MODEL).folder == str(folder)
    again = read_record(folder)
    assert again is not None
    assert again.unsynced_boot is None
    assert cache.build(MODEL, REF) is not None


def test_in_another_boot_lost_bytes_are_found(cache: Cache) -> None:
    folder = published(cache, "another")
    record = read_record(folder)
    assert record is not None
    path = folder / max(record.files, key=lambda file: file.size_bytes).path
    before = path.stat()
    path.write_bytes(bytes(before.st_size))  # what a power cut leaves of what was only allocated
    with pytest.raises(WeightsCorrupt):
        _ = verify(folder, model=MODEL)


def test_settled_it_is_believed_in_any_boot(cache: Cache) -> None:
    folder = published(cache, boot_id())
    os.utime(folder / RECORD_NAME, (1000, 1000))
    assert settle(cache) == (MODEL,)
    assert read_s(folder) == 1000, "nobody has read it whole"
    record = read_record(folder)
    assert record is not None
    assert record.unsynced_boot is None
    assert not changed_files(folder, record)
    assert settle(cache) == ()


def test_what_is_being_fetched_or_was_touched_is_not_settled(cache: Cache) -> None:
    folder = published(cache, boot_id())
    with cache.lock(MODEL):
        assert settle(cache) == ()
    (folder / "config.json").write_text("{}")
    assert settle(cache) == ()


def test_of_another_boot_nothing_is_settled_unread(cache: Cache) -> None:
    folder = published(cache, "another")
    assert settle(cache) == ()
    record = read_record(folder)
    assert record is not None
    assert record.unsynced_boot == "another"


def test_what_the_disk_did_not_take_is_no_build(cache: Cache) -> None:
    _ = published(cache, boot_id())

    def put(_fd: int) -> None:
        raise OSError(errno.EIO, "lost")

    with pytest.raises(OSError, match="lost"):
        _ = settle(cache, put)
    assert cache.build(MODEL, REF) is None
    assert settle(cache) == ()
