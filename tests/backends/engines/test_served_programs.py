"""Where servers' programs are looked for: what the operator named, this Python, the PATH."""

import sys
from pathlib import Path

import pytest

from poolhand.backends.engines.served_programs import INSTALL, OwnName, program_of
from poolhand.config.settings import Engines

NAMES: list[OwnName] = ["vllm", "sglang", "llamacpp"]


def program(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o700)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_what_the_operator_named_comes_first(
    name: OwnName, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = program(tmp_path / "named", "server")
    for other in ("vllm", "llama-server"):
        program(tmp_path / "path", other)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert program_of(name, Engines.model_validate({name: {"program": str(named)}})) == (
        str(named),
    )


def test_then_this_pythons_own_folder_then_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_path = program(tmp_path / "path", "vllm")
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    assert program_of("vllm", Engines()) == (str(on_path),)
    beside = program(tmp_path / "venv", "vllm")
    assert program_of("vllm", Engines()) == (str(beside),)


def test_what_is_nowhere_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setitem(sys.modules, "sglang", None)  # as if it were not installed
    assert [program_of(name, Engines()) for name in NAMES] == [None] * 3


@pytest.mark.parametrize("name", NAMES)
def test_each_has_its_way_to_be_installed_and_names_its_key(name: OwnName) -> None:
    assert f"engines.{name}.program" in INSTALL[name]
