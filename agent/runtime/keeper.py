"""Keeps the cache folder in its bounds and in order.

Before a fetch, room is made for all of it; afterwards, and every hour, whoever is beyond the
bounds leaves, orphans are collected, and the build whose last whole reading is too long ago
is read again, slowly. Work on files is done in threads; what comes of it is told as a survey.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from ...backends.stores.base import Damage, Survey
from ...backends.stores.errors import DiskFailed, ModelMissing
from ...config.errors import AgentError
from ...config.settings import Settings
from ..core.events import CacheSurveyed, Event
from ..core.wanted import Wanted
from ..weights import shelves
from ..weights.cache import Cache
from ..weights.digests import Interrupted
from ..weights.repair import set_aside
from ..weights.scrub import Scrubbed, Throttle, due, read_s, scrub
from ..weights.settle import settle
from ..weights.verify import read_record

EVERY_S = 3600.0
"""How often it looks without being asked; in between nothing happens to a cache by itself."""

ORPHAN_S = 7 * 86400.0
"""A build that no entry names stays so long after its last use: a person may have fetched it."""

_LAST_GONE = 16
_MIB = 2**20


class Keeper:
    """One cache folder and its bounds.

    Args:
        settings: What is offered, and ``[cache]``.
        cache: The folder.
        wanted: Which models have to stay now, and which are read or written.
        tell: Puts an event into the inbox.
        changed: Called when a build turned out to be damaged and is one no more.
    """

    def __init__(
        self,
        settings: Settings,
        cache: Cache,
        *,
        wanted: Callable[[], Wanted],
        tell: Callable[[Event], None],
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._wanted = wanted
        self._tell = tell
        self._changed = changed
        self._room = asyncio.Lock()
        self._promised: dict[str, int] = {}
        self._left: deque[str] = deque(maxlen=_LAST_GONE)
        self._news: list[str] = []
        self._damaged: dict[str, Damage] = {}
        self._wake = asyncio.Event()
        self._reading: tuple[str, threading.Event] | None = None

    @contextmanager
    def promise(self, model: str, size_bytes: int) -> Generator[None]:
        """Count a build's size as taken while it is on its way."""
        self._promised[model] = size_bytes
        try:
            yield
        finally:
            del self._promised[model]
            self.wake()

    async def make_room(self, model: str, size_bytes: int) -> None:
        """Let unused builds leave until this one fits; inside its :meth:`promise`.

        Raises:
            CacheFull: It does not fit whoever leaves; nobody has left.
            OSError: The folder cannot be used.
        """
        async with self._room:
            gone = await asyncio.to_thread(
                shelves.make_room,
                self._cache,
                model,
                size_bytes,
                settings=self._settings.cache,
                protected=self._protected(),
                promised={name: size for name, size in self._promised.items() if name != model},
            )
        self._gone(gone)

    async def used(self, model: str) -> None:
        """A build is being loaded: remember it as used now."""
        await asyncio.to_thread(shelves.touch, self._cache, model)

    def leave_alone(self, model: str) -> None:
        """Stop reading a build that is going to be written or checked."""
        if self._reading is not None and self._reading[0] == model:
            self._reading[1].set()

    def resettle(self, settings: Settings) -> None:
        """Other bounds hold from now on, and others are offered."""
        self._settings = settings
        self.wake()

    def wake(self) -> None:
        """Something changed: look at the bounds soon."""
        self._wake.set()

    async def keep(self) -> None:
        """Look after the cache until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._tidy()
                _ = await asyncio.to_thread(settle, self._cache)
                await self._read_due()
            except OSError as error:
                reason = error.strerror or type(error).__name__
                failed = DiskFailed(path=str(self._cache.models), reason=reason)
                self._tell(CacheSurveyed(None, error=failed))
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _tidy(self) -> None:
        """Hold the bounds, and say how things are."""
        async with self._room:
            for model in self._beside(self._wanted().here):
                await self.used(model)
            gone = await asyncio.to_thread(
                shelves.prune,
                self._cache,
                settings=self._settings.cache,
                known=self._beside(entry.id for entry in self._settings.models),
                protected=self._protected(),
                orphaned_before_s=time.time() - ORPHAN_S,
            )
        self._gone(gone)
        await self._survey()

    async def _read_due(self) -> None:
        """Read whole, one after the other, what was not read for too long."""
        interval_days = self._settings.cache.scrub_interval_days
        folders = await asyncio.to_thread(
            due, self._cache, interval_days=interval_days, now_s=time.time()
        )
        for folder in folders:
            record = await asyncio.to_thread(read_record, folder)
            if record is not None and self._may_read(record.model):
                await self._read(record.model, folder)

    def _may_read(self, model: str) -> bool:
        """Whether a reading would tell anything new, and disturb nobody."""
        is_here = model in self._wanted().here
        is_told = model in self._damaged and is_here
        return not is_told and model not in self._promised

    async def _read(self, model: str, folder: Path) -> None:
        is_over = threading.Event()
        self._reading = (model, is_over)
        await self._survey()
        try:
            found = await asyncio.to_thread(
                scrub,
                folder,
                model=model,
                throttle=Throttle(self._settings.cache.scrub_mib_s * _MIB, pause=_pause(is_over)),
                is_stopped=is_over.is_set,
            )
        except (Interrupted, ModelMissing):
            return
        finally:
            is_over.set()  # a thread cannot be cancelled: it is told, and ends by itself
            self._reading = None
        await self._judge(model, folder, found)
        await self._survey()

    async def _judge(self, model: str, folder: Path, found: Scrubbed) -> None:
        _ = self._damaged.pop(model, None)
        if not found.bad or await asyncio.to_thread(read_record, folder) != found.record:
            return  # clean, or another build by now
        files = tuple(one.path for one in found.bad)
        is_free = model not in self._wanted().here and model not in self._promised
        is_mending = is_free and found.record.folder is None
        if is_mending:
            chunk_bytes = self._settings.weights.chunk_bytes
            try:
                await asyncio.to_thread(
                    set_aside, self._cache, model, found.record, found.bad, chunk_bytes=chunk_bytes
                )
            except AgentError:
                is_mending = False  # somebody is writing there
        self._damaged[model] = Damage(model, files, is_mending)
        if is_mending:
            self._changed()

    def _protected(self) -> frozenset[str]:
        return self._beside(self._wanted().kept).union(self._promised)

    def _beside(self, models: Iterable[str]) -> frozenset[str]:
        """Models, and the adapters that come and go with them."""
        asked = frozenset(models)
        mine = [entry for entry in self._settings.models if entry.id in asked]
        return asked.union(one.name for entry in mine for one in entry.adapters)

    def _gone(self, folders: Collection[str]) -> None:
        self._left.extend(folders)
        self._news += folders
        if folders:
            self._changed()

    async def _survey(self) -> None:
        scrubbing = None if self._reading is None else self._reading[0]
        told = (tuple(self._left), scrubbing, tuple(self._damaged.values()))
        survey = await asyncio.to_thread(self._look, *told)
        news, self._news = " ".join(self._news), []
        self._tell(CacheSurveyed(survey, news))

    def _look(
        self, left: tuple[str, ...], scrubbing: str | None, damaged: tuple[Damage, ...]
    ) -> Survey:
        found = shelves.held(self._cache)
        room = shelves.room_of(self._cache, self._settings.cache)
        return Survey(
            used_bytes=sum(one.size_bytes for one in found),
            pending_bytes=sum(one.pending_bytes for one in found),
            free_bytes=room.free_bytes,
            reserve_bytes=room.reserve_bytes,
            quota_bytes=room.quota_bytes,
            left=left,
            scrubbing=scrubbing,
            damaged=damaged,
            read_whole_s={
                one.model: read_s(self._cache.models / one.folder)
                for one in found
                if one.model is not None
            },
        )


def _pause(is_over: threading.Event) -> Callable[[float], None]:
    """A rest that ends when the reading is to end."""

    def pause(rest_s: float) -> None:
        if rest_s > 0:
            _ = is_over.wait(rest_s)

    return pause
