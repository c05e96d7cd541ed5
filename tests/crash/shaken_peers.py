"""Fetches that come from peers, whose threads are held up between two lines.

    python shaken_peers.py FOLDER FIRST LAST

As in ``shaken_fetches``, and what is passed on is watched, too: a range that is offered came from
the store and is right, and a file that is told as whole is. Three peers answer: one has the whole
build, one half of it, and in every other fetch one lies; what it lied may be claimed, and gets no
name. Exits with 0 if all of it held, and if each fetch brought what there is.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import shaken_fetches
from crash_points import MODEL, FolderStore
from peers_world import Liar, key_file, publish_build, serving
from shaken_fetches import OBJECTS, Watch, shake
from weights_origin import REF, lay, manifest_of, quick

from poolhand.agent.weights.bring import Bring
from poolhand.agent.weights.cache import PARTIAL_NAME, SHARED_NAME, Cache
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.peers_node import serving as named
from poolhand.agent.weights.peers_server import PeerServer
from poolhand.backends.stores.base import RemoteFile
from poolhand.config.peers import Peers
from poolhand.config.stores import Stores

shaken_fetches.THREADS = ("pull-", "pull-", "peer-look", "digest", "MainThread", "")


class ManifestStore(FolderStore):
    """The objects in a folder, of which one is read for what it says."""

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        assert self._folder is not None
        return (self._folder / file.key).read_bytes()[start:stop]


class Offers(Watch):
    """Watches what is offered to others, as well as what is claimed."""

    def __init__(self, cache: Path, *, has_liar: bool, syncs_first: bool) -> None:
        super().__init__(cache, syncs_first=syncs_first)
        self._has_liar = has_liar
        self._names: list[str] = []

    def _write(self, fd: int, line: bytes) -> bool:
        if Path(f"/proc/self/fd/{fd}").readlink().name == SHARED_NAME:
            return self._offer(line.decode())
        is_lie = self._has_liar and line[:2] in {b"B ", b"S "}
        return is_lie or super()._write(fd, line)

    def _offer(self, said: str) -> bool:
        match said.split():
            case ["F", *_]:
                self._names = [line.split(" ", 3)[3] for line in said.splitlines()]
            case ["B", file, start, stop]:
                name, span = self._names[int(file)], slice(int(start), int(stop))
                part = self._folder / PARTIAL_NAME / name
                here = (part if part.exists() else self._folder / name).read_bytes()
                self._expect(here[span] == OBJECTS[name][span], f"{said!r} of {name} is not so")
            case ["W", file]:
                name = self._names[int(file)]
                here = (self._folder / name).read_bytes()
                self._expect(here == OBJECTS[name], f"{name} is not whole")
            case _:
                pass
        return True


def run(place: Path, cache: Path, ports: list[int], *, syncs_first: bool) -> None:
    """One fetch in this process."""
    cache.mkdir(exist_ok=True)
    peers = Peers(
        listen="127.0.0.1:1",
        urls=tuple(f"127.0.0.1:{port}" for port in ports),
        key_file=key_file(cache),
        gather_s=0.0,
    )
    weights = quick(connections=4, sync_first=syncs_first)
    job = FetchJob(MODEL, REF, Stores(), weights, str(cache), peers=peers)
    bring = Bring(
        job,
        lambda _ref, _stores, _environ: ManifestStore(place),
        lambda _phase, _progress: None,
        tick_s=0.001,
        sync_every_s=0.0,
    )
    with named(Cache(cache).models):  # else nothing is offered
        _ = bring.run()


def fetch(place: Path, cache: Path, ports: list[int], seed: int) -> int:
    """One fetch in a process of its own; its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    has_liar, syncs_first = bool(seed % 2), bool(seed // 2 % 2)
    Offers(cache, has_liar=has_liar, syncs_first=syncs_first).arm()
    shake(seed)
    run(place, cache, ports if has_liar else ports[:2], syncs_first=syncs_first)
    folder = Cache(cache).folder(MODEL)
    os._exit(any((folder / name).read_bytes() != data for name, data in OBJECTS.items()))


def serve(folder: Path) -> None:
    """Answer until standard input ends."""
    half = {name: data for name, data in OBJECTS.items() if "00001" in name or "00002" in name}
    with ExitStack() as held:
        ports: list[int] = []
        for name, objects, kind in (
            ("whole", OBJECTS, PeerServer),
            ("half", half, PeerServer),
            ("liar", OBJECTS, Liar),
        ):
            _ = publish_build(folder / name, objects)
            node = name.encode().ljust(16)
            server = serving(folder / name, node=node, kind=kind)
            ports.append(held.enter_context(server).port)
        _ = sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        _ = sys.stdin.read()


def main() -> int:
    """One fetch for each seed of the range."""
    folder = Path(sys.argv[1])
    if sys.argv[2:] == ["serve"]:
        serve(folder)
        return 0
    place, cache = folder / "objects", folder / "cache"
    _ = lay(place, {**OBJECTS, "manifest.json": manifest_of(OBJECTS, model=MODEL)})
    command = [sys.executable, __file__, str(folder), "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:  # noqa: S603  # our own
        assert server.stdout is not None
        ports: list[int] = json.loads(server.stdout.readline())
        run(place, cache, ports, syncs_first=False)  # once, so that no child has to import
        for seed in range(*map(int, sys.argv[2:])):
            shutil.rmtree(cache)
            if fetch(place, cache, ports, seed):
                _ = sys.stderr.write(f"seed {seed}\n")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
