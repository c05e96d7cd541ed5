"""A thread at the other end: heard to its last byte, asked to leave, hung up on."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from poolhand.backends.engines.child import TAIL_BYTES
from poolhand.backends.engines.frames import encode
from poolhand.backends.engines.inthread import InThread, Work
from poolhand.backends.engines.messages import AskStats, Progress, Quit, Tick
from poolhand.backends.engines.pipe import Pipe

Note = Callable[[str], None]


class Heard:
    """A listener that keeps everything."""

    def __init__(self) -> None:
        self.data = b""
        self.exits: list[int | None] = []
        self.thread = threading.get_ident()

    def heard(self, data: bytes) -> None:
        assert threading.get_ident() == self.thread
        self.data += data

    def gone(self, exit_code: int | None) -> None:
        assert threading.get_ident() == self.thread
        self.exits.append(exit_code)


def polite(pipe: Pipe, note: Note) -> int:
    """Leaves when it is asked to, or when nobody is there."""
    pipe.say(Tick())
    while not pipe.is_closed:
        if Quit() in pipe.exchange(0.01):
            note("asked to leave")
            return 0
    note("nobody is there")
    return 3


async def until_gone(heard: Heard) -> None:
    async with asyncio.timeout(10):
        while not heard.exits:  # noqa: ASYNC110 - the listener has no event
            await asyncio.sleep(0.005)


async def started(work: Work) -> tuple[InThread, Heard]:
    heard = Heard()
    other = InThread(work, heard)
    await other.start()
    return other, heard


async def test_one_that_is_asked_leaves_and_is_heard_out() -> None:
    other, heard = await started(polite)
    assert other.exit_code is None
    assert other.pid is None
    assert await other.stop([encode(Quit())], patience_s=10) is False
    assert (heard.data, heard.exits, other.exit_code) == (encode(Tick()), [0], 0)
    assert other.log_tail == "asked to leave"
    other.say(encode(Quit()))
    assert await other.stop([encode(Quit())], patience_s=10) is False


async def test_all_it_said_is_heard_before_its_end_is_told() -> None:
    def talkative(pipe: Pipe, _note: Note) -> int:
        for at in range(20_000):
            pipe.say(Progress(at, 20_000))
        pipe.drain(10)
        return 0

    other, heard = await started(talkative)
    await until_gone(heard)
    assert len(heard.data) == sum(len(encode(Progress(at, 20_000))) for at in range(20_000))
    await other.stop([], patience_s=1)


async def test_one_that_is_not_asked_is_hung_up_on() -> None:
    other, heard = await started(polite)
    assert await other.stop([], patience_s=10) is True
    assert (heard.exits, other.log_tail) == ([3], "nobody is there")


async def test_one_that_does_not_listen_is_waited_for() -> None:
    let_go = threading.Event()

    def deaf(_pipe: Pipe, _note: Note) -> int:
        let_go.wait(20)
        return 0

    other, heard = await started(deaf)
    stopping = asyncio.create_task(other.stop([encode(Quit())], patience_s=0.05))
    await asyncio.sleep(0.2)
    assert not stopping.done(), "its memory is not back"
    let_go.set()
    assert await stopping is True
    assert heard.exits == [0]


async def test_a_stop_that_is_cancelled_hangs_up() -> None:
    other, heard = await started(polite)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await other.stop([encode(AskStats())], patience_s=60)
    await until_gone(heard)
    assert heard.exits == [3]


async def test_an_error_ends_it_and_tells_its_place_and_none_of_its_words() -> None:
    def broken(_pipe: Pipe, _note: Note) -> int:
        raise ValueError("a secret")  # noqa: EM101, TRY003 - as a library would

    other, heard = await started(broken)
    await until_gone(heard)
    assert heard.exits == [1]
    assert other.log_tail.startswith("ValueError at test_inthread.py:")
    assert "secret" not in other.log_tail
    assert await other.stop([], patience_s=1) is False


async def test_only_the_end_of_its_log_is_kept() -> None:
    def wordy(_pipe: Pipe, note: Note) -> int:
        for _ in range(10):
            note("a" * TAIL_BYTES)
        note(" the end")
        return 0

    other, heard = await started(wordy)
    await until_gone(heard)
    assert other.log_tail.endswith("the end")
    assert len(other.log_tail) == TAIL_BYTES
    await other.stop([], patience_s=1)


async def test_one_that_is_not_listened_to_waits_and_its_end_is_still_told() -> None:
    said: list[float] = []

    def talkative(pipe: Pipe, _note: Note) -> int:
        while pipe.backlog_bytes < 2**20 and not pipe.is_closed:
            pipe.say(Tick())
            said.append(time.monotonic())
        return 0

    heard = Heard()
    other = InThread(talkative, heard)
    await other.start()
    other.listen(to_more=False)
    await until_gone(heard)
    assert heard.exits == [0]
    assert said
    await other.stop([], patience_s=1)


async def test_one_that_never_was_stops_at_once() -> None:
    other = InThread(polite, Heard())
    other.kill()
    other.listen(to_more=True)
    assert await other.stop([encode(Quit())], patience_s=10) is False
