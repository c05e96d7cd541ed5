"""Runs stores' coroutines, beside an event loop or without one.

Importing an event loop takes longer than listing a model. So coroutines of a store that needs
no client of a library run without: nothing here imports ``asyncio`` unless it is there already.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:  # see above
    import asyncio

P = ParamSpec("P")
T = TypeVar("T")


class LoopWanted(Exception):  # not a failure: the same is asked again
    """A store found out half-way that it needs an event loop after all."""


def has_loop() -> bool:
    """Whether an event loop runs in this thread."""
    if "asyncio" not in sys.modules:
        return False
    import asyncio  # noqa: PLC0415  # it is there already

    try:
        _ = asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def need_loop() -> "asyncio.AbstractEventLoop":
    """Go on only beside a loop, which is returned.

    Raises:
        LoopWanted: None runs here.
    """
    if not has_loop():
        raise LoopWanted
    import asyncio  # noqa: PLC0415  # it is there already

    return asyncio.get_running_loop()


async def beside(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Do blocking work beside the loop; at once where none runs."""
    if not has_loop():
        return work(*args, **named)
    import asyncio  # noqa: PLC0415  # it is there already

    return await asyncio.to_thread(work, *args, **named)


def within(limit_s: float) -> AbstractAsyncContextManager[object]:
    """A time limit of the loop's; where none runs, whoever blocks has limits of its own."""
    if not has_loop():
        return nullcontext()
    import asyncio  # noqa: PLC0415  # it is there already

    return asyncio.timeout(limit_s)
