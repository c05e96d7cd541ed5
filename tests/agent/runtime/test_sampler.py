"""Readings: in a thread, one at a time, and a fresh one for whoever asks meanwhile."""

import asyncio
import threading
from collections.abc import Mapping

from runtime_world import Inbox, group

from poolhand.agent.core.events import HostSampled
from poolhand.agent.runtime.sampler import Sampler
from poolhand.backends.engines.base import Load
from poolhand.backends.hosts.base import HostFacts, HostSample


class Probe:
    """A machine that is read when the test says so."""

    def __init__(self) -> None:
        self.readings = 0
        self.most_at_once = 0
        self.threads: set[int] = set()
        self._at_once = 0
        self.may_read = threading.Semaphore(0)
        self.is_reading = threading.Semaphore(0)

    def facts(self) -> HostFacts:
        return HostFacts("generic")

    def sample(self) -> HostSample:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.threads.add(threading.get_ident())
        self.is_reading.release()
        assert self.may_read.acquire(timeout=10)
        self.readings += 1
        self._at_once -= 1
        return HostSample(memory_total_bytes=self.readings)


def busy() -> Mapping[str, Load]:
    return {"m": Load(running=2)}


async def test_an_ask_is_answered_with_the_machine_and_the_engines(inbox: Inbox) -> None:
    probe = Probe()
    probe.may_read.release()
    async with group() as tasks:
        Sampler(probe, loads=busy, tell=inbox.tell, tasks=tasks).ask()
        sampled = await inbox.first(HostSampled)
    assert sampled == HostSampled(HostSample(memory_total_bytes=1), {"m": Load(running=2)})
    assert threading.get_ident() not in probe.threads


async def test_asks_during_a_reading_get_one_reading_of_their_own(inbox: Inbox) -> None:
    probe = Probe()
    async with group() as tasks:
        sampler = Sampler(probe, loads=busy, tell=inbox.tell, tasks=tasks)
        sampler.ask()
        await asyncio.to_thread(probe.is_reading.acquire)
        for _ in range(5):
            sampler.ask()
        probe.may_read.release(8)
        assert (await inbox.first(HostSampled, 2)).sample.memory_total_bytes == 2
        sampler.ask()
        assert (await inbox.first(HostSampled, 3)).sample.memory_total_bytes == 3
    assert probe.most_at_once == 1
    assert probe.readings == 3
