"""A copy of a prefix: all of it, right or not at all, and gone on from at any moment."""

import hashlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from weights_origin import (
    REF,
    Fault,
    Origin,
    Reply,
    always,
    at_first,
    manifest_of,
    origin_store,
    quick,
    stores_of,
    toy,
)

from poolhand.agent.weights.boot import boot_id
from poolhand.agent.weights.lines import Alone, FetchJob
from poolhand.agent.weights.record import RECORD_NAME, Record
from poolhand.agent.weights.standalone import STAGE_NAME, Copy, begin, bring, deliver, remembered
from poolhand.backends.stores.base import Progress
from poolhand.backends.stores.errors import (
    CacheBusy,
    ModelMissing,
    WeightsCorrupt,
    WeightsError,
    WeightsUnsafe,
)
from poolhand.config.settings import Stores

OBJECTS = {
    **toy(shard_bytes=200_000),
    ".gitattributes": b"x",
    "README.md": b"# a model card",
    "sub/deep/code.py": b"print()",
    "empty.txt": b"",
}


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(OBJECTS) as serving:
        yield serving


def copy_to(tmp_path: Path) -> Copy:
    return Copy(REF, tmp_path / "to", tmp_path / "cache")


def listed(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def sums(path: Path, objects: dict[str, bytes]) -> str:
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in objects.items()]
    _ = path.write_text("".join(lines))
    return str(path)


def job_of(copy: Copy, stores: Stores, alone: Alone | None = None) -> FetchJob:
    return FetchJob(copy.model, copy.ref, stores, quick(), copy.stage_dir, alone or Alone())


def run(
    origin: Origin, tmp_path: Path, alone: Alone | None = None, told: list[Progress] | None = None
) -> Record:
    copy = copy_to(tmp_path)
    return bring(
        copy,
        job_of(copy, stores_of(origin), alone),
        told=(told if told is not None else list[Progress]()).append,
        find_store=origin_store,
    )


def test_every_object_and_nothing_else(origin: Origin, tmp_path: Path) -> None:
    record = run(origin, tmp_path)
    assert listed(tmp_path / "to") == OBJECTS
    assert {file.path for file in record.files} == set(OBJECTS)
    assert record.verified_by == "self"
    assert remembered(copy_to(tmp_path)) == record


@pytest.mark.parametrize("name", [STAGE_NAME, f"{STAGE_NAME}/a.json", ".PoolHand/a.json"])
def test_an_object_named_as_the_stage_is_refused(tmp_path: Path, name: str) -> None:
    """The stage is deleted in the end, and with it whatever a store put there."""
    with Origin({**OBJECTS, name: b"{}"}) as origin:
        with pytest.raises(WeightsUnsafe, match="keeps for itself"):
            _ = run(origin, tmp_path)
        assert not any(name for name in listed(tmp_path / "to") if not name.startswith("."))


def test_the_second_run_brings_only_what_changed(origin: Origin, tmp_path: Path) -> None:
    _ = run(origin, tmp_path)
    asked = len(origin.ranges)
    told: list[Progress] = []
    _ = run(origin, tmp_path, told=told)
    assert len(origin.ranges) == asked, "nothing is fetched again"
    assert told[-1].bytes_resumed == sum(map(len, OBJECTS.values()))
    origin.objects["README.md"] = b"# newer"
    (tmp_path / "to" / "tokenizer.json").write_bytes(b"[]")
    _ = run(origin, tmp_path)
    assert {path for path, _ in origin.ranges[asked:]} == {"README.md", "tokenizer.json"}
    assert listed(tmp_path / "to") == origin.objects


def test_after_a_power_cut_only_lost_bytes_are_fetched_again(
    origin: Origin, tmp_path: Path
) -> None:
    _ = run(origin, tmp_path)
    memory = copy_to(tmp_path).memory / RECORD_NAME
    record = memory.read_text()
    assert f'"{boot_id()}"' in record, "what was not synced says in which boot"
    _ = memory.write_text(record.replace(boot_id(), "another"))
    lost = tmp_path / "to" / "tokenizer.json"
    before = lost.stat()
    _ = lost.write_bytes(bytes(before.st_size))
    os.utime(lost, ns=(before.st_atime_ns, before.st_mtime_ns))
    asked = len(origin.ranges)
    _ = run(origin, tmp_path)
    assert {path for path, _ in origin.ranges[asked:]} == {"tokenizer.json"}
    assert listed(tmp_path / "to") == OBJECTS


def test_without_tags_nothing_is_taken_for_the_same(origin: Origin, tmp_path: Path) -> None:
    origin.etags = False
    _ = run(origin, tmp_path)
    origin.objects["README.md"] = b"# a model CARD"
    _ = run(origin, tmp_path)
    assert listed(tmp_path / "to") == origin.objects


def test_checksums_that_hold(origin: Origin, tmp_path: Path) -> None:
    record = run(origin, tmp_path, Alone(checksums=sums(tmp_path / "SUMS", OBJECTS)))
    assert record.verified_by == "manifest"
    assert listed(tmp_path / "to") == OBJECTS


@pytest.mark.parametrize("fault", [at_first(Reply(flip=True)), None])
def test_promised_bytes_are_no_business_of_a_format(fault: Fault | None, tmp_path: Path) -> None:
    # no bytes by chance: a few look like a pickle, or have the library warn of how it is written
    noise = random.Random(1).randbytes(200_000)  # noqa: S311  # the same each time
    objects = {"a.safetensors": noise, "config.json": b"\xff" * 9}
    with Origin(objects, fault=fault) as origin:
        checksums = sums(tmp_path / "SUMS", objects)
        _ = run(origin, tmp_path, Alone(checksums=checksums))
    assert listed(tmp_path / "to") == objects, "and a byte that flipped once was read again"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"config.json": b"{} "}, "config.json"),
        ({"more.json": b"{}"}, "more.json"),
    ],
)
def test_a_promise_that_does_not_hold(
    change: dict[str, bytes], where: str, origin: Origin, tmp_path: Path
) -> None:
    checksums = sums(tmp_path / "SUMS", {**OBJECTS, **change})
    with pytest.raises(WeightsCorrupt, match=where):
        _ = run(origin, tmp_path, Alone(checksums=checksums))
    assert all(name.startswith(STAGE_NAME) for name in listed(tmp_path / "to"))


def test_an_object_that_nobody_vouches_for(origin: Origin, tmp_path: Path) -> None:
    known = {name: data for name, data in OBJECTS.items() if name != "README.md"}
    checksums = sums(tmp_path / "SUMS", known)
    with pytest.raises(WeightsCorrupt, match=r"README\.md"):
        _ = run(origin, tmp_path, Alone(checksums=checksums))
    origin.objects["SUMS"] = listed(tmp_path)["SUMS"]
    del origin.objects["README.md"]
    record = run(origin, tmp_path, Alone(checksums=checksums))
    assert "SUMS" in {file.path for file in record.files}, "but a list need not list itself"


def test_the_same_file_with_other_checksums_is_held_to_them(origin: Origin, tmp_path: Path) -> None:
    _ = run(origin, tmp_path)
    wrong = sums(tmp_path / "SUMS", {**OBJECTS, "config.json": b"{} "})
    with pytest.raises(WeightsCorrupt):
        _ = run(origin, tmp_path, Alone(checksums=wrong))
    assert listed(tmp_path / "to")["config.json"] == OBJECTS["config.json"]


def test_a_list_that_cannot_be_read(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match="No such file"):
        _ = run(origin, tmp_path, Alone(checksums=str(tmp_path / "none")))
    _ = (tmp_path / "SUMS").write_text("hello")
    with pytest.raises(WeightsCorrupt, match="line 1"):
        _ = run(origin, tmp_path, Alone(checksums=str(tmp_path / "SUMS")))


def test_a_manifest_is_held_to(tmp_path: Path) -> None:
    objects = {**OBJECTS, "manifest.json": manifest_of(toy(shard_bytes=200_000), model="org/any")}
    with Origin(objects) as origin:
        record = run(origin, tmp_path)
        assert record.verified_by == "manifest"
        origin.objects["config.json"] = b"{}"
        with pytest.raises(WeightsCorrupt):
            _ = run(origin, tmp_path)
        _ = run(origin, tmp_path, Alone(is_verified=False))
        assert listed(tmp_path / "to") == origin.objects
        origin.objects["manifest.json"] = manifest_of({"a": b""}, model="x").replace(b"1", b"2", 1)
        with pytest.raises(WeightsCorrupt, match=r"manifest\.json"):
            _ = run(origin, tmp_path)


def test_unpromised_weights_that_are_none(tmp_path: Path) -> None:
    with Origin({"a.safetensors": b"\xff" * 100}) as origin:
        with pytest.raises(WeightsCorrupt, match="safetensors"):
            _ = run(origin, tmp_path)
        _ = run(origin, tmp_path, Alone(is_verified=False))
    assert listed(tmp_path / "to") == {"a.safetensors": b"\xff" * 100}


def test_a_pickle_is_refused_whatever_was_promised(tmp_path: Path) -> None:
    for name in ("a.safetensors", "weights.bin", "notes.md"):
        objects = {name: pickle.dumps(os.getcwd)}
        with Origin(objects) as origin, pytest.raises(WeightsUnsafe, match="pickle"):
            _ = run(origin, tmp_path, Alone(checksums=sums(tmp_path / "SUMS", objects)))


@pytest.mark.parametrize(
    "name", ["../evil", "/abs", "a//b", ".partial/x", ".lock", ".JOURNAL", "manifest.ok", "A.TXT"]
)
def test_hostile_names(name: str, tmp_path: Path) -> None:
    with Origin({"a.txt": b"1", name: b"2"}) as origin, pytest.raises(WeightsUnsafe):
        _ = run(origin, tmp_path)
    assert {name.split("/")[0] for name in listed(tmp_path)} <= {"to", "cache"}


def test_what_else_lies_there_stays(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "mine.txt").write_bytes(b"mine")
    (tmp_path / "to" / "config.json").write_bytes(b"an older one")
    _ = run(origin, tmp_path)
    assert listed(tmp_path / "to") == {**OBJECTS, "mine.txt": b"mine"}


def test_links_out_of_the_folder(origin: Origin, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "sub").symlink_to(outside)
    with pytest.raises(WeightsUnsafe, match="leads out"):
        _ = run(origin, tmp_path)
    assert list(outside.iterdir()) == [], "nothing was written there"
    (tmp_path / "to" / "sub").unlink()
    (tmp_path / "to" / "config.json").unlink(missing_ok=True)
    (tmp_path / "to" / "config.json").symlink_to(outside / "target")
    _ = run(origin, tmp_path)
    assert listed(tmp_path / "to") == OBJECTS, "a link that is a file's name is replaced"
    assert list(outside.iterdir()) == []


def test_a_stage_that_is_a_link(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / STAGE_NAME).symlink_to(tmp_path)
    with pytest.raises(WeightsUnsafe):
        _ = run(origin, tmp_path)


def test_one_folder_has_one_copy(origin: Origin, tmp_path: Path) -> None:
    copy = copy_to(tmp_path)
    with copy.stage.lock(copy.model), pytest.raises(CacheBusy):
        _ = run(origin, tmp_path)


def test_nothing_is_delivered_that_has_not_arrived(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        _ = deliver(copy_to(tmp_path))


def test_a_home_that_cannot_be_written_to_costs_a_second_fetch(
    origin: Origin, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_bytes(b"no folder")
    _ = run(origin, tmp_path)
    _ = run(origin, tmp_path)
    assert listed(tmp_path / "to") == OBJECTS


@pytest.mark.parametrize("moved", range(0, len(OBJECTS) + 1, 3))
def test_killed_while_files_get_their_names(moved: int, origin: Origin, tmp_path: Path) -> None:
    copy = copy_to(tmp_path)
    _ = run(origin, tmp_path)
    record = remembered(copy)
    assert record is not None
    # the state between two renames: some files lie in the stage, with the record
    folder = copy.stage.folder(copy.model)
    for file in record.files[moved:]:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        _ = (copy.to / file.path).rename(folder / file.path)
    _ = (
        (folder / "manifest.ok").write_bytes(replace(record, folder=None).encode())
        if folder.is_dir()
        else folder.mkdir(parents=True)
    )
    asked = len(origin.ranges)
    _ = run(origin, tmp_path)
    assert listed(copy.to) == OBJECTS
    assert len(origin.ranges) == asked


PROGRAM = """
import sys
from pathlib import Path
from test_standalone import copy_to, job_of
from weights_origin import origin_store
from poolhand.agent.weights.standalone import bring
from poolhand.config.settings import S3, Stores
copy = copy_to(Path(sys.argv[1]))
told = lambda at: print(at.bytes_done, flush=True)
bring(copy, job_of(copy, Stores(s3=S3(endpoint=sys.argv[2]))), told=told, find_store=origin_store)
"""


def test_kill_9_of_everything_and_again(tmp_path: Path) -> None:
    objects = {**OBJECTS, **toy(shard_bytes=1_500_000)}
    total = sum(map(len, objects.values()))
    with Origin(objects) as origin:
        origin.pause_s = 0.005
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), origin.endpoint]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        with subprocess.Popen(  # noqa: S603  # our own
            command, stdout=subprocess.PIPE, env=environ, start_new_session=True
        ) as child:
            assert child.stdout is not None
            while int(child.stdout.readline()) < total // 3:
                pass
            os.killpg(child.pid, signal.SIGKILL)
        assert not [name for name in listed(tmp_path / "to") if not name.startswith(STAGE_NAME)]
        origin.pause_s = 0.0
        before = origin.sent_bytes
        told: list[Progress] = []
        _ = run(origin, tmp_path, told=told)
        assert listed(tmp_path / "to") == objects
        assert told[-1].bytes_resumed >= total // 3 - 5 * 2**16
        assert origin.sent_bytes - before <= total - total // 3 + 5 * 2**16


def test_a_store_that_fails_leaves_the_old_copy_alone(origin: Origin, tmp_path: Path) -> None:
    _ = run(origin, tmp_path)
    origin.objects["README.md"] = b"# newer"
    origin.fault = always(Reply(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"))
    with pytest.raises(WeightsError):
        _ = run(origin, tmp_path)
    visible = {
        name: data
        for name, data in listed(tmp_path / "to").items()
        if not name.startswith(STAGE_NAME)
    }
    assert visible == OBJECTS
    origin.fault = None
    _ = run(origin, tmp_path)
    assert listed(tmp_path / "to") == origin.objects


def test_a_journal_of_an_unfinished_fetch_is_kept(tmp_path: Path) -> None:
    copy = copy_to(tmp_path)
    folder = copy.stage.folder(copy.model)
    folder.mkdir(parents=True)
    _ = (folder / ".journal").write_text("mine")
    _ = (folder / "manifest.ok").write_text(json.dumps({}))
    begin(copy, chunk_bytes=2**16)
    assert (folder / ".journal").read_text() == "mine"
    assert not (folder / "manifest.ok").exists(), "a fetch must list before it believes"
