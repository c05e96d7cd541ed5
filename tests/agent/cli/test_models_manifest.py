"""A folder's manifest is one that every node believes."""

import hashlib
import json
from argparse import Namespace
from pathlib import Path

import pytest

from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.models_manifest import CHUNK_BYTES, models_manifest
from poolhand.agent.weights.manifest import parse

MODEL = "org/toy"


def asked(folder: Path, version: str = "v1") -> int:
    return models_manifest(Namespace(folder=folder, id=MODEL, version=version))


def test_what_is_printed_is_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    big = bytes(CHUNK_BYTES) + b"end"
    files = {"config.json": b"{}", "sub/m.safetensors": big, "empty.txt": b""}
    left_out = {"README.md": b"#", ".hidden.json": b"{}", "code.py": b"", "manifest.json": b"{}"}
    for path, data in (files | left_out).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        _ = (tmp_path / path).write_bytes(data)
    assert asked(tmp_path) == Exit.OK
    found = parse(capsys.readouterr().out.encode(), model=MODEL)
    assert {file.path: file.sha256 for file in found.files} == {
        path: hashlib.sha256(data).hexdigest() for path, data in files.items()
    }
    chunks = {file.path: file.chunks for file in found.files}
    ends = [hashlib.sha256(part).hexdigest() for part in (bytes(CHUNK_BYTES), b"end")]
    assert (found.chunk_bytes, chunks["sub/m.safetensors"]) == (CHUNK_BYTES, tuple(ends))
    assert chunks["empty.txt"] == ()


def test_what_nobody_would_believe_is_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(tmp_path) == Exit.FAILURE
    assert "no file of a model" in capsys.readouterr().err
    _ = (tmp_path / "config.json").write_text("{}")
    assert asked(tmp_path, version="") == Exit.FAILURE
    (tmp_path / "CONFIG.JSON").touch()
    if len(list(tmp_path.iterdir())) > 1:  # on a disk that tells cases apart
        assert asked(tmp_path) == Exit.FAILURE
    said = capsys.readouterr()
    assert (said.out, "poolhand: " in said.err) == ("", True)


def test_a_file_that_is_a_whole_number_of_pieces_has_no_empty_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _ = (tmp_path / "m.safetensors").write_bytes(bytes(CHUNK_BYTES))
    assert asked(tmp_path) == Exit.OK
    (entry,) = json.loads(capsys.readouterr().out)["files"]
    assert len(entry["chunks"]) == 1
