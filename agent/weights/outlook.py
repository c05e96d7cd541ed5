"""When a fetch will be over: how it stands, its pace, and what it is about to do (pure).

Bytes divided by the rate of now are wrong where the fetch itself is about to change that rate: it
adds connections as long as they pay, and at its end they leave one by one, the last of them with a
block that cannot be cut any more. Both are foreseen here, as far as a rate follows the number of
connections. And the last byte is not the end: where digests do not keep up with the bytes, what
they are behind by then is digested after it, each file by one thread.
"""

import bisect
from collections import deque

from ...config.frozen import frozen
from .pace import LOOK_EVERY_S, STEP
from .plan import cut_at
from .tempo import Pace

_LAST_ONES_RATIO = 0.4
"""Of the time that the largest piece takes which is not cut, so much the last connections work on
while others rest; found in simulated fetches."""

_MOST_CUTS = 300

_LONG_S = 2.0
"""What takes no longer is mostly left to whoever brings it."""

_SETTLES_S = 0.4
"""For so long nobody knows what connections bring that nobody had foreseen."""

_SEEN_S = 0.5
_SEEN_RATIO = 0.5
_SHORTEST_S = 2.0
_LONGEST_S = 30.0
"""Whether digests keep up is seen over half of the time so far, and no more or less than this."""


@frozen
class Standing:
    """How far a fetch is, and what it is about to do.

    Attributes:
        counted_bytes: On disk, resumed ones included, but for what is under way.
        reads: Of each read under way, its first byte, its next one and where it ends, in its file.
        connections: How many are to bring bytes now.
        most: How many there may be soon, if they pay.
        block_bytes: Reads are cut between blocks only.
        is_limited: Whether it is not the link that bounds them, so that more of them bring no
            more: a rate of our own is held, or the processor has no time.
        peers_bytes: Of what is counted, what peers brought.
        step: How many more there would be next; twice as many each time from then on.
    """

    counted_bytes: int
    reads: tuple[tuple[int, int, int], ...]
    connections: int
    most: int
    block_bytes: int
    is_limited: bool = False
    peers_bytes: int = 0
    step: int = STEP

    @property
    def done_bytes(self) -> int:
        """All that is on disk."""
        return self.counted_bytes + sum(at - start for start, at, _ in self.reads)

    @property
    def lefts(self) -> list[tuple[int, bool]]:
        """What each read has still to bring, and whether it may be cut; the longest last.

        Files that come whole are never cut: most of them do not end where a block does.
        """
        return sorted(
            (stop - at, start > 0 or stop % self.block_bytes == 0) for start, at, stop in self.reads
        )

    def most_busy(self, left_bytes: int) -> int:
        """How many connections could be busy at once, if so much is left in all."""
        waiting = left_bytes - sum(left for left, _ in self.lefts)
        cuts = sum(left // self.block_bytes for left, is_cut in self.lefts if is_cut)
        return max(1, len(self.reads) + cuts + -(-waiting // self.block_bytes))


@frozen
class Trail:
    """How far digests are behind the bytes, of files that come in more than one piece.

    Attributes:
        lags: Of each file that is not whole, how many bytes are here and not digested.
        left_bytes: What is still to come of these files.
        alone_bytes_s: What one thread digests in a second that a processor has for it; ``None``
            if none had to yet.
        most: How many files are digested at once.
    """

    lags: tuple[int, ...] = ()
    left_bytes: int = 0
    alone_bytes_s: float | None = None
    most: int = 1


_WITHOUT = Trail()


class _Lag:
    """What digests are behind, and will be."""

    def __init__(self) -> None:
        self._trail = Trail()
        self._begun_s: float | None = None
        self._seen: deque[tuple[float, int]] = deque()

    def told(self, trail: Trail, now_s: float) -> None:
        """Take what holds now."""
        if self._begun_s is None:
            self._begun_s = now_s
        if not trail.left_bytes and self._trail.left_bytes:
            self._seen.clear()  # nothing takes the processor's time from them any more
        self._trail = trail
        self._seen.append((now_s, sum(trail.lags)))
        so_far_s = (now_s - self._begun_s) * _SEEN_RATIO
        memory_s = min(_LONGEST_S, max(_SHORTEST_S, so_far_s))
        while len(self._seen) > 1 and now_s - self._seen[1][0] >= memory_s:
            _ = self._seen.popleft()

    def after_s(self, bytes_s: float) -> float:
        """Seconds from the last byte to the last digest.

        Args:
            bytes_s: How long bytes will still come.
        """
        trail, lag = self._trail, sum(self._trail.lags)
        (then_s, then), (now_s, _) = self._seen[0], self._seen[-1]
        growth = (lag - then) / (now_s - then_s) if now_s - then_s >= _SEEN_S else 0.0
        rate, at_once = trail.alone_bytes_s, min(trail.most, max(1, sum(map(bool, trail.lags))))
        if not trail.left_bytes and growth < 0:
            rate = -growth / at_once
        by_then = min(lag + trail.left_bytes, max(0.0, lag + growth * bytes_s))
        if not rate or not by_then:
            return 0.0
        share = max(trail.lags) / lag if lag else 1.0
        return by_then * max(share, 1 / at_once) / rate


class Outlook:
    """When a fetch will be over, judged anew at every look.

    Args:
        total_bytes: Of the whole model.

    Attributes:
        left_s: Seconds until all of it is here and digested; ``None`` if nobody can tell, or if
            it is.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._pace = Pace()
        self._lag = _Lag()
        self._standing: Standing | None = None
        self._grown_s = self._settles_s = self._now_s = 0.0
        self.left_s: float | None = None

    def look(
        self, standing: Standing, resumed_bytes: int, now_s: float, trail: Trail = _WITHOUT
    ) -> None:
        """Take what holds now.

        Args:
            standing: Where the fetch stands.
            resumed_bytes: Of its bytes, what was here when it began.
            now_s: A clock that only goes forward, in seconds.
            trail: How far its digests are.
        """
        before, passed_s = self._standing, now_s - self._now_s
        if before is None or before.connections != standing.connections:
            self._grown_s = now_s
        if before is not None and standing.connections > before.most:
            self._settles_s = now_s + _SETTLES_S
        self._pace.told(standing.done_bytes - resumed_bytes, now_s, len(standing.reads))
        self._lag.told(trail, now_s)
        self._standing, self._now_s = standing, now_s
        if now_s >= self._settles_s or not self.left_bytes:
            self.left_s = self._in_s()
        elif self.left_s is not None:
            self.left_s = max(0.0, self.left_s - passed_s)

    @property
    def rate_bytes_s(self) -> float | None:
        """Bytes a second of late; ``None`` until measured."""
        return self._pace.rate_bytes_s

    @property
    def left_bytes(self) -> int:
        """What is still to come."""
        done = 0 if self._standing is None else self._standing.done_bytes
        return max(0, self._total_bytes - done)

    def _in_s(self) -> float | None:
        if not self.left_bytes:
            return self._lag.after_s(0.0) or None
        bytes_s = self._bytes_s()
        return None if bytes_s is None else bytes_s + self._lag.after_s(bytes_s)

    def _bytes_s(self) -> float | None:
        standing, guesses, left = self._standing, self._pace.guesses(), self.left_bytes
        if standing is None or not guesses:
            return None
        if standing.is_limited:
            return self._pace.left_s(left)
        since_s = self._now_s - self._grown_s
        product = 1.0  # of powers: a reason that is hardly believed shall not outweigh the other
        for guess in guesses:
            rate = guess.rate_bytes_s
            one_s = _over_each(standing, left, rate, since_s) if guess.is_each else left / rate
            product *= one_s**guess.trust
        return product


def _over_each(standing: Standing, left_bytes: int, each_bytes_s: float, since_s: float) -> float:
    """How long it takes where each connection brings so much, however many there are."""
    lefts, most = standing.lefts, standing.most_busy(left_bytes)
    waiting_bytes = left_bytes - sum(left for left, _ in lefts)
    count = max(1, len(lefts), min(most, standing.connections))
    now, left, grows_s, wait_s = count, float(left_bytes), 0.0, max(0.0, LOOK_EVERY_S - since_s)
    most, step = min(most, standing.most), standing.step
    # a connection that would have hardly begun is not added any more
    while count < most and left / (count * each_bytes_s) > wait_s + _LONG_S:
        left -= count * each_bytes_s * wait_s
        grows_s += wait_s
        wait_s, count = LOOK_EVERY_S, min(most, count + step)
        step = count
    if count == now and waiting_bytes <= 0:
        return _ends_s(standing, each_bytes_s)
    even_s = grows_s + left / (count * each_bytes_s)
    lump_bytes = max(_LONG_S * each_bytes_s, 1.5 * standing.block_bytes)
    lump_bytes = min(lump_bytes, max(lefts, default=(0, True))[0])  # small files are no large ones
    return even_s + _LAST_ONES_RATIO * min(lump_bytes / each_bytes_s, even_s)


def _ends_s(standing: Standing, each_bytes_s: float) -> float:
    """When the last read is over, if the longest is cut in two each time that one ends."""
    lefts, gone = standing.lefts, 0
    most, block_bytes = max(standing.connections, len(lefts)), standing.block_bytes
    for _ in range(_MOST_CUTS):
        if lefts and len(lefts) == most:
            (gone, _), *lefts = lefts
            continue
        cuts = (
            (left, cut_at(gone - left, 0, block_bytes=block_bytes))
            for left, is_cut in reversed(lefts)
            if is_cut
        )
        longest, half = next(((left, -at) for left, at in cuts if at is not None), (0, 0))
        if longest - gone <= _LONG_S * each_bytes_s:
            break
        lefts.remove((longest, True))
        bisect.insort(lefts, (gone + half, True))
        bisect.insort(lefts, (longest - half, True))
    return max(lefts, default=(gone, True))[0] / each_bytes_s
