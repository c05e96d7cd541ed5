"""What eight nodes that begin together read from the store, and how long the last one takes.

    python bench/weights_lan.py [--nodes N] [--size-mib N] [--rounds N] [--uplink-mbit N]

Each node is a network namespace of its own on one bridge, with its own cache, its own process
that answers peers and its own fetching child; the store is nginx in another namespace, behind
a link of a given rate. Needs root, ``ip``, ``tc`` and nginx; where there are no namespaces, the
nodes are addresses of loopback and the link has no bound, which is said. What was read from the
store is counted by nginx. Prints every round and writes ``bench/results/weights_lan.json``.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from figures import Row, low, told
from weights_rig import MIB, PREFIX, Shape, lay, listing

from poolhand.agent.weights.lines import FetchJob, encode_job
from poolhand.agent.weights.manifest import prefix, weight_hash
from poolhand.agent.weights.peers_lines import CHILD as SERVE
from poolhand.agent.weights.peers_lines import encode_place
from poolhand.config.peers import Peers
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Stores, Weights

RESULTS = Path(__file__).parent / "results" / "weights_lan.json"
MODEL, BUCKET, PORT, STORE_PORT = "bench/lan", "lan", 7717, 8080
FETCH = [sys.executable, "-m", "poolhand.agent.weights.child"]
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where one process runs: its address, and what its command begins with."""

    address: str
    before: tuple[str, ...] = ()


class Lan:
    """Namespaces on one bridge; all gone when the context ends.

    Args:
        nodes: How many, beside the store.
        uplink_mbit: What the store's link carries in its own direction.
    """

    def __init__(self, held: ExitStack, nodes: int, uplink_mbit: int) -> None:
        self._held = held
        tag = f"ph{os.getpid()}"
        self._switch = f"{tag}s"
        self._space(self._switch)
        self._in(self._switch, "ip link add br0 type bridge")
        self._in(self._switch, "ip link set br0 up")
        self.store = self._join(f"{tag}o", "10.77.0.1")
        rate = f"tc qdisc add dev eth0 root tbf rate {uplink_mbit}mbit burst 256kb latency 200ms"
        self._in(f"{tag}o", rate)
        self.nodes = [self._join(f"{tag}n{at}", f"10.77.0.{at + 10}") for at in range(nodes)]

    def _join(self, name: str, address: str) -> Place:
        self._space(name)
        port = f"v{name[-8:]}"
        _run(f"ip -n {name} link add eth0 type veth peer name {port} netns {self._switch}")
        self._in(self._switch, f"ip link set {port} master br0 up")
        self._in(name, f"ip addr add {address}/24 dev eth0")
        self._in(name, "ip link set eth0 up")
        self._in(name, "ip link set lo up")
        return Place(address, ("ip", "netns", "exec", name))

    def _space(self, name: str) -> None:
        _run(f"ip netns add {name}")
        self._held.callback(subprocess.run, ["ip", "netns", "del", name], check=False)

    def _in(self, name: str, command: str) -> None:
        _run(f"ip netns exec {name} {command}")


class Loopback:
    """The same nodes as addresses of loopback, on a link without a bound."""

    def __init__(self, nodes: int) -> None:
        self.store = Place("127.0.0.1")
        self.nodes = [Place(f"127.0.0.{at + 10}") for at in range(nodes)]


def _run(command: str) -> None:
    _ = subprocess.run(command.split(), check=True, capture_output=True)


class Store:
    """nginx with one model that has a manifest; counts the bytes of its objects.

    Args:
        root: An empty folder.
        place: Where it listens.
        size: Bytes of the model.
    """

    def __init__(self, held: ExitStack, root: Path, place: Place, size: int) -> None:
        names = [f"model-{at + 1:05}-of-00002.safetensors" for at in range(2)]
        shape = Shape(BUCKET, {"config.json": 24, **dict.fromkeys(names, size // 2)})
        lay(root, shape)
        folder = root / BUCKET / PREFIX
        for name in names:  # else both would have one digest, and be one to every node
            with (folder / name).open("r+b") as file:
                _ = file.seek(size // 4)
                _ = file.write(name.encode())
        sizes = {name: (folder / name).stat().st_size for name in shape.files}
        said = _manifest(folder, sizes)
        _ = (folder / "manifest.json").write_bytes(said)
        whole = Shape(BUCKET, {**sizes, "manifest.json": len(said)})
        _ = (root / f"{BUCKET}.xml").write_text(listing(root, whole))
        self.size_bytes = sum(sizes.values())
        self.url = f"http://{place.address}:{STORE_PORT}"
        self._log = root / "sent.log"
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            sys.exit("nginx is not here; the benchmark's store is nginx: apt-get install nginx")
        _ = (root / "lan.conf").write_text(_conf(root, place.address))
        command = [*place.before, program, "-c", str(root / "lan.conf")]
        process = subprocess.Popen(command)
        held.callback(process.wait)
        held.callback(process.terminate)

    def sent_bytes(self) -> int:
        """What it has sent of the model's files since the last time."""
        time.sleep(0.3)  # a request is logged when its last byte has gone
        said = [line.split() for line in self._log.read_text().splitlines()]
        os.truncate(self._log, 0)
        return sum(int(count) for name, count in said if name.endswith(".safetensors"))


def _manifest(folder: Path, sizes: dict[str, int]) -> bytes:
    digests = {name: _sha256(folder / name) for name in sizes}
    files = [
        {"path": name, "size_bytes": size, "sha256": digests[name], "role": "weights"}
        for name, size in sizes.items()
    ]
    aggregate = weight_hash((name, bytes.fromhex(one)) for name, one in digests.items())
    said = {
        "schema_version": 1,
        "model_id": MODEL,
        "version": "1",
        "r2_prefix": prefix(MODEL, "1"),
        "aggregate_sha256": aggregate,
        "file_count": len(files),
        "total_size_bytes": sum(sizes.values()),
        "files": files,
    }
    return json.dumps(said).encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _conf(root: Path, address: str) -> str:
    return f"""daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
        user root;
        events {{ worker_connections 1024; }}
        http {{
            log_format sent "$uri $body_bytes_sent"; access_log {root}/sent.log sent;
            sendfile on; tcp_nopush on; etag on; keepalive_requests 1000000;
            default_type application/xml; client_body_temp_path {root}/t1;
            proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
            uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
            server {{
                listen {address}:{STORE_PORT}; root {root};
                location = /{BUCKET} {{ alias {root}/{BUCKET}.xml; }}
                location = /{BUCKET}/ {{ alias {root}/{BUCKET}.xml; }}
            }}
        }}"""


class Node:
    """One machine: a cache, a process that answers peers, a fetch.

    Args:
        place: Where it runs.
        folder: Where its cache is.
        peers: Its ``[peers]``; ``None``: it is alone.
    """

    def __init__(self, place: Place, folder: Path, store: Store, peers: Peers | None) -> None:
        self._place = place
        self._peers = peers
        self._folder = folder
        self._job = FetchJob(
            model=MODEL,
            ref=ModelRef.parse(f"s3://{BUCKET}/{PREFIX}"),
            stores=Stores(s3=S3(endpoint=store.url, unsigned=True)),
            weights=Weights(),
            cache_dir=str(folder),
            peers=peers or Peers(),
        )
        self._server: subprocess.Popen[bytes] | None = None
        self._fetch: subprocess.Popen[bytes] | None = None
        self.from_peers = 0

    def serve(self) -> None:
        """Answer peers; returns once it does."""
        if self._peers is None:
            return
        self._server = self._started(SERVE, encode_place(self._peers, str(self._folder)))
        assert self._server.stdout is not None  # noqa: S101  # for the type checker
        said = self._server.stdout.readline()
        if b"port" not in said:
            sys.exit(f"a node does not serve: {said!r}")

    def begin(self) -> None:
        """Start the fetch."""
        self._fetch = self._started(FETCH, encode_job(self._job, "fetch"))

    def finish(self) -> None:
        """Wait for the fetch."""
        assert self._fetch is not None  # noqa: S101  # for the type checker
        assert self._fetch.stdout is not None  # noqa: S101
        said = [json.loads(line) for line in self._fetch.stdout]
        if self._fetch.wait() or "result" not in said[-1]:
            sys.exit(f"a fetch failed: {said[-1:]}")
        told = [cast("dict[str, int]", one["progress"]) for one in said if "progress" in one]
        self.from_peers = max(one["bytes_peers"] for one in told)
        self._end(self._fetch)

    def leave(self) -> None:
        """End what runs, and lose the cache."""
        for process in (self._server, self._fetch):
            if process is not None:
                self._end(process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _started(self, command: Sequence[str], said: bytes) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*self._place.before, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None  # noqa: S101  # for the type checker
        _ = process.stdin.write(said)
        process.stdin.flush()
        return process

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stdin is not None:
            process.stdin.close()
        _ = process.wait(_START_S)
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True, slots=True)
class Took:
    """One round.

    Attributes:
        read_ratio: What the store sent, in sizes of the model.
        last_s: From the first start to the last end.
        cpu_s: What all nodes took together, user and system, start-up included.
    """

    read_ratio: float
    last_s: float
    cpu_s: float


def together(nodes: list[Node], store: Store, *, apart_s: float = 0.0) -> Took:
    """All nodes fetch at once, or one after the other by so much."""
    cpu_s = -_children_s()
    for node in nodes:
        node.serve()
    _ = store.sent_bytes()
    begun_s = time.monotonic()
    for node in nodes:
        node.begin()
        time.sleep(apart_s)
    for node in nodes:
        node.finish()
    last_s = time.monotonic() - begun_s
    ratio = store.sent_bytes() / store.size_bytes
    for node in nodes:
        node.leave()
    return Took(ratio, last_s, cpu_s + _children_s())


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rounds(
    name: str, rounds: int, made: Callable[[], list[Node]], store: Store, *, apart_s: float = 0.0
) -> list[Took]:
    found: list[Took] = []
    for number in range(rounds):
        took = together(made(), store, apart_s=apart_s)
        print(
            f"  {name}, round {number + 1}: store read {took.read_ratio:.3f} x, "
            f"{took.last_s:.2f} s, CPU of all nodes {took.cpu_s:.2f} s"
        )
        found.append(took)
    return found


def _rows(count: int, sets: dict[str, list[Took]], *, is_bounded: bool) -> list[Row]:
    rows: list[Row] = []
    for name in ("together", "apart"):
        worst = max(took.read_ratio for took in sets[name])
        said = "that begin together" if name == "together" else "half a second apart"
        title = f"{count} nodes {said}: store read / model size"
        rows.append(low(title, [worst], 1.1, 1.05))
    one = statistics.median(took.last_s for took in sets["alone"])
    last = statistics.median(took.last_s for took in sets["together"])
    if is_bounded:  # else both are this machine's cores, and tell nothing of a network
        ratio = last / one
        title = f"{count} nodes that begin together: the last against one alone, wall"
        rows.append(low(title, [ratio], 1.5, 1.2))
    return rows


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser()
    _ = parser.add_argument("--nodes", type=int, default=8)
    _ = parser.add_argument("--size-mib", type=int, default=256)
    _ = parser.add_argument("--rounds", type=int, default=2)
    _ = parser.add_argument("--uplink-mbit", type=int, default=100)
    asked = parser.parse_args()
    here = Path(__file__).parent
    with ExitStack() as held:
        root = Path(held.enter_context(tempfile.TemporaryDirectory()))
        disk = Path(held.enter_context(tempfile.TemporaryDirectory(dir=here, prefix=".lan-")))
        lan: Lan | Loopback
        try:
            lan = Lan(held, asked.nodes, asked.uplink_mbit)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no network namespaces here ({error}): loopback, and a link without a bound")
            lan = Loopback(asked.nodes)
        store = Store(held, root, lan.store, asked.size_mib * MIB)
        time.sleep(0.5)
        print(
            f"{asked.nodes} nodes, {store.size_bytes / MIB:.0f} MiB, {type(lan).__name__}", end=""
        )
        print(f", {asked.uplink_mbit} Mbit/s from the store, load {os.getloadavg()[0]:.1f}")
        key = root / "key"
        _ = key.write_text(os.urandom(32).hex() + "\n")
        key.chmod(0o600)
        urls = tuple(f"{place.address}:{PORT}" for place in lan.nodes)

        def made() -> list[Node]:
            return [
                Node(place, disk / f"{at}", store, Peers(listen=url, urls=urls, key_file=str(key)))
                for at, (place, url) in enumerate(zip(lan.nodes, urls, strict=True))
            ]

        def alone() -> list[Node]:
            return [Node(lan.nodes[0], disk / "alone", store, None)]

        sets = {
            "alone": _rounds("one alone", asked.rounds, alone, store),
            "together": _rounds("together", asked.rounds, made, store),
            "apart": _rounds("half a second apart", asked.rounds, made, store, apart_s=0.5),
        }
    rows = _rows(asked.nodes, sets, is_bounded=isinstance(lan, Lan))
    _ = told(rows, RESULTS)


if __name__ == "__main__":
    main()
