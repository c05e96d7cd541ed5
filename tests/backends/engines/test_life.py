"""An engine's way from start to end, told to its life alone."""

import asyncio

from poolhand.backends.engines.errors import (
    EngineDied,
    EngineError,
    EngineNotRunning,
    EngineTimeout,
)
from poolhand.backends.engines.life import Life

DIED = EngineDied(engine="e", exit_code=7)


def life() -> tuple[Life, list[EngineError]]:
    told: list[EngineError] = []
    return Life("e", ended=told.append), told


async def test_from_its_start_to_its_stop() -> None:
    made, told = life()
    assert (made.is_new, made.is_loading, made.is_running) == (True, False, False)
    assert isinstance(made.error, EngineNotRunning)
    made.begin()
    assert (made.is_new, made.is_loading, made.is_running) == (False, True, False)
    made.run()
    assert (made.is_loading, made.is_running) == (False, True)
    made.stop()
    assert (made.is_running, made.is_over.is_set(), made.death) == (False, True, None)
    assert isinstance(made.error, EngineNotRunning)
    assert told == []


async def test_it_ends_once_and_a_stop_that_follows_does_not_hide_why() -> None:
    made, told = life()
    made.end(DIED)
    assert (told, made.is_over.is_set()) == ([], False), "nothing was there to end"
    made.begin()
    made.run()
    made.end(DIED)
    made.end(EngineDied(engine="e", exit_code=8))
    assert (told, made.death, made.error) == ([DIED], DIED, DIED)
    made.stop()
    assert made.death is DIED
    assert isinstance(made.error, EngineNotRunning)


async def test_a_start_that_is_given_up_says_why() -> None:
    made, told = life()
    made.begin()
    late = EngineTimeout(engine="e", waited_s=1)
    assert made.fail(late) is late
    assert (made.error, told, made.is_over.is_set()) == (late, [], False)


async def test_one_that_gives_no_sign_of_life_is_ended() -> None:
    made, told = life()
    made.begin()
    made.run()
    made.watch(0.2, is_due=lambda: True)
    async with asyncio.timeout(20):
        await made.is_over.wait()
    (error,) = told
    assert isinstance(error, EngineTimeout)


async def test_one_of_which_none_is_expected_is_left_alone_and_a_stop_ends_the_watch() -> None:
    made, told = life()
    made.begin()
    made.run()
    looks = 0
    enough = asyncio.Event()

    def is_due() -> bool:
        nonlocal looks
        looks += 1
        if looks == 8:
            enough.set()
        return False

    made.watch(0.04, is_due=is_due)
    async with asyncio.timeout(20):
        await enough.wait()
    assert told == []
    made.stop()
    seen = looks
    await asyncio.sleep(0.05)
    assert looks == seen
