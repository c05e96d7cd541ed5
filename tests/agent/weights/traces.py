"""Fetches in virtual time: crew, tail and turns are the real ones, a link is a formula."""

from collections.abc import Callable, Sequence
from typing import cast

from poolhand.agent.weights.arrival import Arrival
from poolhand.agent.weights.outlook import Outlook, Standing, Trail
from poolhand.agent.weights.pace import Crew
from poolhand.agent.weights.plan import Chunk, grid_for, missing
from poolhand.agent.weights.tail import Tail
from poolhand.agent.weights.turns import Turns

MB = 1_000_000
_STEP_S, _TAKE_S, _TICK_S = 0.05, 0.1, 0.25
_OPENING, _OPENING_S = 2, 0.5
_PLENTY = 10**12


def _plenty(_now_s: float) -> float:
    return _PLENTY


class Read:
    """One read under way; has what :class:`Tail` asks of an arrival."""

    def __init__(self, chunk: Chunk, size_bytes: int, now_s: float, first_s: float) -> None:
        self.chunk, self._is_whole = chunk, chunk.start == 0 and chunk.stop == size_bytes
        self.start = self.at = chunk.start
        self.stop, self.got = chunk.stop, float(chunk.start)
        self._begun_s, self.flows_s, self._taken_s = now_s, now_s + first_s, now_s

    def took(self, now_s: float) -> tuple[float, int]:
        """As :meth:`Arrival.took`."""
        return now_s - self._begun_s, self.stop - self.start

    def cut(self, stop: int) -> Chunk | None:
        """As :meth:`Arrival.cut`."""
        if self._is_whole or not self.at < stop < self.stop:
            return None
        rest = Chunk(self.chunk.file, stop, self.stop)
        self.stop = stop
        return rest

    def flow(self, rate_bytes_s: float) -> None:
        """Bytes come; they are only seen now and then."""
        self.got = min(self.stop, self.got + rate_bytes_s * _STEP_S)

    def is_over(self, now_s: float) -> bool:
        """See what has come."""
        if self.got >= self.stop - 1e-6:
            self.at = self.stop
        elif now_s - self._taken_s >= _TAKE_S:
            self.at, self._taken_s = int(self.got), now_s
        return self.at == self.stop


class Fetch:
    """One fetch.

    Args:
        sizes: Of its files.
        each: Bytes a second that the store gives each connection; ``None``: any.
        link: What the link gives in all, at a time.
        connections: To begin with, after two as long as nobody knows better; and the most.
        here_ratio: So much of each file was here before.
        first_s: From a request to its first byte.
        limit: A rate of our own.
        digests: Bytes a second of one file that are digested while bytes come, and after that.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        each: float | None = None,
        link: Callable[[float], float] | None = None,
        connections: tuple[int, int] = (8, 32),
        here_ratio: float = 0.0,
        first_s: float = 0.1,
        limit: float | None = None,
        digests: tuple[float, float] = (_PLENTY, _PLENTY),
    ) -> None:
        self._sizes, self._each, self._first_s = sizes, each or _PLENTY, first_s
        self._link: Callable[[float], float] = link or _plenty
        self._limit = limit
        self._grid = grid_for(total_bytes=sum(sizes), asked_chunk_bytes=2**24)
        queues = [self._missing(file, here_ratio) for file in range(len(sizes))]
        self.total = sum(chunk.stop - chunk.start for queue in queues for chunk in queue)
        self._turns, self._tail = Turns(queues), Tail(block_bytes=self._grid.block_bytes)
        start, most = connections
        self._crew = Crew(start=start, most=most)
        self._opens_s = 0.0 if start == most else _OPENING_S
        self._wanted = start if start == most else _OPENING
        self._lines: list[list[int | Read | None]] = []
        self._counted, self._now_s = 0, 0.0
        self._digests = digests
        missing_bytes = [sum(chunk.stop - chunk.start for chunk in queue) for queue in queues]
        self._here = [size - lacks for size, lacks in zip(sizes, missing_bytes, strict=True)]
        self._digested = [0.0 for _ in sizes]

    def run(self) -> list[tuple[float, float, float | None]]:
        """All of it.

        Returns:
            At each tick: the part of what is to come that has come, the seconds left in truth,
            and those that were told.
        """
        outlook, told, tick_s = Outlook(self.total), list[tuple[float, float, float | None]](), 0.0
        while self._assign() or self._trail().lags:
            if self._now_s >= tick_s:
                tick_s += _TICK_S
                standing = self._standing()
                outlook.look(standing, 0, self._now_s, self._trail())
                told.append((standing.done_bytes / self.total, self._now_s, outlook.left_s))
                self._look(standing)
            self._flow()
        return [(ratio, self._now_s - at_s, left_s) for ratio, at_s, left_s in told]

    def _missing(self, file: int, here_ratio: float) -> list[Chunk]:
        size = self._sizes[file]
        count = self._grid.blocks(size)
        have = [block < here_ratio * count for block in range(count)]
        return missing(file, size_bytes=size, have=have, grid=self._grid)

    @property
    def _reads(self) -> list[Read]:
        return [line[1] for line in self._lines if isinstance(line[1], Read)]

    def _assign(self) -> bool:
        """Give who rests something to do; whether anything is left to do."""
        self._lines = [
            line for at, line in enumerate(self._lines) if line[1] is not None or at < self._wanted
        ]
        while len(self._lines) < self._wanted and len(self._lines) < len(self._turns) + len(
            self._reads
        ):
            self._lines.append([None, None])
        for line in self._lines:
            if line[1] is None:
                chunk = self._turns.next(cast("int | None", line[0]))
                if chunk is not None:
                    size = self._sizes[chunk.file]
                    line[:] = chunk.file, Read(chunk, size, self._now_s, self._first_s)
        return bool(self._reads)

    def _standing(self) -> Standing:
        is_opening = self._now_s < self._opens_s
        return Standing(
            self._counted,
            tuple((read.start, read.at, read.stop) for read in self._reads),
            connections=self._wanted,
            most=self._wanted if is_opening else self._crew.most_soon,
            block_bytes=self._grid.block_bytes,
            is_limited=self._limit is not None or is_opening,
            step=self._crew.step,
        )

    def _trail(self) -> Trail:
        left = [size - here for size, here in zip(self._sizes, self._here, strict=True)]
        lags = (here - int(at) for here, at in zip(self._here, self._digested, strict=True))
        coming = tuple(lag for lag, lacks in zip(lags, left, strict=True) if lag or lacks)
        return Trail(coming, sum(left), self._digests[1], most=2)

    def _digest(self) -> None:
        """Of each file that is behind, as much as a thread gets done."""
        rate = self._digests[0 if self._reads else 1]
        for file, here in enumerate(self._here):
            self._digested[file] = min(here, self._digested[file] + rate * _STEP_S)

    def _look(self, standing: Standing) -> None:
        if self._now_s < self._opens_s:
            return
        running = cast("dict[int, Arrival]", dict(enumerate(self._reads)))
        if self._limit is None:
            _ = self._tail.share(running, self._turns, self._wanted, self._now_s)
        self._wanted = self._crew.look(self._now_s, standing.done_bytes, 0)

    def _flow(self) -> None:
        flowing = [read for read in self._reads if self._now_s >= read.flows_s]
        in_all = min(self._link(self._now_s), self._limit or _PLENTY)
        for read in flowing:
            read.flow(min(self._each, in_all / len(flowing)))
        self._now_s += _STEP_S
        self._digest()
        for line in self._lines:
            read = line[1]
            if isinstance(read, Read) and read.is_over(self._now_s):
                self._counted += read.stop - read.start
                self._here[read.chunk.file] += read.stop - read.start
                self._turns.done(read.chunk)
                line[1] = None


def two_shards(total_bytes: float) -> list[int]:
    """A model in two files."""
    return [int(total_bytes * 0.6), int(total_bytes * 0.4)]


def errors(
    told: Sequence[tuple[float, float, float | None]], *, least_left_s: float = 3.5
) -> list[float]:
    """How far off what was told was, of what was left, after the first tenth.

    Args:
        told: See :meth:`Fetch.run`.
        least_left_s: The last moments do not count: nobody plans by them.
    """
    return [
        abs(eta_s - left_s) / left_s if eta_s is not None else float("inf")
        for ratio, left_s, eta_s in told
        if ratio >= 0.1 and left_s >= least_left_s
    ]
