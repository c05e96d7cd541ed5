"""The weights room, put to work: bring, check, look what is there.

Fetches run side by side, each in its own child process; what lies on disk already is taken
from there. Sizes of builds that are not here are asked for once, in the background.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from ...backends.engines.catalog import choice, lack_of
from ...backends.stores.base import ELSEWHERE, Build, Progress, Stock
from ...backends.stores.errors import ModelMissing, StoreUnreachable
from ...config.errors import AgentError
from ...config.settings import ModelEntry, Settings
from ..core.events import (
    Event,
    InventoryChanged,
    ListingFailed,
    WeightsFailed,
    WeightsFetched,
    WeightsProgressed,
    WeightsVerified,
)
from ..core.wanted import Wanted
from ..weights.cache import Cache, listed_key
from ..weights.fetch import fetch, look, sizes
from ..weights.inventory import inventory
from ..weights.lines import FetchJob, Tensors
from ..weights.verify import verify
from .keeper import Keeper


class Follower(Protocol):
    """Who makes use of a build before it is whole."""

    def begin(self, model: str, size_bytes: int) -> None:
        """A model of this size is being fetched."""
        ...

    def arrived(self, model: str, tensors: Tensors) -> None:
        """Some of it can be read."""
        ...

    def whole(self, model: str) -> None:
        """All of it is here, and right."""
        ...

    def drop(self, model: str) -> None:
        """It does not come."""
        ...


class Shelf:
    """The cache folder, seen from the runtime.

    Args:
        settings: What is offered, from where, and how it is fetched.
        cache_dir: Where weights lie.
        tell: Puts an event into the inbox.
        tasks: Parent of the fetches.
        wanted: Which models have to stay now.
        follower: Told of fetches of models that are to be loaded; ``None``: nobody.
    """

    def __init__(
        self,
        settings: Settings,
        cache_dir: Path,
        *,
        tell: Callable[[Event], None],
        tasks: asyncio.TaskGroup,
        wanted: Callable[[], Wanted] = Wanted,
        follower: Follower | None = None,
    ) -> None:
        self._settings = settings
        self._cache_dir = cache_dir
        self._cache = Cache(cache_dir)
        self._tell = tell
        self._tasks = tasks
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._limits: list[asyncio.Queue[int | None]] = []
        self._folders: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._wanted: set[str] = set()
        self._asked: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self._listing: asyncio.Task[None] | None = None
        self._is_asked_again = False
        self._keeping: asyncio.Task[None] | None = None
        self._wanted_now = wanted
        self._follower = follower
        self._keeper = Keeper(
            settings, self._cache, wanted=wanted, tell=tell, changed=lambda: self.refresh(())
        )

    def resettle(self, settings: Settings) -> None:
        """Fetch and keep by these settings; sizes of builds that moved are asked for anew.

        Fetches that run go on as they began, but for their pace.
        """
        pace = settings.weights.max_bytes_per_s
        if pace != self._settings.weights.max_bytes_per_s:
            for limits in self._limits:
                limits.put_nowait(pace)
        self._settings = settings
        self._asked.clear()
        self._keeper.resettle(settings)

    def fetch(self, model: str) -> None:
        """Bring a model; ``WeightsFetched`` or ``WeightsFailed`` follows, unless cancelled."""
        if self._is_elsewhere(model):
            self._tell(WeightsFetched(model))
            return
        task = self._tasks.create_task(self._fetch(model), name=f"fetch {model}")
        self._fetches[model] = task

    def cancel(self, model: str) -> None:
        """Stop bringing or checking it; nothing follows."""
        task = self._fetches.get(model)
        if task is not None:
            task.cancel()

    def verify(self, model: str) -> None:
        """Check a model; ``WeightsVerified`` or ``WeightsFailed`` follows, unless cancelled."""
        if self._is_elsewhere(model):
            self._tell(WeightsVerified(model, ELSEWHERE))
            return
        task = self._tasks.create_task(self._verify(model), name=f"verify {model}")
        self._fetches[model] = task

    def refresh(self, sizes_of: Collection[str]) -> None:
        """Look what is here, and ask once how large the rest is; ``InventoryChanged`` follows."""
        self._wanted.update(sizes_of)
        if self._looking is not None and not self._looking.done():
            self._is_asked_again = True
            return
        self._looking = self._tasks.create_task(self._look(), name="inventory")

    def used(self, model: str) -> None:
        """An engine begins or ends to use the model: it is not to leave the disk soon."""
        self._tasks.create_task(self._keeper.used(model), name=f"used {model}")

    async def _fetch(self, model: str) -> None:
        # a fetch that was cancelled holds the folder until its child is gone
        async with self._folders[model]:
            with self._failures(model):
                self._keeper.leave_alone(model)
                entry = self._entry(model)
                await self._bring(self._job(entry))
                for one in entry.adapters:
                    self._keeper.leave_alone(one.name)
                    await self._bring(self._job(ModelEntry(id=one.name, ref=str(one.ref))))
                self._tell(WeightsFetched(model))

    async def _bring(self, job: FetchJob) -> None:
        """Bring a model, having made room for all of it first if it takes any."""

        def told(at: Progress) -> None:
            self._tell(WeightsProgressed(job.model, at))

        ref = str(job.ref)
        is_here = await asyncio.to_thread(self._cache.build, job.model, ref) is not None
        if is_here or job.ref.scheme == "file":
            await fetch(job, told=told)
            return
        size_bytes = await self._foreseen(job)
        with self._keeper.promise(job.model, size_bytes):
            await self._keeper.make_room(job.model, size_bytes)
            follower = self._follower
            with self._paced(job) as limits:
                if follower is None or job.model not in self._wanted_now().loads:
                    await fetch(job, told=told, limits=limits)
                    return
                with _followed(follower, job.model, size_bytes):
                    arrived = partial(follower.arrived, job.model)
                    await fetch(job, told=told, arrived=arrived, limits=limits)

    async def _foreseen(self, job: FetchJob) -> int:
        """How large a model is, in bytes; what speaks against it is found before they come."""
        has_begun = await asyncio.to_thread(self._cache.has_partial, job.model)
        foresee = self._wanted_now().foresee
        entry = self._settings.entry(job.model)
        if has_begun or foresee is None or entry is None:  # an adapter is no model of its own
            listed = await asyncio.to_thread(self._cache.listed)
            return listed.get(listed_key(job.model, str(job.ref))) or await sizes(job)
        found = await look(job)
        is_code_refused = choice(entry, self._settings) == "mlx"
        error = foresee(job.model, found.weights_bytes, found.config, is_code_refused)
        if error is not None:
            raise error
        return found.size_bytes

    @contextmanager
    def _paced(self, job: FetchJob) -> Generator[asyncio.Queue[int | None]]:
        """Where a running fetch hears how much it may bring a second from now on."""
        limits: asyncio.Queue[int | None] = asyncio.Queue()
        pace = self._settings.weights.max_bytes_per_s
        if pace != job.weights.max_bytes_per_s:  # it was changed while room was made
            limits.put_nowait(pace)
        self._limits.append(limits)
        try:
            yield limits
        finally:
            self._limits.remove(limits)

    async def _verify(self, model: str) -> None:
        is_over = threading.Event()
        try:
            with self._failures(model):
                entry = self._settings.entry(model)
                beside = [] if entry is None else [one.name for one in entry.adapters]
                for name in (model, *beside):
                    self._keeper.leave_alone(name)
                build = await asyncio.to_thread(
                    _verified, self._cache, model, beside, is_stopped=is_over.is_set
                )
                self._tell(WeightsVerified(model, build))
        finally:
            # a thread cannot be cancelled: it is told, and ends by itself
            is_over.set()

    async def _look(self) -> None:
        while True:
            self._is_asked_again = False
            stocks = await asyncio.to_thread(inventory, self._cache, self._settings.models)
            lacks = await asyncio.to_thread(_lacks, self._settings)
            self._tell(InventoryChanged(stocks, lacks))
            self._list(stocks)
            if self._keeping is None:
                self._keeping = self._tasks.create_task(self._keeper.keep(), name="keeper")
            if not self._is_asked_again:
                return

    def _list(self, stocks: Sequence[Stock]) -> None:
        """Have the stores asked for the sizes that are wanted and unknown, each once."""
        unknown = {stock.model for stock in stocks if stock.size_bytes is None}
        unasked = sorted((unknown & self._wanted) - self._asked)
        if unasked and (self._listing is None or self._listing.done()):
            self._asked.update(unasked)
            self._listing = self._tasks.create_task(self._ask(unasked), name="listing")

    async def _ask(self, models: Sequence[str]) -> None:
        """Ask one store after the other; a look at the folder never waits for them."""
        for model in models:
            try:
                await sizes(self._job(self._entry(model)))
            except AgentError as error:
                self._tell(ListingFailed(model, error))
            except OSError as error:
                self._tell(ListingFailed(model, _at_home(error)))
        self.refresh(())

    @contextmanager
    def _failures(self, model: str) -> Generator[None]:
        try:
            yield
        except AgentError as error:
            self._tell(WeightsFailed(model, error))
        except OSError as error:
            self._tell(WeightsFailed(model, _at_home(error)))

    def _is_elsewhere(self, model: str) -> bool:
        """Whether somebody else has the weights, so that the stay goes on at once."""
        entry = self._settings.entry(model)
        return entry is not None and entry.is_elsewhere

    def _entry(self, model: str) -> ModelEntry:
        entry = self._settings.entry(model)
        if entry is None:
            raise ModelMissing(model=model, reason="no [[models]] entry names it")
        return entry

    def _job(self, entry: ModelEntry) -> FetchJob:
        return FetchJob(
            model=entry.id,
            ref=entry.place,
            stores=self._settings.stores,
            weights=self._settings.weights,
            cache_dir=str(self._cache_dir),
            peers=self._settings.peers,
            weight_hash=entry.weight_hash,
        )


@contextmanager
def _followed(follower: Follower, model: str, size_bytes: int) -> Generator[None]:
    """Tell of a fetch from its beginning to its end, whichever that is."""
    end = follower.drop
    follower.begin(model, size_bytes)
    try:
        yield
        end = follower.whole
    finally:
        end(model)


def _lacks(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Of models whose engine is not here, what helps; reads folders."""
    found = ((entry.id, lack_of(entry, settings)) for entry in settings.models)
    return tuple((model, lack) for model, lack in found if lack is not None)


def _verified(
    cache: Cache, model: str, beside: Sequence[str], *, is_stopped: Callable[[], bool]
) -> Build:
    """A build with its adapters, each held against its own record; blocks."""
    build = verify(cache.folder(model), model=model, is_stopped=is_stopped)
    found = [verify(cache.folder(name), model=name, is_stopped=is_stopped) for name in beside]
    folders = (one.folder for one in found)
    return replace(build, adapters=tuple(zip(beside, folders, strict=True)))


def _at_home(error: OSError) -> AgentError:
    """This machine's own part in it: the folder, or a child that could not be started."""
    return StoreUnreachable(store="cache", reason=f"this machine: {error.strerror or error}")
