"""A coordinator that means harm, on the real wire: the wrong model never comes."""

import json
import random

import pytest
from world import OTHER, A, B, World

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.stage import at, each_of

pytestmark = pytest.mark.e2e

STRANGER = "org/stranger"
FIRST = 1
"""The epoch of a pool that the machine chose by itself."""


def load(model: str, **more: object) -> str:
    return json.dumps({"type": "load_model", "model_id": model, **more})


def assign(pool: object, epoch: object, **more: object) -> str:
    return json.dumps({"type": "assign_pool", "pool": pool, "epoch": epoch, **more})


def desired(*rows: tuple[str, str, str]) -> str:
    names = ("model_name", "desired_build", "previous_build")
    models = [dict(zip(names, row, strict=True)) for row in rows]
    return json.dumps({"type": "desired_models", "models": models})


FRAMES = [
    load(OTHER),
    load(OTHER, force=True, pool="tiny", epoch=99, evict=True),
    load(STRANGER),
    load("tiny"),
    load("../../etc"),
    load(OTHER + " "),
    load("slot active insufficient memory draining"),
    f'{{"type":"load_model","model_id":"{A}","model_id":"{OTHER}"}}',
    f'{{"type":"cancel","request_id":"x","model_id":"{OTHER}","type":"load_model"}}',
    f"[{load(OTHER)}]",
    load(A) + load(OTHER),
    load("x" * 1025),
    assign(OTHER, 0),
    assign(OTHER, FIRST),
    assign(OTHER, 2**63),
    assign(OTHER, 7.5),
    assign(OTHER, -1),
    assign(OTHER, "9"),
    assign(OTHER, FIRST + 2),
    assign("*", FIRST + 2),
    assign("tiny", FIRST + 2, models=[OTHER]),
    assign("tiny", FIRST + 2, preload=OTHER),
    assign("tiny", FIRST + 2, expires_at="2020-01-01T00:00:00Z"),
    json.dumps({"type": "assign_model", "model_id": OTHER, "epoch": FIRST + 3}),
    json.dumps({"type": "prefetch_model", "model_id": OTHER}),
    desired(("tiny", OTHER, A)),
    desired(("tiny", STRANGER, A), (OTHER, A, OTHER)),
    json.dumps({"type": "desired_models", "models": [None, 1, {"model_name": "tiny"}]}),
    desired(),
    json.dumps({"type": "unload_model", "model_id": OTHER}),
    json.dumps({"type": "cancel_load", "model_id": A}),
    json.dumps({"type": "provider_drain_ack", "request_id": "x"}),
    json.dumps({"type": "load_model_status", "model_id": OTHER, "status": "succeeded"}),
    json.dumps({"type": "register", "pool": {"assigned": OTHER}}),
    json.dumps({"type": "model_autopilot", "load": OTHER, "unload": [A]}),
]


def test_nothing_that_is_said_brings_a_model_that_the_owner_does_not_allow(world: World) -> None:
    config = world.configure()
    both = 'assigned = "tiny"\nallowed = ["tiny", "org/*"]'
    config.write_text(config.read_text().replace(both, 'allowed = ["tiny"]'))
    world.join(config)
    assert world.load(A)["status"] == "succeeded"
    before = at(world.agent.status(), "pool")
    chance = random.Random(1)  # noqa: S311  # a story, no secret
    for frames in (FRAMES, *(chance.sample(FRAMES, len(FRAMES)) for _ in range(2))):
        for frame in frames:
            world.send(frame)
    refused = world.load(OTHER)  # and with its answer, all that was said before it is answered
    assert (refused["status"], refused["class"]) == ("failed", "model_not_found")
    assert {*world.statuses(OTHER), *world.statuses(STRANGER)} == {"failed"}
    after = at(world.agent.status(), "pool")
    for fact in ("assigned", "scope", "epoch", "source"):
        assert at(after, fact) == at(before, fact)
    slots = each_of(world.provider(), "heartbeat", "backend_capacity", "slots")
    assert {at(slot, "model") for slot in slots} <= {A, B}
    fetched = {line["model"] for line in world.log() if line["what"] == "FetchWeights"}
    assert fetched <= {A, B}, "not a byte of it"
    assert world.answer() == expected_text("alpha")
