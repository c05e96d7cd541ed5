"""May an engine open this? Pickles under any name, indexes, records, and changed bytes."""

import io
import json
import os
import pickle
import pickletools
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weights_origin import digested, lay, safetensors, toy

from poolhand.agent.weights.journal import Seal
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.parts import Target
from poolhand.agent.weights.pickles import HEAD_BYTES, holds_pickle
from poolhand.agent.weights.publish import publish
from poolhand.agent.weights.record import RECORD_NAME
from poolhand.agent.weights.verify import (
    changed_files,
    check_build,
    check_file,
    config_of,
    fingerprint,
    read_record,
    verify,
)
from poolhand.backends.stores.base import RemoteFile
from poolhand.backends.stores.errors import (
    ModelMissing,
    WeightsChanged,
    WeightsCorrupt,
    WeightsUnsafe,
)
from poolhand.config.refs import ModelRef
from poolhand.config.settings import Stores, Weights

MODEL = "org/toy"


def is_pickle(data: bytes) -> bool:
    return holds_pickle(io.BytesIO(data), data[:HEAD_BYTES])


def published(folder: Path) -> Path:
    files = digested(folder, lay(folder, toy()))
    ref = ModelRef.parse("s3://bucket/toy")
    job = FetchJob(MODEL, ref, Stores(), Weights(), str(folder))
    _ = publish(folder, folder, job, files, is_promised=False)
    return folder


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return published(tmp_path)


def test_an_untouched_build_is_taken_at_its_word(build: Path) -> None:
    found = verify(build, model=MODEL, is_stopped=lambda: True)
    assert found.weights_bytes == 600_000
    assert found.folder == str(build)
    assert "config" not in repr(found), "a configuration is not for logs"


def test_touched_but_equal_bytes_get_a_new_fingerprint(build: Path) -> None:
    os.utime(build / "config.json", ns=(1, 1))
    record = read_record(build)
    assert record is not None
    assert [file.path for file in changed_files(build, record)] == ["config.json"]
    _ = verify(build, model=MODEL)
    renewed = read_record(build)
    assert renewed is not None
    assert changed_files(build, renewed) == []


def test_changed_bytes_are_found(build: Path) -> None:
    name = "model-00001-of-00002.safetensors"
    data = bytearray((build / name).read_bytes())
    data[-1] ^= 1
    _ = (build / name).write_bytes(data)
    with pytest.raises(WeightsCorrupt, match="hash mismatch") as caught:
        _ = verify(build, model=MODEL)
    assert caught.value.file == name
    assert "verification failed" in caught.value.load_text


def test_a_missing_file_is_found(build: Path) -> None:
    (build / "tokenizer.json").unlink()
    with pytest.raises(WeightsCorrupt, match="gone"):
        _ = verify(build, model=MODEL)


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"\xff", b'{"schema_version": 2}'])
def test_a_record_that_is_none_makes_no_build(build: Path, data: bytes) -> None:
    _ = (build / RECORD_NAME).write_bytes(data)
    with pytest.raises(ModelMissing):
        _ = verify(build, model=MODEL)


def test_another_models_record_makes_no_build(build: Path) -> None:
    with pytest.raises(ModelMissing):
        _ = verify(build, model="org/other")


@given(st.integers(2, 5), st.sampled_from([os.getcwd, {"a": [1, 2]}, "text", 3.5, [Path("x")]]))
def test_every_pickle_that_says_so_is_known(protocol: int, value: object) -> None:
    assert is_pickle(pickle.dumps(value, protocol))


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("value", [os.getcwd, Path("x"), [Path("x")]])
def test_an_old_pickle_that_calls_something_is_known(protocol: int, value: object) -> None:
    assert is_pickle(pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b"hello world\n",
        b".",
        b"GGUF\3\0\0\0",
        b"\x80",
        b"\x80\x02",
        b"c\n",
        b"#version: 0.2\nt h",
        b"common words\nand more\n",
        b"I have 3\n.",
        b"\x00" * 50,
        "größe\n".encode(),
    ],
)
def test_what_is_no_pickle(head: bytes) -> None:
    assert not is_pickle(head)


def test_what_is_passed_over_unread_is_no_opcode_of_any_pickle() -> None:
    known = {ord(one.code) for one in pickletools.opcodes}
    assert known.isdisjoint(b"{[#<\0")
    for first in set(range(256)) - known:
        with pytest.raises(ValueError, match="position 0, opcode"):
            _ = next(pickletools.genops(bytes([first]) * 9))
        assert not is_pickle(bytes([first]) + pickle.dumps(os.getcwd))


def test_every_opcode_that_may_come_first_is_looked_at() -> None:
    tail = pickle.dumps(os.getcwd, 2)
    for one in pickletools.opcodes:
        head = one.code.encode("latin-1") + tail
        try:
            names = [opcode.name for opcode, _, _ in pickletools.genops(head)]
        except ValueError:
            continue  # its own argument swallowed the rest, or was none
        assert is_pickle(head) == (not one.stack_before and names[-1] == "STOP")


def judged(file: Path | memoryview, *, path: str, is_plain: bool) -> object:
    try:
        return check_file(file, path=path, model=MODEL, is_plain=is_plain)
    except (WeightsCorrupt, WeightsUnsafe) as error:
        return str(error)


@given(st.binary(max_size=80), st.sampled_from(["a.safetensors", "a.gguf", "a.json"]))
def test_a_file_in_memory_is_judged_as_on_the_disk(data: bytes, path: str) -> None:
    header = b'{"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    whole = len(header).to_bytes(8, "little") + header + b"ab"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        for held in (data, whole, whole + data, whole[: len(data)]):
            _ = file.write_bytes(held)
            for is_plain in (False, True):
                found = judged(memoryview(held), path=path, is_plain=is_plain)
                assert found == judged(file, path=path, is_plain=is_plain)


def test_any_bytes_will_do_where_they_are_promised_but_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = b'{"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    for data, found in (
        (len(header).to_bytes(8, "little") + header + b"ab", 2),
        (len(header).to_bytes(8, "little") + header + b"a", None),
        (b"anything", None),
        (b"", None),
    ):
        _ = path.write_bytes(data)
        assert check_file(path, path=path.name, model=MODEL, is_plain=True) == found
    assert check_file(path, path="a.txt", model=MODEL, is_plain=True) == 0
    _ = path.write_bytes(pickle.dumps(os.getcwd, 2))
    with pytest.raises(WeightsUnsafe):
        _ = check_file(path, path=path.name, model=MODEL, is_plain=True)


@given(st.binary(max_size=300))
def test_any_head_is_judged(head: bytes) -> None:
    assert is_pickle(head) in {True, False}


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "is_refused"),
    [
        ("vocab.txt", pickle.dumps(os.getcwd), True),
        ("model.bin", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", True),
        ("model.txt", zipped("archive/data.pkl"), True),
        ("a.npz", zipped("a.npy", "b.pkl"), True),
        ("a.npz", zipped("a.npy", "b.npy"), False),
        ("a.txt", b"PK\x03\x04 is how a zip begins", False),
        ("model.bin", bytes(1000), False),
    ],
)
def test_files_are_judged_by_content(
    tmp_path: Path, name: str, data: bytes, *, is_refused: bool
) -> None:
    path = tmp_path / "x"
    _ = path.write_bytes(data)
    if is_refused:
        with pytest.raises(WeightsUnsafe):
            check_file(path, path=name, model=MODEL)
    else:
        check_file(path, path=name, model=MODEL)


def test_an_index_must_name_what_is_there(tmp_path: Path) -> None:
    objects = toy()
    del objects["model-00002-of-00002.safetensors"]
    _ = lay(tmp_path, objects)
    with pytest.raises(WeightsCorrupt, match="missing"):
        _ = check_build(tmp_path, list(objects), model=MODEL)


def test_an_index_in_a_folder_names_its_neighbours(tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"t": "m.safetensors"}}).encode()
    objects = {"sub/m.safetensors.index.json": index, "sub/m.safetensors": safetensors(10)}
    _ = lay(tmp_path, objects)
    assert check_build(tmp_path, list(objects), model=MODEL).weights_bytes == 10


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", b" " * (4 * 2**20 + 1)),
        ("config.json", b"[" * 100_000),
        ("tokenizer_config.json", b"no"),
        ("model.safetensors.index.json", b"{}"),
        ("model.safetensors", b"short"),
    ],
)
def test_damaged_parts(tmp_path: Path, name: str, data: bytes) -> None:
    _ = lay(tmp_path, {name: data})
    with pytest.raises(WeightsCorrupt):
        _ = check_build(tmp_path, [name], model=MODEL)


@pytest.mark.parametrize(
    ("objects", "has_template"),
    [
        ({}, False),
        ({"tokenizer_config.json": b"{}"}, False),
        ({"tokenizer_config.json": b'{"chat_template": "x"}'}, True),
        ({"chat_template.jinja": b"x"}, True),
    ],
)
def test_chat_templates(tmp_path: Path, objects: dict[str, bytes], *, has_template: bool) -> None:
    _ = lay(tmp_path, objects)
    assert check_build(tmp_path, list(objects), model=MODEL).has_chat_template is has_template
    assert config_of(tmp_path, model=MODEL) == {}


def test_digests_in_place_are_held_to_promises(tmp_path: Path) -> None:
    target = lay(tmp_path, {"a.txt": b"abc"})[0]
    with pytest.raises(WeightsCorrupt):
        _ = digested(tmp_path, [Target(target.remote, "0" * 64)])
    with pytest.raises(WeightsChanged):
        _ = digested(tmp_path, [Target(RemoteFile("a.txt", 4, None, "a.txt"))])
    with pytest.raises(ModelMissing):
        _ = digested(tmp_path, [Target(RemoteFile("b.txt", 4, None, "b.txt"))])
    (found,) = digested(tmp_path, [target])
    mark = fingerprint(tmp_path / "a.txt")
    assert mark is not None
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found.seal == Seal(expected, mark)


def test_no_file_has_no_fingerprint(tmp_path: Path) -> None:
    assert fingerprint(tmp_path / "none") is None
