"""Fetches that end at a chosen step, again and again, out of one warm process.

    python crash_points.py kill|power|synced FOLDER FIRST LAST

Forks a child a fetch; a *step* is a call that changes the disk: a write, a sync, a rename, a
removal, an allocation. The child ends just before its n-th. ``kill``: by SIGKILL, which takes
nothing back that was written. ``power``: likewise, but first the disk is made to look as after
a power cut: of what was not synced, any page may be missing and the journal is cut anywhere,
the last renames may not have happened, and journal and record are of another boot. ``synced``:
the same for a fetch that syncs every file before it gets its name.

What lies on the disk is held against the truth after every end, and after every other it is
fetched to its end, now and then through another end on the way. Prints a JSON list with one
``[step, call]`` for every first end, and exits with 0 if all of it held.
"""

import json
import os
import pickle
import random
import shutil
import signal
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from weights_origin import REF, OriginStore, lay, quick, toy

from poolhand.agent.weights.boot import boot_id
from poolhand.agent.weights.bring import SYNC_EVERY_S, TICK_S, Bring
from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.journal import JOURNAL_NAME, load
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.record import RECORD_NAME
from poolhand.backends.stores.base import Progress, RemoteFile
from poolhand.config.refs import ModelRef
from poolhand.config.stores import Stores

MODEL = "org/toy"
OBJECTS = toy(shard_bytes=70_000, shards=30)
SYNCS = ("fsync", "fdatasync")
STEPS = ("pwrite", "write", *SYNCS, "replace", "rename", "unlink", "posix_fallocate")
SECOND = (20, 110)
PAGE_BYTES = 4096
NEVER = 99_999
"""Beyond all steps, and odd: the power goes when the fetch is over."""


class Disk:
    """What would be left of a folder if the power went now; knows what was synced."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._chance = random.Random(seed)  # noqa: S311  # the same each time
        self._renames: list[tuple[Path, Path, bytes | None]] = []
        self._memory = folder.with_name("synced")
        # a process that was killed took back nothing, and synced nothing either
        self._synced: dict[int, bytes] = (
            pickle.loads(self._memory.read_bytes()) if self._memory.exists() else {}  # noqa: S301  # our own
        )

    def keep(self) -> None:
        """Have the next process know what this one synced."""
        _ = self._memory.write_bytes(pickle.dumps(self._synced))

    def sync(self, fd: int) -> None:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            self._renames.clear()
        else:
            reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
            self._synced[found.st_ino] = os.pread(reading, found.st_size, 0)
            os.close(reading)

    def rename(self, before: Path, after: Path) -> None:
        old = after.read_bytes() if after.is_file() else None
        self._renames.append((before, after, old))

    def cut(self, *, keeps_names: bool = False) -> None:
        """Take back what no sync has made safe, or some of it; or all but names and record."""
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and not (keeps_names and path.name == RECORD_NAME):
                self._take_back(path)
        count = len(self._renames)
        kept = count if keeps_names else self._chance.randint(0, count)
        for before, after, old in reversed(self._renames[kept:]):
            if after.exists() and before.parent.exists():
                _ = after.rename(before)
                if old is not None:
                    _ = after.write_bytes(old)
        for path in (*self._folder.rglob(JOURNAL_NAME), *self._folder.rglob(RECORD_NAME)):
            _ = path.write_bytes(path.read_bytes().replace(boot_id().encode(), b"another"))

    def _take_back(self, path: Path) -> None:
        now, safe = path.read_bytes(), self._synced.get(path.stat().st_ino, b"")
        if path.name.startswith(JOURNAL_NAME):
            _ = path.write_bytes(now[: self._chance.randint(min(len(safe), len(now)), len(now))])
            return
        pages = [now[at : at + PAGE_BYTES] for at in range(0, len(now), PAGE_BYTES)]
        olds = [safe[at : at + PAGE_BYTES] for at in range(0, len(now), PAGE_BYTES)]
        mixed = [
            new if new == old or self._chance.random() < 0.5 else old.ljust(len(new), b"\0")
            for new, old in zip(pages, olds, strict=True)
        ]
        before = path.stat()
        with path.open("r+b") as file:
            _ = file.write(b"".join(mixed))
        # the worst case: the file system kept size and time, and lost the bytes
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class Countdown:
    """Ends this process before the n-th step, and says into a pipe which call that was."""

    def __init__(self, steps: int, told: int, disk: Disk | None, *, is_power: bool) -> None:
        self._left = steps
        self._is_over = False
        self._told = told
        self._disk = disk
        self._is_power = is_power
        self._lock = threading.RLock()  # to take back takes steps, too
        self._write = os.write

    def arm(self) -> None:
        for name in STEPS:
            if hasattr(os, name):
                setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **named: object) -> object:
            with self._lock:
                self._left -= 1
                if self._left == 0 and not self._is_over:
                    self._end(name)
                if name in SYNCS:  # no kill undoes what was not synced: the disk is spared
                    return self._disk.sync(*args) if self._disk else None  # type: ignore[arg-type]  # a file
                if self._disk and name in {"replace", "rename"}:
                    self._disk.rename(*map(Path, args))  # type: ignore[arg-type]  # two paths
                return call(*args, **named)

        return counted

    def over(self) -> None:
        """The step never came: the power goes now, if it was to go."""
        self._is_over = True
        if self._disk and self._is_power:
            self._disk.cut(keeps_names=True)

    def _end(self, name: str) -> None:
        self._is_over = True
        if self._disk and self._is_power:
            # a copy of this thread takes back what was lost: others would go on, and read it
            if os.fork():
                os.kill(os.getpid(), signal.SIGKILL)
            self._disk.cut()
            _ = self._write(self._told, name.encode())
            os._exit(0)
        if self._disk:
            self._disk.keep()
        _ = self._write(self._told, name.encode())
        os.kill(os.getpid(), signal.SIGKILL)


class FolderStore(OriginStore):
    """The objects in a folder, with version tags: nothing but the fetch takes time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(0, folder)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        self._listed = tuple(
            RemoteFile(name, size_bytes, f'"{size_bytes}"', name)
            for name, size_bytes in sizes.items()
        )

    async def files(self) -> tuple[RemoteFile, ...]:
        return self._listed


def run(place: Path, cache: Path, *, is_syncing: bool = False, syncs_first: bool = False) -> None:
    """One fetch in this process; one that is syncing syncs all the time."""
    weights = quick(connections=2).model_copy(update={"sync_first": syncs_first})
    job = FetchJob(MODEL, REF, Stores(), weights, str(cache))

    def store(_ref: ModelRef, _stores: Stores, _environ: Mapping[str, str]) -> OriginStore:
        return FolderStore(place)

    def tell(_phase: str, _progress: Progress) -> None:
        """Nobody listens."""

    tick_s, sync_every_s = (0.001, 0.0) if is_syncing else (TICK_S, SYNC_EVERY_S)
    _ = Bring(job, store, tell, tick_s=tick_s, sync_every_s=sync_every_s).run()


def fetch(
    place: Path,
    cache: Path,
    *,
    die_at: int | None,
    seed: int | None = None,
    is_power: bool = False,
    syncs_first: bool = False,
) -> str:
    """One fetch in a process of its own; the call before which it ended, or nothing."""
    hears, tells = os.pipe()
    pid = os.fork()
    if not pid:
        disk = None if seed is None else Disk(cache, seed)
        countdown = Countdown(die_at or 0, tells, disk, is_power=is_power)
        countdown.arm()
        is_syncing = seed is not None and die_at != NEVER
        run(place, cache, is_syncing=is_syncing, syncs_first=syncs_first)
        countdown.over()
        os._exit(0)
    os.close(tells)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    call = os.read(hears, 64).decode()  # said when all is taken back; nothing: it did not end so
    os.close(hears)
    assert ended == (-signal.SIGKILL if call else 0), ended
    return call


def hold(cache: Path, *, is_lost: bool = False) -> None:
    """Every final name is whole, and the journal claims no byte that is not there.

    Where bytes were lost that nobody had seen onto the platter, no build may be believed that
    has them.
    """
    place = Cache(cache).folder(MODEL)
    if not is_lost or Cache(cache).build(MODEL, str(REF)) is not None:
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


def through(place: Path, cache: Path, step: int, mode: str) -> str:
    """A fetch that ends at this step, one that ends on the way back, and one that does not.

    Where power is lost, every other time a process is killed before that: what it had not
    synced is not synced yet.
    """
    is_power, syncs_first = mode != "kill", mode == "synced"
    seed, is_lost = step if is_power else None, mode == "power"
    is_killed_first = is_power and step % 2 == 0
    cache.with_name("synced").unlink(missing_ok=True)

    def ended(at: int, *, is_cut: bool) -> str:
        call = fetch(place, cache, die_at=at, seed=seed, is_power=is_cut, syncs_first=syncs_first)
        hold(cache, is_lost=is_lost)
        return call

    call = ended(step, is_cut=is_power and not is_killed_first)
    if is_killed_first or step % 4 == 1:
        later = random.Random(step).randint(*SECOND)  # noqa: S311  # the same each time
        call = ended(later, is_cut=is_killed_first) or call
    if step % 2 and not is_power:
        return call
    assert not fetch(place, cache, die_at=None, syncs_first=syncs_first)
    build = Cache(cache).build(MODEL, str(REF))
    assert build is not None
    here = Path(build.folder)
    assert {name: (here / name).read_bytes() for name in OBJECTS} == OBJECTS
    return call


def main() -> int:
    """End at every step of the range."""
    mode, folder, first, last = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
    place, cache, points = folder / "objects", folder / "cache", list[tuple[int, str]]()
    _ = lay(place, OBJECTS)
    run(place, cache)  # once, so that no child has to import or to build anything
    shutil.rmtree(cache)
    steps = range(first, last) if mode == "kill" else (*range(first, last, 7), NEVER)
    for step in steps:
        call = through(place, cache, step, mode)
        points += [(step, call)] if call else []
        shutil.rmtree(cache)
    print(json.dumps(points))  # noqa: T201  # what the test counts
    return 0


if __name__ == "__main__":
    sys.exit(main())
