"""What waits to be sent: order within a lane, room, and nobody left waiting."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.agent.runtime.lanes import MOST_FRAMES, Lanes


def drained(lanes: Lanes) -> list[bytes]:
    lanes.shut()
    return lanes.take(2**20)


async def test_a_heartbeat_never_waits_behind_chunks() -> None:
    lanes = Lanes()
    assert await lanes.put_chunk(b"chunk")
    lanes.put(b"heartbeat")
    assert drained(lanes) == [b"heartbeat", b"chunk"]


async def test_an_end_never_overtakes_a_chunk() -> None:
    lanes = Lanes(room_bytes=1)
    assert await lanes.put_chunk(b"chunk")
    lanes.put(b"end", after_chunks=True)
    assert drained(lanes) == [b"chunk", b"end"]


async def test_a_full_lane_makes_the_next_writer_wait_and_one_take_lets_one_go() -> None:
    lanes = Lanes(room_bytes=5)
    assert await lanes.put_chunk(b"first")
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(lanes.put_chunk(b"more%d" % i)) for i in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        assert lanes.take(1) == [b"first"]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.done() for task in waiting] == [True, False, False]
        assert lanes.take(1) == [b"more0"]
        await asyncio.wait(waiting[1:], return_when=asyncio.FIRST_COMPLETED)
        assert lanes.take(1) == [b"more1"]
        await asyncio.wait(waiting)
        assert lanes.take(1) == [b"more2"]


async def test_shutting_lets_writers_go_empty_handed() -> None:
    lanes = Lanes(room_bytes=1)
    assert await lanes.put_chunk(b"first")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(lanes.put_chunk(b"second"))
        await asyncio.sleep(0)
        lanes.shut(drop=True)
        assert await waiting is False
    assert lanes.is_over


async def test_what_waits_is_sent_after_a_polite_shut_and_nothing_new_is_taken() -> None:
    lanes = Lanes()
    lanes.put(b"last")
    lanes.shut()
    lanes.put(b"late")
    assert await lanes.put_chunk(b"late") is False
    assert lanes.take(1) == [b"last"]
    assert lanes.is_over


async def test_whoever_listens_is_told_once_a_turn_and_of_the_end() -> None:
    lanes, told = Lanes(), list[int]()
    lanes.put(b"before anybody listened")
    lanes.told = lambda: told.append(len(lanes))
    await asyncio.sleep(0)
    assert not told
    lanes.put(b"one")
    lanes.put_chunk_now(b"two")
    assert not told
    await asyncio.sleep(0)
    assert told == [3]
    lanes.shut()
    await asyncio.sleep(0)
    assert told == [3, 3]


def test_nobody_needs_a_loop_to_shut_what_nobody_listens_to() -> None:
    lanes = Lanes()
    lanes.shut()
    assert lanes.is_over
    assert not lanes.has_room
    assert lanes.chunks == 0


async def test_a_peer_that_asks_and_does_not_read_is_not_listened_to() -> None:
    lanes = Lanes()
    for _ in range(MOST_FRAMES + 1):
        lanes.put(b"refusal", after_chunks=True)
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(lanes.calm())
        await asyncio.sleep(0)
        assert not reader.done()
        assert len(lanes.take(1) + lanes.take(1)) == 2
        await reader


async def test_a_crowded_lane_that_is_shut_lets_the_reader_go() -> None:
    lanes = Lanes()
    for _ in range(MOST_FRAMES + 1):
        lanes.put(b"refusal")
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(lanes.calm())
        await asyncio.sleep(0)
        lanes.shut()
        await reader


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["control", "end", "chunk"]), st.integers(1, 40))),
    st.integers(1, 64),
)
def test_nothing_is_lost_and_each_lane_keeps_its_order(
    items: list[tuple[str, int]], room_bytes: int
) -> None:
    async def law() -> None:
        lanes = Lanes(room_bytes=room_bytes)
        named = [
            (kind, f"{kind}{at}".ljust(size, ".").encode()) for at, (kind, size) in enumerate(items)
        ]

        async def write() -> None:
            for kind, frame in named:
                if kind == "chunk":
                    assert await lanes.put_chunk(frame)
                else:
                    lanes.put(frame, after_chunks=kind == "end")
            lanes.shut()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            seen: list[bytes] = []
            while not lanes.is_over:
                seen += lanes.take(1)
                await asyncio.sleep(0)
        control = [frame for kind, frame in named if kind == "control"]
        ordered = [frame for kind, frame in named if kind != "control"]
        assert [frame for frame in seen if frame.startswith(b"control")] == control
        assert [frame for frame in seen if not frame.startswith(b"control")] == ordered

    asyncio.run(law())
