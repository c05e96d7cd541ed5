"""``poolhand doctor s3 REF`` against a store of our own: one read, measured."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from poolhand.agent.cli import doctor_read
from poolhand.agent.cli.exits import Exit
from poolhand.agent.dev.objectstore import ObjectStore, StoreOptions, serve

from .conftest import Cli
from .test_checks_store import ENVIRON, SECRET

MIB = 2**20


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    folder = tmp_path / "objects" / "models" / "toy"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(8 * MIB))
    options = StoreOptions(root=tmp_path / "objects", access_key="key", secret_key=SECRET)
    async with await serve(options) as running:
        yield running


async def test_one_read(cli: Cli, store: ObjectStore) -> None:
    environ = {**ENVIRON, "AWS_ENDPOINT_URL_S3": store.url}
    words = ("doctor", "s3", "s3://models/toy")
    ended = await asyncio.to_thread(cli, *words, "--json", **environ)
    assert ended.returncode == Exit.OK, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["files"], told["file"], told["read_bytes"]) == (2, "model.safetensors", 8 * MIB)
    assert told["listing_s"] > 0
    assert told["first_byte_s"] > 0
    assert told["rate_mb_s"] > 0
    assert "AWS_ENDPOINT_URL_S3" in told["why"]
    people = await asyncio.to_thread(cli, *words, **environ)
    assert [line.split()[0] for line in people.stdout.splitlines()] == [
        "store", "listing", "first", "read",
    ]  # fmt: skip
    assert SECRET not in ended.stdout + ended.stderr + people.stdout


async def test_a_read_ends_when_there_is_enough(
    store: ObjectStore, here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {**ENVIRON, "AWS_ENDPOINT_URL": store.url}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr(doctor_read, "MOST_BYTES", MIB)
    ended = await asyncio.to_thread(here, "doctor", "s3", "s3://models/toy", "--json")
    assert json.loads(ended.stdout)["read_bytes"] == MIB
    monkeypatch.setattr(doctor_read, "MOST_BYTES", 64 * MIB)
    monkeypatch.setattr(doctor_read, "MOST_S", 0.0)
    ended = await asyncio.to_thread(here, "doctor", "s3", "s3://models/toy", "--json")
    assert 0 < json.loads(ended.stdout)["read_bytes"] < 8 * MIB


async def test_what_cannot_be_read(
    here: Cli, monkeypatch: pytest.MonkeyPatch, store: ObjectStore
) -> None:
    for name, text in {**ENVIRON, "AWS_ENDPOINT_URL": store.url}.items():
        monkeypatch.setenv(name, text)
    ended = await asyncio.to_thread(here, "doctor", "s3", "s3://models/gone", "--json")
    assert ended.returncode == Exit.FAILURE
    assert json.loads(ended.stdout)["code"] == "model_missing"
    ended = await asyncio.to_thread(here, "doctor", "s3", "s3://models/gone")
    assert (ended.returncode, ended.stdout) == (Exit.FAILURE, "")
    assert "nothing lies under 'gone/'" in ended.stderr
    ended = await asyncio.to_thread(here, "doctor", "s3", "ftp://x/y")
    assert ended.returncode == Exit.USAGE
