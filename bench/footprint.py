"""How small and how quick: an idle agent's memory, its start, and the quick verbs.

Runs real processes on loopback and prints one row a figure. Numbers are medians; a busy
machine makes them worse, so look at the CPU seconds beside the wall clock.

    python bench/footprint.py [--rounds N]
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from websockets.asyncio.server import ServerConnection, serve

RESULTS = Path(__file__).parent / "results" / "footprint.json"
SETTLE_S = 4.0
"""So long after its registration an agent counts as idle."""

CONFIG = """
[coordinator]
url = "ws://127.0.0.1:{port}/ws/provider"
token_file = "token"
heartbeat_interval_s = 5
[wire]
backend_label = "poolhand"
[pools]
assigned = "tiny"
allowed = ["tiny", "org/*"]
[slots]
max_model_slots = 1
[[models]]
id = "org/tiny-a"
aliases = ["tiny"]
ref = "s3://models/tiny-a"
[stores.s3]
endpoint = "http://127.0.0.1:9"
region = "us-east-1"
addressing = "path"
[cache]
dir = "cache"
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One row.

    Attributes:
        demand: The largest value that is good enough.
    """

    name: str
    unit: str
    demand: float
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of what was measured."""
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        """Whether the median is good enough."""
        return self.median <= self.demand


def command(*words: str) -> list[str]:
    """The command, run by this interpreter."""
    return [sys.executable, "-m", "poolhand.agent", *words]


def environ() -> dict[str, str]:
    """Ours, without a way to ask the network for credentials; what was compiled may be kept."""
    kept = {name: said for name, said in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"AWS_EC2_METADATA_DISABLED": "true"}


def timed(*words: str, codes: tuple[int, ...] = (0,)) -> float:
    """Milliseconds that one verb takes."""
    begun_s = time.perf_counter()
    done = subprocess.run(command(*words), capture_output=True, check=False, env=environ())
    took_ms = (time.perf_counter() - begun_s) * 1000
    if done.returncode not in codes:
        raise SystemExit(done.stderr.decode())
    return took_ms


def write_config(folder: Path, port: int) -> Path:
    """The first config file, with a coordinator on this port."""
    token = folder / "token"
    token.write_text("token\n")
    token.chmod(0o600)
    path = folder / "agent.toml"
    path.write_text(CONFIG.format(port=port))
    return path


async def one_round(folder: Path) -> dict[str, float]:
    """Start an agent, let it register and rest, look at it, ask it, stop it."""
    registered: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def talk(connection: ServerConnection) -> None:
        await connection.recv()
        registered.set_result(time.perf_counter())
        await connection.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        config = write_config(folder, next(iter(server.sockets)).getsockname()[1])
        state = folder / "state"
        begun_s = time.perf_counter()
        agent = await asyncio.create_subprocess_exec(
            *command("run", "--config", str(config), "--state-dir", str(state)),
            stderr=asyncio.subprocess.DEVNULL,
            env=environ(),
        )
        start_ms = (await asyncio.wait_for(registered, 30) - begun_s) * 1000
        process = psutil.Process(agent.pid)
        start_cpu_ms = sum(process.cpu_times()[:2]) * 1000
        await asyncio.sleep(SETTLE_S)
        rss_mib = process.memory_info().rss / 2**20
        status_ms = await asyncio.to_thread(
            timed, "status", "--state-dir", str(state), codes=(0, 4)
        )
        agent.terminate()
        await agent.wait()
    version_ms = await asyncio.to_thread(timed, "--version")
    return {
        "idle": rss_mib,
        "start": start_ms,
        "start_cpu": start_cpu_ms,
        "version": version_ms,
        "status": status_ms,
    }


def measure(rounds: int) -> list[Figure]:
    """All figures of so many rounds; one round before them warms the disk cache."""
    seen: list[dict[str, float]] = []
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            seen.append(asyncio.run(one_round(Path(folder))))

    def figure(key: str, name: str, unit: str, demand: float) -> Figure:
        return Figure(name, unit, demand, tuple(round(one[key], 2) for one in seen[1:]))

    return [
        figure("idle", "idle and connected, RSS", "MiB", 45),
        figure("start", "start to registered", "ms", 500),
        figure("start_cpu", "start to registered, CPU", "ms", 500),
        figure("version", "--version", "ms", 150),
        figure("status", "status", "ms", 250),
    ]


def main() -> int:
    """Measure, print, write; 1 if a demand is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    return report(measure(rounds), rounds, RESULTS)


def report(figures: Sequence[Figure], rounds: int, results: Path) -> int:
    """Print the figures and write them down; 1 if a demand is missed."""
    print(f"{'figure':28} {'demand':>12} {'median of ' + str(rounds):>14}   met")
    for one in figures:
        demand, median = f"<= {one.demand:g} {one.unit}", f"{one.median:.1f} {one.unit}"
        print(f"{one.name:28} {demand:>12} {median:>14}   {'yes' if one.is_met else 'NO'}")
    results.parent.mkdir(exist_ok=True)
    about = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
    }
    rows = [asdict(one) | {"median": one.median, "is_met": one.is_met} for one in figures]
    results.write_text(json.dumps({"about": about, "figures": rows}, indent=1) + "\n")
    return 0 if all(one.is_met for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
