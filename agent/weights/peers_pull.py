"""A pull that has peers: ranges that another node reads are asked of that node first.

Only files whose digest was promised (by a manifest, by the store, by a list of checksums) are
asked of peers, for only then a wrong byte is found for certain, whoever lied. When the digest
of such a file is wrong, all that peers brought of it is read again from the store, they are
asked for nothing meanwhile, and what the store says then tells whose bytes were wrong.
"""

import hashlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from ...config.frozen import frozen, replace
from .arrival import Arrival
from .journal import Journal
from .outlook import Standing
from .parts import Part
from .peers_company import Company, Peer
from .peers_shared import Sharing
from .peers_talk import PIECE_BYTES
from .plan import Chunk, Grid, round_robin
from .pull import Pull
from .ranges import RangeReader
from .source import Source
from .turns import Turns

_DOUBTED = "doubted"
_LIED = "lied"
_WINDOW = 512
"""So many chunks are looked at for the next one."""

_TELL_EVERY_S = 1.0


@frozen
class Lent:
    """Bytes of a file that a peer brought."""

    start: int
    stop: int
    peer: Peer


@frozen
class Together:
    """What a fetch with peers has beside the store.

    Attributes:
        company: The peers.
        sharing: Where is told what may be passed on; ``None``: this node serves nobody.
    """

    company: Company
    sharing: Sharing | None = None


class Shares(Turns):
    """Chunks that are still to be read; gives out the one that is best read next.

    What the store has to be asked for comes first; but some of the readers are to be with
    peers at any time, so that neither link lies idle.
    """

    def __init__(
        self, queues: Sequence[Sequence[Chunk]], wants: Callable[[Chunk], bool | None]
    ) -> None:
        super().__init__(())
        self._waiting = deque(round_robin(queues))
        self._wants = wants

    def __len__(self) -> int:
        """How many chunks are left."""
        return len(self._waiting)

    def next(self, last: int | None = None) -> Chunk | None:
        """The first that is wanted, else the first at all."""
        _ = last  # a peer's bytes are digested when all of them are here
        if not self._waiting:
            return None
        best = 0
        for at, chunk in enumerate(islice(self._waiting, _WINDOW)):
            if self._wants(chunk):
                best = at
                break
        chunk = self._waiting[best]
        del self._waiting[best]
        return chunk

    def again(self, chunks: Sequence[Chunk]) -> None:
        """Put chunks back that have to come once more."""
        self._waiting.extend(chunks)


class PullTogether(Pull):
    """Brings every part to its final name, by the store and by peers.

    Args:
        source: How to reach the store.
        parts: The files.
        journal: Where arrivals are claimed.
        grid: How files are cut.
        together: The peers, and what they are offered.
        ended: Called once from some thread, when all is done or something failed.
    """

    _holds = False  # nothing is digested before it is claimed
    _cuts = False  # whoever is with a peer looks idle

    def __init__(
        self,
        source: Source,
        parts: Sequence[Part],
        journal: Journal,
        grid: Grid,
        together: Together,
        *,
        ended: Callable[[], None],
    ) -> None:
        super().__init__(source, parts, journal, grid, ended=ended)
        self._company = together.company
        self._sharing = together.sharing
        self._lent: dict[int, list[Lent]] = {}
        self._doubted: dict[int, list[tuple[Lent, list[bytes]]]] = {}
        self._at_peers = self._peers_bytes = 0
        self._most_at_peers = 1
        self._own = threading.local()
        self._told: set[int] = set()
        self._told_s = 0.0
        for file, part in enumerate(parts):
            if part.seal is not None:
                self._offer(file)
                continue
            for block, is_here in enumerate(part.have):
                if is_here:  # from an earlier fetch, and nobody knows from whom
                    span = grid.block_span(block, size_bytes=part.size_bytes)
                    self._keep(file, span.start, span.stop)

    def _turns(self, queues: Sequence[Sequence[Chunk]]) -> Turns:
        return Shares(queues, self._is_wanted)

    def standing(self) -> Standing:
        """The same, and what of it peers brought: what they lied is not of it."""
        with self._change:
            return replace(super().standing(), peers_bytes=self._peers_bytes)

    def start(self, connections: int, *, most: int | None = None, cores: int = 0) -> None:
        """Start all workers at once, half of which may be with peers while the store has work."""
        _ = cores  # who asks peers waits for a link from the beginning
        self._most_at_peers = max(1, connections // 2)
        super().start(connections, most=most)

    def stop(self) -> None:
        """Make every worker leave within one buffer."""
        super().stop()
        self._company.end()

    def look(self, now_s: float) -> None:
        """Mind the pace, and let the peers see that it goes on."""
        super().look(now_s)
        if self._sharing is not None and now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            self._sharing.progressed(self.bytes_done)

    def arrived(self, file: int, block: int) -> None:
        """A block came from the store: claim it, and offer it."""
        super().arrived(file, block)
        if self._sharing is not None and self._digest_of(file) is not None:
            span = self._grid.block_span(block, size_bytes=self._parts[file].size_bytes)
            self._sharing.arrived(file, span.start, span.stop)

    def arrived_lent(self, file: int, block: int) -> None:
        """A block came from a peer: claim it, and offer it to nobody."""
        super().arrived(file, block)

    def came(self, file: int, view: memoryview, offset: int, since: int) -> None:
        """Nothing is digested before it is claimed: a range may come again from elsewhere."""

    # ── which range, from whom ────────────────────────────────────────────────────────

    def _digest_of(self, file: int) -> bytes | None:
        """What the whole file was promised to be, raw; ``None``: nobody did."""
        promised = self._parts[file].target.sha256
        return None if promised is None else bytes.fromhex(promised)

    def _peer_for(self, chunk: Chunk) -> Peer | None:
        sha256 = self._digest_of(chunk.file)
        if sha256 is None or chunk.file in self._doubted:
            return None
        return self._company.source(sha256, chunk.start)

    def _is_wanted(self, chunk: Chunk) -> bool:
        """Whether the next reader should take this chunk; asked under the lock."""
        is_for_peer = self._peer_for(chunk) is not None
        return is_for_peer == (self._at_peers < self._most_at_peers)

    def _fetch(self, chunk: Chunk, reader: RangeReader) -> memoryview | None:
        peer, sha256 = self._peer_for(chunk), self._digest_of(chunk.file)
        if peer is None and sha256 is not None and chunk.file not in self._doubted:
            peer = self._company.holder(sha256, chunk.start, chunk.stop)
        if peer is None or sha256 is None:
            if self._sharing is not None and sha256 is not None:
                self._sharing.claimed(chunk.file, chunk.start, chunk.stop)
            return super()._fetch(chunk, reader)
        with self._change:
            self._at_peers += 1
        arrival = Arrival(_FromPeer(self), chunk, lambda: None)
        try:
            span = (chunk.start, chunk.stop)
            least = self._grid.block_bytes
            self._company.bring(peer, sha256, span, self._piece(), arrival.write, least_bytes=least)
        finally:
            self._took(chunk, arrival.at, peer)
        return None

    def _took(self, chunk: Chunk, at: int, peer: Peer) -> None:
        """Count what a peer brought, and put back what it did not."""
        if at < chunk.stop:  # a block that is half here is nowhere claimed: it comes anew
            at -= at % self._grid.block_bytes
        with self._change:
            self._at_peers -= 1
            if at > chunk.start:
                self._keep(chunk.file, chunk.start, at)
                self._bytes_counted += at - chunk.start
                self._peers_bytes += at - chunk.start
                lent = self._lent.setdefault(chunk.file, [])
                lent.append(Lent(chunk.start, at, peer))
            if at < chunk.stop:
                self._chunks.again([Chunk(chunk.file, at, chunk.stop)])
                self._change.notify()

    def _piece(self) -> memoryview:
        """This thread's own buffer for a piece."""
        found: memoryview | None = getattr(self._own, "piece", None)
        if found is None:
            found = self._own.piece = memoryview(mmap.mmap(-1, PIECE_BYTES))
        return found

    # ── what is right, and who was wrong ──────────────────────────────────────────────

    def _digest(self, file: int, buffer: memoryview) -> None:
        super()._digest(file, buffer)
        with self._change:
            is_new = self._parts[file].seal is not None and file not in self._told
            if is_new:
                self._told.add(file)
        if is_new:
            self._judge(file)
            self._offer(file)

    def _fetch_again(self, file: int, blocks: range) -> None:
        if self._sharing is not None:
            self._sharing.forget(file)
        start, stop = (at * self._grid.block_bytes for at in (blocks.start, blocks.stop))
        lent = self._lent.get(file, [])
        self._lent[file] = [one for one in lent if one.stop <= start or stop <= one.start]
        self._count_out(min(stop, one.stop) - max(start, one.start) for one in lent)
        super()._fetch_again(file, blocks)

    def _read_again(self, file: int) -> None:
        if self._sharing is not None:
            self._sharing.forget(file)
        lent = self._lent.pop(file, [])
        if not lent:
            super()._read_again(file)
            return
        self._count_out(one.stop - one.start for one in lent)
        part = self._parts[file]
        fd = part.open()[0]
        self._doubted[file] = [(one, _digests(fd, one)) for one in lent]
        for one in lent:
            self._company.ban(one.peer, _DOUBTED)
        kept = bytearray(b"\x01" * len(part.have))
        for one in lent:
            first, last = one.start, one.stop
            blocks = range(first // self._grid.block_bytes, -(-last // self._grid.block_bytes))
            kept[blocks.start : blocks.stop] = bytes(len(blocks))
        self._journal.forget(file)
        for block, is_here in enumerate(kept):
            if is_here:
                self._journal.arrived(file, block)
        part.start_over()
        part.have[:] = kept
        part.is_second_reading = False  # of the store's own bytes it is the first
        self._want_again(file, self._missing(file))

    def _count_out(self, counts: Iterable[int]) -> None:
        """What peers brought is to come again; what would be less than nothing is not of it."""
        with self._change:
            self._peers_bytes -= sum(max(0, count) for count in counts)

    def _judge(self, file: int) -> None:
        """Now that the file is right, tell who had brought something else."""
        doubted = self._doubted.pop(file, [])
        self._lent.pop(file, None)
        if not doubted:
            return
        fd = os.open(self._parts[file].final, os.O_RDONLY | os.O_CLOEXEC)
        try:
            liars = [one.peer for one, found in doubted if _digests(fd, one) != found]
        finally:
            os.close(fd)
        for peer in liars:
            self._company.pardon(peer, _DOUBTED)
            self._company.ban(peer, _LIED)
        for one, _ in doubted:
            self._company.pardon(one.peer, _DOUBTED)

    def _keep(self, file: int, start: int, stop: int) -> None:
        if self._sharing is not None:
            self._sharing.kept(file, start, stop)

    def _offer(self, file: int) -> None:
        if self._sharing is not None and self._digest_of(file) is not None:
            self._sharing.whole(file)


class _FromPeer:
    """Where chunks of peers arrive: as those of the store do, but they are not passed on."""

    def __init__(self, pull: PullTogether) -> None:
        self._pull = pull

    @property
    def grid(self) -> Grid:
        """How files are cut."""
        return self._pull.grid

    def put(self, file: int, view: memoryview, offset: int) -> None:
        """Write bytes to their place in a file."""
        self._pull.put(file, view, offset)

    def size_bytes(self, file: int) -> int:
        """Length of one file."""
        return self._pull.size_bytes(file)

    def arrived(self, file: int, block: int) -> None:
        """A block was written."""
        self._pull.arrived_lent(file, block)

    def came(self, file: int, view: memoryview, offset: int, since: int) -> None:
        """These bytes were written."""
        self._pull.came(file, view, offset, since)

    def wrote(self, count: int) -> None:
        """So many bytes were; may rest, and may raise to end the read."""
        self._pull.wrote(count)


def _digests(fd: int, lent: Lent) -> list[bytes]:
    """The digest of each piece of what a peer brought, as it lies on the disk."""
    return [
        hashlib.sha256(os.pread(fd, min(PIECE_BYTES, lent.stop - at), at)).digest()
        for at in range(lent.start, lent.stop, PIECE_BYTES)
    ]
