"""Whether the machine's owner needs it, read when the core asks.

Reading runs the system's tools, so it happens in a thread, one reading at a time. The probe is
made at the first ask: whoever heeds nobody pays nothing.
"""

import asyncio
import sys
from collections.abc import Callable, Collection

from ...backends.hosts.base import ActivityProbe
from ...backends.hosts.catalog import activity_for
from ..core.events import ActivityRead, Event


class ActivityReader:
    """Turns asks into :class:`ActivityRead` events.

    Args:
        tell: Puts an event into the inbox.
        tasks: Parent of the readings.
        probe_for: Chooses the probe that reads these signs; called in a thread.
    """

    def __init__(
        self,
        *,
        tell: Callable[[Event], None],
        tasks: asyncio.TaskGroup,
        probe_for: Callable[[Collection[str]], ActivityProbe] | None = None,
    ) -> None:
        self._tell = tell
        self._tasks = tasks
        self._probe_for = probe_for or _this_machines
        self._probe: ActivityProbe | None = None
        self._wanted: Collection[str] = ()
        self._reading: asyncio.Task[None] | None = None

    def ask(self, wanted: Collection[str]) -> None:
        """Read these signs; an ask that comes while a reading runs is answered by that one."""
        if self._reading is None or self._reading.done():
            self._reading = self._tasks.create_task(self._read(wanted), name="activity")

    async def _read(self, wanted: Collection[str]) -> None:
        if self._probe is None or wanted != self._wanted:
            self._probe = await asyncio.to_thread(self._probe_for, wanted)
            self._wanted = wanted
        self._tell(ActivityRead(await asyncio.to_thread(self._probe.read)))


def _this_machines(wanted: Collection[str]) -> ActivityProbe:
    return activity_for(sys.platform, wanted)
