"""How often a store is asked for one chunk, and who had better leave it to others."""

import threading
from collections.abc import Iterator

import pytest
from weights_origin import Origin, OriginStore, Reply, at_first

from poolhand.agent.weights.arrival import Arrival
from poolhand.agent.weights.asking import Asking, Surplus
from poolhand.agent.weights.plan import Chunk, Grid
from poolhand.agent.weights.ranges import RangeReader
from poolhand.agent.weights.source import Source
from poolhand.backends.stores.base import RemoteFile

DATA = bytes(range(256)) * 40
REMOTE = RemoteFile("a.bin", len(DATA), None, "a.bin")


class Ground:
    """One file in memory."""

    grid = Grid(1024, 4096)

    def __init__(self) -> None:
        self.bytes = bytearray(len(DATA))

    def put(self, file: int, view: memoryview, offset: int) -> None:
        self.bytes[offset : offset + len(view)] = view

    def size_bytes(self, file: int) -> int:
        return len(self.bytes)

    def arrived(self, file: int, block: int) -> None:
        pass

    def came(self, file: int, view: memoryview, offset: int, since: int) -> None:
        pass

    def wrote(self, count: int) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin({"a.bin": DATA}) as serving:
        serving.etags = False
        yield serving


def bring(origin: Origin, *, is_surplus: bool) -> tuple[Asking, Ground]:
    """Ask for the second chunk of the file."""
    store, ground = OriginStore(origin.port), Ground()
    buffer = memoryview(bytearray(1000))
    reader = RangeReader(model="m", store="s", stall_timeout_s=5.0, buffer=buffer)
    source = Source("m", "s", store.location, lambda: None, lambda: 0.0, 5.0)
    asking = Asking(source, threading.Event(), block_bytes=1024, is_surplus=lambda: is_surplus)
    arrival = Arrival(ground, Chunk(0, 4096, 8192), reader.interrupt)
    try:
        asking.bring(REMOTE, arrival, reader)
    finally:
        reader.close()
    return asking, ground


def test_who_is_refused_asks_again(origin: Origin) -> None:
    origin.fault = at_first(Reply(status=503))
    asking, ground = bring(origin, is_surplus=False)
    assert asking.refusals == 1
    assert ground.bytes[4096:8192] == DATA[4096:8192]


def test_who_is_refused_and_not_wanted_leaves_it_to_others(origin: Origin) -> None:
    """It would only take the turn of one who is wanted."""
    origin.fault = at_first(Reply(status=503))
    with pytest.raises(Surplus):
        _ = bring(origin, is_surplus=True)
    assert len(origin.ranges) == 1


def test_what_has_begun_to_come_is_gone_on_with(origin: Origin) -> None:
    def fault(number: int, _path: str, _asked: str) -> Reply | None:
        return (Reply(cut_bytes=1500), Reply(status=503), None)[number]

    origin.fault = fault
    _, ground = bring(origin, is_surplus=True)
    assert ground.bytes[4096:8192] == DATA[4096:8192]
    assert len(origin.ranges) == 3


def test_what_is_broken_is_no_refusal(origin: Origin) -> None:
    origin.fault = at_first(Reply(status=500))
    asking, _ = bring(origin, is_surplus=True)
    assert (asking.refusals, len(origin.ranges)) == (0, 2)
