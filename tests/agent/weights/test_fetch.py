"""A fetch from the agent's side: a real child, a real origin on loopback."""

import asyncio
import json
import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from answer_faults import LASTING, MENDED
from weights_origin import (
    CHILD,
    REF,
    Fault,
    Origin,
    but_for_the_manifest,
    manifest_of,
    quick,
    stores_of,
    toy,
)

from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.fetch import FetchJob, child_environ, fetch, sizes
from poolhand.agent.weights.lines import encode_job
from poolhand.backends.stores.base import Build, Progress
from poolhand.backends.stores.errors import (
    CacheBusy,
    FetchDied,
    ModelMissing,
    WeightsChanged,
    WeightsCorrupt,
    WeightsError,
    WeightsUnsafe,
)
from poolhand.config.settings import Weights

MODEL = "org/toy"


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(toy()) as serving:
        yield serving


def job_for(origin: Origin, folder: Path, weights: Weights | None = None) -> FetchJob:
    return FetchJob(MODEL, REF, stores_of(origin), weights or quick(), str(folder))


async def bring(origin: Origin, folder: Path, weights: Weights | None = None) -> Build:
    return await fetch(job_for(origin, folder, weights), told=lambda _: None, command=CHILD)


def final_names(folder: Path) -> dict[str, bytes]:
    found = [path for path in Cache(folder).folder(MODEL).rglob("*") if path.is_file()]
    relative = {path.relative_to(Cache(folder).folder(MODEL)).as_posix(): path for path in found}
    return {
        name: path.read_bytes()
        for name, path in relative.items()
        if not name.startswith(".") and name != "manifest.ok"
    }


async def test_a_model_arrives_whole_and_is_described(origin: Origin, tmp_path: Path) -> None:
    told: list[Progress] = []
    build = await fetch(job_for(origin, tmp_path), told=told.append, command=CHILD)
    assert final_names(tmp_path) == origin.objects
    assert build.size_bytes == sum(map(len, origin.objects.values()))
    assert (build.weights_bytes, build.verified_by) == (600_000, "self")
    assert build.config == {"model_type": "toy"}
    assert build.has_chat_template
    assert Path(build.folder) == Cache(tmp_path).folder(MODEL)
    assert not (Path(build.folder) / ".partial").exists()
    assert not (Path(build.folder) / ".journal").exists()
    assert told[-1].bytes_done == told[-1].bytes_total == build.size_bytes


async def test_what_is_here_is_not_asked_for_again(origin: Origin, tmp_path: Path) -> None:
    first = await bring(origin, tmp_path)
    asked = len(origin.ranges)
    second = await fetch(job_for(origin, tmp_path), told=lambda _: None, command=("false",))
    assert (second, len(origin.ranges)) == (first, asked)


async def test_a_damaged_file_is_found_and_fetched_alone(origin: Origin, tmp_path: Path) -> None:
    build = await bring(origin, tmp_path)
    victim = Path(build.folder) / "model-00001-of-00002.safetensors"
    _ = victim.write_bytes(b"?" * victim.stat().st_size)
    origin.ranges.clear()
    _ = await bring(origin, tmp_path)
    assert final_names(tmp_path) == origin.objects


async def test_a_manifest_is_believed_and_held_to(origin: Origin, tmp_path: Path) -> None:
    expected = dict(origin.objects)
    origin.objects["manifest.json"] = manifest_of(expected, model=MODEL)
    build = await bring(origin, tmp_path, quick(require_manifest=True))
    promised = json.loads(origin.objects["manifest.json"])
    assert build.verified_by == "manifest"
    assert build.weight_hash == promised["aggregate_sha256"]
    assert final_names(tmp_path) == expected


async def test_a_required_manifest_must_be_there(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match="required"):
        _ = await bring(origin, tmp_path, quick(require_manifest=True))


async def test_a_manifest_of_another_model_is_refused(origin: Origin, tmp_path: Path) -> None:
    origin.objects["manifest.json"] = manifest_of(origin.objects, model="org/other")
    with pytest.raises(WeightsCorrupt, match="another model"):
        _ = await bring(origin, tmp_path)
    assert final_names(tmp_path) == {}


async def test_some_other_tools_manifest_is_a_file_like_any(origin: Origin, tmp_path: Path) -> None:
    origin.objects["manifest.json"] = b'{"name": "a web app"}'
    _ = await bring(origin, tmp_path)
    assert final_names(tmp_path) == origin.objects


async def test_sizes_are_listed_and_remembered(origin: Origin, tmp_path: Path) -> None:
    total = sum(map(len, origin.objects.values()))
    assert await sizes(job_for(origin, tmp_path), command=CHILD) == total
    assert set(Cache(tmp_path).listed().values()) == {total}
    assert origin.ranges == [], "a listing reads no object"


async def test_an_empty_prefix_is_a_missing_model(tmp_path: Path) -> None:
    with Origin({}) as origin, pytest.raises(ModelMissing) as caught:
        _ = await bring(origin, tmp_path)
    assert caught.value.load_text == f"model '{MODEL}' not found in local store"


async def test_many_small_and_empty_files(tmp_path: Path) -> None:
    objects = {f"part/{number}.txt": b"x" * number for number in range(60)}
    with Origin(objects) as origin:
        _ = await bring(origin, tmp_path)
    assert final_names(tmp_path) == objects


async def test_objects_without_version_tags_are_read_all_the_same(tmp_path: Path) -> None:
    with Origin(toy()) as origin:
        origin.etags = False
        _ = await bring(origin, tmp_path)
        assert final_names(tmp_path) == origin.objects


@pytest.mark.parametrize("fault", MENDED.values(), ids=MENDED.keys())
async def test_a_passing_fault_is_mended(fault: Fault, tmp_path: Path) -> None:
    objects = toy()
    with Origin({**objects, "manifest.json": manifest_of(objects, model=MODEL)}) as origin:
        origin.fault = but_for_the_manifest(fault)
        # on a machine under load a second without a byte, eight times over, is no failure
        patient = quick().model_copy(update={"no_progress_s": 30.0})
        _ = await bring(origin, tmp_path, patient)
        assert len(origin.ranges) > len(objects)
    assert final_names(tmp_path) == objects


@pytest.mark.parametrize(("fault", "kind"), LASTING.values(), ids=LASTING.keys())
async def test_a_lasting_fault_has_its_name_and_leaves_no_debris(
    fault: Fault, kind: type[WeightsError], tmp_path: Path
) -> None:
    objects = toy()
    with Origin({**objects, "manifest.json": manifest_of(objects, model=MODEL)}) as origin:
        origin.fault = but_for_the_manifest(fault)
        with pytest.raises(kind):
            _ = await bring(origin, tmp_path)
    for name, data in final_names(tmp_path).items():
        assert data == objects[name], "a final name never has wrong bytes"
    assert Cache(tmp_path).build(MODEL, str(REF)) is None


@pytest.mark.parametrize("is_mute", [False, True], ids=["tags", "mute about tags"])
async def test_an_object_replaced_meanwhile_is_never_mixed(
    tmp_path: Path, *, is_mute: bool
) -> None:
    objects = toy(shard_bytes=1_000_000)
    name = "model-00002-of-00002.safetensors"
    with Origin(objects) as origin:
        origin.is_mute = is_mute
        newer = toy(shard_bytes=1_000_000, shards=3)["model-00003-of-00003.safetensors"]

        def replace(number: int, _path: str, _range: str) -> None:
            if number == 9:
                origin.objects[name] = newer

        origin.fault = replace
        with pytest.raises(WeightsChanged):
            _ = await bring(origin, tmp_path)
        _ = await bring(origin, tmp_path)
        assert final_names(tmp_path) == {**objects, name: newer}


async def test_cancelling_ends_the_child_and_keeps_the_bytes(tmp_path: Path) -> None:
    with Origin(toy(shard_bytes=4_000_000)) as origin:
        origin.pause_s = 0.01
        told: asyncio.Queue[Progress] = asyncio.Queue()
        work = job_for(origin, tmp_path)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(fetch(work, told=told.put_nowait, command=CHILD))
            while (await told.get()).bytes_done < 1_000_000:
                pass
            _ = task.cancel()
        origin.pause_s = 0.0
        resumed: list[Progress] = []
        _ = await fetch(work, told=resumed.append, command=CHILD)
        assert resumed[-1].bytes_resumed > 500_000
        assert final_names(tmp_path) == origin.objects


async def test_one_folder_has_one_writer(origin: Origin, tmp_path: Path) -> None:
    with Cache(tmp_path).lock(MODEL), pytest.raises(CacheBusy):
        _ = await bring(origin, tmp_path)


async def test_a_child_that_says_nothing_has_died(origin: Origin, tmp_path: Path) -> None:
    command = ("sh", "-c", "echo some tail >&2; exit 7")
    with pytest.raises(FetchDied, match="exit code 7") as caught:
        _ = await fetch(job_for(origin, tmp_path), told=lambda _: None, command=command)
    assert "some tail" in caught.value.tail


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "/abs.json",
        "a//b.json",
        "manifest.ok",
        "a\\b.json",
        "a\0b.json",
        "CONFIG.json",
        "x" * 4000 + ".json",
        "a/" * 2000 + "b.json",
    ],
    ids=lambda name: str(name)[:12],
)
async def test_hostile_names_touch_nothing(name: str, tmp_path: Path) -> None:
    with Origin({**toy(), name: b"{}"}) as origin, pytest.raises(WeightsUnsafe):
        _ = await bring(origin, tmp_path)
    assert final_names(tmp_path) == {}


async def test_a_pickle_is_refused_under_any_name(tmp_path: Path) -> None:
    objects = {**toy(), "notes.txt": pickle.dumps(os.getcwd)}
    with Origin(objects) as origin, pytest.raises(WeightsUnsafe, match="pickle"):
        _ = await bring(origin, tmp_path)
    assert "notes.txt" not in final_names(tmp_path)


async def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    objects = {**toy(), "model-00001-of-00002.safetensors": b"\xff" * 100}
    with Origin(objects) as origin, pytest.raises(WeightsCorrupt, match="safetensors"):
        _ = await bring(origin, tmp_path)


async def test_an_older_builds_files_do_not_stay(origin: Origin, tmp_path: Path) -> None:
    _ = await bring(origin, tmp_path)
    folder = Cache(tmp_path).folder(MODEL)
    (folder / "manifest.ok").unlink()
    _ = (folder / "model-00009-of-00009.safetensors").write_bytes(b"old")
    _ = await bring(origin, tmp_path)
    assert final_names(tmp_path) == origin.objects


def test_the_child_sees_no_secret_of_the_agent() -> None:
    environ = {"POOLHAND_TOKEN": "s", "HTTPS_PROXY": "p", "AWS_PROFILE": "x", "HOME": "/h"}
    assert child_environ(environ) == {"AWS_PROFILE": "x", "HOME": "/h"}
    proxies = {"HTTPS_PROXY": "p", "no_proxy": "n"}
    seen = child_environ({**environ, **proxies}, is_proxied=True)
    assert seen == {"AWS_PROFILE": "x", "HOME": "/h", **proxies}


async def test_a_child_whose_agent_is_gone_leaves(tmp_path: Path) -> None:
    with Origin(toy(shard_bytes=4_000_000)) as origin:
        origin.pause_s = 0.02
        child = await asyncio.create_subprocess_exec(
            *CHILD, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdin
        assert child.stdout
        child.stdin.write(encode_job(job_for(origin, tmp_path), "fetch"))
        while b'"fetch"' not in await child.stdout.readline():
            pass
        child.stdin.close()
        async with asyncio.timeout(5):
            _ = await child.stdout.read()
            assert await child.wait() == 128 + signal.SIGTERM


async def test_a_limit_can_be_changed_while_it_runs(tmp_path: Path) -> None:
    """At the first limit it would take minutes."""
    limits: asyncio.Queue[int | None] = asyncio.Queue()
    told: list[Progress] = []

    def hear(progress: Progress) -> None:
        if progress.phase == "fetch" and not any(each.phase == "fetch" for each in told):
            limits.put_nowait(4_000)
            limits.put_nowait(None)
        told.append(progress)

    with Origin(toy(shard_bytes=600_000)) as origin:
        weights = quick(connections=2).model_copy(update={"max_bytes_per_s": 5_000})
        job = FetchJob(MODEL, REF, stores_of(origin), weights, str(tmp_path))
        async with asyncio.timeout(50):
            build = await fetch(job, told=hear, limits=limits, command=CHILD)
    assert build.size_bytes > 1_200_000
    assert limits.empty()
