"""A hint to the kernel: harmless wherever it is given."""

import os
import sys
import threading
from pathlib import Path

import pytest

from poolhand.agent.weights import parts
from poolhand.agent.weights.behind import Syncing, sync_all, writing_behind
from poolhand.agent.weights.journal import Header, Journal, Listed, load, nothing
from poolhand.agent.weights.parts import Target, prepare
from poolhand.agent.weights.plan import Grid
from poolhand.backends.stores.base import RemoteFile


def test_what_is_written_out_early_is_the_same_file(tmp_path: Path) -> None:
    begin = writing_behind()
    with (tmp_path / "f").open("w+b", buffering=0) as file:
        _ = file.write(b"a" * 100_000)
        begin(file.fileno(), 0, 50_000)
        begin(file.fileno(), 50_000, 10**9)
        _ = file.write(b"b")
    assert (tmp_path / "f").read_bytes() == b"a" * 100_000 + b"b"


def test_a_hint_that_is_refused_is_no_failure() -> None:
    writing_behind()(-1, 0, 1)
    writing_behind()(0, -1, -1)


def test_not_wanted_it_makes_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)  # whoever looks for the call fails
    writing_behind(is_wanted=False)(0, 0, 1)


def test_what_the_disk_would_not_take_is_claimed_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk says only once that bytes are lost: a second sync would find nothing to do."""
    remotes = [RemoteFile(name, 8, None, name) for name in ("a", "b", "c")]
    listed = tuple(Listed(path=one.path, size_bytes=8, etag=None) for one in remotes)
    claims = nothing(Header(ref="s3://b", boot_id="x", block_bytes=4, files=listed))
    made = prepare(tmp_path, [Target(one) for one in remotes], claims, Grid(4, 4))
    journal = Journal(tmp_path / "j", claims)
    for file, part in enumerate(made):
        for block in range(2):
            part.put(memoryview(b"0123"), 4 * block)
            journal.arrived(file, block)
            part.open()[1].arrived(block)
    _ = made[2].open()[1].advance(memoryview(bytearray(8)), is_stopped=lambda: False)
    fails = {part.path.stat().st_ino for part in made[1:]}

    def flush(fd: int) -> None:
        if (inode := os.fstat(fd).st_ino) in fails:
            fails.remove(inode)
            raise OSError(5, "no disk")

    monkeypatch.setattr(parts, "flush", flush)
    with pytest.raises(OSError, match="no disk"):
        sync_all(made, journal)
    journal.sealed(2, made[2].finish("0" * 64, syncs_first=False))  # another thread was at it
    with pytest.raises(OSError, match="no disk"):
        sync_all(made, journal)
    journal.close()
    found = load(tmp_path / "j", boot_id="x")
    assert found is not None
    assert [bytes(claim.have) for claim in found.files] == [b"\1\1", b"\0\0", b"\0\0"]
    assert not any(claim.seal for claim in found.files)
    after = load(tmp_path / "j", boot_id="y")
    assert after is not None
    assert after.bytes_here == 0
    for part in made:
        part.close()


def test_one_sync_at_a_time() -> None:
    begun, over, count = threading.Event(), threading.Event(), [0]

    def sync() -> None:
        count[0] += 1
        begun.set()
        assert over.wait(20)

    syncing = Syncing(sync)
    syncing.begin()
    assert begun.wait(20)
    syncing.begin()
    over.set()
    assert count == [1]


def test_a_sync_that_fails_is_remembered() -> None:
    over = threading.Event()

    def sync() -> None:
        try:
            raise OSError(5, "no disk")
        finally:
            over.set()

    syncing = Syncing(sync)
    syncing.begin()
    assert over.wait(20)
    while syncing.error is None:
        syncing.begin()  # until the thread has come to its end
    assert syncing.error.errno == 5
