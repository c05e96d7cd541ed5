"""The stores' checks, against a store of our own on loopback."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from poolhand.agent.cli.checks_store import look
from poolhand.agent.cli.checks_told import Finding
from poolhand.agent.dev.objectstore import ObjectStore, StoreOptions, serve

from .checks_world import PLAIN, RUNNING, by_id, ground, verdicts

SECRET = "canary-secret-5d1c"  # noqa: S105  # a made-up one
WRONG = "canary-wrong-11"
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
}
MODEL = '[[models]]\nid = "org/{0}"\nref = "s3://models/org/{0}"\n'


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    folder = tmp_path / "objects" / "models" / "org" / "toy"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(2**20))
    options = StoreOptions(root=tmp_path / "objects", access_key="key", secret_key=SECRET)
    async with await serve(options) as running:
        yield running


async def looked(folder: Path, text: str, **environ: str) -> list[Finding]:
    here = ground(folder, PLAIN + text, environ={**ENVIRON, **environ})
    return await asyncio.to_thread(lambda: list(look(here)))


async def test_what_is_offered_can_be_listed(tmp_path: Path, store: ObjectStore) -> None:
    text = MODEL.format("toy") + f'[stores.s3]\nendpoint = "{store.url}"\n'
    found = await looked(tmp_path / "w", text, AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert verdicts(found) == {"store.endpoint": "ok", "store.listable": "ok"}
    assert by_id(found)["store.listable"].cause == "2 file(s), 1.0 MiB"
    won = by_id(found)["store.endpoint"]
    assert won.subject == "s3://models"
    assert f"{store.url} comes from stores.s3.endpoint" in won.cause
    assert "AWS_ENDPOINT_URL" in won.cause, "what it won over is told"
    assert SECRET not in repr(found)


async def test_the_environments_endpoint_wins_where_ours_names_none(
    tmp_path: Path, store: ObjectStore
) -> None:
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": store.url}
    found = await looked(tmp_path / "w", MODEL.format("toy"), **environ)
    assert by_id(found)["store.endpoint"].cause.startswith(f"{store.url} comes from AWS_ENDPOINT")


async def test_one_of_two_is_missing_and_the_bucket_is_told_once(
    tmp_path: Path, store: ObjectStore
) -> None:
    text = f'{MODEL.format("toy")}{MODEL.format("gone")}[stores.s3]\nendpoint = "{store.url}"\n'
    found = await looked(tmp_path / "w", text)
    assert [one.id for one in found].count("store.endpoint") == 1
    assert by_id(found, "org/toy")["store.listable"].verdict == "ok"
    gone = by_id(found, "org/gone")["store.listable"]
    assert gone.verdict == "fail"
    assert "nothing lies under 'org/gone/'" in gone.cause


async def test_wrong_keys(tmp_path: Path, store: ObjectStore) -> None:
    text = MODEL.format("toy") + f'[stores.s3]\nendpoint = "{store.url}"\n'
    found = await looked(tmp_path / "w", text, AWS_SECRET_ACCESS_KEY=WRONG)
    denied = by_id(found)["store.listable"]
    assert denied.verdict == "fail"
    assert "denies access" in denied.cause
    assert WRONG not in repr(found)
    assert "the agent that runs" not in denied.remedy
    beside = replace(ground(tmp_path / "w", PLAIN + text, environ=ENVIRON), status=RUNNING)
    beside = replace(beside, environ={**ENVIRON, "AWS_SECRET_ACCESS_KEY": WRONG})
    told = by_id(await asyncio.to_thread(lambda: list(look(beside))))["store.listable"]
    assert "the agent that runs has its own" in told.remedy


async def test_nobody_there(tmp_path: Path, unused_tcp_port: int) -> None:
    endpoint = f"http://127.0.0.1:{unused_tcp_port}"
    text = MODEL.format("toy") + f'[stores.s3]\nendpoint = "{endpoint}"\n'
    found = by_id(await looked(tmp_path / "w", text))["store.listable"]
    assert found.verdict == "fail"
    assert endpoint in found.cause


async def test_an_endpoint_that_cannot_be_one(tmp_path: Path) -> None:
    found = await looked(tmp_path, MODEL.format("toy"), AWS_ENDPOINT_URL="ftp://canary@x")
    assert verdicts(found) == {"store.endpoint": "fail", "store.listable": "skipped"}
    assert "canary" not in repr(found)


async def test_folders_and_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"x")
    text = f'[[models]]\nid = "a"\nref = "file://{tmp_path}/model"\n'
    assert verdicts(await looked(tmp_path / "w", text)) == {
        "store.endpoint": "ok",
        "store.listable": "ok",
    }
    lost = await looked(tmp_path / "w", text.replace("/model", "/no"))
    assert by_id(lost)["store.listable"].verdict == "fail"
    assert verdicts(await looked(tmp_path / "w", "")) == {
        "store.endpoint": "skipped",
        "store.listable": "skipped",
    }
