"""How long the verbs take that only look: each as a process, wall clock and CPU.

An agent runs on loopback whose coordinator does not answer. The wall clock is the demand's; on a
busy machine look at the CPU instead. ``doctor`` finds a store that answers and a coordinator that
refuses at once; where one does not answer, it takes as long as its patience with it.

    python bench/verbs.py [--rounds N]
"""

import argparse
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from footprint import Figure, command, environ, report, write_config

RESULTS = Path(__file__).parent / "results" / "verbs.json"
DEMAND_MS = 250.0
START_S = 30.0

CONFIG, AGENT, BOTH = ("--config",), ("--state-dir",), ("--config", "--state-dir")
VERBS: Sequence[tuple[str, Sequence[str]]] = (
    ("status", AGENT),
    ("top --once", AGENT),
    ("logs", AGENT),
    ("pool status", AGENT),
    ("models list", BOTH),
    ("models why org/tiny-a", BOTH),
    ("models show org/tiny-a", CONFIG),
    ("config check", CONFIG),
    ("config show", CONFIG),
    ("config get coordinator.url", CONFIG),
    ("config diff", BOTH),
    ("config schema", ()),
    ("engines", CONFIG),
    ("service status", CONFIG),
    ("completion bash", ()),
    ("doctor", BOTH),
)
"""Each verb that only looks, and which of the two places it is told."""


def timed(words: Sequence[str]) -> tuple[float, float]:
    """Milliseconds that one verb takes: by the clock, and of the CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun_s = time.perf_counter()
    subprocess.run(command(*words), capture_output=True, check=False, env=environ())
    took_ms = (time.perf_counter() - begun_s) * 1000
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took_ms, cpu_s * 1000


def measure(rounds: int) -> list[Figure]:
    """All verbs, so many rounds, after one that warms the disk cache."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder, 9)
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text("{}")
        here = config.read_text().replace("s3://models/tiny-a", f"file://{folder / 'model'}")
        config.write_text(here)
        places = {"--config": config, "--state-dir": folder / "state"}
        words = ["run", *(str(part) for pair in places.items() for part in pair)]
        with (folder / "agent.log").open("wb") as log:
            agent = subprocess.Popen(command(*words), stderr=log, env=environ())
        try:
            until_s = time.monotonic() + START_S
            while not (folder / "state" / "control.sock").exists() and time.monotonic() < until_s:
                time.sleep(0.1)
            told = {
                verb: [*verb.split(), *(str(x) for at in named for x in (at, places[at]))]
                for verb, named in VERBS
            }
            # in turns: a machine that is slow for a while is slow for all of them
            taken = [
                {verb: timed(words) for verb, words in told.items()} for _ in range(rounds + 1)
            ]
            for verb in told:
                seen = [one[verb] for one in taken[1:]]
                for nth, kind in enumerate(("", ", CPU")):
                    values = tuple(round(one[nth], 1) for one in seen)
                    figures.append(Figure(verb.split(" org")[0] + kind, "ms", DEMAND_MS, values))
        finally:
            agent.terminate()
            agent.wait()
    return figures


def main() -> int:
    """Measure, print, write; 1 if a demand is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    return report(measure(rounds), rounds, RESULTS)


if __name__ == "__main__":
    raise SystemExit(main())
