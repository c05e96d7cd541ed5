"""An agent's loop while a model is fetched: ticks every 10 ms, the fetch in its child.

    python bench/weights_agent.py   (the job's line, as the fetch's child takes it, on stdin)

Prints one JSON object: lateness of the ticks in milliseconds, growth of memory in bytes.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from poolhand.agent.weights.fetch import fetch
from poolhand.agent.weights.lines import decode_job

_TICK_S = 0.01
_IDLE_S = 1.0


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _main() -> dict[str, float]:
    job, _ = decode_job(sys.stdin.buffer.readline())
    lateness_s: list[float] = []
    peak = 0

    async def tick() -> None:
        nonlocal peak
        while True:
            due_s = time.perf_counter() + _TICK_S
            await asyncio.sleep(_TICK_S)
            lateness_s.append(time.perf_counter() - due_s)
            peak = max(peak, _resident_bytes())

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        with tempfile.TemporaryDirectory(dir=job.cache_dir) as warm:
            # what a first fetch leaves for good (imports, threads) is not what a fetch takes
            _ = await fetch(replace(job, cache_dir=warm), told=lambda _: None)
        await asyncio.sleep(_IDLE_S)
        lateness_s.clear()
        before = peak = _resident_bytes()
        started_s = time.perf_counter()
        _ = await fetch(job, told=lambda _: None)
        wall_s = time.perf_counter() - started_s
        _ = ticking.cancel()
    ordered = sorted(lateness_s)
    return {
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
        "median_ms": ordered[len(ordered) // 2] * 1000,
        "most_ms": ordered[-1] * 1000,
        "ticks": len(ordered),
        "growth_bytes": peak - before,
        "wall_s": wall_s,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main())))
