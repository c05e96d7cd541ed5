"""What relaying costs: an engine behind the agent, against the same engine driven directly.

A scripted coordinator on loopback asks a real agent for sealed answers; this process drives an
engine of the same kind itself. Both take turns in one run, each run of the agent's between two of
the engine's, so what counts are the ratios. This process takes chunks off the wire by their heads
and opens none while it measures, for whatever it does is taken from the engine, too; it opens the
echo's afterwards, to see their order.

What a sealed chunk costs beyond the engine's own: all of the agent's processor time from the first
question to the last end, less that of the direct driver for the same tokens, by the chunks that
came. So it holds the opening of requests, the end of each, and whatever an agent does anyway
(heartbeats, readings of the machine); what that is was measured before, and a row says what is
left without it. Several tokens may come in one chunk, so another row counts by tokens.

    python bench/relay.py [--rounds N]
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import astuple
from pathlib import Path

import psutil
from figures import Row, high, low, told
from relay_ear import ear_of
from relay_parts import told as told_parts
from relay_peer import Failed, Peer, Took, body_of, cpu_of, is_in_order
from websockets.asyncio.server import serve

from poolhand.agent.dev.checkpoint import make_model
from poolhand.backends.engines.base import Delta, Prompt
from poolhand.backends.engines.mlx import MlxEngine
from poolhand.config.settings import Mlx

RESULTS = Path(__file__).parent / "results" / "relay.json"
CASES = ((1, 200), (8, 200), (32, 200), (32, 80))
"""Streams side by side, and how many tokens each says.

The last ones are short: a fifth of their time goes by before all of them speak. The engine reads
eight prompts at once, and through an agent the first requests begin while others are still being
opened, so that reading 32 takes five turns in place of four. They are told, and held to nothing.
"""

HELD_TOKENS = 200

FIRST_TOKENS = 100
"""Answers from whose first token the added wait is taken: of 20, chance alone makes 3 ms."""

IDLE_S = 12.0
"""Two heartbeats, and more."""

ECHO_STREAMS, ECHO_WORDS = 512, 100
"""The agent sends at most 50 chunks a second for one request, so it takes many."""

CONFIG = """
[coordinator]
url = "ws://127.0.0.1:{port}/ws/provider"
[pools]
assigned = "bench"
[slots]
max_model_slots = 2
[[models]]
id = "tiny"
aliases = ["bench"]
ref = "file://{folder}"
engine = "mlx"
[[models]]
id = "echo"
aliases = ["bench"]
ref = "file://{folder}"
engine = "echo"
[requests]
max_concurrent = 1024
[engines.mlx]
max_running = 32
[cache]
dir = "cache"
[log]
level = "error"
"""


async def drive(engine: MlxEngine, streams: int, tokens: int) -> Took:
    """The same, without an agent."""

    async def one() -> tuple[int, int]:
        pieces = said = 0
        async for piece in engine.generate(Prompt("r", "chat", body_of("[loop]"), tokens)):
            if isinstance(piece, Delta):
                pieces, said = pieces + 1, said + piece.tokens
        return pieces, said

    me = psutil.Process()
    cpu_s, begun_s = cpu_of(me), time.perf_counter()
    ends = await asyncio.gather(*(one() for _ in range(streams)))
    wall_s = time.perf_counter() - begun_s
    return Took(sum(said for _, said in ends), sum(n for n, _ in ends), wall_s, cpu_of(me) - cpu_s)


def both(before: Took, after: Took) -> Took:
    """What lies between two runs: a machine that grows slower meanwhile is no fault of a third."""
    pairs = zip(astuple(before), astuple(after), strict=True)
    tokens, chunks, wall_s, cpu_s = ((one + other) / 2 for one, other in pairs)
    return Took(round(tokens), round(chunks), wall_s, cpu_s)


async def first_token_ms(engine: MlxEngine) -> float:
    """From the question to the first words, directly."""
    begun_s = time.perf_counter()
    took_ms = 0.0
    async for piece in engine.generate(Prompt("r", "chat", body_of("[loop]"), 2)):
        if isinstance(piece, Delta) and not took_ms:
            took_ms = (time.perf_counter() - begun_s) * 1000
    return took_ms


@asynccontextmanager
async def agent(folder: Path, model: Path) -> AsyncGenerator[Peer]:
    """A registered agent with both models loaded."""
    peer = Peer()
    ear = ear_of(peer.keep)
    async with serve(
        peer.talk, "127.0.0.1", 0, max_size=None, compression=None, create_connection=ear
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        config = folder / "agent.toml"
        config.write_text(CONFIG.format(port=port, folder=model))
        words = ("run", "--config", str(config), "--state-dir", str(folder / "state"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "poolhand.agent", *words),
            env=os.environ | {"AWS_EC2_METADATA_DISABLED": "true"},
        )
        try:
            await asyncio.wait_for(peer.registered.wait(), 30)
            peer.agent = psutil.Process(process.pid)
            for name in ("tiny", "echo"):
                await peer.say(type="load_model", model_id=name)
                if await asyncio.wait_for(peer.loads.get(), 60) != "succeeded":
                    raise Failed(name)
            yield peer
        finally:
            process.terminate()
            await process.wait()


async def measure(rounds: int) -> list[Row]:
    """All figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "tiny", preset="tiny", name="tiny")
        settings = Mlx(max_running=32)
        engine = MlxEngine(
            str(folder / "tiny"), model="tiny", settings=settings, context_tokens=None
        )
        await engine.start()
        async with agent(folder, folder / "tiny") as peer:
            rows = await compare(peer, engine, rounds)
            rows += await echo(peer, rounds)
        await engine.stop()
    return rows


async def compare(peer: Peer, engine: MlxEngine, rounds: int) -> list[Row]:
    """Throughput, time to the first token, and CPU: the agent's and the direct, in turns."""
    rows: list[Row] = []
    idle = await idle_of(peer)
    print(f"  idle: {idle * 1e3:.2f} ms of CPU a second")
    for streams, tokens in CASES:
        ratios: list[float] = []
        costs_us: list[float] = []
        busy_us: list[float] = []
        token_us: list[float] = []
        before = await drive(engine, streams, tokens)
        for _ in range(rounds):
            through = await peer.run("tiny", "[loop]", streams, tokens)
            after = await drive(engine, streams, tokens)
            direct, before = both(before, after), after
            ratios.append(through.tps / direct.tps)
            beyond_us = (through.cpu_s - direct.cpu_s) * 1e6
            costs_us.append(beyond_us / through.chunks)
            busy_us.append((beyond_us - idle * through.wall_s * 1e6) / through.chunks)
            token_us.append(beyond_us / through.tokens)
            print(
                f"  {streams:2} x {tokens}: direct {direct.tps:5.0f} tok/s, {direct.cpu_s:.3f} s,"
                f" agent {through.tps:5.0f} tok/s, {through.cpu_s:.3f} s of CPU,"
                f" {through.chunks} chunks, {costs_us[-1]:.1f} us each beyond direct,"
                f" {busy_us[-1]:.1f} without what it takes idle"
            )
        is_held = tokens == HELD_TOKENS
        least, most_us = 0.95 if is_held and streams > 1 else None, 25 if is_held else None
        case = f"{streams} streams" if is_held else f"{streams} short streams"
        rows.append(high(f"{case}: throughput / direct", ratios, least))
        rows.append(low(f"{case}: agent CPU a chunk beyond direct, us", costs_us, most_us))
        rows.append(low(f"{case}: the same, less the idle agent's", busy_us, None))
        rows.append(low(f"{case}: all of it a token, us", token_us, None))
    print(await where_it_goes(peer, engine, rounds, idle))
    waits: tuple[list[float], list[float]] = ([], [])
    for _ in range(FIRST_TOKENS):
        waits[0].append(await first_token_ms(engine))
        asked = await peer.ask(peer.seal("tiny", "[loop]", 2))
        waits[1].append((asked.first_s - asked.sent_s) * 1000)
    added = statistics.median(waits[1]) - statistics.median(waits[0])
    rows.append(low("time to first token: added, ms, median", [added], 5))
    return rows


async def where_it_goes(peer: Peer, engine: MlxEngine, rounds: int, idle: float) -> str:
    """What the time of a chunk is made of, with 8 streams; a line to print."""
    whole_us, direct_us, idle_us, request_us = (list[float]() for _ in range(4))
    for _ in range(rounds):
        short, alone = await peer.run("tiny", "[loop]", 8, 2), await drive(engine, 8, 2)
        through, direct = (
            await peer.run("tiny", "[loop]", 8, HELD_TOKENS),
            await drive(engine, 8, HELD_TOKENS),
        )
        whole_us.append(through.cpu_s * 1e6 / through.chunks)
        direct_us.append(direct.cpu_s * 1e6 / through.chunks)
        idle_us.append(idle * through.wall_s * 1e6 / through.chunks)
        request_us.append((short.cpu_s - alone.cpu_s) * 1e6 / through.chunks)
    return told_parts(*map(statistics.median, (whole_us, direct_us, idle_us, request_us)))


async def idle_of(peer: Peer) -> float:
    """CPU seconds a second of an agent that has nothing to do."""
    await asyncio.sleep(IDLE_S / 4)
    cpu_s, begun_s = cpu_of(peer.agent), time.perf_counter()
    await asyncio.sleep(IDLE_S)
    return (cpu_of(peer.agent) - cpu_s) / (time.perf_counter() - begun_s)


async def echo(peer: Peer, rounds: int) -> list[Row]:
    """An engine that costs next to nothing: what is left is the agent."""
    text = " ".join(f"word{at}" for at in range(ECHO_WORDS))
    rates: list[float] = []
    per_core: list[float] = []
    for _ in range(rounds):
        peer.asked.clear()
        took = await peer.run("echo", text, ECHO_STREAMS, ECHO_WORDS)
        if not all(is_in_order(asked, text) for asked in peer.asked.values()):
            raise Failed(took)
        rates.append(took.chunks / took.wall_s)
        per_core.append(took.chunks / took.cpu_s)
        print(f"  echo: {rates[-1]:.0f} chunks/s, {1e6 / per_core[-1]:.1f} us of CPU each")
    return [
        high("echo: sealed chunks a second, as received", rates, 20000),
        high("echo: sealed chunks a second of agent CPU", per_core, 20000),
    ]


def main() -> int:
    """Measure, print, write; 1 if a demand is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rows = asyncio.run(measure(parser.parse_args().rounds))
    return told(rows, RESULTS)


if __name__ == "__main__":
    sys.exit(main())
