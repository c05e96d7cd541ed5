"""One stroke for all who wait, in a later beat than they began to wait in."""

import asyncio

from poolhand.agent.runtime.beat import Beat

EVERY_S = 0.02


async def test_whoever_waits_is_let_go_in_a_later_beat() -> None:
    beat = Beat(EVERY_S)
    for _ in range(5):
        begun = beat.number()
        await beat.next()
        assert beat.number() > begun


async def test_all_who_wait_are_let_go_by_one_stroke() -> None:
    beat = Beat(EVERY_S)
    turns: list[int] = []
    turn = 0

    async def wait() -> None:
        await beat.next()
        turns.append(turn)

    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(wait()) for _ in range(50)]
        while not all(task.done() for task in waiting):
            turn += 1
            await asyncio.sleep(0)
    assert max(turns) - min(turns) <= 1, "within one turn of the loop"


async def test_whoever_is_cancelled_leaves_the_others_waiting() -> None:
    beat = Beat(EVERY_S)
    async with asyncio.TaskGroup() as tasks:
        first, second = (tasks.create_task(beat.next()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()
    await beat.next()


async def test_nothing_strikes_for_nobody() -> None:
    beat = Beat(EVERY_S)
    begun = beat.number()
    await asyncio.sleep(EVERY_S * 3)
    assert beat.number() >= begun + 3
    before = beat.number()
    await beat.next()
    assert beat.number() - before <= 50, "a stroke comes soon, however long nobody waited"
