"""A task group that ends with its test, and an inbox to read events from."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn, TypeVar

from poolhand.agent.core.events import Event

T = TypeVar("T")


class Over(Exception):  # a test's way to end a task group
    """The test is over."""


class Inbox:
    """What was told, in order; a test waits for what it expects, and for nothing else."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._news = asyncio.Event()

    def tell(self, event: Event) -> None:
        self.all.append(event)
        self._news.set()

    async def hear(self, events: Sequence[Event]) -> None:
        for event in events:
            self.tell(event)

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.all if isinstance(event, kind)]

    async def first(self, kind: type[T], nth: int = 1) -> T:
        """The nth event of a kind, once it is there."""
        async with asyncio.timeout(20):
            while len(self.of(kind)) < nth:
                self._news.clear()
                await self._news.wait()
        return self.of(kind)[nth - 1]


@asynccontextmanager
async def group() -> AsyncGenerator[asyncio.TaskGroup]:
    """A task group that is ended as the daemon ends its own."""

    def end() -> NoReturn:
        raise Over

    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            end()
    except* Over:
        pass
