"""show, verify, rm and prune, as an owner runs them."""

import json
import os
from pathlib import Path

import pytest

from poolhand.agent.cli.exits import Exit
from poolhand.agent.runtime.assignment_file import ORDERS
from poolhand.agent.weights.cache import Cache

from .conftest import Cli, Daemon

OBJECTS = {"config.json": b'{"model_type": "toy"}', "tokenizer.json": b"{}" * 1000}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What lies somewhere, and is fetched from there."""
    folder = tmp_path / "place" / "toy"
    folder.mkdir(parents=True)
    for name, data in OBJECTS.items():
        _ = (folder / name).write_bytes(data)
    return folder


def rot(path: Path) -> None:
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    with path.open("r+b") as file:
        _ = file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_build_in_the_cache(cli: Cli, place: Path) -> None:
    assert cli("models", "show", "place/toy").returncode == Exit.FAILURE
    assert cli("models", "verify").stdout == "the cache is empty\n"
    assert cli("models", "fetch", f"file://{place}").returncode == Exit.OK
    said = json.loads(cli("models", "show", "place/toy", "--json").stdout)
    assert (said["state"], said["files"], said["changed"]) == ("here", 2, [])
    assert said["place"] == str(place)
    assert "weight_hash: " in cli("models", "show", f"file://{place}").stdout
    ended = cli("models", "verify", "place/toy")
    assert (ended.returncode, ended.stdout) == (Exit.OK, "place/toy: whole\n")
    rot(place / "config.json")
    ended = cli("models", "verify", "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["ok"]) == (Exit.FAILURE, False)
    assert [bad["path"] for bad in told["models"][0]["bad"]] == ["config.json"]
    ended = cli("models", "verify", "--repair")
    assert (ended.returncode, "not ours" in ended.stderr) == (Exit.FAILURE, True)
    ended = cli("models", "rm", "place/toy", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["model"]) == (Exit.OK, "place/toy")
    assert cli("models", "rm", "place/toy").returncode == Exit.FAILURE
    assert (place / "config.json").is_file(), "what lies elsewhere is not ours to delete"


def test_a_copy_is_verified_and_mended(cli: Cli, place: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    assert cli("models", "verify", "--to", to).returncode == Exit.FAILURE
    assert cli("models", "fetch", f"file://{place}", "--to", to).returncode == Exit.OK
    assert cli("models", "verify", "--to", to).returncode == Exit.OK
    rot(to / "config.json")
    (to / "tokenizer.json").unlink()
    ended = cli("models", "verify", "--to", to)
    assert (ended.returncode, "config.json: its bytes" in ended.stdout) == (Exit.FAILURE, True)
    ended = cli("models", "verify", "--to", to, "--repair")
    assert (ended.returncode, "repaired" in ended.stdout) == (Exit.OK, True)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == OBJECTS
    assert cli("models", "verify", "--to", to).returncode == Exit.OK


@pytest.mark.parametrize("by", ["configuration", "order", "nobody"])
def test_what_is_pinned_makes_way_for_no_other(
    cli: Cli, place: Path, tmp_path: Path, by: str
) -> None:
    """No agent runs: what it was told is in its files."""
    state, config = tmp_path / "state", tmp_path / "a.toml"
    state.mkdir()
    if by == "order":
        _ = (state / ORDERS).write_text('{"pins": ["a"], "is_drained": false}')
    pinned = "true" if by == "configuration" else "false"
    _ = config.write_text(
        '[coordinator]\nurl = "ws://127.0.0.1:1"\n'
        f'[cache]\ndir = "{tmp_path}/c"\nquota_gib = 0.0000001\nreserve_gib = 0\n'
        f'[[models]]\nid = "a"\nref = "file://{place}"\npinned = {pinned}\n'
    )
    folder = Cache(tmp_path / "c").folder("a")
    folder.mkdir(parents=True)
    _ = (folder / "model.safetensors").write_bytes(bytes(9000))
    ended = cli("models", "prune", "--config", config, "--state-dir", state, "--json")
    assert ended.returncode == Exit.OK, ended.stderr
    assert (json.loads(ended.stdout)["gone"] == []) is (by != "nobody")
    assert folder.exists() is (by != "nobody")


def test_pruning_and_removing_spare_what_is_in_use(
    cli: Cli, daemon: Daemon, place: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        ended = cli("models", "fetch", f"file://{place}", "--id", name)
        assert ended.returncode == Exit.OK
    models = [{"id": "a", "state": "ready"}, {"id": "b", "state": "here"}]
    state = daemon({"/v1/models": {"models": models}})
    config = tmp_path / "a.toml"
    _ = config.write_text(
        '[coordinator]\nurl = "ws://127.0.0.1:1"\n'
        f'[cache]\ndir = "{tmp_path}/.cache/poolhand"\nreserve_gib = 0\nreserve_ratio = 0\n'
        '[[models]]\nid = "other"\nref = "s3://bucket/other"\n'
    )
    ended = cli("models", "rm", "a", "--state-dir", state)
    assert (ended.returncode, "in use" in ended.stderr) == (Exit.FAILURE, True)
    ended = cli("models", "prune", "--config", config, "--state-dir", state, "--json")
    assert ended.returncode == Exit.OK, ended.stderr
    assert [name[0] for name in json.loads(ended.stdout)["gone"]] == ["b"]
    ended = cli("models", "prune", "--config", config, "--state-dir", state)
    assert ended.stdout == "nothing has to go\n"
