"""A storm of loads: how soon each is answered, and how many are refused as busy.

A scripted coordinator on loopback has a real agent load one model, then sends a thousand
``load_model`` for others: first each after the answer to the one before, then all of them at
once. The agent runs the echo engine, so what is measured is deciding and saying, not loading.
Every second answer is preceded by a ping, which the agent's WebSocket library answers on the
same loop and nobody decides about: its longest says how quiet the machine was.

    python bench/storm.py [--loads N]
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from websockets.asyncio.server import ServerConnection, serve

from poolhand.agent.dev.checkpoint import make_model

RESULTS = Path(__file__).parent / "results" / "storm.json"
EACH_S, BUSY_RATIO = 0.050, 0.95
"""What is demanded: the longest answer, and the least part that is refused as busy."""

CONFIG = """
[coordinator]
url = "ws://127.0.0.1:{port}/ws/provider"
[pools]
assigned = "storm"
{models}
[cache]
dir = "cache"
[log]
level = "warning"
"""

MODEL = """
[[models]]
id = "storm/{name}"
aliases = ["storm"]
ref = "file://{folder}"
engine = "echo"
pinned = {pinned}
"""


class Peer:
    """A coordinator that asks for loads and takes the time."""

    def __init__(self, loads: int) -> None:
        self.loads = loads
        self.paced_s: list[float] = []
        self.pings_s: list[float] = []
        self.burst_s: list[float] = []
        self.busy = 0
        self.is_loaded = asyncio.Event()
        self.is_over = asyncio.Event()
        self.cpu_s = 0.0

    async def talk(self, line: ServerConnection) -> None:
        """Hear the agent out, and raise the storm."""
        while (await self._hear(line))["type"] != "register":
            pass
        await self._load(line, "storm/a")
        while (await self._hear(line)).get("status") != "succeeded":
            pass
        self.is_loaded.set()
        for number in range(self.loads):
            if number % 2:
                asked_s = time.perf_counter()
                await (await line.ping())
                self.pings_s.append(time.perf_counter() - asked_s)
            sent_s = time.perf_counter()
            await self._load(line, f"storm/{'bc'[number % 2]}")
            await self._answer(line)
            self.paced_s.append(time.perf_counter() - sent_s)
        began_s = time.perf_counter()
        for number in range(self.loads):
            await self._load(line, f"storm/{'bc'[number % 2]}")
        for _ in range(self.loads):
            await self._answer(line)
            self.burst_s.append(time.perf_counter() - began_s)
        self.is_over.set()
        await line.wait_closed()

    async def _answer(self, line: ServerConnection) -> None:
        while (heard := await self._hear(line))["type"] != "load_model_status":
            pass
        self.busy += "slot(s) are active" in str(heard.get("error"))

    async def _load(self, line: ServerConnection, model: str) -> None:
        await line.send(json.dumps({"type": "load_model", "model_id": model}))

    async def _hear(self, line: ServerConnection) -> dict[str, object]:
        return json.loads(await line.recv())


async def storm(loads: int, folder: Path) -> Peer:
    """Run one agent through one storm.

    Args:
        loads: How many loads are asked for, twice.
        folder: For its configuration, its state and its cache.
    """
    peer = Peer(loads)
    weights = folder / "weights"
    make_model(weights, preset="nano", name="alpha")
    rows = [MODEL.format(name=n, folder=weights, pinned=str(n == "a").lower()) for n in "abc"]
    async with serve(peer.talk, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        config = folder / "agent.toml"
        config.write_text(CONFIG.format(port=port, models="".join(rows)))
        command = [sys.executable, "-m", "poolhand.agent", "run", "--config", str(config)]
        agent = await asyncio.create_subprocess_exec(
            *command,
            "--state-dir",
            str(folder / "state"),
            cwd=folder,
            env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
        )
        try:
            process = psutil.Process(agent.pid)
            await asyncio.wait_for(peer.is_loaded.wait(), 120)
            began_s = _cpu_s(process)
            await asyncio.wait_for(peer.is_over.wait(), 120)
            peer.cpu_s = _cpu_s(process) - began_s
        finally:
            agent.terminate()
            await agent.wait()
    return peer


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def at(part: float, times_s: Sequence[float]) -> float:
    """A quantile, in milliseconds."""
    return round(sorted(times_s)[min(len(times_s) - 1, int(part * len(times_s)))] * 1000.0, 3)


def main() -> int:
    """Raise the storm; the exit status is 1 if a demand is not met."""
    parser = argparse.ArgumentParser(description="A storm of loads against one agent.")
    parser.add_argument("--loads", type=int, default=1000)
    loads: int = parser.parse_args().loads
    with tempfile.TemporaryDirectory() as made:
        peer = asyncio.run(storm(loads, Path(made)))
    busy_ratio = peer.busy / (2 * loads)
    told = {
        "loads": loads,
        "paced_ms": {"p50": at(0.5, peer.paced_s), "p99": at(0.99, peer.paced_s)},
        "paced_longest_ms": at(1.0, peer.paced_s),
        "ping_longest_ms": at(1.0, peer.pings_s),
        "agent_cpu_ms_per_load": round(peer.cpu_s * 1000.0 / (2 * loads), 3),
        "burst_loads_per_s": round(loads / peer.burst_s[-1]),
        "burst_mean_ms": round(statistics.mean(peer.burst_s) * 1000.0, 3),
        "busy_ratio": busy_ratio,
        "cores": os.cpu_count(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))
    is_met = at(1.0, peer.paced_s) <= EACH_S * 1000.0 and busy_ratio >= BUSY_RATIO
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
