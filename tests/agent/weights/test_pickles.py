"""Code by any name: pickles alone, in archives, compressed, and programs."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.pickles import HEAD_BYTES, foreign, holds_pickle
from poolhand.agent.weights.verify import check_file
from poolhand.backends.stores.errors import WeightsUnsafe

EVIL = pickle.dumps(os.getcwd, 2)
LONG = ["a" * 9000, os.getcwd]


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first.txt", b"nothing")
        archive.writestr(name, data)
    return buffer.getvalue()


def tarred(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in {"sys_info": b"n" * 700, "pickle": data}.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return buffer.getvalue()


def array(kind: bytes) -> bytes:
    about = b"{'descr': %s, 'fortran_order': False, 'shape': (1,), }\n" % kind
    return b"\x93NUMPY\x01\x00" + len(about).to_bytes(2, "little") + about + bytes(16)


def holds(data: bytes) -> bool:
    return holds_pickle(io.BytesIO(data), data[:HEAD_BYTES])


CODE = {
    **{f"protocol {one}, long": pickle.dumps(LONG, one) for one in range(6)},
    "many small things first": pickle.dumps([*range(5000), os.getcwd], 0),
    "without its mark": pickle.dumps(LONG, 2)[2:],
    "in a zip": zipped("archive/data", EVIL),
    "in a zip, by its name": zipped("archive/data.pkl", b""),
    "in a tar": tarred(EVIL),
    "in gzip": gzip.compress(EVIL),
    "in bzip2": bz2.compress(EVIL),
    "in xz": lzma.compress(EVIL),
    "in gzip, long": gzip.compress(pickle.dumps([os.getcwd, *range(50_000)], 0)),
    "a tar in gzip": gzip.compress(tarred(EVIL)),
    "an array of objects": array(b"'|O'"),
    "a record with objects": array(b"[('a', '<f4'), ('b', 'O')]"),
    "arrays of objects": zipped("a.npy", array(b"'|O'")),
    "behind endlessly many nothings": b"N0" * 2**18 + pickle.dumps(os.getcwd, 0),
    "before endlessly many nothings": pickle.dumps(os.getcwd, 0)[:-1] + b"N0" * 2**18 + b".",
}
NO_CODE = {
    "words": b"common\nwords\n" * 3000,
    "numbers": b"0" * 2**19,
    "one letter, again and again": b"a" * 2**19,
    "another one": b"N" * 2**19,
    "a zip": zipped("a.txt", b"common\nwords\n"),
    "a tar": tarred(b"words"),
    "gzip": gzip.compress(b"common\nwords\n"),
    "half of gzip": gzip.compress(EVIL)[:12],
    "what looks like bzip2": b"BZh is not all of it",
    "an array": array(b"'<f4'"),
    "arrays": zipped("a.npy", array(b"'<f4'")),
    "a text that is longer than the file": b"X\xff\xff\xff\x7fabc",
}


@pytest.mark.parametrize("data", CODE.values(), ids=CODE.keys())
def test_code_is_found(data: bytes) -> None:
    assert holds(data)


@pytest.mark.parametrize("data", NO_CODE.values(), ids=NO_CODE.keys())
def test_what_is_no_code_is_left_alone(data: bytes) -> None:
    assert not holds(data)


def test_an_archive_that_nobody_can_look_into_is_not_taken() -> None:
    data = bytearray(zipped("a.txt", b"words" * 50))
    at = data.index(b"a.txt") + len("a.txt")
    data[at : at + 4] = b"\xff" * 4
    assert holds(bytes(data))


@given(
    st.sampled_from([*CODE.values(), *NO_CODE.values()]).filter(lambda data: len(data) < 20_000),
    st.lists(st.tuples(st.integers(0, 20_000), st.binary(max_size=8)), max_size=4),
)
def test_damaged_or_not_all_is_judged(data: bytes, changes: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(data)
    for at, change in changes:
        start = at % (len(damaged) + 1)
        damaged[start : start + len(change)] = change
    assert holds(bytes(damaged)) in {True, False}


@given(st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9"]))
def test_any_bytes_are_judged(data: bytes, begin: bytes) -> None:
    assert holds(begin + data) in {True, False}
    assert holds(tarred(data)[: 512 + len(data)]) in {True, False}


OTHERS = {
    "a program": [b"\x7fELF\x02\x01\x01\0", b"#!/bin/sh\n", b"\xcf\xfa\xed\xfe\x07\0\0\x01"],
    "an archive": [zipped("a.txt", b"a"), tarred(b"a"), gzip.compress(b"a"), bz2.compress(b"a")],
    "": [b"{}", b"#version: 0.2\n", b"PK\x03\x04 is how a zip begins", b"\n\x09\n\x05<unk>", b""],
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_it_is_else(tmp_path: Path, kind: str) -> None:
    for number, data in enumerate(OTHERS[kind]):
        assert foreign(data[:HEAD_BYTES]) == kind
        path = tmp_path / f"{number}"
        _ = path.write_bytes(data)
        if kind:
            with pytest.raises(WeightsUnsafe, match=kind):
                _ = check_file(path, path="tokenizer.json", model="m")
        assert check_file(path, path="tool.sh", model="m") == 0
        assert check_file(path, path="tokenizer.json", model="m", is_plain=True) is not None
