"""Which of the last chunks are cut in two, so that none rests while others have much to do.

Where a store or a link gives each connection only so much, the last chunks would come over
fewer connections than all before them: slower than need be, and than anybody was told.
"""

from collections.abc import Mapping

from ...config.frozen import frozen
from .arrival import Arrival
from .plan import Chunk, cut_at
from .turns import Turns

_LEAST_SEEN_S = 0.2
"""Whoever was seen for less has no pace."""

_LEAST_LEFT_S = 1.0
"""For less, nobody else is asked: it would be hardly of use."""

_LONG_S = 2.0
_FULL_RATIO = 0.9
"""As long as so much comes of the most that ever came, the link is full though some rest: only
what takes long is shared then."""

_LATELY = 0.4
"""So much weight the last look has."""

_LEAST_DELAYS = 4
"""Whoever has less to bring than comes in so many delays is as soon done alone."""


class Tail:
    """Cuts chunks that are under way; the caller serialises access.

    Args:
        block_bytes: Chunks are cut between blocks only.
    """

    def __init__(self, *, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._usual_bytes_s = 0.0
        self._all_bytes_s = self._most_bytes_s = self._summed_s = 0.0
        self._paces: dict[Arrival, _Seen] = {}

    def share(
        self,
        running: Mapping[int, Arrival],
        turns: Turns,
        most: int,
        now_s: float,
        delay_s: float = 0.0,
    ) -> bool:
        """Have others bring a part of what is under way, if nothing else is left to bring.

        Args:
            running: As :meth:`cut` takes it.
            turns: Where what they are to bring is put.
            most: As :meth:`cut` takes it.
            now_s: Of the monotonic clock.
            delay_s: As :meth:`cut` takes it.

        Returns:
            Whether there is anything.
        """
        self._paces = {one: self._seen(one, now_s) for one in running.values()}
        paces = [seen.bytes_s for seen in self._paces.values() if seen.bytes_s]
        self._usual_bytes_s = max(paces, default=self._usual_bytes_s)
        self._sum(sum(paces), now_s)
        chunks = [] if turns else self.cut(running, most=most, now_s=now_s, delay_s=delay_s)
        for chunk in chunks:
            turns.again([chunk])
        return bool(chunks)

    def cut(
        self, running: Mapping[int, Arrival], *, most: int, now_s: float, delay_s: float = 0.0
    ) -> list[Chunk]:
        """Cut those that would take the longest.

        Args:
            running: What is under way; of some it will be less from now on.
            most: How many there should be at once.
            now_s: Of the monotonic clock.
            delay_s: How long an answer takes to begin: what comes within that time is under way
                already, and would come twice.

        Returns:
            What is now to be brought by others; no more than keeps ``most`` busy.
        """
        idle = most - len(running)
        if idle <= 0:
            return []
        left = {arrival: self._left_s(arrival, now_s) for arrival in running.values()}
        slowest = sorted(left, key=lambda arrival: left[arrival], reverse=True)
        is_full = self._all_bytes_s > _FULL_RATIO * self._most_bytes_s
        least_s = max(_LONG_S if is_full else _LEAST_LEFT_S, _LEAST_DELAYS * delay_s)
        due = [(one, left[one]) for one in slowest[:idle] if left[one] > least_s]
        halves = [self._half(one, min(1.0, delay_s / left_s)) for one, left_s in due]
        return [chunk for chunk in halves if chunk is not None]

    def _half(self, arrival: Arrival, under_way: float) -> Chunk | None:
        at = arrival.at + int((arrival.stop - arrival.at) * under_way)
        place = cut_at(at, arrival.stop, block_bytes=self._block_bytes)
        return None if place is None else arrival.cut(place)

    def _sum(self, bytes_s: float, now_s: float) -> None:
        if now_s - self._summed_s >= _LEAST_SEEN_S:
            self._all_bytes_s += _LATELY * (bytes_s - self._all_bytes_s)
            self._most_bytes_s = max(self._most_bytes_s, self._all_bytes_s)
            self._summed_s = now_s

    def _left_s(self, arrival: Arrival, now_s: float) -> float:
        """How long a chunk will take at its pace, or that of others; 0 if nobody has one yet."""
        pace = self._seen(arrival, now_s).bytes_s or self._usual_bytes_s
        return (arrival.stop - arrival.at) / pace if pace else 0.0

    def _seen(self, arrival: Arrival, now_s: float) -> "_Seen":
        """Its pace of late: what a slow start took says nothing of what is to come."""
        took_s = arrival.took(now_s)[0]
        seen = self._paces.get(arrival) or _Seen(now_s - took_s, arrival.start, 0.0)
        passed_s = now_s - seen.at_s
        if passed_s < _LEAST_SEEN_S:
            return seen
        # nothing came since: it may stand still, and what it did before is all that is known
        bytes_s = (arrival.at - seen.at) / passed_s or (arrival.at - arrival.start) / took_s
        return _Seen(now_s, arrival.at, bytes_s)


@frozen
class _Seen:
    """Where a chunk was, when, and how many bytes a second came until then; 0: nobody knows."""

    at_s: float
    at: int
    bytes_s: float
