"""Whose weights stay on the disk, and how the cache is shown to its owner."""

from poolhand.agent.core import events as happened
from poolhand.agent.core.slots import SlotState, Stay
from poolhand.agent.core.status import status
from poolhand.agent.core.wanted import Wanted, wanted_of
from poolhand.agent.wire.inbound import DesiredModels
from poolhand.agent.wire.types import DesiredModel
from poolhand.backends.stores.base import Damage, Survey
from poolhand.backends.stores.errors import DiskFailed
from tests.journeys.world import World

SURVEY = Survey(
    used_bytes=7,
    pending_bytes=3,
    free_bytes=9,
    reserve_bytes=2,
    quota_bytes=None,
    left=("b--0",),
    scrubbing="org/a",
    damaged=(Damage("org/a", ("x.safetensors",), is_mending=False),),
    read_whole_s={"org/a": 5.0},
)


def test_what_is_here_coming_pinned_or_desired_stays() -> None:
    stays = [Stay("org/a"), Stay("org/b", SlotState.READY)]
    desired = DesiredModels(models=(DesiredModel(model_name="d", desired_build="org/d"),))
    wanted = wanted_of(stays, ["org/p"], desired)
    assert wanted.here == {"org/a", "org/b"}
    assert wanted.kept == {"org/a", "org/b", "org/p", "org/d"}
    assert wanted_of([], [], None) == Wanted()


def test_a_node_wants_what_it_has() -> None:
    world = World()
    world.start()
    assert world.node.wanted().here == frozenset()
    world.resident("org/a")
    assert world.node.wanted().here == {"org/a"}
    assert "org/a" in world.node.wanted().kept


def test_the_owner_sees_the_cache() -> None:
    world = World()
    world.start()
    assert "used_bytes" not in str(status(world.node, world.now_s)["cache"]), "not known yet"
    world.tell(happened.CacheSurveyed(SURVEY))
    cache = status(world.node, world.now_s)["cache"]
    assert isinstance(cache, dict)
    assert (cache["used_bytes"], cache["pending_bytes"], cache["quota_bytes"]) == (7, 3, None)
    assert (cache["scrubbing"], cache["left"]) == ("org/a", ["b--0"])
    assert cache["damaged"] == [
        {"model": "org/a", "files": ["x.safetensors"], "mending": False},
    ]


def test_a_disk_that_fails_is_among_the_failures() -> None:
    world = World()
    world.start()
    error = DiskFailed(path="/cache", reason="read-only")
    world.tell(happened.CacheSurveyed(None, error=error))
    assert [failure for _, failure in world.node.failed.recent] == [error]
