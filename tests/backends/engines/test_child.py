"""The supervised process: its environment, its log, its end."""

import asyncio
import sys
import time

import pytest

from poolhand.backends.engines.child import TAIL_BYTES, Child, clean_environment


class Heard:
    """A listener that keeps everything."""

    def __init__(self) -> None:
        self.data = b""
        self.exits: list[int | None] = []
        self._came = asyncio.Event()

    def heard(self, data: bytes) -> None:
        self.data += data
        self._came.set()

    async def until(self, data: bytes) -> None:
        """Wait for exactly this, from its beginning on."""
        async with asyncio.timeout(20):
            while len(self.data) < len(data):
                self._came.clear()
                await self._came.wait()
        assert self.data == data

    def gone(self, exit_code: int | None) -> None:
        self.exits.append(exit_code)


def program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", "import os, socket, sys, time\nfd = int(sys.argv[1])\n" + text)


def test_the_environment_is_built_from_nothing() -> None:
    made = clean_environment(
        {"PATH": "/bin", "HOME": "/h", "AWS_SECRET_ACCESS_KEY": "k", "HF_TOKEN": "t", "X": "y"}
    )
    assert made["PATH"] == "/bin"
    assert made["HOME"] == "/h"
    assert not {"AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "X"} & set(made)
    assert made["HF_HUB_OFFLINE"] == made["TRANSFORMERS_OFFLINE"] == "1"


async def test_all_it_said_is_heard_before_its_end_is_told() -> None:
    heard = Heard()
    child = Child(program("os.write(fd, b'x' * 100_000)\nsys.exit(4)"), heard)
    await child.start()
    assert await child.stop([b"bye"], patience_s=10) is False
    assert (len(heard.data), heard.exits, child.exit_code) == (100_000, [4], 4)


async def test_only_the_end_of_its_log_is_kept() -> None:
    child = Child(program("sys.stderr.write('a' * 50_000 + ' the end')"), Heard())
    await child.start()
    await child.stop([b"bye"], patience_s=10)
    assert child.log_tail.endswith("the end")
    assert len(child.log_tail) == TAIL_BYTES


async def test_one_that_is_not_asked_is_told() -> None:
    heard = Heard()
    child = Child(program("time.sleep(60)"), heard)
    await child.start()
    assert await child.stop([], patience_s=10) is False
    assert heard.exits == [-15]
    assert await child.stop([], patience_s=10) is False


async def test_a_child_that_never_was_stops_at_once() -> None:
    child = Child(("/no/such/program",), Heard())
    with pytest.raises(OSError, match="/no/such/program"):
        await child.start()
    assert child.pid is None
    assert await child.stop([b"bye"], patience_s=10) is False


async def test_what_it_started_ends_with_it() -> None:
    # a grandchild holds the socket open; the session is killed with it
    text = "os.set_inheritable(fd, True)\nif os.fork():\n    time.sleep(60)\ntime.sleep(60)"
    heard = Heard()
    child = Child(program(text), heard)
    await child.start()
    child.kill()
    await child.stop([], patience_s=10)
    assert heard.exits == [-9]


async def test_what_is_said_in_one_turn_comes_in_one_piece_and_in_order() -> None:
    heard = Heard()
    reads = "for _ in range(2):\n    os.write(fd, os.read(fd, 99) + b';')\n"
    child = Child(program(f"os.write(fd, b'?')\n{reads}"), heard)
    await child.start()
    await heard.until(b"?")
    for frame in (b"one ", b"two ", b"three"):
        child.say(frame)
        time.sleep(0.05)  # noqa: ASYNC251  # the turn goes on, and a child could read meanwhile
    await heard.until(b"?one two three;")
    child.say(b"more")
    await heard.until(b"?one two three;more;")
    await child.stop([b"bye"], patience_s=10)
    child.say(b"to nobody")
    await asyncio.sleep(0)
