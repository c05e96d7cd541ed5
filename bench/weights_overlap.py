"""Time to an engine that answers: loaded while its model arrives, against fetched, then loaded.

    python bench/weights_overlap.py [--rate-mib-s 24] [--rounds 3] [--preset small]

A small checkpoint comes over one throttled link; both ways take turns, with the agent's own
doers: the fetch in its child, the engine in another. Prints one JSON object a round, and the
ratio of the medians.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from weights_rig import PREFIX, Link, Shape, listing

from poolhand.agent.dev.checkpoint import PRESETS, make_model
from poolhand.agent.runtime.early import Early
from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.fetch import fetch
from poolhand.agent.weights.lines import FetchJob
from poolhand.backends.engines.base import Engine
from poolhand.backends.engines.mlx import MlxEngine
from poolhand.backends.stores.base import Progress
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Mlx, Stores, Weights

MODEL, BUCKET = "org/bench", "overlap"
MIB = 2**20


def job_of(url: str, folder: Path) -> FetchJob:
    """The same fetch, into another cache."""
    s3 = S3(endpoint=url, unsigned=True)
    ref = ModelRef.parse(f"s3://{BUCKET}/{PREFIX}")
    return FetchJob(
        MODEL, ref, Stores(s3=s3), Weights(connections=1, max_connections=1), str(folder)
    )


def engine_of(folder: Path) -> MlxEngine:
    """The engine of what arrives in this cache."""
    place = str(Cache(folder).folder(MODEL))
    return MlxEngine(place, model=MODEL, settings=Mlx(), context_tokens=None)


def _nobody(_progress: Progress) -> None:
    """Nobody watches."""


async def one_after_the_other(url: str, folder: Path) -> float:
    """Fetch, then load; seconds."""
    began_s = time.monotonic()
    _ = await fetch(job_of(url, folder), told=_nobody)
    engine = engine_of(folder)
    _ = await engine.start()
    took_s = time.monotonic() - began_s
    await engine.stop()
    return took_s


async def overlapped(url: str, folder: Path) -> float:
    """Load while it arrives; seconds."""

    async def much() -> int:
        return 2**50

    def make(_model: str) -> Engine:
        return engine_of(folder)

    began_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        early = Early(Cache(folder), make, free_bytes=much, tasks=tasks)
        early.begin(MODEL, 1)
        _ = await fetch(job_of(url, folder), told=_nobody, arrived=partial(early.arrived, MODEL))
        early.whole(MODEL)
        engine = early.take(MODEL)
        assert engine is not None  # noqa: S101  # else there is nothing to be measured
        _ = await engine.start()
        took_s = time.monotonic() - began_s
        await engine.stop()
    return took_s


def timed(way: Callable[[str, Path], Awaitable[float]], url: str) -> float:
    """One way, once, into an empty cache."""

    async def go() -> float:
        return await way(url, folder)

    folder = Path(tempfile.mkdtemp(prefix="overlap-"))
    try:
        return asyncio.run(go())
    finally:
        shutil.rmtree(folder)


async def warmed(folder: Path) -> None:
    """Load once, unmeasured: the library's own files come off the disk, which the first pays."""
    engine = MlxEngine(str(folder), model=MODEL, settings=Mlx(), context_tokens=None)
    _ = await engine.start()
    await engine.stop()


def measure(root: Path, *, rate_bytes_s: int, rounds: int, preset: str) -> float:
    """The ratio of the medians; each round is printed."""
    make_model(root / BUCKET / PREFIX, preset=preset)
    files = {path.name: path.stat().st_size for path in (root / BUCKET / PREFIX).iterdir()}
    _ = (root / f"{BUCKET}.xml").write_text(listing(root, Shape(BUCKET, files)))
    ways = {"overlapped_s": overlapped, "sequential_s": one_after_the_other}
    took: dict[str, list[float]] = {name: [] for name in ways}
    asyncio.run(warmed(root / BUCKET / PREFIX))
    with Link(root, rate_bytes_s=rate_bytes_s, delay_s=0.02) as link:
        for number in range(rounds):
            for name in sorted(ways, reverse=bool(number % 2)):
                took[name].append(timed(ways[name], link.url))
            said = {name: round(each[-1], 3) for name, each in took.items()}
            print(json.dumps({"size_mib": round(sum(files.values()) / MIB, 1), **said}), flush=True)
    first, second = (statistics.median(took[name]) for name in ways)
    return first / second


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    _ = parser.add_argument("--rate-mib-s", type=float, default=24.0)
    _ = parser.add_argument("--rounds", type=int, default=3)
    _ = parser.add_argument("--preset", choices=list(PRESETS), default="tiny")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        ratio = measure(
            Path(root),
            rate_bytes_s=int(asked.rate_mib_s * MIB),
            rounds=asked.rounds,
            preset=asked.preset,
        )
    print(json.dumps({"ratio": round(ratio, 3)}))


if __name__ == "__main__":
    main()
