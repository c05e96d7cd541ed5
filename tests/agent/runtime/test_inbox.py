"""Whatever happened comes out in its order, and only the line is made to wait."""

import asyncio

import pytest

from poolhand.agent.core.events import Due, Heard, RequestWithdrawn
from poolhand.agent.core.request_key import RequestKey
from poolhand.agent.runtime.inbox import MOST_AT_ONCE, MOST_HEARD, Inbox
from poolhand.agent.wire.inbound import Cancel


def heard(count: int) -> list[Heard]:
    return [Heard(1, Cancel(request_id=str(nth))) for nth in range(count)]


def never() -> float:
    pytest.fail("there is something to be taken")


async def test_a_moment_in_which_nothing_comes_is_due() -> None:
    assert await Inbox().next(lambda: 0.0) == [Due()]


async def test_what_comes_ends_the_wait() -> None:
    inbox, event = Inbox(), RequestWithdrawn(RequestKey(0, "a"))
    asyncio.get_running_loop().call_soon(inbox.tell, event)
    assert await inbox.next(lambda: 60.0) == [event]


async def test_so_many_are_taken_at_once_and_in_their_order() -> None:
    inbox, told = Inbox(), heard(2 * MOST_AT_ONCE + 1)
    await inbox.hear(told)
    taken = [await inbox.next(never) for _ in range(3)]
    assert [len(each) for each in taken] == [MOST_AT_ONCE, MOST_AT_ONCE, 1]
    assert [event for each in taken for event in each] == told


async def test_others_have_their_turn_between_two_moments() -> None:
    inbox, turns = Inbox(), list[str]()
    await inbox.hear(heard(MOST_AT_ONCE))
    asyncio.get_running_loop().call_soon(turns.append, "other")
    await inbox.next(never)
    assert turns == ["other"]


async def test_the_line_waits_while_much_is_waiting_and_nobody_else_does() -> None:
    inbox, withdrawn = Inbox(), RequestWithdrawn(RequestKey(0, "a"))
    await inbox.hear(heard(MOST_HEARD))
    async with asyncio.TaskGroup() as tasks:
        more = tasks.create_task(inbox.hear(heard(1)))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not more.done()
        inbox.tell(withdrawn)
        assert len(await inbox.next(never)) == MOST_AT_ONCE
        await more
    rest = list[object]()
    while len(rest) < MOST_HEARD - MOST_AT_ONCE + 2:
        rest += await inbox.next(never)
    assert withdrawn in rest
    assert await inbox.next(lambda: 0.0) == [Due()]
