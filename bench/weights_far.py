"""Fetching over links with delay and loss: ours against the downloaders that are installed.

    python bench/weights_far.py [--rounds N]

The clients live in a network namespace of their own, behind a TUN device; whatever they and nginx
send each other passes through this program, which holds each packet back, loses some, and lets
through no more than a rate with a queue of one round trip. So TCP is the kernel's, with its slow
starts and its losses, by the algorithm that this machine sends with. Needs root, ``ip``,
``/dev/net/tun`` and nginx. Clients take turns, and each round turns them round. Ours is
``poolhand models fetch`` with a list of checksums; a peer's bytes are held to nothing. Prints
medians and ratios, and writes ``bench/results/weights_far.json``.
"""

import argparse
import fcntl
import os
import random
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from figures import low, told
from weights_peers import commands
from weights_rig import MIB, PREFIX, Nginx, Shape, lay, run

RESULTS = Path(__file__).parent / "results" / "weights_far.json"
SPACE, ADDRESS, CLIENT = "far", "10.98.7.2", "10.98.7.1"
_TUNSETIFF, _PLAIN_TUN = 0x400454CA, 0x0001 | 0x1000
_MOST_PACKET = 65536
_LEAST_QUEUE_BYTES = 60_000
OURS = "poolhand models fetch"


@dataclass(frozen=True, slots=True)
class Way:
    """What a link is like: bytes a second in each direction, seconds there and back, loss."""

    name: str
    rate_bytes_s: float
    delay_s: float
    loss: float = 0.0


SHARDS = {f"model-{at + 1:05}-of-00002.safetensors": 8 * MIB for at in range(2)}
SMALL = {f"shard-{at:03}.safetensors": 64 * 1024 for at in range(200)}
SHAPES = [Shape("shards", {"config.json": 24, **SHARDS}), Shape("small", SMALL)]
WAYS = [
    Way("3 MB/s, 50 ms", 3e6, 0.05),
    Way("8 MB/s, 10 ms", 8e6, 0.01),
    Way("8 MB/s, 150 ms", 8e6, 0.15),
    Way("8 MB/s, 50 ms, 1 % lost", 8e6, 0.05, 0.01),
]


class _Direction:
    """Packets of one direction, each with the time at which it is due."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.free_at_s = 0.0

    def take(self, packet: bytes, way: Way, now_s: float) -> None:
        """Let a packet wait its time, or lose it."""
        queue_bytes = max(_LEAST_QUEUE_BYTES, way.rate_bytes_s * max(way.delay_s, 0.05))
        self.free_at_s = max(self.free_at_s, now_s)
        is_full = (self.free_at_s - now_s) * way.rate_bytes_s > queue_bytes
        if is_full or random.random() < way.loss:  # noqa: S311  # no secret
            return
        self.free_at_s += len(packet) / way.rate_bytes_s
        self.waiting.append((self.free_at_s + way.delay_s / 2, packet))


class Link:
    """A namespace for clients, and the link between it and this machine; both end with it."""

    def __init__(self, way: Way) -> None:
        self.way = way
        _ = subprocess.run(["ip", "netns", "del", SPACE], stderr=subprocess.DEVNULL, check=False)
        _ip(f"netns add {SPACE}")
        self._ends = [_tun("far0"), _tun("far1")]
        _ip(f"link set far0 netns {SPACE}")
        for name, address, before in (("far0", CLIENT, f"-n {SPACE} "), ("far1", ADDRESS, "")):
            _ip(f"{before}addr add {address}/24 dev {name}")
            _ip(f"{before}link set {name} up txqueuelen 10000")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """It is up already."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Take it away."""
        self._is_over.set()
        self._thread.join()
        for end in self._ends:
            os.close(end)
        _ip(f"netns del {SPACE}")

    def _pass_on(self) -> None:
        directions = [_Direction(), _Direction()]
        while not self._is_over.is_set():
            now_s = time.monotonic()
            due = [each.waiting[0][0] - now_s for each in directions if each.waiting]
            ready, _, _ = select.select(self._ends, [], [], min([0.1, *(max(0.0, s) for s in due)]))
            for at, end in enumerate(self._ends):
                if end in ready:
                    directions[at].take(os.read(end, _MOST_PACKET), self.way, time.monotonic())
                waiting = directions[at].waiting
                while waiting and waiting[0][0] <= time.monotonic():
                    _ = os.write(self._ends[1 - at], waiting.popleft()[1])


def _ip(words: str) -> None:
    _ = subprocess.run(["ip", *words.split()], check=True)


def _tun(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR)
    _ = fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _PLAIN_TUN))
    return end


def clients(
    url: str, root: Path, shape: Shape, folder: Path, ca_file: Path
) -> dict[str, list[str]]:
    """All that are compared, by name."""
    ours = ["models", "fetch", f"s3://{shape.name}/{PREFIX}", "--endpoint", url]
    ours += ["--to", str(folder / "copy"), "--checksums", str(root / f"{shape.name}.sums")]
    found = commands(url, shape.name, list(shape.files), folder, ca_file)
    peers = {name: found[name] for name in ("s5cmd", "curl") if name in found}
    return {OURS: [sys.executable, "-m", "poolhand.agent", *ours], **peers}


def measure(root: Path, folder: Path, origin: Nginx, *, rounds: int) -> dict[str, list[float]]:
    """Seconds of each client, by link, shape and name, in the order of :data:`WAYS`."""
    took: dict[str, list[float]] = defaultdict(list)
    for way in WAYS:
        with Link(way):
            for number in range(rounds):
                for shape in SHAPES:
                    url = f"http://{ADDRESS}:{origin.port}"
                    found = clients(url, root, shape, folder, origin.ca_file)
                    for client in sorted(found, reverse=number % 2 == 1):
                        shutil.rmtree(folder, ignore_errors=True)
                        folder.mkdir()
                        ran = run(["ip", "netns", "exec", SPACE, *found[client]])
                        if not ran.exit_code:
                            took[f"{way.name}: {shape.name}: {client}"].append(ran.wall_s)
        print(f"  {way.name}: done", flush=True)
    return took


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser()
    _ = parser.add_argument("--rounds", type=int, default=3)
    rounds: int = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for shape in SHAPES:
            lay(root, shape)
        with Nginx(root, [shape.name for shape in SHAPES], address="0.0.0.0") as origin:  # noqa: S104  # for the other namespace
            took = measure(root, root / "to", origin, rounds=rounds)
    medians = {name: statistics.median(each) for name, each in took.items()}
    for name, each in took.items():
        print(f"{name:56}{medians[name]:7.2f} s ({min(each):.2f}-{max(each):.2f})")
    rows = [
        low(
            f"{way.name}, {shape.name}: verified, against the best peer unverified",
            [ours / best],
            1,
        )
        for way in WAYS
        for shape in SHAPES
        if (ours := medians[f"{way.name}: {shape.name}: {OURS}"])
        and (
            best := min(
                medians.get(f"{way.name}: {shape.name}: {peer}", 0.0) for peer in ("s5cmd", "curl")
            )
        )
    ]
    _ = told(rows, RESULTS)


if __name__ == "__main__":
    main()
