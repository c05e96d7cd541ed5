"""Counters, gauges and histograms as text that Prometheus reads.

Source:
    Prometheus text exposition format 0.0.4.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from ...config.frozen import frozen

KIND = "text/plain; version=0.0.4; charset=utf-8"
"""The media type."""

PREFIX = "poolhand_"

MOST_SERIES = 256
"""Of one family; label values beyond are counted together, as ``other``."""

OTHER = "other"

Labels = tuple[str, ...]


@frozen
class Family:
    """One metric: its name without the prefix, what it means, and by what it is told apart.

    Attributes:
        bounds: Upper bounds of a histogram's buckets, rising, without the infinite one.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    words: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


class Series:
    """All values of one family; the only one that writes them."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._values: dict[Labels, float] = {}
        self._buckets: dict[Labels, list[int]] = {}
        if not family.labels and family.kind == "counter":
            self._values[()] = 0.0

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Count; less than nothing is nothing."""
        at = self._at(labels)
        self._values[at] = self._values.get(at, 0.0) + max(0.0, by)

    def put(self, value: float | None, *labels: str) -> None:
        """Set a gauge; what was not measured is not there."""
        at = self._at(labels)
        if value is None:
            self._values.pop(at, None)
        else:
            self._values[at] = value

    def observe(self, value: float, *labels: str) -> None:
        """Put a measurement into a histogram."""
        at = self._at(labels)
        counts = self._buckets.get(at)
        if counts is None:
            counts = self._buckets[at] = [0] * (len(self.family.bounds) + 1)
        counts[bisect_left(self.family.bounds, value)] += 1
        self._values[at] = self._values.get(at, 0.0) + value

    def clear(self) -> None:
        """Forget all values: what is measured anew at each look has no past."""
        self._values.clear()

    def lines(self) -> Iterator[str]:
        """The family as text; nothing if it has no value."""
        family, name = self.family, PREFIX + self.family.name
        if not self._values:
            return
        yield f"# HELP {name} {family.words}"
        yield f"# TYPE {name} {family.kind}"
        for labels, value in self._values.items():
            pairs = list(zip(family.labels, labels, strict=True))
            if family.kind != "histogram":
                yield f"{name}{_braced(pairs)} {_number(value)}"
                continue
            total = 0
            ends = [*map(_number, family.bounds), "+Inf"]
            for end, count in zip(ends, self._buckets[labels], strict=True):
                total += count
                yield f"{name}_bucket{_braced([*pairs, ('le', end)])} {total}"
            yield f"{name}_sum{_braced(pairs)} {_number(value)}"
            yield f"{name}_count{_braced(pairs)} {total}"

    def _at(self, labels: Labels) -> Labels:
        if labels in self._values or len(self._values) < MOST_SERIES:
            return labels
        return (OTHER,) * len(labels)


def text(series: Iterable[Series]) -> str:
    """Everything that has a value, in the order given."""
    return "".join(f"{line}\n" for one in series for line in one.lines())


def by_name(families: Iterable[Family]) -> Mapping[str, Series]:
    """An empty series for each family."""
    return {family.name: Series(family) for family in families}


def _braced(pairs: list[tuple[str, str]]) -> str:
    if not pairs:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < _EXACT else repr(value)


_EXACT = 2.0**53
