"""The machine and the engines, read when the core asks.

Reading blocks, so it happens in a thread, one reading at a time. An ask that comes during a
reading gets a reading of its own: what was read before a model left does not show it gone.
"""

import asyncio
from collections.abc import Callable, Mapping

from ...backends.engines.base import Load
from ...backends.hosts.base import HostProbe
from ..core.events import Event, HostSampled


class Sampler:
    """Turns asks into :class:`HostSampled` events.

    Args:
        probe: Reads the machine.
        loads: How busy each running engine is.
        tell: Puts an event into the inbox.
        tasks: Parent of the readings.
    """

    def __init__(
        self,
        probe: HostProbe,
        *,
        loads: Callable[[], Mapping[str, Load]],
        tell: Callable[[Event], None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._probe = probe
        self._loads = loads
        self._tell = tell
        self._tasks = tasks
        self._reading: asyncio.Task[None] | None = None
        self._is_asked_again = False

    def ask(self) -> None:
        """Read as soon as the reading that runs, if any, is over."""
        if self._reading is not None and not self._reading.done():
            self._is_asked_again = True
            return
        self._reading = self._tasks.create_task(self._read(), name="sampler")

    async def _read(self) -> None:
        while True:
            self._is_asked_again = False
            sample = await asyncio.to_thread(self._probe.sample)
            self._tell(HostSampled(sample, self._loads()))
            if not self._is_asked_again:
                return
