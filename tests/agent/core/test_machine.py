"""The latest reading counts, and an unread machine has room for nothing."""

from poolhand.agent.core.machine import Machine
from poolhand.backends.engines.base import Load
from poolhand.backends.stores.base import Stock
from tests.journeys.world import GIB, sample, settings


def test_an_unread_machine_has_room_for_nothing() -> None:
    assert Machine().free_bytes(settings(), (), ()) == 0


def test_the_latest_reading_counts() -> None:
    machine = Machine()
    machine.sampled(sample(30 * GIB), {"org/a": Load(running=1)})
    machine.sampled(sample(20 * GIB), {"org/a": Load(running=2), "org/b": Load()})
    reserve_bytes = int(settings().memory.reserve_gib * GIB)
    assert machine.free_bytes(settings(), (), ()) == 20 * GIB - reserve_bytes
    assert machine.loads["org/a"].running == 2
    machine.stopped("org/a")
    machine.stopped("org/x")
    assert list(machine.loads) == ["org/b"]


def test_the_latest_look_at_the_disk_counts() -> None:
    machine = Machine()
    machine.listed([Stock("org/a", "here"), Stock("org/b", "listed")])
    machine.listed([Stock("org/b", "partial")])
    assert machine.stocks == {"org/b": Stock("org/b", "partial")}
