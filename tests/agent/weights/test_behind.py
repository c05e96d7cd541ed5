"""A hint to the kernel: harmless wherever it is given."""

import sys
import threading
from pathlib import Path

import pytest

from poolhand.agent.weights.behind import Syncing, writing_behind


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
