"""What one request costs another inside the MLX engine: first token beside a stream, and pauses.

The engine is driven directly, with the 5 MB model, in a child and in this process. A stream runs
all the time; beside it short requests come one after another, then long prompts. What the others
see of a long prompt is the longest wait between two of the stream's tokens. In the end a long
prompt is asked again, with and without room for what finished answers leave behind.

    python bench/engines.py [--rounds N]
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

from figures import Row, low, told

from poolhand.agent.dev.checkpoint import make_model
from poolhand.backends.engines.base import Delta, Piece, Prompt
from poolhand.backends.engines.mlx import MlxEngine
from poolhand.config.engines import Mlx

RESULTS = Path(__file__).parent / "results" / "engines.json"
SHORT = "hello"
LONG = "word " * 500
"""About 1500 tokens of a window of 4096: on a processor each token costs more than the last."""

FIRST_MS, STALL_MS = 100.0, 250.0


def asked(text: str, most: int = 4) -> Prompt:
    """A chat of one message."""
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0}
    return Prompt("bench", "chat", body, most)


async def first_token_ms(engine: MlxEngine, prompt: Prompt) -> float:
    """From the question to the first piece with a token; the rest is read, too."""
    begun_s, first_s = time.perf_counter(), None
    async for piece in engine.generate(prompt):
        if isinstance(piece, Delta) and first_s is None:
            first_s = time.perf_counter()
    if first_s is None:
        message = "not measured: an answer without a token"
        raise SystemExit(message)
    return (first_s - begun_s) * 1000


class Stream:
    """A stream that runs beside what is measured, and when its tokens came."""

    def __init__(self) -> None:
        self.came_s: list[float] = []

    async def run(self, engine: MlxEngine) -> None:
        """Read one answer after another until cancelled."""
        while True:
            answer: AsyncGenerator[Piece, None] = engine.generate(asked("[loop]", 4000))
            async for piece in answer:
                if isinstance(piece, Delta):
                    self.came_s.append(time.perf_counter())

    def longest_ms(self, begun_s: float, ended_s: float) -> float:
        """The longest wait for a token between two moments."""
        marks = [begun_s, *(at for at in self.came_s if begun_s < at < ended_s), ended_s]
        return max(later_s - at_s for at_s, later_s in pairwise(marks)) * 1000


@asynccontextmanager
async def beside_a_stream(engine: MlxEngine) -> AsyncGenerator[Stream]:
    """A stream of this engine that has begun."""
    stream = Stream()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(stream.run(engine))
        while not stream.came_s:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.01)
        yield stream
        running.cancel()


@asynccontextmanager
async def engine_of(folder: Path, **settings: object) -> AsyncGenerator[MlxEngine]:
    """An engine with the model in memory."""
    mlx = Mlx.model_validate({"max_running": 8, **settings})
    engine = MlxEngine(str(folder), model="bench", settings=mlx, context_tokens=None)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


async def stalls(engine: MlxEngine, rounds: int) -> list[float]:
    """The longest wait of a stream while a long prompt is read beside it, in ms, each time."""
    waits: list[float] = []
    async with beside_a_stream(engine) as stream:
        for _ in range(rounds):
            begun_s = time.perf_counter()
            await first_token_ms(engine, asked(LONG, 2))
            waits.append(stream.longest_ms(begun_s, time.perf_counter()))
    return waits


async def measure(folder: Path, rounds: int) -> list[Row]:
    """All figures."""
    rows: list[Row] = []
    for isolation in ("child", "inprocess"):
        async with engine_of(folder, isolation=isolation) as engine:
            async with beside_a_stream(engine):
                firsts = [await first_token_ms(engine, asked(SHORT)) for _ in range(rounds * 5)]
            rows.append(low(f"{isolation}: first token beside a stream, ms", firsts, FIRST_MS))
            waits = await stalls(engine, rounds)
            rows.append(low(f"{isolation}: longest stall by a long prompt, ms", waits, STALL_MS))
    for kept_gib in (0.0, 0.25):
        async with engine_of(folder, prompt_cache_gib=kept_gib) as engine:
            await first_token_ms(engine, asked(LONG))
            again = [await first_token_ms(engine, asked(LONG)) for _ in range(rounds)]
            words = f"prompt_cache_gib = {kept_gib:g}: a long prompt again, first token, ms"
            rows.append(low(words, again, None))
    return rows


def main() -> int:
    """Measure, print, write; 1 if a demand is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        make_model(Path(place), preset="tiny", name="tiny")
        rows = asyncio.run(measure(Path(place), rounds))
    return told(rows, RESULTS)


if __name__ == "__main__":
    sys.exit(main())
