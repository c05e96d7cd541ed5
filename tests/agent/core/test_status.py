"""The node as its owner sees it."""

import json
from typing import cast

import pytest

from poolhand.agent.core import events as happened
from poolhand.agent.core.status import models, status
from poolhand.agent.wire.inbound import RuntimeStatus, TrustStatus, Unknown
from poolhand.agent.wire.types import Mismatch
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.stores.base import Progress
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.config.errors import ConfigInvalid
from tests.journeys.world import World, build, settings


@pytest.fixture
def world() -> World:
    """A node that is known, connected and empty."""
    world = World()
    world.start()
    return world


def seen(world: World) -> dict[str, dict[str, object]]:
    told = status(world.node, world.now_s)
    return cast("dict[str, dict[str, object]]", json.loads(json.dumps(told, allow_nan=False)))


def codes(world: World) -> list[object]:
    rows = cast("list[dict[str, object]]", seen(world)["why_not"])
    assert all(row["words"] and row["remedy"] for row in rows)
    return [row["code"] for row in rows]


def test_it_has_what_was_promised(world: World) -> None:
    promised = "serving why_not line pool slots requests memory cache config"
    assert set(promised.split()) <= set(seen(world))


def test_a_resident_serves(world: World) -> None:
    world.resident("org/a")
    assert codes(world) == []
    assert seen(world)["serving"] is True
    stays = cast("list[dict[str, object]]", seen(world)["slots"])
    assert (stays[0]["model"], stays[0]["state"]) == ("org/a", "ready")
    assert stays[0]["weight_hash"] == build("org/a").weight_hash


def test_a_model_that_comes_says_how_far_it_is() -> None:
    world = World()
    world.start()
    world.load_model("org/a")
    for eta_s, ends in ((None, ""), (75.0, ", 75 s left"), (750.0, ", 12 min left")):
        world.tell(happened.WeightsProgressed("org/a", Progress(25, 100, 0, 1.0, eta_s=eta_s)))
        (reason,) = cast("list[dict[str, str]]", seen(world)["why_not"])
        assert reason["words"] == f"model 'org/a' is downloading: 25 %{ends}"
    line = seen(world)["line"]
    assert isinstance(line, dict)
    assert line["dials_in_s"] is None, "it is open"


def test_why_it_does_not_serve() -> None:
    world = World()
    assert codes(world) == ["line_connecting", "no_model_loaded"]
    world.start()
    assert codes(world) == ["no_model_loaded"]
    assert seen(world)["serving"] is False
    world.load_model("org/a")
    assert codes(world) == ["model_coming"]
    world.drop()
    assert codes(world) == ["link_lost", "model_coming"]
    line = seen(world)["line"]
    assert isinstance(line, dict)
    assert isinstance(line["dials_in_s"], float), "it says when it tries again"
    world.redial()
    error = StoreUnreachable(store="s3", reason="silence")
    world.tell(happened.WeightsFailed("org/a", error))
    assert codes(world) == ["store_unreachable"]
    world.choose(settings(pools={"assigned": "nothing"}))
    assert "pool_empty" in codes(world)
    world.load_model("org/a")
    world.tell(happened.StopAsked())
    assert codes(world)[0] == "node_draining"


def test_what_the_coordinator_objects_to(world: World) -> None:
    world.resident("org/a")
    world.hear(TrustStatus(trust_level="none", status="untrusted", reason="no SIP"))
    world.hear(RuntimeStatus(mismatches=(Mismatch(component="backend"),)))
    assert codes(world) == ["untrusted", "runtime_mismatch"]
    assert seen(world)["line"]["trust"] == "untrusted"
    world.hear(TrustStatus(status="online"))
    world.hear(RuntimeStatus(verified=True))
    assert codes(world) == []
    world.hear(TrustStatus(status="untrusted"))
    world.drop()
    world.redial()
    assert codes(world) == [], "a new line starts anew"


def test_a_refusal_shows_with_its_reason(world: World) -> None:
    assert seen(world)["pool"]["last_refusal"] is None
    world.load_model("org/c")
    world.load_model("org/c")
    pool = seen(world)["pool"]
    last = cast("dict[str, object]", pool["last_refusal"])
    assert (pool["refusals"], last["count"]) == (2, 2)
    assert (last["model"], last["code"]) == ("org/c", "model_not_in_pool")


def test_a_download_shows_how_far_it_is(world: World) -> None:
    world.load_model("org/a")
    world.tell(happened.WeightsProgressed("org/a", Progress(3, 9, 1, 2.5, "fetch", eta_s=2.4)))
    world.after(2.0)
    (stay,) = cast("list[dict[str, object]]", seen(world)["slots"])
    assert (stay["bytes_done"], stay["bytes_total"], stay["bytes_resumed"]) == (3, 9, 1)
    assert (stay["rate_bytes_s"], stay["for_s"], stay["load_s"]) == (2.5, 2.0, None)
    assert (stay["eta_s"], stay["phase"]) == (2.4, "fetch")


def test_failures_and_rejected_settings_are_kept(world: World) -> None:
    for _ in range(20):
        world.tell(happened.EngineFailed("org/a", EngineDied(engine="mlx", exit_code=1)))
    failures = cast("list[dict[str, object]]", status(world.node, world.now_s)["failures"])
    assert [failure["code"] for failure in failures] == ["engine_died"] * 8
    world.tell(happened.SettingsRejected(ConfigInvalid(path="p.toml", line=3, problem="odd")))
    rejected = cast("dict[str, object]", seen(world)["config"]["rejected"])
    assert rejected["code"] == "config_invalid"
    world.hear(Unknown(type="new", reason="unknown type"))
    assert seen(world)["unknown_frames"] == 1


def test_requests_are_counted_by_where_they_are(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    requests = seen(world)["requests"]
    assert (requests["running"], requests["waiting"], requests["requests_served"]) == (1, 0, 0)
    world.answered("r1")
    requests = seen(world)["requests"]
    assert (requests["running"], requests["requests_served"]) == (0, 1)


def test_every_offered_model_and_how_far_it_is(world: World) -> None:
    world.stock("org/b")
    world.load_model("org/a")
    rows = {
        cast("str", row["id"]): row
        for row in cast("list[dict[str, object]]", models(world.node, world.now_s))
    }
    assert [rows[m]["state"] for m in ("org/a", "org/b", "org/c")] == [
        "downloading",
        "on_disk",
        "listed",
    ]
    assert [rows[m]["in_pool"] for m in ("org/a", "org/b", "org/c")] == [True, True, False]
    assert rows["org/b"]["on_disk"] == "here"


def test_no_secret_shows(world: World) -> None:
    assert "secret" not in json.dumps(status(world.node, world.now_s))


def test_a_model_that_does_not_fit_is_the_reason_that_is_given() -> None:
    world = World(settings(memory={"reserve_gib": 4000.0}))
    world.start()
    world.load_model("org/a")
    world.stage("org/a")
    assert codes(world) == ["insufficient_memory"]


def test_whether_a_request_would_reach_this_machine(world: World) -> None:
    world.load_model("org/a")
    world.stage("org/a")
    reach = cast("dict[str, object]", status(world.node, world.now_s)["reach"])
    assert (reach["model"], reach["reachable"]) == ("org/a", False)
    found_here = cast("list[dict[str, object]]", reach["blockers"])
    told = [(each["code"], each["certain"]) for each in found_here]
    assert told[:2] == [("slot_reloading", True), ("trust_level", False)]
    world.loaded("org/a")
    world.request("r1", "org/a")
    reach = cast("dict[str, object]", status(world.node, world.now_s)["reach"])
    others = cast("list[dict[str, object]]", reach.pop("others"))
    assert reach == {"model": "org/a", "reachable": True, "blockers": []}, "work has come"
    assert [(each["model"], each["code"]) for each in others] == [
        ("org/b", "slots_busy"),
        ("org/c", "outside_pool"),
    ]
    rows = cast("list[dict[str, object]]", models(world.node, world.now_s))
    found = {row["id"]: cast("list[dict[str, object]]", row["blockers"]) for row in rows}
    assert [each["code"] for each in found["org/c"]] == ["outside_pool"]
