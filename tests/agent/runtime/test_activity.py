"""The owner's activity: read in a thread, one reading at a time, by a probe made when asked for."""

import threading
from collections.abc import Collection

from runtime_world import Inbox, group

from poolhand.agent.core.events import ActivityRead
from poolhand.agent.runtime.activity import ActivityReader
from poolhand.backends.hosts.base import Activity


class Probe:
    """Tells how often it was read."""

    def __init__(self, wanted: Collection[str]) -> None:
        self.wanted = wanted
        self.readings = 0
        self.threads: set[int] = set()

    def read(self) -> Activity:
        self.threads.add(threading.get_ident())
        self.readings += 1
        return Activity(input_idle_s=float(self.readings))


class Probes:
    """Every probe that was made."""

    def __init__(self) -> None:
        self.made: list[Probe] = []

    def __call__(self, wanted: Collection[str]) -> Probe:
        self.made.append(Probe(wanted))
        return self.made[-1]


async def test_each_ask_is_answered_by_one_probe_in_a_thread(inbox: Inbox) -> None:
    probes = Probes()
    async with group() as tasks:
        reader = ActivityReader(tell=inbox.tell, tasks=tasks, probe_for=probes)
        assert probes.made == [], "nothing is made that nobody asked for"
        for nth in (1, 2):
            reader.ask(("input",))
            read = await inbox.first(ActivityRead, nth)
            assert read.activity == Activity(input_idle_s=float(nth))
    (probe,) = probes.made
    assert threading.get_ident() not in probe.threads


async def test_an_ask_during_a_reading_is_answered_by_that_one(inbox: Inbox) -> None:
    probes = Probes()
    async with group() as tasks:
        reader = ActivityReader(tell=inbox.tell, tasks=tasks, probe_for=probes)
        for _ in range(5):
            reader.ask(("input",))
        await inbox.first(ActivityRead)
    assert [probe.readings for probe in probes.made] == [1]


async def test_other_signs_take_another_probe(inbox: Inbox) -> None:
    probes = Probes()
    async with group() as tasks:
        reader = ActivityReader(tell=inbox.tell, tasks=tasks, probe_for=probes)
        for nth, wanted in enumerate((("input",), ("input", "gpu"), ("input", "gpu")), start=1):
            reader.ask(wanted)
            await inbox.first(ActivityRead, nth)
    assert [probe.wanted for probe in probes.made] == [("input",), ("input", "gpu")]


async def test_this_machine_can_be_read(inbox: Inbox) -> None:
    async with group() as tasks:
        ActivityReader(tell=inbox.tell, tasks=tasks).ask(("battery",))
        read = await inbox.first(ActivityRead)
    assert read.activity.input_idle_s is None, "it was not asked for"
