"""What waits to be sent: order within a lane, room, and nobody left waiting."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.agent.runtime.lanes import MOST_FRAMES, Lanes


async def drained(lanes: Lanes) -> list[str]:
    lanes.shut()
    frames: list[str] = []
    while (frame := await lanes.take()) is not None:
        frames.append(frame)
    return frames


async def test_a_heartbeat_never_waits_behind_chunks() -> None:
    lanes = Lanes()
    assert await lanes.put_chunk("chunk")
    lanes.put("heartbeat")
    assert await drained(lanes) == ["heartbeat", "chunk"]


async def test_an_end_never_overtakes_a_chunk() -> None:
    lanes = Lanes(room_bytes=1)
    assert await lanes.put_chunk("chunk")
    lanes.put("end", after_chunks=True)
    assert await drained(lanes) == ["chunk", "end"]


async def test_a_full_lane_makes_the_next_writer_wait_and_one_take_lets_one_go() -> None:
    lanes = Lanes(room_bytes=5)
    assert await lanes.put_chunk("first")
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(lanes.put_chunk(f"more{i}")) for i in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        assert await lanes.take() == "first"
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.done() for task in waiting] == [True, False, False]
        assert await lanes.take() == "more0"
        assert await lanes.take() == "more1"
        assert await lanes.take() == "more2"


async def test_shutting_lets_writers_go_empty_handed() -> None:
    lanes = Lanes(room_bytes=1)
    assert await lanes.put_chunk("first")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(lanes.put_chunk("second"))
        await asyncio.sleep(0)
        lanes.shut(drop=True)
        assert await waiting is False
    assert await lanes.take() is None


async def test_what_waits_is_sent_after_a_polite_shut_and_nothing_new_is_taken() -> None:
    lanes = Lanes()
    lanes.put("last")
    lanes.shut()
    lanes.put("late")
    assert await lanes.put_chunk("late") is False
    assert await lanes.take() == "last"
    assert await lanes.take() is None


async def test_a_taker_that_waits_is_woken() -> None:
    lanes = Lanes()
    async with asyncio.TaskGroup() as tasks:
        taker = tasks.create_task(lanes.take())
        await asyncio.sleep(0)
        lanes.put("frame")
        assert await taker == "frame"
        taker = tasks.create_task(lanes.take())
        await asyncio.sleep(0)
        lanes.shut()
        assert await taker is None


async def test_a_peer_that_asks_and_does_not_read_is_not_listened_to() -> None:
    lanes = Lanes()
    for _ in range(MOST_FRAMES + 1):
        lanes.put("refusal", after_chunks=True)
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(lanes.calm())
        await asyncio.sleep(0)
        assert not reader.done()
        await lanes.take()
        await lanes.take()
        await reader


async def test_a_crowded_lane_that_is_shut_lets_the_reader_go() -> None:
    lanes = Lanes()
    for _ in range(MOST_FRAMES + 1):
        lanes.put("refusal")
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
        named = [(kind, f"{kind}{at}".ljust(size, ".")) for at, (kind, size) in enumerate(items)]

        async def write() -> None:
            for kind, frame in named:
                if kind == "chunk":
                    assert await lanes.put_chunk(frame)
                else:
                    lanes.put(frame, after_chunks=kind == "end")
            lanes.shut()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            seen: list[str] = []
            while (frame := await lanes.take()) is not None:
                seen.append(frame)
        control = [frame for kind, frame in named if kind == "control"]
        ordered = [frame for kind, frame in named if kind != "control"]
        assert [frame for frame in seen if frame.startswith("control")] == control
        assert [frame for frame in seen if not frame.startswith("control")] == ordered

    asyncio.run(law())
