"""Coroutines beside an event loop, and without one."""

import asyncio
import subprocess
import sys
import threading

import pytest

from poolhand.backends.stores.loops import LoopWanted, beside, has_loop, need_loop, within


async def test_beside_a_loop_work_blocks_nobody() -> None:
    assert has_loop()
    need_loop()
    assert await beside(threading.get_ident) != threading.get_ident()
    with pytest.raises(TimeoutError):
        async with within(0.01):
            _ = await asyncio.Event().wait()


def test_without_one_it_is_done_at_once() -> None:
    assert not has_loop()
    with pytest.raises(LoopWanted):
        need_loop()

    async def work() -> int:
        async with within(0.0):
            return await beside(threading.get_ident)

    with pytest.raises(StopIteration) as done:
        _ = work().send(None)
    assert done.value.value == threading.get_ident()


PROGRAM = """
import sys
from poolhand.backends.stores.loops import beside, has_loop, need_loop, within
try:
    need_loop()
except Exception as error:
    print(type(error).__name__, has_loop(), "asyncio" in sys.modules)
"""


def test_to_find_out_costs_no_import() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)  # noqa: S603  # fixed words
    assert done.stdout.split() == [b"LoopWanted", b"False", b"False"]
