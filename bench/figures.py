"""What a benchmark says at its end: figures held against their demands, as a table and as JSON."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; ``demand`` is good enough, ``aim`` is what is wanted, ``None`` asks nothing."""

    name: str
    value: float
    demand: float | None
    aim: float | None
    met: bool | None


def high(name: str, values: Iterable[float], demand: float | None, aim: float | None = None) -> Row:
    """The median of the values, which should be no less than the demand."""
    value = statistics.median(values)
    met = None if demand is None else value >= demand
    return Row(name, round(value, 3), demand, demand if aim is None else aim, met)


def low(name: str, values: Iterable[float], demand: float | None, aim: float | None = None) -> Row:
    """The median of the values, which should be no more than the demand."""
    value = statistics.median(values)
    met = None if demand is None else value <= demand
    return Row(name, round(value, 3), demand, demand if aim is None else aim, met)


def write(rows: Iterable[Row], results: Path) -> None:
    """Leave them where they can be read by a program."""
    results.parent.mkdir(parents=True, exist_ok=True)
    said = {"rows": [asdict(row) for row in rows]}
    _ = results.write_text(json.dumps(said, indent=1) + "\n")


def told(rows: Sequence[Row], results: Path) -> int:
    """Print figures and write them down; 1 if a demand is missed."""
    width = max(len(row.name) for row in rows)
    print(f"{'figure':{width}} {'value':>10} {'demand':>8} {'aim':>8}   met")
    for row in rows:
        met = {True: "yes", False: "NO", None: "-"}[row.met]
        demand, aim = ("-" if asked is None else f"{asked:g}" for asked in (row.demand, row.aim))
        print(f"{row.name:{width}} {row.value:10g} {demand:>8} {aim:>8}   {met}")
    write(rows, results)
    return 1 if any(row.met is False for row in rows) else 0
