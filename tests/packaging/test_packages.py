"""What is built and shipped: the same bytes twice, a whole bill, scripts that do as they say."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import yaml

from poolhand import __version__
from poolhand.config.load import load

ROOT = Path(__file__).parent.parent.parent
PACKAGING = ROOT / "packaging"
SCRIPTS = sorted(
    [*PACKAGING.glob("**/*.sh"), *(PACKAGING / "deb" / n for n in ("postinst", "prerm", "postrm"))]
)


def played(*words: str | Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  # our own scripts
        [str(word) for word in words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
        env=os.environ | environ,
    )


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A program of ``packaging/``, which is no package."""
    monkeypatch.setattr(sys, "path", [str(PACKAGING), *sys.path])
    spec = importlib.util.spec_from_file_location(name, PACKAGING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


# ── wheel and source archive ──────────────────────────────────────────────────────────


def test_two_builds_of_one_source_are_the_same_bytes(tmp_path: Path) -> None:
    """The script ends with 1 if they are not: another umask, another time zone."""
    checkout = tmp_path / "checkout"
    for name in ("agent", "backends", "config", "packaging", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            quiet = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, checkout / name, symlinks=True, ignore=quiet)
        else:
            shutil.copy(source, checkout / name)
    for name in ("__init__.py", "pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, checkout / name)
    (checkout / "tests").mkdir()
    (checkout / ".venv" / "bin").mkdir(parents=True)
    python = checkout / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)

    ended = played("sh", checkout / "packaging" / "wheel.sh", tmp_path / "dist")
    assert ended.returncode == 0, ended.stderr
    assert len(re.findall(r"(?m)^[0-9a-f]{64}  poolhand-", ended.stdout)) == 2
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    stamps = {info.date_time for info in zipfile.ZipFile(wheel).infolist()}
    assert len(stamps) == 1, "no moment of a build is in it"
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    top = f"poolhand-{__version__}"
    assert f"{top}/packaging/constraints.txt" in names, "the formula installs by it"
    assert f"{top}/packaging/units/poolhand-gpu.service" in names


def test_the_moment_of_a_build_is_the_one_that_is_given() -> None:
    assert played("sh", PACKAGING / "epoch.sh", SOURCE_DATE_EPOCH="12").stdout == "12\n"
    told = played("sh", PACKAGING / "epoch.sh", SOURCE_DATE_EPOCH="").stdout
    assert int(told) > 1_700_000_000


# ── which distributions, and their bill ───────────────────────────────────────────────


def test_what_is_needed_is_what_the_metadata_says(monkeypatch: pytest.MonkeyPatch) -> None:
    closure = module("closure", monkeypatch)
    here = closure.target(sys.executable)
    bare, more = closure.needed([], here), closure.needed(["s3"], here)
    direct = {
        re.split(r"[^\w-]", one)[0] for one in requires("poolhand") or [] if "extra" not in one
    }
    assert direct <= set(bare)
    assert set(bare) < set(more)
    assert {"aiobotocore", "botocore"} <= set(more)
    assert not {"pytest", "moto", "openai", "poolhand"} & set(closure.needed(["s3", "gs"], here))


def test_the_lock_s_entries_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    closure = module("closure", monkeypatch)
    lock = (PACKAGING / "requirements.lock").read_text()
    entries = closure.entries(lock)
    assert "".join(sorted(lock)) == "".join(sorted("".join(entries.values()))), "none is lost"
    two = closure.entries(
        "a-b==1 ; python_version < '3' \\\n    --hash=sha256:0\nA_B==2 \\\n    --hash=sha256:1\n"
    )
    assert list(two) == ["a-b"]
    assert two["a-b"].count("--hash") == 2


def test_the_bill_names_each_distribution_with_its_digests(tmp_path: Path) -> None:
    """The rules of CycloneDX 1.6 that a reader relies on; the same input gives the same bytes."""
    for name in ("a.json", "b.json"):
        ended = played(sys.executable, PACKAGING / "sbom.py", "--out", tmp_path / name)
        assert ended.returncode == 0, ended.stderr
    raw = (tmp_path / "a.json").read_bytes()
    assert raw == (tmp_path / "b.json").read_bytes()
    told = cast("dict[str, Any]", json.loads(raw))
    assert (told["bomFormat"], told["specVersion"], told["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", told["serialNumber"])
    assert told["metadata"]["component"]["version"] == __version__
    refs = [one["bom-ref"] for one in told["components"]]
    assert len(refs) == len(set(refs)) > 30
    lock = (PACKAGING / "requirements.lock").read_text()
    for one in told["components"]:
        assert one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}"
        (source,) = one["externalReferences"]
        assert source["hashes"]
        for digest in source["hashes"]:
            assert digest["alg"] == "SHA-256"
            assert f"sha256:{digest['content']}" in lock
    (root,) = told["dependencies"]
    assert root["dependsOn"] == refs
    assert "pytest" not in {one["name"] for one in told["components"]}


# ── scripts ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_one_that_any_shell_reads(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    assert played("sh", "-n", script).returncode == 0
    analyser = shutil.which("shellcheck")
    if analyser is not None:
        ended = played(analyser, script)
        assert ended.returncode == 0, ended.stdout


@pytest.fixture
def tools(tmp_path: Path) -> Callable[..., str]:
    """A PATH with these commands, which do nothing, and a shell."""

    def made(*names: str) -> str:
        folder = tmp_path / "tools"
        folder.mkdir()
        for name in names:
            (folder / name).write_text("#!/bin/sh\nexit 0\n")
            (folder / name).chmod(0o755)
        for name in ("sh", "id"):
            real = shutil.which(name)
            assert real is not None
            (folder / name).symlink_to(real)
        return str(folder)

    return made


@pytest.mark.parametrize(
    ("what", "has", "does"),
    [
        ("a.deb", "apt-get", r"apt-get install -y /.*a\.deb$"),
        ("a.rb", "brew", r"^\+ brew install --formula a\.rb$"),
        ("", "python3", r"pip install --upgrade poolhand\[default\]$"),
        ("p.whl", "python3", r"pip install --upgrade p\.whl\[default\]$"),
    ],
)
def test_the_installer_only_calls_what_installs(
    tools: Callable[..., str], tmp_path: Path, what: str, has: str, does: str
) -> None:
    path = tools(has)
    words = ["sh", PACKAGING / "install.sh", "--dry-run", *([what] if what else [])]
    ended = played(*words, PATH=path, HOME=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert re.search(rf"(?m){does}", ended.stdout)
    assert ("is not in PATH" in ended.stdout) == (has == "python3"), "nobody's PATH but the test's"
    assert not (tmp_path / ".local").exists()


def test_the_installer_says_what_is_missing(tools: Callable[..., str]) -> None:
    path = tools()
    for what, words in (("a.deb", "Debian"), ("a.rb", "Homebrew"), ("", "Python 3.11")):
        ended = played("sh", PACKAGING / "install.sh", "--dry-run", what, PATH=path)
        assert (ended.returncode, words in ended.stderr) == (1, True)
    assert played("sh", PACKAGING / "install.sh", "--what").returncode == 2


def unit_credentials() -> list[str]:
    """Names of what the units hand out."""
    text = (PACKAGING / "units" / "poolhand.service").read_text()
    return re.findall(r"(?m)^LoadCredential=(\w+):", text)


# ── formula, container, Debian ────────────────────────────────────────────────────────


def test_the_formula_is_filled_in_with_the_archive_s_digest() -> None:
    text = (PACKAGING / "homebrew" / "poolhand.rb").read_text()
    assert text.count("@URL@") == text.count("@SHA256@") == 1
    render = (PACKAGING / "homebrew" / "render.sh").read_text()
    assert "s|@URL@|" in render
    assert "s|@SHA256@|" in render
    for wanted in ("depends_on", "def install", "service do", "keep_alive", "test do"):
        assert wanted in text
    opened = len(re.findall(r"(?m)^\s*(?:class|def|test do|service do)\b", text))
    assert len(re.findall(r"(?m)^\s*end$", text)) == opened


def test_the_container_runs_as_nobody_and_keeps_what_a_service_keeps() -> None:
    text = (PACKAGING / "container" / "Containerfile").read_text()
    _, _, last = text.split("\nFROM ")
    assert "pip install" not in last, "what builds does not ship"
    assert re.search(r"(?m)^USER 65532:65532$", last)
    assert 'ENTRYPOINT ["poolhand"]' in last
    assert "STOPSIGNAL SIGTERM" in last
    for kind in ("CONFIGURATION", "STATE", "CACHE"):
        assert f"{kind}_DIRECTORY=/" in last
    assert not re.search(r"(?im)^(env|arg).*(token|secret|key)", text)


def test_the_deb_s_first_configuration_loads(tmp_path: Path) -> None:
    shutil.copy(PACKAGING / "deb" / "agent.toml", tmp_path)
    settings = load(tmp_path / "agent.toml", {}).settings
    assert settings.coordinator.token_credential in unit_credentials()
    assert "tiny" in settings.pools.allowed


# ── Kubernetes ────────────────────────────────────────────────────────────────────────

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")


def documents() -> dict[str, dict[str, Any]]:
    text = (PACKAGING / "kubernetes" / "daemonset.yaml").read_text()
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def test_the_manifest_s_parts_fit_each_other() -> None:
    """What the API server would refuse, as far as it can be told without one."""
    found = documents()
    assert list(found) == ["Namespace", "ConfigMap", "DaemonSet"]
    versions = {"Namespace": "v1", "ConfigMap": "v1", "DaemonSet": "apps/v1"}
    for kind, one in found.items():
        assert one["apiVersion"] == versions[kind]
        assert NAME.fullmatch(one["metadata"]["name"])
        assert kind == "Namespace" or one["metadata"]["namespace"] == "poolhand"
    spec = found["DaemonSet"]["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    pod = spec["template"]["spec"]
    assert pod.get("restartPolicy", "Always") == "Always"
    volumes = {one["name"] for one in pod["volumes"]}
    assert all(len(one) == 2 for one in pod["volumes"]), "a name and one source"
    for container in (*pod["initContainers"], *pod["containers"]):
        assert NAME.fullmatch(container["name"])
        assert container["image"] == f"poolhand:{__version__}"
        mounted = [one["name"] for one in container["volumeMounts"]]
        assert set(mounted) <= volumes
        assert len({one["mountPath"] for one in container["volumeMounts"]}) == len(mounted)
        for part in container.get("resources", {}).values():
            assert all(QUANTITY.fullmatch(str(text)) for text in part.values())
        limits = container["securityContext"]
        assert limits["capabilities"]["drop"] == ["ALL"]
        assert limits["readOnlyRootFilesystem"] is True
        assert limits["allowPrivilegeEscalation"] is False


def test_the_manifest_s_agent_is_ours(tmp_path: Path) -> None:
    found = documents()
    (tmp_path / "agent.toml").write_text(found["ConfigMap"]["data"]["agent.toml"])
    settings = load(tmp_path / "agent.toml", {}).settings
    pod = found["DaemonSet"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > settings.requests.drain_s
    (agent,) = pod["containers"]
    environ = {one["name"]: one["value"] for one in agent["env"]}
    paths = [one["mountPath"] for one in agent["volumeMounts"]]
    assert environ["CREDENTIALS_DIRECTORY"] in paths
    assert settings.coordinator.token_credential in unit_credentials()
    assert agent["args"][0] == "run"
    for kind in ("STATE", "CACHE"):
        assert str(Path(environ[f"{kind}_DIRECTORY"]).parent) in paths
    user = pod["securityContext"]["runAsUser"]
    container = (PACKAGING / "container" / "Containerfile").read_text()
    assert f"USER {user}:" in container
    (folders,) = pod["initContainers"]
    assert f"-o {user} " in folders["command"][-1]
    assert "/node/state" in folders["command"][-1]


def test_what_the_makefile_builds_has_its_script() -> None:
    recipes = (ROOT / "Makefile").read_text()
    for script in re.findall(r"packaging/[\w/.-]+", recipes):
        assert (ROOT / script).is_file(), script
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"poolhand": "poolhand.agent.cli.main:main"}
