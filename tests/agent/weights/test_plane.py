"""How a store is asked by threads that block, with an event loop and without."""

import asyncio
import threading

import pytest
from weights_origin import OriginStore

from poolhand.agent.weights.plane import Plane
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.backends.stores.loops import LoopWanted, has_loop, need_loop


class Loopless(OriginStore):
    """A store that needs no loop, or says so."""

    is_loopless = True


async def here() -> tuple[bool, int]:
    return has_loop(), threading.get_ident()


def test_a_store_that_needs_none_gets_no_loop() -> None:
    plane = Plane(Loopless(0))
    assert plane.ask(here) == (False, threading.get_ident())


def test_any_other_gets_one_and_the_same() -> None:
    plane = Plane(OriginStore(0))

    async def loop() -> int:
        return id(asyncio.get_running_loop())

    assert plane.ask(here)[0]
    assert plane.ask(loop) == plane.ask(loop)


def test_one_that_finds_out_half_way_is_asked_again() -> None:
    plane, asked = Plane(Loopless(0)), 0

    async def question() -> int:
        nonlocal asked
        asked += 1
        need_loop()
        return asked

    assert plane.ask(question) == 2
    assert plane.ask(question) == 3, "from then on it has a loop"


@pytest.mark.parametrize("store", [Loopless(0), OriginStore(0)])
def test_what_a_store_raises_is_raised(store: OriginStore) -> None:
    async def refuse() -> None:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        Plane(store).ask(refuse)


def test_a_store_that_waits_all_the_same_is_a_bug() -> None:
    class Waits:
        def __await__(self):  # noqa: ANN204  # the least that suspends
            yield

    async def wait() -> None:
        await Waits()

    with pytest.raises(RuntimeError, match="waits for one"):
        Plane(Loopless(0)).ask(wait)


def test_nobody_waits_for_ever() -> None:
    with pytest.raises(TimeoutError):
        _ = Plane(OriginStore(0)).ask(asyncio.Event().wait, timeout_s=0.05)


def test_many_threads_may_ask() -> None:
    plane, answers = Plane(OriginStore(0)), list[tuple[bool, int]]()

    def ask() -> None:
        answers.append(plane.ask(here))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_loop_wanted_is_no_failure() -> None:
    assert not issubclass(LoopWanted, OSError | ValueError)


class Busy:
    """Answers when it was asked often enough."""

    def __init__(self, refusals: int, *, is_busy: bool = True) -> None:
        self.refusals = refusals
        self.asked = 0
        self._is_busy = is_busy

    async def __call__(self) -> int:
        self.asked += 1
        if self.asked <= self.refusals:
            raise StoreUnreachable(store="s", reason="503", is_busy=self._is_busy)
        return self.asked


def test_a_store_that_is_busy_is_asked_again() -> None:
    assert Plane(Loopless(0), busy_s=60.0).ask(Busy(2)) == 3


@pytest.mark.parametrize(("busy_s", "is_busy"), [(0.0, True), (60.0, False)])
def test_one_that_is_not_or_shall_not_be_is_asked_once(*, busy_s: float, is_busy: bool) -> None:
    question = Busy(2, is_busy=is_busy)
    with pytest.raises(StoreUnreachable):
        _ = Plane(Loopless(0), busy_s=busy_s).ask(question)
    assert question.asked == 1


def test_whoever_is_patient_waits_for_one_that_is_away() -> None:
    question = Busy(2, is_busy=False)
    assert Plane(Loopless(0), busy_s=60.0).ask(question, is_patient=True) == 3
    with pytest.raises(StoreUnreachable):
        _ = Plane(Loopless(0), busy_s=0.0).ask(Busy(1, is_busy=False), is_patient=True)


def test_one_try_that_took_too_long_was_the_last() -> None:
    asked = 0

    async def question() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.06)
        raise StoreUnreachable(store="s", reason="no answer in time")

    with pytest.raises(StoreUnreachable):
        Plane(OriginStore(0), busy_s=0.05).ask(question, is_patient=True)
    assert asked == 1


def test_whoever_is_stopped_waits_for_nobody() -> None:
    stopped, question = threading.Event(), Busy(10**9)
    stopped.set()
    with pytest.raises(StoreUnreachable):
        _ = Plane(Loopless(0), busy_s=60.0, stopped=stopped).ask(question)
    assert question.asked == 1
