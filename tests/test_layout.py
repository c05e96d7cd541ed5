"""The repository installs as one package and claims no generic name."""

import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import poolhand
import poolhand.agent
import poolhand.backends
import poolhand.config

ROOT = Path(__file__).parent.parent


def test_the_folders_are_the_package() -> None:
    for module in (poolhand.agent, poolhand.backends, poolhand.config):
        folder = Path(str(module.__file__)).resolve().parent
        assert folder == ROOT / module.__name__.removeprefix("poolhand.")


def test_no_module_is_imported_under_its_bare_name() -> None:
    assert not {"agent", "backends", "config"} & set(sys.modules)


def test_packaging_is_no_python_package() -> None:
    """An ``__init__.py`` there would hide the ``packaging`` library from pytest."""
    assert not (ROOT / "packaging" / "__init__.py").exists()


def test_the_service_units_ship() -> None:
    shipped = {unit.name for unit in (files("poolhand") / "packaging" / "units").iterdir()}
    assert shipped == {
        "poolhand.plist",
        "poolhand.service",
        "poolhand-gpu.service",
        "poolhand-user.service",
    }


def test_every_shipped_folder_has_its_link() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    namespace = ROOT / "packaging" / "namespace" / "poolhand"
    for name in shipped:
        assert (namespace / name).resolve() == (ROOT / name).resolve()


def test_every_requirement_is_locked_with_hashes() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lock = (ROOT / "packaging" / "requirements.lock").read_text()
    pins = {line.split("==")[0].split("[")[0] for line in lock.splitlines() if "==" in line}
    wanted = [
        *settings["project"]["dependencies"],
        *settings["project"]["optional-dependencies"]["dev"],
    ]
    for requirement in wanted:
        name = requirement.split(">")[0].split("[")[0].split("<")[0].strip()
        assert name in pins or name == "poolhand", name
    assert lock.count("--hash=sha256:") > len(pins)
