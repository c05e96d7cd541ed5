"""Weights are brought, checked and looked for; whoever is cancelled says nothing more."""

import asyncio
import os
from pathlib import Path

from runtime_world import Inbox, group

from poolhand.agent.core.events import (
    InventoryChanged,
    ListingFailed,
    WeightsFailed,
    WeightsFetched,
    WeightsVerified,
)
from poolhand.agent.dev.checkpoint import make_model
from poolhand.agent.runtime.shelf import Shelf
from poolhand.backends.engines.catalog import lack_of
from poolhand.backends.stores.base import ELSEWHERE
from poolhand.config.settings import Settings


def shelf_of(folder: Path, inbox: Inbox, tasks: asyncio.TaskGroup, ref: str | None = None) -> Shelf:
    settings = Settings.model_validate(
        {
            "coordinator": {"url": "ws://localhost/"},
            "models": [{"id": "m", "ref": ref or (folder / "origin").as_uri()}],
        }
    )
    return Shelf(settings, folder / "cache", tell=inbox.tell, tasks=tasks)


def origin(folder: Path) -> Path:
    make_model(folder / "origin")
    return folder / "origin"


async def test_fetch_verify_and_look(inbox: Inbox, tmp_path: Path) -> None:
    origin(tmp_path)
    async with group() as tasks:
        shelf = shelf_of(tmp_path, inbox, tasks)
        shelf.fetch("m")
        assert await inbox.first(WeightsFetched) == WeightsFetched("m")
        shelf.verify("m")
        build = (await inbox.first(WeightsVerified)).build
        shelf.refresh(["m"])
        (stock,) = (await inbox.first(InventoryChanged)).stocks
    assert (stock.state, stock.size_bytes) == ("here", build.size_bytes)
    assert not inbox.of(WeightsFailed)


async def test_what_nobody_offers_or_nobody_has_fails(inbox: Inbox, tmp_path: Path) -> None:
    async with group() as tasks:
        shelf = shelf_of(tmp_path, inbox, tasks)
        shelf.fetch("stranger")
        assert (await inbox.first(WeightsFailed)).error.code == "model_missing"
        shelf.verify("m")
        assert (await inbox.first(WeightsFailed, 2)).error.code == "model_missing"
        shelf.fetch("m")
        assert (await inbox.first(WeightsFailed, 3)).model == "m"


async def test_bytes_that_changed_are_told_by_the_check(inbox: Inbox, tmp_path: Path) -> None:
    config = origin(tmp_path) / "config.json"
    async with group() as tasks:
        shelf = shelf_of(tmp_path, inbox, tasks)
        shelf.fetch("m")
        await inbox.first(WeightsFetched)
        config.write_bytes(config.read_bytes() + b" ")
        shelf.verify("m")
        assert (await inbox.first(WeightsFailed)).error.code == "weights_corrupt"


async def test_a_cancelled_fetch_says_nothing_and_the_next_one_comes_through(
    inbox: Inbox, tmp_path: Path
) -> None:
    origin(tmp_path)
    async with group() as tasks:
        shelf = shelf_of(tmp_path, inbox, tasks)
        shelf.cancel("m")
        for _ in range(3):
            shelf.fetch("m")
            await asyncio.sleep(0.02)
            shelf.cancel("m")
        shelf.fetch("m")
        await inbox.first(WeightsFetched)
        shelf.verify("m")
        shelf.cancel("m")
    assert len(inbox.of(WeightsFetched)) == 1
    assert not inbox.of(WeightsFailed)
    assert not inbox.of(WeightsVerified)


async def test_a_cache_that_cannot_be_written_is_a_failure_and_no_crash(
    inbox: Inbox, tmp_path: Path
) -> None:
    origin(tmp_path)
    await asyncio.to_thread((tmp_path / "cache").write_bytes, b"a file, not a folder")
    async with group() as tasks:
        shelf = shelf_of(tmp_path, inbox, tasks)
        shelf.fetch("m")
        await inbox.first(WeightsFailed)
        shelf.refresh(["m"])
        await inbox.first(InventoryChanged)


async def test_a_store_is_asked_once_and_a_look_does_not_wait_for_it(
    inbox: Inbox, tmp_path: Path, unused_tcp_port: int
) -> None:
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    async with group() as tasks:
        shelf = shelf_of(tmp_path, inbox, tasks, ref=(tmp_path / "nowhere").as_uri())
        shelf.refresh(["m"])
        await inbox.first(InventoryChanged)
        shelf.refresh(["m"])
        await inbox.first(InventoryChanged, 2)
        assert not inbox.of(ListingFailed)
        await inbox.first(ListingFailed)
        await inbox.first(InventoryChanged, 3)
        shelf.refresh(["m"])
        await inbox.first(InventoryChanged, 4)
    assert len(inbox.of(ListingFailed)) == 1


async def test_a_size_is_asked_for_and_then_known(inbox: Inbox, tmp_path: Path) -> None:
    origin(tmp_path)
    async with group() as tasks:
        shelf = shelf_of(tmp_path, inbox, tasks)
        shelf.refresh([])
        assert (await inbox.first(InventoryChanged)).stocks[0].size_bytes is None
        shelf.refresh(["m"])
        known = await inbox.first(InventoryChanged, 3)
    assert known.stocks[0].size_bytes


async def test_a_model_elsewhere_needs_nothing_here(inbox: Inbox, tmp_path: Path) -> None:
    entry = {"id": "m", "external": {"dialect": "openai"}}
    settings = Settings.model_validate(
        {"coordinator": {"url": "ws://localhost/"}, "models": [entry]}
    )
    async with group() as tasks:
        shelf = Shelf(settings, tmp_path / "cache", tell=inbox.tell, tasks=tasks)
        shelf.fetch("m")
        assert await inbox.first(WeightsFetched) == WeightsFetched("m")
        shelf.verify("m")
        assert await inbox.first(WeightsVerified) == WeightsVerified("m", ELSEWHERE)
        shelf.refresh(["m"])
        (stock,) = (await inbox.first(InventoryChanged)).stocks
    assert (stock.state, stock.size_bytes, stock.build) == ("here", 0, None)
    assert not (tmp_path / "cache" / "m").exists()


async def test_a_model_whose_program_is_not_here_is_told_before_its_bytes_come(
    inbox: Inbox, tmp_path: Path
) -> None:
    rows = [
        {"id": "m", "ref": origin(tmp_path).as_uri(), "engine": "llamacpp"},
        {"id": "e", "ref": "s3://models/e", "engine": "echo"},
    ]
    tables = {"llamacpp": {"program": str(tmp_path / "absent")}}
    settings = Settings.model_validate(
        {"coordinator": {"url": "ws://localhost/"}, "models": rows, "engines": tables}
    )
    here = lack_of(settings.models[0], settings)
    async with group() as tasks:
        shelf = Shelf(settings, tmp_path / "cache", tell=inbox.tell, tasks=tasks)
        shelf.refresh(["m"])
        lacks = dict((await inbox.first(InventoryChanged)).lacks)
    assert lacks == ({} if here is None else {"m": here}), "a server may be on this PATH"
