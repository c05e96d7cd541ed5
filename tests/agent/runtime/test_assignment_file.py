"""Whose this machine is, on disk."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.effects import PersistAssignment, PersistMeasured, PersistOrders
from poolhand.agent.core.events import (
    AssignmentRead,
    Event,
    MeasuredRead,
    OrdersRead,
    StateUnsaved,
)
from poolhand.agent.core.measured import Measured
from poolhand.agent.runtime.assignment_file import (
    ASIDE,
    FILE,
    MEASURED,
    ORDERS,
    AssignmentFile,
    MeasuredFile,
    OrdersFile,
)
from poolhand.agent.runtime.state_files import Pen

CHOSEN = Assignment(("tiny", "tinier"), "load", 7, 90.0, ("org/a",), moved_s=95.0)


def recalled(folder: Path) -> AssignmentRead:
    heard: list[Event] = []
    AssignmentFile(folder, tell=heard.append, pen=Pen(heard.append)).recall()
    (read,) = heard
    assert isinstance(read, AssignmentRead)
    return read


def persist(folder: Path, chosen: Assignment = CHOSEN) -> list[Event]:
    heard: list[Event] = []
    file = AssignmentFile(folder, tell=heard.append, pen=Pen(heard.append))
    asyncio.run(file.persist(PersistAssignment(chosen, 100.0, "digest")))
    return heard


def test_what_was_written_is_read_with_its_ages(tmp_path: Path) -> None:
    assert persist(tmp_path) == []
    kept = recalled(tmp_path).assignment
    assert kept is not None
    assert (kept.scope, kept.source, kept.epoch) == (("tinier", "tiny"), "load", 7)
    assert kept.only == ("org/a",)
    assert kept.since_s == pytest.approx(-10.0, abs=2.0)
    assert kept.moved_s == pytest.approx(-5.0, abs=2.0)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE], "nothing is left beside it"


def test_nothing_was_chosen_in_the_future(tmp_path: Path) -> None:
    persist(tmp_path)
    record = json.loads((tmp_path / FILE).read_text())
    record["since_unix_s"] = record["moved_unix_s"] = 9e12
    (tmp_path / FILE).write_text(json.dumps(record))
    kept = recalled(tmp_path).assignment
    assert kept is not None
    assert (kept.since_s, kept.moved_s) == (0.0, 0.0)


def test_no_file_is_no_failure(tmp_path: Path) -> None:
    assert recalled(tmp_path) == AssignmentRead()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"pool": "x", "epoch": 1}'])
def test_a_file_that_is_none_of_ours_is_set_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    read = recalled(tmp_path)
    assert read.assignment is None
    assert read.error is not None
    assert (read.error.code, ASIDE in str(read.error)) == ("state_damaged", True)
    assert (tmp_path / ASIDE).read_text() == text
    assert recalled(tmp_path) == AssignmentRead(), "it is told of once"


@pytest.mark.parametrize(
    ("key", "value"),
    [("epoch", -1), ("epoch", 1.5), ("epoch", 2**63), ("source", "somebody"), ("scope", "tiny"),
     ("since_unix_s", "now"), ("stranger", 1)],
)  # fmt: skip
def test_one_odd_field_is_enough(tmp_path: Path, key: str, value: object) -> None:
    persist(tmp_path)
    record = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(record | {key: value}))
    assert recalled(tmp_path).error is not None


def test_a_folder_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    (heard,) = persist(tmp_path / "nowhere")
    assert isinstance(heard, StateUnsaved)
    (tmp_path / FILE).mkdir()
    assert recalled(tmp_path).error is not None


@knobs(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_no_bytes_stop_the_agent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert recalled(tmp_path).assignment is None


# ── orders ────────────────────────────────────────────────────────────────────────────


def ordered(folder: Path) -> list[Event]:
    heard: list[Event] = []
    OrdersFile(folder, tell=heard.append, pen=Pen(heard.append)).recall()
    return heard


def test_orders_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert ordered(tmp_path) == [], "no file, nothing to tell"
    heard: list[Event] = []
    file = OrdersFile(tmp_path, tell=heard.append, pen=Pen(heard.append))
    asyncio.run(file.persist(PersistOrders(("org/a", "org/b"), is_drained=True)))
    assert ordered(tmp_path) == [OrdersRead(("org/a", "org/b"), is_drained=True)]
    asyncio.run(file.persist(PersistOrders((), is_drained=False)))
    assert ordered(tmp_path) == [OrdersRead()]
    assert (tmp_path / ORDERS).stat().st_mode & 0o777 == 0o600
    assert heard == []


def test_damaged_orders_are_set_aside_and_told_of(tmp_path: Path) -> None:
    (tmp_path / ORDERS).write_text('{"pins": "org/a"}')
    (told,) = ordered(tmp_path)
    assert isinstance(told, OrdersRead)
    assert (told.pins, told.is_drained) == ((), False)
    assert told.error is not None
    assert "orders.bad" in str(told.error)
    assert ordered(tmp_path) == []


def test_orders_that_cannot_be_written_are_told_of(tmp_path: Path) -> None:
    heard: list[Event] = []
    file = OrdersFile(tmp_path / "nowhere", tell=heard.append, pen=Pen(heard.append))
    asyncio.run(file.persist(PersistOrders((), is_drained=True)))
    assert isinstance(heard[0], StateUnsaved)


async def test_nobody_waits_for_the_disk_but_whoever_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, order, sync = asyncio.Event(), list[str](), os.fsync
    loop = asyncio.get_running_loop()

    def slow(fd: int) -> None:
        asyncio.run_coroutine_threadsafe(synced.wait(), loop).result()
        sync(fd)

    monkeypatch.setattr(os, "fsync", slow)
    heard: list[Event] = []
    file = OrdersFile(tmp_path, tell=heard.append, pen=Pen(heard.append))

    async def write(pin: str) -> None:
        await file.persist(PersistOrders((pin,), is_drained=False))
        order.append(pin)

    async with asyncio.TaskGroup() as tasks:
        for pin in ("a", "b"):
            tasks.create_task(write(pin))
        await asyncio.sleep(0.01)
        assert not order, "it is not on the disk yet, and the loop turns"
        synced.set()
    assert order == ["a", "b"]
    assert ordered(tmp_path) == [OrdersRead(("b",))]


# ── measurements ──────────────────────────────────────────────────────────────────────


def measured(folder: Path) -> list[Event]:
    heard: list[Event] = []
    MeasuredFile(folder, tell=heard.append, pen=Pen(heard.append)).recall()
    return heard


def test_measurements_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert measured(tmp_path) == []
    found = (Measured("org/a", 10, 12, 11, None, 3.5), Measured("org/b", 1, 2, None, 9, 0.0))
    heard: list[Event] = []
    file = MeasuredFile(tmp_path, tell=heard.append, pen=Pen(heard.append))
    asyncio.run(file.persist(PersistMeasured(found)))
    assert (measured(tmp_path), heard) == ([MeasuredRead(found)], [])


@pytest.mark.parametrize("text", ["", "[]", '{"loads": [{"model": "a"}]}', '{"loads": {}}'])
def test_damaged_measurements_are_set_aside_and_told_of(tmp_path: Path, text: str) -> None:
    (tmp_path / MEASURED).write_text(text)
    (told,) = measured(tmp_path)
    assert isinstance(told, MeasuredRead)
    assert (told.measured, told.error is not None) == ((), True)
    assert measured(tmp_path) == []
