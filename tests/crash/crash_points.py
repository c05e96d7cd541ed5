"""Fetches that are killed at a chosen step, again and again, out of one warm process.

    python crash_points.py PORT FOLDER FIRST LAST

Forks a child a fetch; a *step* is a call that changes the disk: a write, a sync, a rename, a
removal, an allocation. The child kills itself with SIGKILL just before its n-th. What lies on
the disk is held against the truth after every kill, and then fetched to its end. Prints how
many kills there were, and ends with 0 if all of it held.
"""

import asyncio
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from weights_origin import REF, OriginStore, quick, toy

from poolhand.agent.weights.boot import boot_id
from poolhand.agent.weights.bring import Bring
from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.journal import JOURNAL_NAME, load
from poolhand.agent.weights.lines import FetchJob
from poolhand.backends.stores.base import Progress
from poolhand.config.refs import ModelRef
from poolhand.config.stores import Stores

MODEL = "org/toy"
OBJECTS = toy(shard_bytes=500_000, shards=3)
STEPS = ("pwrite", "write", "fsync", "fdatasync", "replace", "rename", "unlink", "posix_fallocate")
SECOND, THIRD = 17, 31


class Countdown:
    """Kills this process before the n-th step."""

    def __init__(self, steps: int) -> None:
        self._left = steps
        self._lock = threading.Lock()

    def arm(self) -> None:
        for name in STEPS:
            if hasattr(os, name):
                setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **named: object) -> object:
            with self._lock:
                self._left -= 1
                if self._left <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)

        return counted


def fetch(port: int, folder: Path, *, die_at: int | None) -> int:
    """One fetch in a process of its own; its exit code, -9 if it was killed."""
    pid = os.fork()
    if not pid:
        if die_at is not None:
            Countdown(die_at).arm()
        job = FetchJob(MODEL, REF, Stores(), quick(chunk_bytes=2**16), str(folder))

        def store(_ref: ModelRef, _stores: Stores, _environ: Mapping[str, str]) -> OriginStore:
            return OriginStore(port)

        def tell(_phase: str, _progress: Progress) -> None:
            """Nobody listens."""

        _ = asyncio.run(Bring(job, store, tell).run())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def hold(folder: Path) -> None:
    """Every final name is whole, and the journal claims no byte that is not there."""
    place = Cache(folder).folder(MODEL)
    for name, data in OBJECTS.items():
        if (place / name).exists():
            assert (place / name).read_bytes() == data, name
    claims = load(place / JOURNAL_NAME, boot_id=boot_id())
    if claims is None:
        return
    step = claims.header.block_bytes
    for listed, claim in zip(claims.header.files, claims.files, strict=True):
        part, final = place / ".partial" / listed.path, place / listed.path
        if not any(claim.have):
            continue
        here, data = (part if part.exists() else final).read_bytes(), OBJECTS[listed.path]
        for block, is_here in enumerate(claim.have):
            span = slice(block * step, (block + 1) * step)
            assert not is_here or here[span] == data[span], (listed.path, block)


def main() -> int:
    """Kill at every step of the range, and twice more on the way back."""
    port, folder, first, last = int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
    kills = 0
    for step in range(first, last):
        for die_at in (step, step % SECOND + 1, step % THIRD + 1):
            ended = fetch(port, folder, die_at=die_at)
            assert ended in {0, -signal.SIGKILL}, ended
            kills += ended != 0
            hold(folder)
        assert fetch(port, folder, die_at=None) == 0
        build = Cache(folder).build(MODEL, str(REF))
        assert build is not None
        place = Path(build.folder)
        assert {name: (place / name).read_bytes() for name in OBJECTS} == OBJECTS
        shutil.rmtree(folder / "models")
    print(kills)  # noqa: T201  # what the test counts
    return 0


if __name__ == "__main__":
    sys.exit(main())
