"""Which of the last chunks are cut in two, so that none rests while others have much to do.

Where a store or a link gives each connection only so much, the last chunks would come over
fewer connections than all before them: slower than need be, and than anybody was told.
"""

from collections.abc import Mapping

from .arrival import Arrival
from .pace import LEAST_LEFT_S
from .plan import Chunk, cut_at
from .turns import Turns

_LEAST_SEEN_S = 1.0
"""Whoever was seen for less has no pace."""


class Tail:
    """Cuts chunks that are under way; the caller serialises access.

    Args:
        block_bytes: Chunks are cut between blocks only.
    """

    def __init__(self, *, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._usual_bytes_s = 0.0

    def share(self, running: Mapping[int, Arrival], turns: Turns, most: int, now_s: float) -> bool:
        """Have others bring a part of what is under way, if nothing else is left to bring.

        Args:
            running: As :meth:`cut` takes it.
            turns: Where what they are to bring is put.
            most: As :meth:`cut` takes it.
            now_s: Of the monotonic clock.

        Returns:
            Whether there is anything.
        """
        paces = [pace for one in running.values() if (pace := _pace(one, now_s))]
        self._usual_bytes_s = max(paces, default=self._usual_bytes_s)
        chunks = [] if turns else self.cut(running, most=most, now_s=now_s)
        for chunk in chunks:
            turns.again([chunk])
        return bool(chunks)

    def cut(self, running: Mapping[int, Arrival], *, most: int, now_s: float) -> list[Chunk]:
        """Cut those that would take the longest.

        Args:
            running: What is under way; of some it will be less from now on.
            most: How many there should be at once.
            now_s: Of the monotonic clock.

        Returns:
            What is now to be brought by others; no more than keeps ``most`` busy.
        """
        idle = most - len(running)
        if idle <= 0:
            return []
        left = {arrival: self._left_s(arrival, now_s) for arrival in running.values()}
        slowest = sorted(left, key=lambda arrival: left[arrival], reverse=True)
        halves = [self._half(one) for one in slowest[:idle] if left[one] > LEAST_LEFT_S]
        return [chunk for chunk in halves if chunk is not None]

    def _half(self, arrival: Arrival) -> Chunk | None:
        place = cut_at(arrival.at, arrival.stop, block_bytes=self._block_bytes)
        return None if place is None else arrival.cut(place)

    def _left_s(self, arrival: Arrival, now_s: float) -> float:
        """How long a chunk will take at its pace, or that of others; 0 if nobody has one yet."""
        pace = _pace(arrival, now_s) or self._usual_bytes_s
        return (arrival.stop - arrival.at) / pace if pace else 0.0


def _pace(arrival: Arrival, now_s: float) -> float:
    """Bytes a second; 0 as long as it was hardly seen."""
    took_s = arrival.took(now_s)[0]
    return (arrival.at - arrival.start) / took_s if took_s >= _LEAST_SEEN_S else 0.0
