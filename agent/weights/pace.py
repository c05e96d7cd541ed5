"""How many connections, how fast at most, and which of them is too slow (pure).

Small rules without a clock of their own: :class:`Opening` begins with few connections as long
as the processor is what bounds them, :class:`Crew` looks for the number of
connections that the store and the link reward, :class:`Bucket` keeps all of them together
under one rate, and :func:`laggards` picks the reads that are to be begun anew elsewhere.
"""

from collections.abc import Mapping, Sequence

LOOK_EVERY_S = 2.0
"""So long a change is given to show what it brought."""

FEWEST = 4
STEP = 4
"""So many connections are added at once where they hardly pay."""

_IN_FULL = 0.5
"""Who brings so much of what others do is limited each for itself, and twice as many bring more."""

WORTH = 1.05
"""They have paid if this many times as much came."""

FAR_S = 0.003
"""A store that is so far away, there and back, is behind a link: more than one wire takes."""

_USUAL_BYTES = 2**21
"""A file of so much brings bytes for longer than it waits for its first one."""

_REFUSED_S = 0.2
"""Who is refused asks again soon: by then it shows whether there are still too many."""

_HOLD_S = 10.0
_LAG = 4.0
_LEAST_LAG_S = 2.0
_ENOUGH_PEERS = 3
_BURST_S = 0.25
_USUAL_CONNECTIONS = 8
_LEAST_BUFFER_BYTES = 16 * 1024
_BUSY = 0.35
_LONGEST_WAIT_S = 5.0


def at_once(connections: int, *, most: int, files: int, left_bytes: int) -> int:
    """How many connections to begin with on a link.

    Whoever asks for a small file waits for a whole round trip and hardly brings anything, so
    that as many bytes are on their way at once as of large files only if more of them ask.

    Args:
        connections: For large files.
        most: Never more than these.
        files: How many there are to bring.
        left_bytes: What is to come of all of them.
    """
    return min(most, int(connections * max(1.0, _USUAL_BYTES * files / max(1, left_bytes))))


class Opening:
    """As many connections as there are cores to do their work, until they wait for their link.

    One that is always busy receiving, writing and digesting takes bytes in file order, so that
    nothing has to be read back to be digested; more of them would only stand in its way. As
    soon as the process rests for a good part of the time, the link is what bounds it.

    Args:
        wanted: How many there should be on a link.
        cores: How many the process may use.

    Attributes:
        count: How many to begin with.
    """

    def __init__(self, wanted: int, *, cores: int) -> None:
        self.count = min(wanted, max(2, cores))
        self._cores = min(cores, self.count)
        self._then: tuple[float, float] | None = None

    def is_too_few(self, now_s: float, cpu_s: float) -> bool:
        """Whether they wait for their link; to be asked a few times a second.

        Args:
            now_s: Of any clock that only goes forward.
            cpu_s: What the process has used of its cores so far.
        """
        then, self._then = self._then, (now_s, cpu_s)
        if then is None or now_s <= then[0]:
            return False
        return (cpu_s - then[1]) / (now_s - then[0]) < _BUSY * self._cores


class Crew:
    """The number of connections, asked for again and again.

    Four more, for what is under way may have to be cut for them; twice as many as long as each of
    the last ones brought half of what those before it did, four as long as they brought 5 %
    together; as many as before when they did not; half, and ten seconds of rest, when the store
    asks for mercy, and only four more from then on.

    Args:
        start: Connections to begin with.
        most: Never more than these.
    """

    def __init__(self, *, start: int, most: int) -> None:
        self._most = most
        self._fewest = min(FEWEST, start, most)
        self.count = min(start, most)
        self._looked: tuple[float, int, int] | None = None
        self._last_rate: float | None = None
        self._before = self.count
        self._is_settled = self._is_careful = self._has_paid = False
        self._rest_until_s = 0.0

    @property
    def most_soon(self) -> int:
        """How many there may be soon, if they pay."""
        return self.count if self._is_settled else self._most

    @property
    def step(self) -> int:
        """How many more there would be next."""
        return self.count if self._has_paid and not self._is_careful else STEP

    def look(self, now_s: float, done_bytes: int, refusals: int) -> int:
        """Decide anew every :data:`LOOK_EVERY_S`; to be asked a few times a second.

        Args:
            now_s: Of any clock that only goes forward.
            done_bytes: What all connections together have brought so far.
            refusals: How often the store has said so far that it is too much.

        Returns:
            How many connections there should be.
        """
        then_s, then_bytes, before = self._looked = self._looked or (now_s, done_bytes, 0)
        is_refused = refusals > before
        if now_s - then_s >= (_REFUSED_S if is_refused else LOOK_EVERY_S):
            self._looked = (now_s, done_bytes, refusals)
            rate = (done_bytes - then_bytes) / (now_s - then_s)
            self._decide(now_s, rate, is_refused=is_refused)
        return self.count

    def _decide(self, now_s: float, rate_bytes_s: float, *, is_refused: bool) -> None:
        if is_refused:
            self.count = max(self._fewest, self.count // 2)
            self._rest_until_s = now_s + _HOLD_S
            self._last_rate, self._before, self._is_settled = None, self.count, False
            self._is_careful = True
        elif now_s >= self._rest_until_s and not self._is_settled:
            self._try(rate_bytes_s)

    def _try(self, rate_bytes_s: float) -> None:
        has_grown = self.count > self._before
        last = self._last_rate if has_grown and self._last_rate else None
        if last is not None and rate_bytes_s < last * WORTH:
            self.count, self._is_settled = self._before, True
            return
        in_full = 1 + _IN_FULL * (self.count / self._before - 1)
        self._has_paid = last is not None and rate_bytes_s >= last * in_full
        self._before = self.count
        self.count = min(self._most, self.count + self.step)
        self._last_rate = rate_bytes_s


class Bucket:
    """One rate over all connections; the caller serialises access.

    Args:
        rate_bytes_s: The most; ``None``: as fast as it goes.
    """

    def __init__(self, rate_bytes_s: int | None) -> None:
        self.rate_bytes_s = rate_bytes_s
        self._free_at_s = 0.0

    def debit(self, count: int, now_s: float) -> float:
        """Pay for bytes that have arrived.

        Args:
            count: How many.
            now_s: Of any clock that only goes forward.

        Returns:
            Seconds that whoever brought them should rest now.
        """
        rate = self.rate_bytes_s
        if rate is None:
            return 0.0
        # a slow start may be made up for, but only a little
        self._free_at_s = max(self._free_at_s, now_s - _BURST_S) + count / rate
        return min(max(0.0, self._free_at_s - now_s), _LONGEST_WAIT_S)


def buffer_bytes(rate_bytes_s: int | None, *, most_bytes: int) -> int:
    """How much one connection should take at once.

    Each pays only for what it has taken, so under a low limit many large buffers would come in
    one burst: over the limit for a moment, and then nothing for seconds, which no ETA survives.

    Args:
        rate_bytes_s: What all connections together may bring; ``None``: anything.
        most_bytes: What is quickest without a limit; a power of two.

    Returns:
        A power of two, ``most_bytes`` at most.
    """
    if rate_bytes_s is None:
        return most_bytes
    wanted = int(rate_bytes_s * _BURST_S / _USUAL_CONNECTIONS)
    return min(most_bytes, max(_LEAST_BUFFER_BYTES, 1 << max(wanted, 1).bit_length() - 1))


def laggards(
    running: Mapping[int, tuple[float, int]], finished: Sequence[tuple[float, int]]
) -> list[int]:
    """Which reads take four times as long as their peers did.

    Args:
        running: Seconds so far, and bytes asked for, of each read under way.
        finished: Seconds and bytes of the last reads that ended well.

    Returns:
        Keys of ``running``; none as long as too few have finished to compare with.
    """
    if len(finished) < _ENOUGH_PEERS:
        return []
    paces = sorted(took_s / count for took_s, count in finished if count)
    usual_s = paces[len(paces) // 2] if paces else 0.0
    return [
        key
        for key, (so_far_s, count) in running.items()
        if so_far_s > max(_LEAST_LAG_S, _LAG * usual_s * count)
    ]
