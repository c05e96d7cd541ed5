"""What ``--config`` and ``--state-dir`` mean, with and without them."""

from argparse import ArgumentParser
from pathlib import Path

import pytest

from poolhand.agent.cli.places import (
    add_config,
    add_state_dir,
    config_of,
    own_state_of,
    socket_of,
    state_of,
)

PARSER = ArgumentParser()
add_config(PARSER)
add_state_dir(PARSER)


def test_what_is_named_wins_and_becomes_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLHAND_CONFIG", "/other.toml")
    monkeypatch.setenv("POOLHAND_STATE_DIR", "/other")
    args = PARSER.parse_args(["--config", "a/../b.toml", "--state-dir", "~/s"])
    assert config_of(args) == Path.cwd() / "b.toml"
    assert state_of(args) == Path.home() / "s"
    args = PARSER.parse_args([])
    assert config_of(args) == Path("/other.toml")
    assert state_of(args) == Path("/other")
    assert socket_of(args) == Path("/other/control.sock")


def test_the_users_own_are_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("POOLHAND_CONFIG", "POOLHAND_STATE_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME",
                 "STATE_DIRECTORY", "CONFIGURATION_DIRECTORY"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    args = PARSER.parse_args([])
    assert config_of(args).is_relative_to(tmp_path)
    assert config_of(args).name == "agent.toml"
    assert state_of(args).is_relative_to(tmp_path)
    assert state_of(args).name == "poolhand"


def test_who_has_no_agent_asks_the_service_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("POOLHAND_STATE_DIR", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("HOME", str(tmp_path))
    args, service = PARSER.parse_args([]), tmp_path / "service"
    own = own_state_of(args)
    assert state_of(args, service) == own, "neither runs"
    service.mkdir()
    (service / "control.sock").touch()
    assert state_of(args, service) == service
    assert own_state_of(args) == own, "an agent that starts takes nobody's place"
    assert state_of(PARSER.parse_args(["--state-dir", "/x"]), service) == Path("/x")
    monkeypatch.setenv("POOLHAND_STATE_DIR", "/y")
    assert state_of(args, service) == Path("/y")
    monkeypatch.delenv("POOLHAND_STATE_DIR")
    own.mkdir(parents=True)
    (own / "control.sock").touch()
    assert state_of(args, service) == own
