"""One job of the fetching child: lock, look at what is here, list, plan, pull, publish.

The thread that runs it asks the store and ticks; bytes move in the threads of the
:class:`~.pull.Pull`. What lies here already and is still whole ends the job at once,
without a word to the store.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...backends.stores.base import Progress, SecondHandStore, Store
from ...backends.stores.errors import FetchDied, StoreUnreachable, WeightsChanged, WeightsCorrupt
from ...backends.stores.etags import is_other
from ...config.refs import ModelRef
from . import manifest
from .behind import Syncing
from .boot import boot_id
from .cache import SHARED_NAME, Cache
from .digests import Interrupted
from .journal import JOURNAL_NAME, Header, Journal, Listed, carry_over, load
from .lines import EXIT_FAILED, FetchJob, Result, Tensors
from .outlook import Outlook
from .parts import Part, Target, prepare, sweep
from .peers_join import pull_for
from .plan import Grid, grid_for
from .plane import Begin, Plane
from .publish import Digested, digest_in_place, drop_lies, publish
from .pull import Pull
from .record import RECORD_NAME
from .reuse import here_now, keep_own, pieces_of, still_reused, take_over
from .source import Source
from .targets import targets_of
from .telling import Telling
from .tempo import Pace
from .tensors import Arriving
from .verify import read_record, verify

if TYPE_CHECKING:  # it brings a library that takes half of the start
    from ...config.stores import Stores

T = TypeVar("T")
FindStore = Callable[[ModelRef, "Stores", Mapping[str, str]], Store]
Tell = Callable[[str, Progress], None]
"""Takes the phase (list, verify, fetch, publish) and how far it is."""

TICK_S = 0.25
SYNC_EVERY_S = 5.0
_LOCK_PATIENCE_S = 3.0
_REFRESH_TIMEOUT_S = 90.0


class Bring:
    """One job.

    Args:
        job: What to bring here.
        find_store: How a reference becomes a store.
        tell: Hears of progress, at most every ``TICK_S``.
        arrived: Hears which tensors can be read, if the job asks for that.
        room: Told how many bytes are about to come, before anything is written; may refuse.
        tick_s: From one word of progress to the next.
        sync_every_s: How much of the past a power cut may take back.

    Attributes:
        is_asking: Whether it waits for the store, in the thread that runs it; else
            :meth:`stop` alone makes it leave.
    """

    def __init__(
        self,
        job: FetchJob,
        find_store: FindStore,
        tell: Tell,
        arrived: Callable[[Tensors], None] = lambda _: None,
        *,
        room: Callable[[int], None] = lambda _: None,
        tick_s: float = TICK_S,
        sync_every_s: float = SYNC_EVERY_S,
    ) -> None:
        self._job = job
        self._tick_s = tick_s
        self._sync_every_s = sync_every_s
        self._tell = tell
        self._arrived = arrived
        self._room = room
        self._find_store = find_store
        self._cache = Cache(job.cache_dir)
        self._folder = self._cache.folder(job.model)
        self.is_asking = False
        self._stopped = threading.Event()
        self._over = threading.Event()
        self._boot = boot_id()
        # a machine that does not tell its boots cannot tell what a power cut took, either
        self._syncs_first = job.weights.sync_first or not self._boot
        self._limit = job.weights.max_bytes_per_s

    def stop(self) -> bool:
        """Make threads leave; what has arrived stays for the next time.

        Returns:
            Whether this was the first time.
        """
        is_first = not self._stopped.is_set()
        self._stopped.set()
        self._over.set()
        return is_first

    def limit(self, max_bytes_per_s: int | None) -> None:
        """Bring no more than this a second from now on; ``None``: as much as comes."""
        self._limit = max_bytes_per_s  # heeded with the next tick

    def sizes(self) -> Result:
        """List only."""
        with self._asked(busy_s=0.0) as (plane, store):
            targets, _ = self._ask(plane, lambda: targets_of(store, self._job))
        return Result(sum(target.remote.size_bytes for target in targets), len(targets))

    def look(self) -> Result:
        """List, and read what tells about the model."""
        from .look import look  # noqa: PLC0415  # no fetch needs it

        with self._asked() as (plane, store):
            targets, _ = self._ask(plane, lambda: targets_of(store, self._job))
            return look(plane, store, targets, model=self._job.model)

    def run(self) -> Result:
        """Bring the model here.

        Raises:
            AgentError: It could not be brought here.
            Interrupted: Somebody asked to stop.
        """
        with self._cache.lock(self._job.model, patience_s=_LOCK_PATIENCE_S):
            if (found := self._find_here()) is not None:
                return found
            self._tell("list", Progress(0, 0))
            with self._asked() as (plane, store):
                targets, promise = self._ask(plane, lambda: targets_of(store, self._job))
                is_copy = self._job.alone is not None and self._job.alone.is_all
                try:
                    if self._job.ref.scheme == "file" and not is_copy:
                        self._take_in_place(targets, promise)
                    else:
                        self._bring(plane, store, targets, promise)
                except WeightsCorrupt:
                    if not (isinstance(store, SecondHandStore) and store.distrust()):
                        raise
                    self._over = threading.Event()
                    targets, promise = self._ask(plane, lambda: targets_of(store, self._job))
                    self._bring(plane, store, targets, promise)
        return Result(sum(target.remote.size_bytes for target in targets), len(targets))

    @contextlib.contextmanager
    def _asked(self, *, busy_s: float | None = None) -> Generator[tuple[Plane, Store]]:
        store = self._find_store(self._job.ref, self._job.stores, os.environ)
        long_s = self._job.weights.no_progress_s if busy_s is None else busy_s
        plane = Plane(store, busy_s=long_s, stopped=self._stopped)
        try:
            yield plane, store
        finally:
            plane.ask(store.close)

    def _ask(self, plane: Plane, begin: Begin[T]) -> T:
        try:
            self.is_asking = True
            if self._stopped.is_set():  # asked for after this, a stop raises by itself
                raise Interrupted
            return plane.ask(begin)
        finally:
            self.is_asking = False

    def _find_here(self) -> Result | None:
        """What lies here already, if it is whole; what is damaged is set aside."""
        record = read_record(self._folder)
        if record is None or record.ref != str(self._job.ref):
            return None
        if self._job.weight_hash not in {None, record.weight_hash}:
            return None
        try:
            _ = verify(self._folder, model=self._job.model, is_stopped=self._stopped.is_set)
        except WeightsCorrupt as error:
            if record.folder is None:
                from .repair import claim, unharmed  # noqa: PLC0415  # for what is damaged

                good = unharmed(self._folder, record, error.file, is_stopped=self._stopped.is_set)
                (self._folder / error.file).unlink(missing_ok=True)
                _ = claim(
                    self._folder, record, good=good, chunk_bytes=self._job.weights.chunk_bytes
                )
            (self._folder / RECORD_NAME).unlink(missing_ok=True)
            return None
        return Result(record.size_bytes, len(record.files))

    def _take_in_place(self, targets: list[Target], promise: manifest.Manifest | None) -> None:
        total = sum(target.remote.size_bytes for target in targets)
        place, pace = Path(self._job.ref.path), Pace()

        def tell(done: int, now_s: float) -> None:
            pace.told(done, now_s)
            rate, eta_s = pace.rate_bytes_s, pace.left_s(total - done)
            self._tell("verify", Progress(done, total, 0, rate, eta_s=eta_s))

        told, is_stopped = Telling(tell, tick_s=self._tick_s), self._stopped.is_set
        digests = digest_in_place(
            place, targets, model=self._job.model, is_stopped=is_stopped, told=told
        )
        publish(self._folder, place, self._job, digests, is_promised=promise is not None)

    def _bring(
        self,
        plane: Plane,
        store: Store,
        targets: list[Target],
        promise: manifest.Manifest | None,
    ) -> None:
        total = sum(target.remote.size_bytes for target in targets)
        grid = grid_for(total_bytes=total, asked_chunk_bytes=self._job.weights.chunk_bytes)
        self._room(total)
        told = self._taking_over(total)
        parts, journal, got = self._prepare(targets, grid, promise, told)
        pull = pull_for(
            self._job,
            self._folder,
            self._source(plane, store),
            parts,
            journal,
            grid,
            ended=self._over.set,
        )
        is_whole = False
        try:
            self._begin(pull)
            arriving = Arriving(parts, grid) if self._job.tells_tensors else None
            self._watch(pull, total, arriving, lambda: still_reused(got, parts))
            if pull.is_untold:
                self._hold_to_listing(plane, store, targets)
            drop_lies(parts, pull.lies, journal, model=self._job.model)
            if self._syncs_first:  # what an earlier fetch left, too: the record is about to say so
                pull.sync()
            is_whole = True
        finally:
            pull.stop()
            is_kept = self._syncs_first or not pull.is_done
            if is_kept and not is_whole:
                with contextlib.suppress(OSError):  # a full or dead disk has told already
                    pull.sync()
            journal.close(is_kept=is_kept)
        digests = [
            Digested(part.target, part.seal, part.marks, part.weights_bytes)
            for part in parts
            if part.seal is not None
        ]
        done, reused = pull.bytes_resumed, still_reused(got, parts)
        peers = pull.standing().peers_bytes
        told = Progress(total, total, done, bytes_peers=peers, bytes_reused=reused)
        self._tell("publish", told)
        is_promised = promise is not None or self._job.is_held
        self._publish(digests, is_promised=is_promised)

    def _begin(self, pull: Pull) -> None:
        weights = self._job.weights
        # as many as were asked for at once if no more are wanted: somebody knows the link
        is_asked = weights.connections == weights.max_connections
        cores = 0 if is_asked else os.cpu_count() or 1
        pull.start(weights.connections, most=weights.max_connections, cores=cores)

    def _hold_to_listing(self, plane: Plane, store: Store, targets: list[Target]) -> None:
        """Where answers do not tell their version, only a second look tells a mixture of two."""
        now = {file.path: file.etag for file in self._ask(plane, store.files)}
        for target in targets:
            path, etag = target.remote.path, target.remote.etag
            if path not in now or is_other(etag, now[path]):
                raise WeightsChanged(model=self._job.model, file=path)

    def _publish(self, digests: list[Digested], *, is_promised: bool) -> None:
        # the record comes last: what an older build left must not lie beside it
        sweep(self._folder, [found.target.remote.path for found in digests])
        boot = None if self._syncs_first else self._boot
        place, job = self._folder, self._job
        publish(place, place, job, digests, is_promised=is_promised, unsynced_boot=boot)
        for name in (JOURNAL_NAME, SHARED_NAME):
            (self._folder / name).unlink(missing_ok=True)

    def _taking_over(self, total: int) -> Callable[[int], None]:
        """Who tells that so many bytes more were taken over."""

        def tell(done: int, _now_s: float) -> None:
            self._tell("fetch", Progress(done, total, done, bytes_reused=done))

        return Telling(tell, tick_s=self._tick_s)

    def _prepare(
        self,
        targets: list[Target],
        grid: Grid,
        promise: manifest.Manifest | None,
        told: Callable[[int], None],
    ) -> tuple[list[Part], Journal, dict[int, int]]:
        """Claim nothing that is not there, make room for the rest, take over what is here."""
        boot, path, ref = self._boot, self._folder / JOURNAL_NAME, str(self._job.ref)
        remotes = [target.remote for target in targets]
        header = Header(
            ref=ref,
            boot_id=boot,
            block_bytes=grid.block_bytes,
            files=tuple(Listed(path=f.path, size_bytes=f.size_bytes, etag=f.etag) for f in remotes),
        )
        claims = carry_over(load(path, boot_id=boot), header)
        here, kept = here_now(self._cache), keep_own(self._folder, targets, claims, ref)
        parts = prepare(self._folder, targets, claims, grid)
        got = take_over(
            parts,
            here,
            grid,
            has_tags=self._job.ref.scheme == "s3",
            pieces=pieces_of(promise),
            told=told,
            is_stopped=self._stopped.is_set,
        )
        got |= {number: parts[number].size_bytes for number in kept if parts[number].seal}
        journal = Journal(path, claims)
        # not before: what is refused or killed until then leaves the build that was here
        (self._folder / RECORD_NAME).unlink(missing_ok=True)
        return parts, journal, got

    def _source(self, plane: Plane, store: Store) -> Source:
        def refresh() -> None:
            try:
                plane.ask(store.refresh, timeout_s=_REFRESH_TIMEOUT_S, is_patient=True)
            except TimeoutError:
                reason = "no fresh credentials in time"
                raise StoreUnreachable(store=store.name, reason=reason) from None

        def chance() -> float:
            from random import random  # noqa: PLC0415  # only for a store that hesitates

            return random()  # noqa: S311  # no secret

        return Source(
            model=self._job.model,
            store=store.name,
            locate=store.location,
            refresh=refresh,
            chance=chance,
            stall_timeout_s=self._job.weights.stall_timeout_s,
            max_bytes_per_s=self._limit,
            note_date=getattr(store, "note_server_date", None),
            note_region=getattr(store, "note_region", None),
            no_progress_s=self._job.weights.no_progress_s,
            syncs_first=self._syncs_first,
        )

    def _watch(
        self,
        pull: Pull,
        total: int,
        arriving: Arriving | None,
        reused: Callable[[], int],
    ) -> None:
        synced_s, syncing = time.monotonic(), Syncing(pull.sync)
        outlook = Outlook(total)
        while not self._over.is_set():
            now_s = time.monotonic()
            standing, resumed = pull.standing(), pull.bytes_resumed
            outlook.look(standing, resumed, now_s, pull.trails.look())
            told = Progress(
                standing.done_bytes,
                total,
                resumed,
                outlook.rate_bytes_s,
                bytes_peers=standing.peers_bytes,
                bytes_reused=reused(),
                eta_s=outlook.left_s,
            )
            # all of it may be here before the last of it is digested
            self._tell("fetch" if outlook.left_bytes else "verify", told)
            pull.limit(self._limit)
            pull.look(now_s)
            if arriving is not None:
                forgotten = [pull.forgotten.popleft() for _ in range(len(pull.forgotten))]
                for tensors in arriving.look(forgotten):
                    self._arrived(tensors)
            if now_s - synced_s >= self._sync_every_s:
                syncing.begin()
                synced_s = now_s
            if syncing.error is not None:
                raise syncing.error
            _ = self._over.wait(self._tick_s)
        if pull.error is not None:
            raise pull.error
        if pull.is_broken:
            raise FetchDied(model=self._job.model, exit_code=EXIT_FAILED)
        if not pull.is_done:
            raise Interrupted
