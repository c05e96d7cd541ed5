"""Entries for systemd's journal, against a real datagram socket in its place."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.runtime.journald import Journald, encoded, is_journal, priority


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """What journald would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "socket"))
        bound.settimeout(20)
        yield bound


def decoded(raw: bytes) -> dict[str, str]:
    """An entry, read as the protocol says."""
    fields: dict[str, str] = {}
    while raw:
        line, _, raw = raw.partition(b"\n")
        name, is_short, value = line.partition(b"=")
        if not is_short:
            size = int.from_bytes(raw[:8], "little")
            value, raw = raw[8 : 8 + size], raw[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


def test_an_entry_has_fields_of_its_own(journal: socket.socket) -> None:
    to = Journald.opened(journal.getsockname())
    assert to is not None
    facts = {"code": "engine_died", "exit-code": 1, "tail": "two\nlines"}
    assert to.write(logging.WARNING, "EngineFailed code=engine_died", "EngineFailed", facts)
    assert decoded(journal.recv(2**16)) == {
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "poolhand",
        "MESSAGE": "EngineFailed code=engine_died",
        "POOLHAND_WHAT": "EngineFailed",
        "POOLHAND_CODE": "engine_died",
        "POOLHAND_EXIT_CODE": "1",
        "POOLHAND_TAIL": "two\nlines",
    }
    to.close()


def test_no_journal_is_no_failure(tmp_path: Path, journal: socket.socket) -> None:
    assert Journald.opened(str(tmp_path / "none")) is None
    to = Journald.opened(journal.getsockname())
    assert to is not None
    while to.write(logging.INFO, "x" * 1000, "X", {}):
        pass  # until it is full: nobody reads
    journal.close()
    assert not to.write(logging.INFO, "x", "X", {})
    to.close()


@given(st.dictionaries(st.sampled_from("ABCDEF"), st.text(max_size=30), max_size=4))
@knobs(max_examples=100, deadline=None)
def test_law_whatever_is_said_comes_back(fields: dict[str, str]) -> None:
    clean = {name: value.encode(errors="replace").decode() for name, value in fields.items()}
    assert decoded(encoded(fields)) == clean


def test_whether_a_descriptor_is_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    with path.open() as file:
        facts = os.fstat(file.fileno())
        mine = {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"}
        assert is_journal(mine, file.fileno())
        assert not is_journal({"JOURNAL_STREAM": "1:2"}, file.fileno())
        assert not is_journal({}, file.fileno())
        number = file.fileno()
    assert not is_journal(mine, number), "closed"


@pytest.mark.parametrize(
    ("level", "number"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3)],
)
def test_priorities_are_syslog_s(level: int, number: int) -> None:
    assert priority(level) == number
