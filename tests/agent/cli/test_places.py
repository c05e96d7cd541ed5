"""What ``--config`` and ``--state-dir`` mean, with and without them."""

from argparse import ArgumentParser
from pathlib import Path

import pytest

from poolhand.agent.cli.places import (
    add_config,
    add_state_dir,
    config_of,
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
