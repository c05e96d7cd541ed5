"""One clock for all that is sent in beats: whoever waits, waits for the same stroke.

A timer for each answer would wake the loop, and write to the socket, once for each of them. So
there is one, and it runs only while somebody waits.
"""

import asyncio

_AFTER_S = 2e-4
"""A stroke comes this much after its beat has begun, so that no clock's rounding puts it before."""


class Beat:
    """Counts beats since the loop's clock began, and strikes when the next one has begun.

    Args:
        every_s: Seconds from one stroke to the next.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._waiting: list[asyncio.Future[None]] = []

    def number(self) -> int:
        """Which beat this is; it never goes back."""
        return int(asyncio.get_running_loop().time() / self._every_s)

    async def next(self) -> None:
        """Wait until another beat has begun."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_at((self.number() + 1) * self._every_s + _AFTER_S, self._strike)
        waiter = loop.create_future()
        self._waiting.append(waiter)
        await waiter

    def _strike(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
