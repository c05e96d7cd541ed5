"""The threads that bring the bytes: range, write, journal, digest, rename.

Each worker owns one connection and one buffer, so memory is bounded by their number and not by
the model. A block is written, then journalled; a file is digested behind its frontier by whoever
completes it, looked into, and only then renamed.
"""

import mmap
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from ...backends.stores.errors import WeightsCorrupt
from ...config.errors import AgentError
from .arrival import Arrival, hurry
from .asking import Asking, Surplus
from .behind import sync_all, writing_behind
from .brake import Brake
from .digesting import Digesting, Trails, Work
from .digests import Interrupted, PieceBad
from .doubt import doubted, holds
from .hire import hire
from .journal import Journal
from .outlook import Standing
from .pace import FAR_S, Crew, Opening, at_once, buffer_bytes
from .parts import Part
from .plan import BLOCK_BYTES, Chunk, Grid, missing
from .ranges import RangeReader
from .source import Source
from .tail import Tail
from .turns import Turns

BUFFER_BYTES = BLOCK_BYTES
"""What a kill may lose anyway. Half of it takes a tenth more processor time, twice no less."""

_PEERS = 32
_MANY = 32
"""So many may have a whole buffer; more have half, for all of them together are memory."""


class Pull:
    """Brings every part to its final name.

    Args:
        source: How to reach the store.
        parts: The files; those that are sealed already are left alone.
        journal: Where arrivals are claimed.
        grid: How files are cut.
        ended: Called once from some thread, when all is done or something failed.
    """

    _holds = _cuts = True

    def __init__(
        self,
        source: Source,
        parts: Sequence[Part],
        journal: Journal,
        grid: Grid,
        *,
        ended: Callable[[], None],
    ) -> None:
        self._source = source
        self._parts = parts
        self._journal = journal
        self._grid = grid
        self._ended = ended
        self._stop = threading.Event()
        self._change = threading.Condition()
        self._readers: list[RangeReader] = []
        self._running: dict[int, Arrival] = {}
        self._finished: deque[tuple[float, int]] = deque(maxlen=_PEERS)
        self._crew, self._tail = Crew(start=1, most=1), Tail(block_bytes=1)
        self._opening: Opening | None = None
        self._wanted = self._workers = self._started = 0
        self._brake = Brake(source.max_bytes_per_s, self._stop)
        self._begin_writing = writing_behind(is_wanted=source.syncs_first)
        self._asking = Asking(
            source, self._stop, block_bytes=grid.block_bytes, is_surplus=self._is_surplus
        )
        self._digesting = Digesting(self._digest, self._live)
        self.trails = Trails(parts, small_bytes=grid.chunk_bytes)
        self.error: AgentError | OSError | None = None
        self.is_broken = self.is_untold = False
        self.lies: Sequence[int] = ()
        self.forgotten: deque[int] = deque()
        self.bytes_resumed = sum(part.here_bytes for part in parts)
        self._bytes_counted = self.bytes_resumed
        ours = [index for index, part in enumerate(parts) if part.seal is None]
        self._unsealed = len(ours)
        self._catch_up = deque(at for at in ours if any(parts[at].have) or not parts[at].size_bytes)
        self._chunks = self._turns([self._missing(index) for index in ours])

    def _turns(self, queues: Sequence[Sequence[Chunk]]) -> Turns:
        return Turns(queues)

    @property
    def bytes_done(self) -> int:
        """Bytes on the disk, resumed ones included."""
        return self.standing().done_bytes

    def standing(self) -> Standing:
        """How far it is, and what it is about to do."""
        with self._change:
            return Standing(
                self._bytes_counted,
                tuple((read.start, read.at, read.stop) for read in self._running.values()),
                connections=self._wanted,
                most=self._wanted if self._opening is not None else self._crew.most_soon,
                block_bytes=self._grid.block_bytes,
                is_limited=self._brake.rate_bytes_s is not None or self._opening is not None,
                step=self._crew.step,
            )

    @property
    def is_done(self) -> bool:
        """Whether every file has its final name."""
        return self._unsealed == 0

    def start(self, connections: int, *, most: int | None = None, cores: int = 0) -> None:
        """Start the workers; daemon threads, so that nothing they wait for delays an exit.

        Args:
            connections: To begin with.
            most: Bound of what :meth:`look` may make of it; ``None``: it stays as it is.
            cores: Begin with one for each of so many, until they wait for the link; 0: with all.
        """
        most = max(connections, most or 0)
        lefts = [part.size_bytes - part.here_bytes for part in self._parts if not part.seal]
        connections = at_once(connections, most=most, files=len(lefts), left_bytes=sum(lefts))
        self._crew = Crew(start=connections, most=most)
        self._tail = Tail(block_bytes=self._grid.block_bytes)
        self._opening = Opening(connections, cores=cores) if cores else None
        tasks = len(self._chunks) + len(self._catch_up)
        self._grow(min(self._opening.count if self._opening else connections, tasks))
        if not tasks:
            self.lies, _ = doubted(self._parts)
            self._ended()

    def look(self, now_s: float) -> None:
        """Mind the pace: end reads that lag, and have as many workers as it pays to have.

        Args:
            now_s: Of the monotonic clock; to be called a few times a second.
        """
        is_free = self._brake.rate_bytes_s is None  # else slow is what was asked for
        with self._change:
            others = tuple(self._finished) if is_free else ()
            hurry(self._running, others, now_s, stall_timeout_s=self._source.stall_timeout_s)
        with self._change:
            is_cut = self._shares(now_s)
        if is_cut:
            self._grow(self._wanted)
        opening = self._opening
        if opening is not None and opening.is_too_few(now_s, time.process_time()):
            self._opening = None
        if self._opening is None:
            self._grow(self._crew.look(now_s, self.bytes_done, self._asking.refusals))

    def _shares(self, now_s: float) -> bool:
        """Whether a part of what is under way is to be had, for nothing else is; locked."""
        if self._brake.rate_bytes_s is not None or not self._cuts or self._opening is not None:
            return False
        delays_s = sorted(reader.waited_s for reader in self._readers if reader.waited_s)
        delay_s = delays_s[len(delays_s) // 2] if delays_s else 0.0
        return self._tail.share(self._running, self._chunks, self._wanted, now_s, delay_s)

    def _reach(self, delay_s: float) -> None:
        """A connection was made: if the store is far away, nobody waits to see that it is."""
        if self._opening is not None and delay_s >= FAR_S:
            self._opening = None
            self._grow(self._crew.count)

    def limit(self, max_bytes_per_s: int | None) -> None:
        """Change what all connections together may bring from now on; ``None``: anything."""
        self._brake.limit(max_bytes_per_s)

    def _grow(self, wanted: int) -> None:
        """Have so many workers; who is too many leaves after its task."""
        with self._change:
            self._wanted = wanted
            lacking = min(wanted - self._workers, len(self._chunks) + len(self._catch_up))
            self._workers += max(0, lacking)
            self._change.notify_all()
        names = [f"pull-{self._started + at}" for at in range(lacking)]
        self._started += len(names)
        hire(lambda: self._live(self._work), names)

    def _is_surplus(self) -> bool:
        return self._workers > self._wanted

    def stop(self) -> None:
        """Make every worker leave within one buffer."""
        self._stop.set()
        self._digesting.end()
        with self._change:
            self._change.notify_all()
        for reader in tuple(self._readers):
            reader.interrupt()

    def sync(self) -> None:
        """Put on the platter, and into the journal, what has arrived until now."""
        sync_all(self._parts, self._journal)

    def _missing(self, index: int, have: Sequence[int] = ()) -> list[Chunk]:
        part, grid = self._parts[index], self._grid
        size_bytes, have = part.size_bytes, have or part.have
        is_told = bool(part.target.sha256 or part.target.told)
        return missing(index, size_bytes=size_bytes, have=have, grid=grid, is_told=is_told)

    # ── one worker ────────────────────────────────────────────────────────────────────

    def _live(self, work: Work) -> None:
        is_expected = False
        try:
            # never closed by hand: a traceback may still hold a piece of it
            most_bytes = BUFFER_BYTES // 2 if self._wanted > _MANY else BUFFER_BYTES
            size = buffer_bytes(self._brake.rate_bytes_s, most_bytes=most_bytes)
            work(memoryview(mmap.mmap(-1, size)))
            is_expected = True
        except Interrupted:
            is_expected = True
        except (AgentError, OSError) as error:
            is_expected = True
            self._fail(error)
        finally:
            if not is_expected:  # a bug: the thread's traceback goes to standard error
                self.is_broken = True
                self.stop()
                self._ended()

    def _work(self, buffer: memoryview) -> None:
        reader = RangeReader(
            model=self._source.model,
            store=self._source.store,
            stall_timeout_s=self._source.stall_timeout_s,
            buffer=buffer,
            reached=self._reach,
        )
        with self._change:
            self._readers.append(reader)
        try:
            file: int | None = None
            while (task := self._next(file)) is not None:
                file = task if isinstance(task, int) else task.file
                held = self._fetch(task, reader) if isinstance(task, Chunk) else None
                # who waits for the link shall not wait for digests; else it is the other way round
                if held is not None:
                    self._conclude(file, self._parts[file].keep(held), held)
                elif self._opening is None and self._grid.chunk_bytes < self.size_bytes(file):
                    self._digesting.put(file)
                else:
                    self._digest(file, buffer)
        finally:
            with self._change:
                self._readers.remove(reader)
                self._workers -= 1
            reader.close()

    def _next(self, last: int | None) -> Chunk | int | None:
        with self._change:
            while not self._stop.is_set() and self._unsealed:
                if self._is_surplus():
                    return None
                if self._catch_up:
                    return self._catch_up.popleft()
                if not self._chunks and self._shares(time.monotonic()):
                    self._change.notify_all()
                if (chunk := self._chunks.next(last)) is not None:
                    return chunk
                # another worker may find a bad digest and put its file back into the queue
                _ = self._change.wait()
            return None

    def _fail(self, error: AgentError | OSError) -> None:
        with self._change:
            if self.error is not None or self._stop.is_set():
                return
            self.error = error
        self.stop()
        self._ended()

    # ── one chunk ─────────────────────────────────────────────────────────────────────

    def _fetch(self, chunk: Chunk, reader: RangeReader) -> memoryview | None:
        """Bring a chunk; what is returned is a whole file, of which nothing was written yet."""
        arrival = Arrival(self, chunk, reader.interrupt, holds=self._holds)
        with self._change:
            self._running[id(arrival)] = arrival
        try:
            self._asking.bring(self._parts[chunk.file].target.remote, arrival, reader)
        except Surplus:
            with self._change:
                self._chunks.again([Chunk(chunk.file, arrival.start, arrival.stop)])
                self._change.notify_all()
            return None
        finally:
            with self._change:
                del self._running[id(arrival)]
                self._chunks.done(chunk)
                self.is_untold |= reader.is_untold
                part = self._parts[chunk.file]
                part.hear(reader.words.pop(part.target.remote.path, None))
                self._bytes_counted += arrival.at - arrival.start
        with self._change:
            self._finished.append(arrival.took(time.monotonic()))
        return arrival.held

    def wrote(self, count: int) -> None:
        """Rest if all are too fast together, and leave if somebody asked to."""
        self._brake.pay(count)

    def arrived(self, file: int, block: int) -> None:
        """A block was written: claim it, then let the digest pass."""
        fd, digest = self._parts[file].open()
        self._journal.arrived(file, block)
        digest.arrived(block)
        span = self._grid.block_span(block, size_bytes=self._parts[file].size_bytes)
        self._begin_writing(fd, span.start, len(span))

    def came(self, file: int, view: memoryview, offset: int, since: int) -> None:
        """Bytes were written: digest them at once if it is their turn."""
        self._parts[file].open()[1].take(view, offset, since)

    def put(self, file: int, view: memoryview, offset: int) -> None:
        """Write bytes to their place in a file."""
        self._parts[file].put(view, offset)

    @property
    def grid(self) -> Grid:
        """How files are cut."""
        return self._grid

    def size_bytes(self, file: int) -> int:
        """Length of one file."""
        return self._parts[file].size_bytes

    # ── one complete file ─────────────────────────────────────────────────────────────

    def _digest(self, file: int, buffer: memoryview) -> None:
        part = self._parts[file]
        if part.seal is not None:
            return
        try:
            sha256 = part.open()[1].advance(buffer, is_stopped=self._stop.is_set)
        except PieceBad as bad:
            self._fetch_again(file, bad.blocks)
            return
        if sha256 is not None:
            self._conclude(file, sha256)

    def _conclude(self, file: int, sha256: str, held: memoryview | None = None) -> None:
        """Now that its digest is known, give the file its name, or have it read once more."""
        part = self._parts[file]
        if not holds(part, sha256, held, model=self._source.model):
            self._read_again(file)
            return
        seal = part.finish(sha256, syncs_first=self._source.syncs_first)
        self._journal.sealed(file, seal, part.marks)
        with self._change:
            if self._unsealed > 1:
                self._unsealed -= 1
                return
            self.lies, again = doubted(self._parts)
            self._unsealed = len(again)
            self._change.notify_all()
        for other in again:
            self._read_again(other)
        if not again:
            self._ended()

    def _fetch_again(self, file: int, blocks: range) -> None:
        # only these: all before them are right, and all behind them are still to be digested
        have = bytearray(b"\x01" * len(self._parts[file].have))
        have[blocks.start : blocks.stop] = bytes(len(blocks))
        self._want_again(file, self._missing(file, have))

    def _read_again(self, file: int) -> None:
        part = self._parts[file]
        self._journal.forget(file)
        if part.is_second_reading:
            path = part.target.remote.path
            raise WeightsCorrupt(model=self._source.model, file=path, reason="hash mismatch")
        part.start_over()
        self._want_again(file, self._missing(file))

    def _want_again(self, file: int, chunks: Sequence[Chunk]) -> None:
        with self._change:
            self.forgotten.append(file)
            self._bytes_counted -= sum(chunk.stop - chunk.start for chunk in chunks)
            self._chunks.again(chunks)
            self._change.notify_all()
