"""The one way in: whatever has happened waits here until the loop takes it.

Only the line may be made to wait. What the rooms tell is always taken: it is an end or a reading,
and there are no more of them than there was work.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from ..core.events import Due, Event, Heard

MOST_HEARD = 1024
"""Messages of the line that may wait before the line is read no further."""

MOST_AT_ONCE = 64
"""Events that are taken in one moment; then others have their turn."""


class Inbox:
    """Events in the order in which they came."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._came = asyncio.Event()
        self._heard = 0
        self._room = asyncio.Event()

    def tell(self, event: Event) -> None:
        """Put an event in."""
        self._events.append(event)
        self._came.set()

    async def hear(self, events: Sequence[Heard]) -> None:
        """Put in what comes off the line, which waits while much of it is waiting."""
        while self._heard >= MOST_HEARD:
            self._room.clear()
            await self._room.wait()
        self._heard += len(events)
        self._events.extend(events)
        self._came.set()

    async def next(self, patience_s: Callable[[], float]) -> list[Event]:
        """Take what has happened, as far as it is taken in one moment.

        What is here already is taken without a timer, after others have had their turn.

        Args:
            patience_s: How long to wait where nothing is here; then it is :class:`.Due`.
        """
        if self._events:
            await asyncio.sleep(0)
        else:
            self._came.clear()
            # no more than a timer: a timeout that may have to break off costs three times as much
            late = asyncio.get_running_loop().call_later(patience_s(), self._came.set)
            try:
                await self._came.wait()
            finally:
                late.cancel()
            if not self._events:
                return [Due()]
        taken = [self._events.popleft() for _ in range(min(len(self._events), MOST_AT_ONCE))]
        if self._heard:
            self._heard -= sum(isinstance(event, Heard) for event in taken)
            self._room.set()
        return taken
