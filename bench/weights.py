"""How fast weights come here: ours against the downloaders that are installed, in one run.

    python bench/weights.py [--size-mib N] [--rounds N] [--quick] [--shapes one,two,four,small]

One nginx on loopback is everyone's origin; rounds are shuffled and interleaved, rows are
medians. A peer's verified time is its own and ``openssl dgst -sha256`` over what it wrote.
Ours is the fetching child from its start to its exit: listed, fetched, digested, looked into,
published; nobody waits for the disk. ``poolhand models fetch --to`` takes turns with it. Prints a
table and writes ``bench/results/weights.json``.
"""

import argparse
import compileall
import importlib.util
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import weights_overlap
from figures import Row, high, low, told, write
from weights_peers import commands
from weights_rig import (
    MIB,
    PREFIX,
    Link,
    Nginx,
    Ran,
    Shape,
    again,
    keep_hot,
    lay,
    piped,
    present,
    run,
    shapes,
)

from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.lines import FetchJob, encode_job
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Stores, Weights

RESULTS = Path(__file__).parent / "results" / "weights.json"
POOLHAND = [sys.executable, "-m", "poolhand.agent"]
CHILD = [sys.executable, "-m", "poolhand.agent.weights.child"]
RECEIVE = [sys.executable, str(Path(__file__).with_name("weights_raw.py"))]
GIB = 2**30
OURS, RAW, COMMAND = "ours", "raw receive", "poolhand models fetch"
FAR_BEHIND = 1.5
"""A peer that takes so many times as long as the best one is asked once and not again."""

LINK_RATE, LINK_DELAY_S, LINK_CONNECTIONS = 80_000_000, 0.05, 16
LINK_TIMES = 4
"""Whoever has such a link brings models of gigabytes over it."""
MODEL = "bench/model"


@dataclass(frozen=True, slots=True)
class Took:
    """One client in one round, over one shape.

    Attributes:
        verified_s: With the digests of what was written.
    """

    wall_s: float
    verified_s: float
    cpu_s: float
    verified_cpu_s: float


class Bench:
    """One run of the whole benchmark."""

    def __init__(self, root: Path, disk: Path, *, rounds: int, names: list[str], size: int) -> None:
        self.root, self.disk, self.rounds = root, disk, rounds
        self.models = {name: one for name, one in shapes(size).items() if name in names}
        self.took: dict[tuple[str, str, str], list[Took]] = defaultdict(list)
        self.single: dict[str, list[float]] = defaultdict(list)
        for shape in self.models.values():
            lay(root, shape)

    # ── one client, once ──────────────────────────────────────────────────────────────

    def job(
        self,
        url: str,
        shape: Shape,
        folder: Path,
        *,
        ca: Path | None = None,
        connections: int = 8,
        most: int = 32,
    ) -> bytes:
        """The fetching child's line of input."""
        s3 = S3(endpoint=url, unsigned=True, ca_file=str(ca) if ca else None)
        job = FetchJob(
            model=MODEL,
            ref=ModelRef.parse(f"s3://{shape.name}/{PREFIX}"),
            stores=Stores(s3=s3),
            weights=Weights(connections=connections, max_connections=most),
            cache_dir=str(folder),
        )
        return encode_job(job, "fetch")

    def fresh(self) -> Path:
        """An empty folder on the disk; what was there before is out of the way, and not timed."""
        folder = self.disk / "to"
        if sum(1 for _ in folder.rglob("shard-*")) > 1:
            # ext4 passes by every inode that was freed lately: 0.5 ms a new file
            _ = folder.rename(self.disk / f"was-{time.monotonic_ns()}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def ours(self, url: str, shape: Shape, ca: Path | None) -> Took:
        """Our own fetch."""
        ran = run(CHILD, said=self.job(url, shape, self.fresh(), ca=ca))
        _check(ran)
        return Took(ran.wall_s, ran.wall_s, ran.cpu_s, ran.cpu_s)

    def command(self, url: str, shape: Shape, ca: Path | None) -> Took:
        """Our own fetch as a person types it; with TLS, trusting as the environment says."""
        folder = self.fresh()
        words = ["models", "fetch", f"s3://{shape.name}/{PREFIX}", "--endpoint", url]
        trusting = {"AWS_CA_BUNDLE": str(ca)} if ca else {}
        words += [
            "--to",
            str(folder / "copy"),
            "--checksums",
            str(self.root / f"{shape.name}.sums"),
        ]
        ran = run([*POOLHAND, *words], environ=trusting)
        _check(ran)
        return Took(ran.wall_s, ran.wall_s, ran.cpu_s, ran.cpu_s)

    def peer(self, command: list[str], folder: Path, shape: Shape) -> Took | None:
        """A peer, then the digests of what it wrote; ``None`` if it failed."""
        fetched = run(command)
        if fetched.exit_code:
            return None  # a peer that fails is one that is not here
        paths = [str(folder / name) for name in shape.files]
        half = -(-len(paths) // 2)
        said = "\0".join(paths).encode()
        digest = ["sh", "-c", f"xargs -0 -n {half} -P 2 openssl dgst -sha256"]
        shasum = piped(digest, said)
        _check(shasum)
        wall_s, cpu_s = fetched.wall_s + shasum.wall_s, fetched.cpu_s + shasum.cpu_s
        return Took(fetched.wall_s, wall_s, fetched.cpu_s, cpu_s)

    def raw(self, url: str, shape: Shape, ca: Path) -> Took:
        """Receive and throw away."""
        files = "".join(f"{name} {size}\n" for name, size in shape.files.items()).encode()
        ran = piped([*RECEIVE, url, f"/{shape.name}/{PREFIX}", str(ca)], files)
        _check(ran)
        return Took(ran.wall_s, ran.wall_s, ran.cpu_s, ran.cpu_s)

    # ── all clients, many times ───────────────────────────────────────────────────────

    def compare(self, origin: Nginx, *, is_tls: bool) -> None:
        """The rounds of one scheme."""
        url = origin.url(is_tls=is_tls)
        scheme = "https" if is_tls else "http"
        for number in range(self.rounds):
            for shape in self.models.values():
                if is_tls and shape.name == "small":
                    continue
                folder = self.disk / "to"
                found = commands(url, shape.name, list(shape.files), folder, origin.ca_file)
                clients = [OURS, COMMAND, RAW, *self.still_asked(scheme, shape.name, found)]
                random.shuffle(clients)
                for client in clients:
                    folder = self.fresh()
                    ca = origin.ca_file if is_tls else None
                    if client == OURS:
                        took = self.ours(url, shape, ca)
                    elif client == COMMAND:
                        took = self.command(url, shape, ca)
                    elif client == RAW:
                        took = self.raw(url, shape, origin.ca_file)
                    else:
                        took = self.peer(found[client], folder, shape)
                    if took is not None:
                        self.took[scheme, shape.name, client].append(took)
            print(f"  round {number + 1} of {self.rounds}, {scheme}: done", flush=True)

    def still_asked(self, scheme: str, shape: str, found: Iterable[str]) -> list[str]:
        """All peers in the first round; then those that may be the best one."""
        tried = {peer: self.took.get((scheme, shape, peer), []) for peer in found}
        if not any(tried.values()):
            return list(tried)
        verified_s = {
            peer: min(one.verified_s for one in each) for peer, each in tried.items() if each
        }
        best_s = min(verified_s.values())
        return [
            peer
            for peer, took_s in verified_s.items()
            if took_s <= FAR_BEHIND * best_s or peer == "s5cmd"
        ]

    def on_the_link(self, link: Link) -> None:
        """The share of the link, and what a kill at half costs."""
        shape, full = self.models["two"], LINK_RATE * LINK_CONNECTIONS
        large = again(self.root, shape, LINK_TIMES)
        for _ in range(self.rounds):
            for name, one in (("share", large), ("share of little", shape)):
                many = LINK_CONNECTIONS
                said = self.job(link.url, one, self.fresh(), connections=many, most=many)
                ran = run(CHILD, said=said)
                _check(ran)
                self.single[name].append(one.size_bytes / ran.wall_s / full)
            self.single["again"].append(self.killed(link, shape))

    def killed(self, link: Link, shape: Shape) -> float:
        """MiB fetched beyond what was missing, after a kill at half."""
        folder = self.fresh()
        said = self.job(
            link.url, shape, folder, connections=LINK_CONNECTIONS, most=LINK_CONNECTIONS
        )
        before = link.sent_bytes()
        child = subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert child.stdin is not None  # noqa: S101  # for the type checker
        _ = child.stdin.write(said)
        child.stdin.flush()
        while link.sent_bytes() - before < shape.size_bytes / 2:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        _ = child.wait()
        child.stdin.close()
        time.sleep(0.3)  # what the origin's connections still hold is lost with them
        here = present(self.root / shape.name / PREFIX, Cache(folder).folder(MODEL), shape)
        before = link.sent_bytes()
        _check(run(CHILD, said=said))
        return (link.sent_bytes() - before - (shape.size_bytes - here)) / MIB

    def memory(self, origin: Nginx) -> None:
        """Peak anonymous memory over 16 connections."""
        for shape in self.models.values():
            said = self.job(origin.url(is_tls=False), shape, self.fresh(), connections=16)
            ran = run(CHILD, said=said, is_watched=True)
            _check(ran)
            self.single["anonymous"].append(ran.anonymous_bytes / MIB)

    def overlap(self) -> None:
        """An engine that loads while its model arrives; none where MLX is not installed."""
        if importlib.util.find_spec("mlx_lm") is None:
            return
        with tempfile.TemporaryDirectory() as root:
            ratio = weights_overlap.measure(
                Path(root), rate_bytes_s=16 * MIB, rounds=self.rounds, preset="medium"
            )
        self.single["overlap"].append(ratio)

    def agent(self, link: Link) -> None:
        """What the agent feels: its memory, and its loop."""
        shape = self.models["two"]
        for _ in range(min(2, self.rounds)):
            said = self.job(link.url, shape, self.fresh())
            program = [sys.executable, str(Path(__file__).with_name("weights_agent.py"))]
            done = subprocess.run(program, input=said, capture_output=True, check=True)
            felt: dict[str, float] = json.loads(done.stdout)
            self.single["lateness"].append(felt["p99_ms"])
            self.single["growth"].append(felt["growth_bytes"] / MIB)

    # ── what it comes to ──────────────────────────────────────────────────────────────

    def median(self, scheme: str, shape: str, client: str, what: str) -> float:
        """A client's median over its rounds."""
        return statistics.median(getattr(one, what) for one in self.took[scheme, shape, client])

    def best(self, scheme: str, shape: str, what: str) -> float | None:
        """The best peer's median; ``None`` if none is installed."""
        clients = {client for a, b, client in self.took if (a, b) == (scheme, shape)}
        peers = clients - {OURS, RAW, COMMAND}
        return min((self.median(scheme, shape, peer, what) for peer in peers), default=None)

    def rows(self) -> Iterator[Row]:
        """Every figure."""
        big = [name for name in self.models if name != "small"]
        for shape in big:
            ours = self.median("http", shape, OURS, "verified_s")
            if (peer := self.best("http", shape, "verified_s")) is not None:
                title = f"{shape}: verified, against the best peer + sha256"
                yield low(title, [ours / peer], 0.65, 0.55)
                typed = self.median("http", shape, COMMAND, "verified_s")
                yield low(f"{title}, as a command", [typed / peer], 0.65, 0.55)
            if (peer := self.best("http", shape, "wall_s")) is not None:
                title = f"{shape}: verified, against the best peer unverified"
                yield low(title, [ours / peer], 1, 0.85)
            raw = self.median("http", shape, RAW, "wall_s")
            yield high(f"{shape}: raw receive / ours verified", [raw / ours], 0.40, 0.50)
            cpu_s = self.median("http", shape, OURS, "cpu_s")
            gib = self.models[shape].size_bytes / GIB
            yield low(f"{shape}: client CPU, s/GiB", [cpu_s / gib], 1.6, 1.3)
            ours = self.median("https", shape, OURS, "verified_s")
            if (peer := self.best("https", shape, "verified_s")) is not None:
                yield low(
                    f"{shape}: TLS, against the best peer + sha256", [ours / peer], 0.90, 0.75
                )
        if "small" in self.models and ("http", "small", "s5cmd") in self.took:
            ours = self.median("http", "small", OURS, "verified_s")
            peer = self.median("http", "small", "s5cmd", "wall_s")
            yield low("201 small files, against s5cmd", [ours / peer], 1.0, 0.7)
            typed = self.median("http", "small", COMMAND, "verified_s")
            yield low("201 small files, against s5cmd, as a command", [typed / peer], 1.0, 0.7)
        yield from self.single_rows()

    def single_rows(self) -> Iterator[Row]:
        """Figures that are no comparison."""
        for name, title, demand, aim in (
            ("anonymous", "peak anonymous memory, 16 connections, MiB", 64, 32),
            ("growth", "agent RSS growth during a fetch, MiB", 4, 1),
            ("lateness", "agent loop lateness p99, ms", 35, 15),
            ("overlap", "engine ready, overlapped against fetch-then-load", 0.92, 0.85),
            ("again", "fetched again after kill -9 beyond missing, MiB", 16, 16),
        ):
            if self.single[name]:
                yield low(title, [max(self.single[name])], demand, aim)
        if self.single["share"]:
            title, size = "16 x 80 MB/s at 50 ms: share of the link", self.models["two"].size_bytes
            yield high(
                f"{title}, {size * LINK_TIMES / GIB:.1f} GiB", self.single["share"], 0.70, 0.85
            )
            yield high(f"{title}, {size / GIB:.1f} GiB", self.single["share of little"], None)

    def print_clients(self) -> None:
        """Every client's medians, and how far its rounds lay apart."""
        print(f"{'':24}{'wall s':>9}{'verified s (min-max)':>28}{'CPU s':>8}{'verified':>9}")
        for scheme, shape, client in sorted(self.took):
            each_s = [one.verified_s for one in self.took[scheme, shape, client]]
            wall_s, verified_s, cpu_s, all_cpu_s = (
                self.median(scheme, shape, client, what)
                for what in ("wall_s", "verified_s", "cpu_s", "verified_cpu_s")
            )
            spread = f"{verified_s:.2f} ({min(each_s):.2f}-{max(each_s):.2f})"
            name = f"{scheme} {shape} {client}"
            print(f"{name:26}{wall_s:7.2f}{spread:>28}{cpu_s:8.2f}{all_cpu_s:9.2f}")
        print()


def _check(ran: Ran) -> None:
    if ran.exit_code:
        sys.exit("a client failed: no figure can be told")


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser()
    _ = parser.add_argument("--size-mib", type=int, default=1024)
    _ = parser.add_argument("--rounds", type=int, default=3)
    _ = parser.add_argument("--quick", action="store_true", help="128 MiB, 3 rounds")
    _ = parser.add_argument("--shapes", default="one,two,four,small")
    asked = parser.parse_args()
    size, rounds = (128 * MIB, 3) if asked.quick else (asked.size_mib * MIB, asked.rounds)
    here = Path(__file__).parent
    print(f"{time.strftime('%F %R')}  {platform.machine()} {os.cpu_count()} CPUs, load", end=" ")
    print(
        f"{os.getloadavg()[0]:.1f}, {size // MIB} MiB, {rounds} rounds, seed of the order: chance"
    )
    for room in ("agent", "backends", "config"):  # as installers leave it, wherever it is run from
        _ = compileall.compile_dir(here.parent / room, quiet=1)
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108  # memory, on purpose
    with (
        tempfile.TemporaryDirectory(dir=memory) as root,
        tempfile.TemporaryDirectory(dir=here, prefix=".weights-") as disk,
    ):
        names = asked.shapes.split(",")
        bench = Bench(Path(root), Path(disk), rounds=rounds, names=names, size=size)
        # only now: the models would take most of it and keep it
        hot = keep_hot((5 + LINK_TIMES) * size)
        with Nginx(Path(root), names) as origin:
            bench.compare(origin, is_tls=False)
            bench.compare(origin, is_tls=True)
            bench.memory(origin)
        if "two" in names:
            with Link(Path(root), rate_bytes_s=LINK_RATE, delay_s=LINK_DELAY_S) as link:
                bench.on_the_link(link)
                bench.agent(link)
            write(bench.rows(), RESULTS)  # the last part takes engines that may fail to start
            bench.overlap()
    hot.close()
    bench.print_clients()
    _ = told(list(bench.rows()), RESULTS)  # on a busy machine a miss is no failure of the run


if __name__ == "__main__":
    main()
