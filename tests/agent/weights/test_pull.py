"""The threads that bring the bytes, without a child around them."""

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from weights_origin import Origin, OriginStore, Reply, always, at_first

from poolhand.agent.weights import pull
from poolhand.agent.weights.journal import Header, Journal, Listed, load, nothing
from poolhand.agent.weights.pace import FAR_S
from poolhand.agent.weights.parts import Part, Target, prepare
from poolhand.agent.weights.patience import TRIES
from poolhand.agent.weights.plan import Grid
from poolhand.agent.weights.pull import Pull
from poolhand.agent.weights.source import Source
from poolhand.agent.weights.verify import fingerprint
from poolhand.backends.stores import exchange
from poolhand.backends.stores.base import FileLocation, Location, RemoteFile
from poolhand.backends.stores.errors import StoreDenied, StoreUnreachable, WeightsCorrupt

DATA = {"a.txt": b"a" * 300_000, "b/c.txt": bytes(range(256)) * 700, "empty.txt": b""}
GRID = Grid(16_384, 65_536)
WIDE = Grid(2**20, 2**23)
"""Every file of these comes in one piece."""


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(DATA) as serving:
        yield serving


class Run:
    """One pull and what it needs."""

    def __init__(
        self,
        folder: Path,
        origin: Origin,
        *,
        locate: Callable[[RemoteFile], Location] | None = None,
        promised: str | None = None,
        stall_timeout_s: float = 1.0,
        max_bytes_per_s: int | None = None,
        grid: Grid = GRID,
    ) -> None:
        store = OriginStore(origin.port)
        self.store = store
        remotes = [
            RemoteFile(path, len(data), origin.etag(path), path) for path, data in DATA.items()
        ]
        files = tuple(Listed(path=f.path, size_bytes=f.size_bytes, etag=f.etag) for f in remotes)
        header = Header(ref="s3://b", boot_id="x", block_bytes=grid.block_bytes, files=files)
        claims = load(folder / "j", boot_id="x") or nothing(header)
        targets = [Target(remote, promised) for remote in remotes]
        self.parts = prepare(folder, targets, claims, grid)
        self.journal = Journal(folder / "j", claims)
        self.over = threading.Event()

        def refresh() -> None:
            store.refreshes += 1

        reach = locate or store.location
        limits = (stall_timeout_s, max_bytes_per_s)
        note = store.note_server_date
        source = Source("m", "s", reach, refresh, lambda: 0.0, *limits, note_date=note)
        self.pull = Pull(source, self.parts, self.journal, grid, ended=self.over.set)

    def go(self, connections: int = 3) -> "Run":
        self.pull.start(connections)
        assert self.over.wait(30)
        self.pull.stop()
        self.journal.close()
        return self


def test_every_file_gets_its_final_name_and_digest(origin: Origin, tmp_path: Path) -> None:
    run = Run(tmp_path, origin).go()
    assert run.pull.error is None
    assert run.pull.is_done
    for part, (name, data) in zip(run.parts, DATA.items(), strict=True):
        assert part.seal is not None
        assert part.seal.sha256 == hashlib.sha256(data).hexdigest()
        assert (tmp_path / name).read_bytes() == data
    assert run.pull.bytes_done == sum(map(len, DATA.values()))


def test_what_is_sealed_is_not_asked_for_again(origin: Origin, tmp_path: Path) -> None:
    _ = Run(tmp_path, origin).go()
    asked = len(origin.ranges)
    run = Run(tmp_path, origin).go()
    assert run.pull.is_done
    assert run.pull.bytes_resumed == sum(map(len, DATA.values()))
    assert len(origin.ranges) == asked


def test_from_files_on_this_machine(origin: Origin, tmp_path: Path) -> None:
    place = tmp_path / "source"
    for name, data in DATA.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        _ = (place / name).write_bytes(data)
    folder = tmp_path / "model"
    run = Run(folder, origin, locate=lambda file: FileLocation(str(place / file.key))).go()
    assert run.pull.is_done
    assert origin.ranges == []
    assert (folder / "b/c.txt").read_bytes() == DATA["b/c.txt"]


def test_a_store_that_never_answers_sensibly_is_given_up(origin: Origin, tmp_path: Path) -> None:
    origin.fault = always(Reply(status=503))
    started = Run(tmp_path, origin)
    run = started.go(connections=1)
    assert isinstance(run.pull.error, StoreUnreachable)
    assert len(origin.ranges) == TRIES
    assert not run.pull.is_done


def test_a_clock_that_is_wrong_is_set_by_the_stores(origin: Origin, tmp_path: Path) -> None:
    date = "Sat, 21 Nov 2026 12:00:00 GMT"
    body = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
    origin.fault = at_first(Reply(status=403, body=body, headers={"Date": date}))
    run = Run(tmp_path, origin).go(connections=1)
    assert run.pull.is_done, run.pull.error
    assert run.store.dates == [date]
    assert run.store.refreshes == 1


def test_a_store_that_drops_every_answer_but_brings_bytes_is_not(
    origin: Origin, tmp_path: Path
) -> None:
    origin.fault = always(Reply(cut_bytes=20_000))
    run = Run(tmp_path, origin).go()
    assert run.pull.is_done, run.pull.error


def test_credentials_are_refreshed_once_for_all(origin: Origin, tmp_path: Path) -> None:
    expired = Reply(status=403, body=b"<Code>ExpiredToken</Code>")

    def fault(number: int, _path: str, _range: str) -> Reply | None:
        return expired if number == 0 else None

    origin.fault = fault
    run = Run(tmp_path, origin).go()
    assert (run.pull.is_done, run.store.refreshes) == (True, 1)


def test_credentials_that_stay_expired(origin: Origin, tmp_path: Path) -> None:
    origin.fault = always(Reply(status=403, body=b"<Code>ExpiredToken</Code>"))
    assert isinstance(Run(tmp_path, origin).go().pull.error, StoreDenied)


def test_a_wrong_digest_is_read_twice_and_no_more(origin: Origin, tmp_path: Path) -> None:
    run = Run(tmp_path, origin, promised="0" * 64).go(connections=1)
    assert isinstance(run.pull.error, WeightsCorrupt)
    assert not any((tmp_path / name).exists() for name in DATA)
    claims = load(tmp_path / "j", boot_id="x")
    assert claims is not None
    corrupt = [path for path, file in zip(DATA, claims.files, strict=True) if not any(file.have)]
    assert run.pull.error.file in corrupt, "the journal forgets a file that was damaged"


def test_what_comes_in_one_piece_is_claimed_by_its_seal_alone(
    origin: Origin, tmp_path: Path
) -> None:
    run = Run(tmp_path, origin, grid=WIDE).go()
    assert run.pull.is_done, run.pull.error
    lines = (tmp_path / "j").read_bytes().splitlines()[1:]
    assert sorted(line[:1] for line in lines) == [b"D"] * len(DATA)
    for part, (name, data) in zip(run.parts, DATA.items(), strict=True):
        assert part.seal is not None
        assert part.seal.sha256 == hashlib.sha256(data).hexdigest()
        assert part.seal.fingerprint == fingerprint(tmp_path / name)
        assert (tmp_path / name).read_bytes() == data
    assert Run(tmp_path, origin, grid=WIDE).go().pull.bytes_resumed == sum(map(len, DATA.values()))
    assert len(origin.ranges) == sum(map(bool, DATA.values()))


def test_what_comes_in_one_piece_replaces_what_is_longer_and_older(
    origin: Origin, tmp_path: Path
) -> None:
    older = tmp_path / ".partial" / "a.txt"
    older.parent.mkdir()
    _ = older.write_bytes(b"o" * 400_000)
    assert Run(tmp_path, origin, grid=WIDE).go().pull.is_done
    assert (tmp_path / "a.txt").read_bytes() == DATA["a.txt"]


def test_one_piece_that_is_cut_goes_on_where_it_was(origin: Origin, tmp_path: Path) -> None:
    origin.fault = at_first(Reply(cut_bytes=20_000))
    assert Run(tmp_path, origin, grid=WIDE).go(connections=1).pull.is_done
    assert (tmp_path / "a.txt").read_bytes() == DATA["a.txt"]
    assert ("a.txt", "bytes=20000-299999") in origin.ranges


def test_it_is_not_done_as_long_as_a_file_may_be_doubted(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is asked to stop looks at it at any moment, and would publish a build."""
    looked: list[bool] = []

    def doubted(_parts: Sequence[Part]) -> tuple[list[int], list[int]]:
        looked.append(run.pull.is_done)
        return ([0], [0]) if len(looked) == 1 else ([], [])

    monkeypatch.setattr(pull, "doubted", doubted)
    run = Run(tmp_path, origin)
    _ = run.go()
    assert looked == [False, False]
    assert run.pull.is_done
    assert run.parts[0].is_second_reading
    for name, data in DATA.items():
        assert (tmp_path / name).read_bytes() == data


def test_one_piece_of_other_bytes_is_read_twice_and_gets_no_name(
    origin: Origin, tmp_path: Path
) -> None:
    run = Run(tmp_path, origin, promised="0" * 64, grid=WIDE).go(connections=1)
    assert isinstance(run.pull.error, WeightsCorrupt)
    assert not any((tmp_path / name).exists() for name in DATA)


def test_a_full_disk_is_told_as_it_is(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: object, _offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)  # the system's call, for want of a small disk
    run = Run(tmp_path, origin).go()
    assert isinstance(run.pull.error, OSError)
    assert run.pull.error.errno == errno.ENOSPC
    assert not run.pull.is_broken


def test_a_folder_that_fails_is_told_as_it_is(origin: Origin, tmp_path: Path) -> None:
    run = Run(tmp_path, origin)
    (tmp_path / "b").write_bytes(b"in the way")
    assert isinstance(run.go().pull.error, OSError)


def test_stopping_leaves_a_journal_that_tells_the_truth(origin: Origin, tmp_path: Path) -> None:
    origin.pause_s = 0.02
    run = Run(tmp_path, origin)
    run.pull.start(2)
    while not origin.sent_bytes:
        pass
    run.pull.stop()
    run.pull.sync()
    run.journal.close()
    origin.pause_s = 0.0
    again = Run(tmp_path, origin).go()
    assert again.pull.is_done
    assert (tmp_path / "a.txt").read_bytes() == DATA["a.txt"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_worker_ends_the_pull(origin: Origin, tmp_path: Path) -> None:
    def broken(_file: RemoteFile) -> Location:
        raise ZeroDivisionError

    run = Run(tmp_path, origin, locate=broken).go()
    assert run.pull.is_broken
    assert run.pull.error is None


def look_until_over(run: Run) -> None:
    while not run.over.wait(0.05):
        run.pull.look(time.monotonic())
    run.pull.stop()
    run.journal.close()


def test_a_last_chunk_is_shared_among_those_who_would_rest(origin: Origin, tmp_path: Path) -> None:
    """Each connection is slow by itself: left to one, the time to the end would be untold."""
    origin.fault = always(Reply(drip_s=0.003))  # 33 kB/s at most
    run = Run(tmp_path, origin, grid=Grid(16_384, 163_840), stall_timeout_s=20.0)
    run.pull.start(4)
    look_until_over(run)
    assert run.pull.is_done
    starts = [int(asked[6:].split("-")[0]) for _, asked in origin.ranges]
    assert set(starts) > {0, 163_840}
    assert all(start % 16_384 == 0 for start in starts), "cut between blocks"
    assert run.pull.bytes_done == sum(map(len, DATA.values()))
    for name, data in DATA.items():
        assert (tmp_path / name).read_bytes() == data


def test_a_store_that_takes_few_at_once_gets_few(origin: Origin, tmp_path: Path) -> None:
    """Whoever is refused meanwhile leaves its chunk to those who are left."""
    asked = threading.Semaphore(0)

    def fault(number: int, _path: str, _asked: str) -> Reply | None:
        asked.release()
        return Reply(status=503) if number < 16 else None

    origin.fault = fault
    run = Run(tmp_path, origin)
    run.pull.start(8)
    for _ in range(8):
        assert asked.acquire(timeout=30)
    run.pull.look(0.0)
    run.pull.look(1.0)
    run.pull.look(1.1)
    assert run.over.wait(30)
    assert run.pull.is_done
    assert run.pull.standing().connections == 4
    for name, data in DATA.items():
        assert (tmp_path / name).read_bytes() == data


def test_who_finds_nothing_to_do_shares_at_once(origin: Origin, tmp_path: Path) -> None:
    """Nobody has to look: that is done a few times a second only."""
    origin.fault = always(Reply(drip_s=0.003))
    run = Run(tmp_path, origin, grid=Grid(16_384, 163_840), stall_timeout_s=20.0).go(2)
    assert run.pull.is_done
    starts = {int(asked[6:].split("-")[0]) for _, asked in origin.ranges}
    assert starts > {0, 163_840}


def test_a_connection_that_stands_still_is_not_waited_for(origin: Origin, tmp_path: Path) -> None:
    """Its peers show how long a chunk takes; the time-out alone would be six times as long."""

    def fault(number: int, path: str, asked: str) -> Reply | None:
        return Reply(cut_bytes=1000, stall_s=12.0) if number == 1 else None

    origin.fault = fault
    run = Run(tmp_path, origin, stall_timeout_s=12.0)
    begun_s = time.monotonic()
    run.pull.start(3)
    look_until_over(run)
    assert run.pull.is_done
    assert time.monotonic() - begun_s < 8.0
    assert (tmp_path / "a.txt").read_bytes() == DATA["a.txt"]


def test_reads_that_end_while_others_are_looked_at_change_nothing_there(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small files end many times while a thread goes through those that ended."""
    seen: list[tuple[Sequence[tuple[float, int]], int]] = []

    def look(
        _running: object, finished: Sequence[tuple[float, int]], *_: float, **__: float
    ) -> None:
        seen.append((finished, len(finished)))

    monkeypatch.setattr(pull, "hurry", look)
    run = Run(tmp_path, origin, grid=Grid(16_384, 16_384))
    run.pull.look(time.monotonic())
    _ = run.go()
    run.pull.look(time.monotonic())
    assert seen[0][1] == 0
    assert seen[1][1] > 20
    assert all(len(finished) == count for finished, count in seen)


def test_a_drip_is_left_under_a_limit_too(origin: Origin, tmp_path: Path) -> None:
    """Slow is what was asked for, but not from one connection that hardly brings a byte."""

    def fault(number: int, path: str, asked: str) -> Reply | None:
        return Reply(drip_s=0.3) if number == 1 else None

    origin.fault = fault
    run = Run(tmp_path, origin, max_bytes_per_s=10_000_000)
    run.pull.start(3)
    begun_s = time.monotonic()
    look_until_over(run)
    assert run.pull.is_done
    assert time.monotonic() - begun_s < 30.0, "at this pace the chunk alone takes three minutes"


def test_all_connections_together_keep_to_the_limit_until_it_is_lifted(
    origin: Origin, tmp_path: Path
) -> None:
    total = sum(map(len, DATA.values()))
    run = Run(tmp_path, origin, max_bytes_per_s=total // 4)
    begun_s = time.monotonic()
    run.pull.start(3)
    assert not run.over.wait(1.0), "four seconds' worth of bytes"
    assert run.pull.bytes_done <= total // 4 * (time.monotonic() - begun_s + 0.3) + 3 * 65_536
    run.pull.limit(None)
    look_until_over(run)
    assert run.pull.is_done
    assert run.pull.bytes_done == total


@pytest.mark.parametrize(("delay_s", "callers"), [(FAR_S, 3), (FAR_S / 2, 2)], ids=["far", "near"])
def test_a_store_that_is_far_is_asked_over_all_connections_at_once(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay_s: float, callers: int
) -> None:
    """Nobody has to see first that two of them wait for the link."""

    def seen(_sock: object, _took_s: float) -> float:
        return delay_s

    monkeypatch.setattr(exchange, "delay_s", seen)
    origin.pause_s = 0.05
    run = Run(tmp_path, origin)
    run.pull.start(3, most=3, cores=1)
    assert run.over.wait(30)
    assert run.pull.is_done
    assert len(origin.callers) == callers
