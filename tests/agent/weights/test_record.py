"""The record that makes a folder a build comes back as it was written, or not at all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.record import Fingerprint, Record, RecordFile

SHA = "ab" * 32
FILE = RecordFile(path="a", size_bytes=3, sha256=SHA, etag='"x"', mtime_ns=5, inode=7)
RECORD = Record(
    model="m",
    ref="s3://bucket/m",
    verified_by="self",
    weight_hash=SHA,
    weights_bytes=1,
    has_chat_template=False,
    files=(FILE, replace(FILE, path="b", etag=None, chunks=(SHA, SHA))),
)


def test_there_and_back() -> None:
    assert Record.decode(RECORD.encode()) == RECORD
    assert RECORD.size_bytes == 6
    assert FILE.fingerprint == Fingerprint(3, 5, 7)


def test_what_a_later_version_adds_is_left_out() -> None:
    more = RECORD.encode().replace(b'"model"', b'"later": 1,\n "model"')
    assert Record.decode(more) == RECORD


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"schema_version": 1', b'"schema_version": 2'),
        (b'"size_bytes": 3', b'"size_bytes": -3'),
        (b'"size_bytes": 3', b'"size_bytes": "3"'),
        (b'"self"', b'"nobody"'),
        (SHA.encode(), SHA.upper().encode()),
        (b'"model": "m"', b'"model": null'),
    ],
)
def test_a_record_that_breaks_a_rule_is_none(old: bytes, new: bytes) -> None:
    data = RECORD.encode()
    assert old in data
    assert Record.decode(data.replace(old, new)) is None


@given(st.integers(0, len(RECORD.encode()) - 3))
def test_a_cut_record_is_none(length: int) -> None:
    assert Record.decode(RECORD.encode()[:length]) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_survived(data: bytes) -> None:
    assert Record.decode(data) is None
