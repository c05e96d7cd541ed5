"""``poolhand engines``: one line an engine, and what helps where it is not available."""

import json
import sys
from pathlib import Path

import pytest

from poolhand.agent.cli.main import main

NAMES = ["mlx", "vllm", "sglang", "llamacpp", "attach", "openai", "anthropic", "azure"]
KEYS = {"name", "available", "version", "device", "why_not", "install"}

Told = list[dict[str, object]]


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> Told:
    assert main(["engines", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)["engines"]


def test_every_engine_is_listed_without_a_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POOLHAND_CONFIG", str(tmp_path / "none.toml"))
    told = asked(capsys)
    assert [one["name"] for one in told] == NAMES
    assert all(set(one) == KEYS for one in told)
    for one in told:
        assert isinstance(one["available"], bool)
        assert one["available"] == (one["why_not"] is None)
    assert {one["name"] for one in told if one["available"]} >= {"mlx", "attach", "openai"}


def test_a_program_that_the_configuration_names_is_asked_for_its_version(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = tmp_path / "llama-server"
    program.write_text(f"#!{sys.executable}\nprint('version: 0.5.0-dev (build 1, commit 0c1e)')\n")
    program.chmod(0o700)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[coordinator]\nurl = "ws://127.0.0.1:1"\n[engines.llamacpp]\nprogram = "{program}"\n'
    )
    (told,) = [one for one in asked(capsys, "--config", str(config)) if one["name"] == "llamacpp"]
    assert (told["available"], told["version"], told["install"]) == (True, "0.5.0-dev", None)
    program.write_text("#!/bin/sh\nexit 1\n")
    (told,) = [one for one in asked(capsys, "--config", str(config)) if one["name"] == "llamacpp"]
    assert (told["available"], told["why_not"]) == (False, f"{program} does not run")


def test_people_read_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POOLHAND_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["engines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == NAMES
    assert any("packaging/llama-server.sh" in line for line in lines)
