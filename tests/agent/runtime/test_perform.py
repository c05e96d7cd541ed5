"""Every effect finds its doer, and what becomes of it comes back as an event."""

import asyncio
import os
from pathlib import Path
from typing import get_args

from runtime_world import Inbox, group

from poolhand.agent.core import effects
from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.events import (
    ActivityRead,
    EngineFailed,
    EngineLoaded,
    EngineStopped,
    Event,
    GenerationEnded,
    HostSampled,
    InventoryChanged,
    LinkClosed,
    RequestKey,
    RequestUnreadable,
    WeightsFailed,
)
from poolhand.agent.runtime.perform import Performer, World, cache_folder
from poolhand.agent.wire.inbound import InferenceRequest
from poolhand.agent.wire.outbound import LoadModelStatus
from poolhand.agent.wire.sealing import NodeKey
from poolhand.backends.hosts.generic import GenericProbe
from poolhand.backends.stores.base import Build
from poolhand.config.settings import Settings

KEY = RequestKey(1, "r")
BUILD = Build("/nowhere", 1, 1, "0" * 64, "self", {})
MESSAGE = LoadModelStatus(model_id="m", status="started")

LEADS_TO: dict[Effect, type[Event] | None] = {
    effects.Dial(1): LinkClosed,
    effects.Send(1, MESSAGE): None,
    effects.HangUp(1): None,
    effects.FetchWeights("stranger"): WeightsFailed,
    effects.CancelFetch("stranger"): None,
    effects.VerifyWeights("m"): WeightsFailed,
    effects.RefreshInventory(): InventoryChanged,
    effects.SampleHost(): HostSampled,
    effects.ReadActivity(("battery",)): ActivityRead,
    effects.ReadCatalog("m"): None,
    effects.LoadEngine("m", BUILD): EngineLoaded,
    effects.StopEngine("m"): EngineStopped,
    effects.LoadEngine("stranger", BUILD): EngineFailed,
    effects.StopEngine("stranger"): EngineStopped,
    effects.OpenRequest(KEY, InferenceRequest(request_id="r")): RequestUnreadable,
    effects.StartGeneration(KEY, "m", 5): GenerationEnded,
    effects.CancelGeneration(KEY): None,
    effects.ForgetRequest(KEY): None,
    effects.EndLocal(KEY): None,
    effects.PersistAssignment(Assignment(("tiny",)), 0.0, ""): None,
    effects.PersistOrders((), is_drained=True): None,
    effects.PersistMeasured(()): None,
    effects.TellOwner(1, "done", "as you wish"): None,
}


def settings(port: int = 9, cache: str | None = None) -> Settings:
    return Settings.model_validate(
        {
            "coordinator": {"url": f"ws://localhost:{port}/"},
            "models": [{"id": "m", "ref": "file:///nowhere", "engine": "echo"}],
            "cache": {"dir": cache},
        }
    )


async def test_every_effect_finds_its_doer(
    inbox: Inbox, tmp_path: Path, unused_tcp_port: int
) -> None:
    key = NodeKey(os.urandom(32))
    world = World(settings(unused_tcp_port), key, GenericProbe(), tmp_path, tmp_path)
    counts: dict[type[Event], int] = {}
    async with group() as tasks:
        doers = Performer(world, tell=inbox.tell, hear=inbox.hear, tasks=tasks)
        for effect, leads_to in LEADS_TO.items():
            kept = doers.perform(effect)
            await (kept or asyncio.sleep(0))
            if leads_to is not None:
                counts[leads_to] = counts.get(leads_to, 0) + 1
                await inbox.first(leads_to, counts[leads_to])
    assert {type(effect) for effect in LEADS_TO} == set(get_args(Effect))


def test_the_key_is_shown_to_nobody() -> None:
    secret = os.urandom(32)
    world = World(settings(), NodeKey(secret), GenericProbe(), Path("/x"), Path("/x"))
    assert repr(secret)[2:-1] not in repr(world)
    assert secret.hex() not in repr(world)


def test_the_cache_lies_where_the_operator_said_or_at_the_usual_place() -> None:
    assert cache_folder(settings(cache="/big/disk"), Path("/usual")) == Path("/big/disk")
    assert cache_folder(settings(), Path("/usual")) == Path("/usual")
