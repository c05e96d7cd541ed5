"""What goes wrong on the way: never wrong bytes, never debris, never a hang, always a code.

The faults of single answers stand in ``test_fetch.py``; here are those of time, of the store as
a whole, and of the disk. Kills stand in ``tests/crash``.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from weights_origin import CHILD, REF, Fault, Origin, Reply, always, quick, stores_of, toy

from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.fetch import FetchJob, fetch
from poolhand.backends.stores.base import Build
from poolhand.backends.stores.errors import (
    CacheBusy,
    DiskFailed,
    DiskFull,
    ModelMissing,
    StoreUnreachable,
    WeightsChanged,
    WeightsError,
)

MODEL = "org/toy"
DISK = {DiskFull.code, DiskFailed.code}
LAST = "model-00002-of-00002.safetensors"


async def bring(
    origin: Origin,
    folder: Path,
    *,
    stall_timeout_s: float = 1.0,
    no_progress_s: float = 0.0,
    program: str = "",
) -> Build:
    limits = {"stall_timeout_s": stall_timeout_s, "no_progress_s": no_progress_s}
    weights = quick().model_copy(update=limits)
    job = FetchJob(MODEL, REF, stores_of(origin), weights, str(folder))
    command = ("sh", "-c", f'{program} exec "$@"', "sh", *CHILD) if program else CHILD
    async with asyncio.timeout(50):
        return await fetch(job, told=lambda _: None, command=command)


def at_numbers(numbers: range, reply: Reply) -> Fault:
    return lambda number, _path, _range: reply if number in numbers else None


def hold(origin: Origin, folder: Path, before: dict[str, bytes] | None = None) -> None:
    """Nothing with a final name has other bytes than the store had at some time."""
    place = Cache(folder).folder(MODEL)
    for name, data in origin.objects.items():
        if (place / name).is_file():
            assert (place / name).read_bytes() in {data, (before or {}).get(name)}, name


async def test_slow_down_for_the_first_twenty(tmp_path: Path) -> None:
    with Origin(toy()) as origin:
        origin.fault = at_numbers(range(20), Reply(status=503))
        _ = await bring(origin, tmp_path)
        hold(origin, tmp_path)


async def test_a_store_that_says_slow_down_for_ever_is_told_of(tmp_path: Path) -> None:
    with Origin(toy()) as origin:
        origin.fault = always(Reply(status=503))
        with pytest.raises(StoreUnreachable) as caught:
            _ = await bring(origin, tmp_path)
        assert (caught.value.code, bool(caught.value.remedy)) == ("store_unreachable", True)


async def test_a_slow_drip_is_left_for_another_connection(tmp_path: Path) -> None:
    with Origin(toy()) as origin:

        def fault(number: int, path: str, _range: str) -> Reply | None:
            return Reply(drip_s=0.5) if number == 6 and path.startswith("model") else None

        origin.fault = fault
        begun_s = time.monotonic()
        _ = await bring(origin, tmp_path, stall_timeout_s=20.0)
        assert time.monotonic() - begun_s < 25.0, "at this pace the chunk alone takes 5 minutes"
        hold(origin, tmp_path)


async def test_silence_for_good_is_told_as_what_it_is(tmp_path: Path) -> None:
    """Each connection is left before its own time-out, which is no early end of the store's."""
    with Origin(toy()) as origin:
        origin.fault = at_numbers(range(7, 10**6), Reply(cut_bytes=500, stall_s=45.0))
        with pytest.raises(StoreUnreachable, match="hardly a byte"):
            _ = await bring(origin, tmp_path, stall_timeout_s=1.0)


async def test_a_stall_is_over_long_before_two_time_outs(tmp_path: Path) -> None:
    with Origin(toy()) as origin:
        origin.fault = at_numbers(range(7, 8), Reply(cut_bytes=500, stall_s=45.0))
        begun_s = time.monotonic()
        _ = await bring(origin, tmp_path, stall_timeout_s=20.0)
        assert time.monotonic() - begun_s < 25.0
        hold(origin, tmp_path)


def truncated(origin: Origin) -> None:
    origin.objects[LAST] = origin.objects[LAST][:100_000]


def deleted(origin: Origin) -> None:
    del origin.objects[LAST]


@pytest.mark.parametrize(
    ("change", "kind"), [(truncated, WeightsChanged), (deleted, (WeightsChanged, ModelMissing))]
)
async def test_an_object_that_changes_under_way(
    change: Callable[[Origin], None],
    kind: type[WeightsError] | tuple[type[WeightsError], ...],
    tmp_path: Path,
) -> None:
    objects = toy(shard_bytes=1_000_000)
    with Origin(objects) as origin:

        def fault(number: int, _path: str, _range: str) -> None:
            if number == 9:
                change(origin)

        origin.fault = fault
        with pytest.raises(kind):
            _ = await bring(origin, tmp_path)
        hold(origin, tmp_path, objects)
        assert Cache(tmp_path).build(MODEL, str(REF)) is None


async def test_empty_objects_are_files_like_any(tmp_path: Path) -> None:
    with Origin({**toy(), "merges.txt": b"", "added/empty.txt": b""}) as origin:
        build = await bring(origin, tmp_path)
    assert (Path(build.folder) / "added/empty.txt").read_bytes() == b""


async def test_a_shard_of_no_bytes_is_damaged(tmp_path: Path) -> None:
    with Origin({**toy(), LAST: b""}) as origin:
        with pytest.raises(WeightsError) as caught:
            _ = await bring(origin, tmp_path)
        assert caught.value.code == "weights_corrupt"


async def test_a_disk_that_takes_no_more_is_told_of_at_once(tmp_path: Path) -> None:
    """A limit of the process stands for the disk's: the calls fail the same way."""
    with Origin(toy()) as origin:
        begun_s = time.monotonic()
        with pytest.raises(WeightsError) as caught:
            _ = await bring(origin, tmp_path, program="ulimit -f 100;")
        assert caught.value.code in DISK
        assert caught.value.remedy
        assert time.monotonic() - begun_s < 20.0
        hold(origin, tmp_path)
        _ = await bring(origin, tmp_path)


FAILING = (sys.executable, str(Path(__file__).with_name("failing_disk.py")))


@pytest.mark.parametrize(
    ("code", "call", "number"),
    [
        ("EIO", "pwrite", 7),
        ("EIO", "fdatasync", 1),
        ("EIO", "write", 9),
        ("EIO", "replace", 3),
        ("EROFS", "posix_fallocate", 1),
        ("EDQUOT", "pwrite", 5),
        ("ENOSPC", "write", 5),
    ],
)
async def test_a_disk_that_fails_is_told_of_and_gone_on_from(
    tmp_path: Path, code: str, call: str, number: int
) -> None:
    with Origin(toy()) as origin:
        weights = quick(sync_first=call == "fdatasync")  # else it is the keeper who syncs
        job = FetchJob(MODEL, REF, stores_of(origin), weights, str(tmp_path))
        command = (*FAILING, code, call, str(number))
        with pytest.raises(WeightsError) as caught:
            async with asyncio.timeout(50):
                _ = await fetch(job, told=lambda _: None, command=command)
        full = code in {"EDQUOT", "ENOSPC"}
        assert caught.value.code == (DiskFull.code if full else DiskFailed.code)
        assert caught.value.remedy
        hold(origin, tmp_path)
        assert Cache(tmp_path).build(MODEL, str(REF)) is None
        _ = await bring(origin, tmp_path)
        hold(origin, tmp_path)


async def test_a_cache_that_is_no_folder_is_told_of(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    place.touch()
    with Origin(toy()) as origin, pytest.raises(WeightsError) as caught:
        _ = await bring(origin, place)
    assert caught.value.code in DISK


async def test_the_cache_is_removed_under_way(tmp_path: Path) -> None:
    with Origin(toy(shard_bytes=1_000_000)) as origin:

        def fault(number: int, _path: str, _range: str) -> None:
            if number == 9:
                shutil.rmtree(tmp_path / "models", ignore_errors=True)

        origin.fault = fault
        with pytest.raises(WeightsError) as caught:
            _ = await bring(origin, tmp_path)
        assert caught.value.code
        origin.fault = None
        _ = await bring(origin, tmp_path)
        hold(origin, tmp_path)


async def test_a_link_in_the_cache_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    precious = elsewhere / "precious"
    _ = precious.write_bytes(b"mine")
    folder = Cache(tmp_path).folder(MODEL)
    (folder / ".partial").mkdir(parents=True)
    (folder / ".partial" / "config.json").symlink_to(precious)
    (folder / "tokenizer.json").symlink_to(precious)
    with Origin(toy()) as origin:
        _ = await bring(origin, tmp_path)
        hold(origin, tmp_path)
    assert precious.read_bytes() == b"mine"
    assert not (folder / "tokenizer.json").is_symlink()


async def test_two_processes_on_one_cache(tmp_path: Path) -> None:
    with Origin(toy()) as origin:
        ended = await asyncio.gather(
            bring(origin, tmp_path), bring(origin, tmp_path), return_exceptions=True
        )
        assert any(isinstance(one, Build) for one in ended)
        assert all(isinstance(one, Build | CacheBusy) for one in ended)
        hold(origin, tmp_path)


async def test_a_thousand_small_objects(tmp_path: Path) -> None:
    objects = {f"{number // 100:03}/{number:05}.txt": b"%d" % number for number in range(1_000)}
    with Origin(objects) as origin:
        build = await bring(origin, tmp_path)
        hold(origin, tmp_path)
    assert build.size_bytes == sum(map(len, objects.values()))


async def test_a_store_that_is_away_for_a_while_costs_only_the_time(tmp_path: Path) -> None:
    """Longer than eight tries take one after the other without a rest."""
    with Origin(toy()) as origin:
        away: list[float] = []

        def fault(number: int, _path: str, _range: str) -> Reply | None:
            now_s = time.monotonic()
            if number >= 4 and not away:
                away.append(now_s + 6.0)
            return Reply(status=500) if away and now_s < away[0] else None

        origin.fault = fault
        _ = await bring(origin, tmp_path, no_progress_s=60.0)
        hold(origin, tmp_path)
