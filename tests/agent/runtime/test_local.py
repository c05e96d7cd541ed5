"""Local calls: lines in order, room, one end, and nobody left behind."""

import asyncio

import pytest
from runtime_world import Inbox

from poolhand.agent.core.events import RequestWithdrawn
from poolhand.agent.core.request_key import LOCAL, RequestKey
from poolhand.agent.runtime.local import ROOM_BYTES, Call, Local
from poolhand.agent.runtime.relay import Opened
from poolhand.config.refusals import NodeDraining

BODY = {"model": "alias", "messages": [{"role": "user", "content": "canary-1d"}]}


class Kept:
    """Whoever keeps opened requests."""

    def __init__(self) -> None:
        self.opened: dict[RequestKey, Opened] = {}

    def take(self, request: RequestKey, opened: Opened) -> None:
        self.opened[request] = opened


def asked(inbox: Inbox) -> tuple[Local, Kept, Call, RequestKey]:
    kept = Kept()
    local = Local(take=kept.take, tell=inbox.tell)
    call = local.ask("org/a", "chat", BODY)
    (request,) = kept.opened
    return local, kept, call, request


async def test_a_request_is_handed_on_under_a_number_of_its_own(inbox: Inbox) -> None:
    local, kept, call, request = asked(inbox)
    assert (request.line, request.id) == (LOCAL, call.id)
    assert kept.opened[request].body["model"] == "org/a"
    assert BODY["model"] == "alias", "whoever asked keeps what it has"
    assert local.ask("org/a", "chat", BODY).id != call.id
    assert local.ask("org/a", "text", BODY).id.startswith("cmpl-")
    assert "canary-1d" not in repr(kept.opened)


async def test_lines_come_in_order_and_then_the_end(inbox: Inbox) -> None:
    local, _, call, request = asked(inbox)
    for word in (b"one", b"two"):
        assert await call.carry(word)
    local.end(request, None)
    assert [line async for line in call] == [b"one", b"two"]
    await call.aclose()
    await call.aclose()
    assert inbox.all == [], "an answer that is over is not withdrawn"
    assert local.chunks == 2


async def test_what_was_said_is_read_before_the_error_is_told(inbox: Inbox) -> None:
    local, _, call, request = asked(inbox)
    await call.carry(b"half")
    local.end(request, NodeDraining())
    assert await anext(call) == b"half"
    with pytest.raises(NodeDraining):
        await anext(call)


async def test_a_reader_is_waited_for_and_one_who_leaves_is_not(inbox: Inbox) -> None:
    local, _, call, request = asked(inbox)
    carry = call.carry
    assert await carry(b"x" * ROOM_BYTES)
    waiting = asyncio.ensure_future(carry(b"more"))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await anext(call) == b"x" * ROOM_BYTES
    assert await waiting
    assert await anext(call) == b"more"
    assert await carry(b"y" * ROOM_BYTES)
    stuck = asyncio.ensure_future(carry(b"z"))
    await asyncio.sleep(0)
    await call.aclose()
    assert await stuck is False
    assert inbox.all == [RequestWithdrawn(request)]
    local.end(request, None)  # its end comes late, and means nothing


async def test_an_end_waits_for_whoever_still_reads_but_not_for_ever(inbox: Inbox) -> None:
    local, _, call, _ = asked(inbox)
    await local.settled(0.01)
    settling = asyncio.ensure_future(local.settled(20))
    await asyncio.sleep(0)
    assert not settling.done()
    await call.aclose()
    await settling
