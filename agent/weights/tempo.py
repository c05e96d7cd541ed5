"""How fast bytes come, and which of two reasons bounds them (pure).

Either the link, the disk or a limit gives so much in all, however many connections share it; or
the store gives each connection so much, and more of them bring more. A fetch that has not yet as
many connections as it will have, or whose last ones end one by one, is over at very different
times in the two cases. Nobody tells which it is. But each says how the rate follows the number of
connections, so whichever says it better is believed the more.
"""

import math
from collections import deque

from ...config.frozen import frozen

_BEGUN_S = 0.5
"""So long after the first byte a pace says something."""

_LEAST_STEP_S = 0.2
"""Whoever tells more often is not heard each time."""

_MEMORY_RATIO = 0.5
_LEAST_MEMORY_S = 2.0
_LONGEST_MEMORY_S = 30.0
"""What was seen counts less and less: a third of it is left after half of the time so far, but
no sooner and no later than this."""

_LATELY_S = 3.0
_SUDDEN_RATIO = 0.25
"""Both halves of the last seconds were so far off, and to the same side: the link is another one
by now, and what was seen before counts no more. One stall, or one burst, is no reason."""

_NOISE_RATIO = 0.1
"""No rate is believed to be steadier than this."""

_LEAST_WEIGHT = 0.001

_MOST_ODDS = 20.0
_KNOWN_ODDS = 3.0
"""Natural logarithms. What was once as clear as this is remembered while the number of connections
stays as it is, and nothing tells."""


@frozen
class Guess:
    """One reason for the rate of now.

    Attributes:
        trust: From 0 to 1; those of all guesses are 1 together.
        rate_bytes_s: What comes; in all, or over each connection.
        is_each: Whether over each.
    """

    trust: float
    rate_bytes_s: float
    is_each: bool


@frozen
class _Seen:
    """One step: until when, how long it was, bytes a second; connections before it and after."""

    at_s: float
    took_s: float
    rate_bytes_s: float
    ends: tuple[int, int]

    @property
    def connections(self) -> float:
        """How many there were."""
        return sum(self.ends) / 2

    @property
    def weight(self) -> float:
        """Next to nothing if half of them came or left meanwhile: nobody knows when."""
        return self.took_s * max(_LEAST_WEIGHT, 2 * min(self.ends) / max(self.ends) - 1)


class _Line:
    """The rate as a multiple of something, fitted to what was seen; what is old weighs less."""

    def __init__(self) -> None:
        self._weight = self._xx = self._xy = self._yy = 0.0

    def fade(self, ratio: float) -> None:
        """Have all that was seen count only so much."""
        self._weight *= ratio
        self._xx *= ratio
        self._xy *= ratio
        self._yy *= ratio

    def see(self, x: float, y: float, weight: float) -> None:
        """Take one more point."""
        self._weight += weight
        self._xx += weight * x * x
        self._xy += weight * x * y
        self._yy += weight * y * y

    @property
    def slope(self) -> float:
        """What one of ``x`` brings."""
        return self._xy / self._xx if self._xx else 0.0

    @property
    def spread(self) -> float:
        """How far the points lie from the line: the sum of weighted squares."""
        return max(0.0, self._yy - self.slope * self._xy)

    @property
    def weight(self) -> float:
        """Of all points."""
        return self._weight


class _Lines:
    """Both reasons, as lines: over one, and over the number of connections."""

    def __init__(self) -> None:
        self.in_all, self.over_each = _Line(), _Line()

    def see(self, seen: _Seen, memory_s: float) -> None:
        """Take one more step, and forget a little of what was before."""
        for line, x in ((self.in_all, 1.0), (self.over_each, seen.connections)):
            line.fade(math.exp(-seen.took_s / memory_s))
            line.see(x, seen.rate_bytes_s, seen.weight)

    @property
    def odds(self) -> float:
        """How much better the second says what was seen than the first; a natural logarithm."""
        spreads = self.in_all.spread, self.over_each.spread
        least = (_NOISE_RATIO * self.in_all.slope) ** 2
        noise = max(least, min(spreads) / self.in_all.weight) if self.in_all.weight else 0.0
        odds = (spreads[0] - spreads[1]) / noise if noise else 0.0
        return min(_MOST_ODDS, max(-_MOST_ODDS, odds))

    def foretold_bytes(self, seen: _Seen) -> float:
        """What the better of them says of a step."""
        is_each = self.over_each.spread < self.in_all.spread
        rate = self.over_each.slope * seen.connections if is_each else self.in_all.slope
        return rate * seen.took_s


class Pace:
    """How fast bytes come; each of two reasons is held against what comes."""

    def __init__(self) -> None:
        self._last: tuple[float, int, int] | None = None
        self._begun_s = self._since_s = 0.0
        self._before, self._now = _Lines(), _Lines()
        self._lately: deque[_Seen] = deque()
        self._odds = self._known_odds = 0.0

    def told(self, fetched_bytes: int, now_s: float, connections: int = 1) -> None:
        """Take a measurement.

        Args:
            fetched_bytes: Brought by this run alone, so resumed ones are not counted.
            now_s: A clock that only goes forward, in seconds.
            connections: How many bring bytes.
        """
        last = self._last
        if last is not None and now_s - last[0] < _LEAST_STEP_S:
            return
        self._last = now_s, fetched_bytes, max(1, connections)
        if last is None or not last[1] or fetched_bytes < last[1]:
            # nothing came before the first byte; and a file that is read again was not to be had
            self._begun_s = self._since_s = now_s
            self._before, self._now = _Lines(), _Lines()
            self._lately.clear()
        else:
            took_s = now_s - last[0]
            rate = (fetched_bytes - last[1]) / took_s
            self._see(_Seen(now_s, took_s, rate, (last[2], self._last[2])))

    @property
    def rate_bytes_s(self) -> float | None:
        """Bytes a second of late; ``None`` until measured."""
        if self._last is None or self._last[0] - self._begun_s < _BEGUN_S:
            return None
        return self._now.in_all.slope

    def guesses(self) -> tuple[Guess, ...]:
        """Why that is so; none until measured, or if nothing comes."""
        rate = self.rate_bytes_s
        if not rate:
            return ()
        each = 1 / (1 + math.exp(-self._odds))
        return (
            Guess(1 - each, rate, is_each=False),
            Guess(each, self._now.over_each.slope, is_each=True),
        )

    def left_s(self, left_bytes: int) -> float | None:
        """Seconds that so many bytes take if all goes on as it is; ``None`` if nobody can tell."""
        rate = self.rate_bytes_s
        return left_bytes / rate if rate else None

    def _see(self, seen: _Seen) -> None:
        so_far_s = (seen.at_s - self._begun_s) * _MEMORY_RATIO
        memory_s = min(_LONGEST_MEMORY_S, max(_LEAST_MEMORY_S, so_far_s))
        self._now.see(seen, memory_s)
        self._lately.append(seen)
        while self._lately[0].at_s <= seen.at_s - _LATELY_S:
            self._before.see(self._lately.popleft(), memory_s)
        if self._is_sudden(seen.at_s):
            self._since_s = seen.at_s - _LATELY_S
            self._before, self._now = _Lines(), _Lines()
            for one in self._lately:
                self._now.see(one, memory_s)
        self._judge(self._now.odds)

    def _judge(self, odds: float) -> None:
        """Believe the reason more that says better what was seen."""
        if abs(odds) >= _KNOWN_ODDS:
            self._known_odds = math.copysign(_KNOWN_ODDS, odds)
        self._odds = max(odds, self._known_odds, key=abs)

    def _is_sudden(self, now_s: float) -> bool:
        """Whether what came lately is of another link than what came before."""
        if now_s - self._since_s < 2 * _LATELY_S:
            return False
        halves: tuple[list[_Seen], list[_Seen]] = ([], [])
        for seen in self._lately:
            halves[seen.at_s > now_s - _LATELY_S / 2].append(seen)
        off: list[float] = []
        for half in halves:
            came = sum(seen.rate_bytes_s * seen.took_s for seen in half)
            foretold = sum(map(self._before.foretold_bytes, half))
            off.append(came / foretold if foretold else 1.0)
        return max(off) < 1 - _SUDDEN_RATIO or min(off) > 1 + _SUDDEN_RATIO
