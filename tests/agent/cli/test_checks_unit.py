"""The service's file: there or not, ours or edited, of this configuration or another."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolhand.agent.cli.checks_told import Ground
from poolhand.agent.cli.checks_unit import ABOUT, look
from poolhand.agent.cli.units_place import template

from .checks_world import by_id, ground, verdicts


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    yield tmp_path / "home"
    assert os.environ["HOME"] == str(tmp_path / "home")


def installed(folder: Path, name: str = "poolhand.service") -> tuple[Ground, Path]:
    here = ground(folder / "w")
    path = here.root / "etc/systemd/system" / name
    path.parent.mkdir(parents=True)
    return here, path


def enable(unit: Path) -> None:
    """As ``systemctl enable`` does."""
    link = unit.parent / "multi-user.target.wants" / unit.name
    link.parent.mkdir()
    link.symlink_to(Path("/etc/systemd/system") / unit.name)


def test_none_is_installed(tmp_path: Path) -> None:
    found = verdicts(look(ground(tmp_path)))
    assert found == {**dict.fromkeys(ABOUT, "skipped"), "service.installed": "warn"}


def test_ours_is_installed(tmp_path: Path) -> None:
    here, path = installed(tmp_path)
    command = f"ExecStart=/opt/x/poolhand run --config {here.config}"
    lines = template("poolhand.service").splitlines()
    path.write_text("\n".join(command if "ExecStart=" in line else line for line in lines))
    assert "not enabled" in by_id(look(here))["service.installed"].cause
    enable(path)
    found = list(look(here))
    assert verdicts(found) == dict.fromkeys(ABOUT, "ok")
    assert str(path) in by_id(found)["service.installed"].cause


def test_somebody_has_edited_it(tmp_path: Path) -> None:
    here, path = installed(tmp_path)
    path.write_text(template("poolhand.service").replace("NoNewPrivileges=yes", ""))
    assert "NoNewPrivileges=yes" in template("poolhand.service")
    assert by_id(look(here))["service.drift"].verdict == "warn"


def test_it_reads_another_configuration(tmp_path: Path) -> None:
    here, path = installed(tmp_path)
    path.write_text("[Service]\nExecStart=/opt/x/poolhand run --config /srv/other.toml\n")
    found = by_id(look(here))["service.config"]
    assert found.verdict == "warn"
    assert str(here.config) in found.cause


def test_a_users_unit(tmp_path: Path, home: Path) -> None:
    path = home / ".config/systemd/user/poolhand.service"
    path.parent.mkdir(parents=True)
    path.write_text(template("poolhand-user.service"))
    enable(path)
    found = by_id(look(ground(tmp_path / "w")))
    assert found["service.installed"].cause == str(path)
    assert found["service.drift"].verdict == "ok"


def test_a_machine_whose_manager_nobody_knows(tmp_path: Path) -> None:
    found = look(ground(tmp_path, platform="freebsd14"))
    assert verdicts(found) == dict.fromkeys(ABOUT, "skipped")


def test_a_mac(tmp_path: Path, home: Path) -> None:
    here = ground(tmp_path / "w", platform="darwin")
    assert verdicts(look(here))["service.installed"] == "warn"
    (place := home / "Library/LaunchAgents").mkdir(parents=True)
    file = next(iter(template("poolhand.plist").split("<string>")[1:])).split("<")[0]
    (place / f"{file}.plist").write_text(template("poolhand.plist"))
    assert by_id(look(here))["service.installed"].verdict == "ok"
