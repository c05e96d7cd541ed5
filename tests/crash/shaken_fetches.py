"""Fetches whose threads are held up between two lines, and that are watched at every claim.

    python shaken_fetches.py FOLDER FIRST LAST

What two threads do wrong together shows only if one of them rests at one place. So each fetch,
one a seed, holds up some of the threads at some lines of the weights room, the first times that
they come there. Nothing has to die for it: each line of the journal is held against the disk in
the moment in which it is written. A block that is claimed has its bytes; what a sync has covered
was synced; and who syncs before a file gets its name has synced all of it by then. Exits with 0
if all of it held, and if each fetch brought what there is.
"""

import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from crash_points import MODEL, SYNCS, run
from weights_origin import lay, toy

from poolhand.agent.weights import pull
from poolhand.agent.weights.boot import boot_id
from poolhand.agent.weights.cache import PARTIAL_NAME, Cache
from poolhand.agent.weights.journal import JOURNAL_NAME, Claim, read

OBJECTS = toy(shard_bytes=70_000, shards=4)
ROOM = str(Path(pull.__file__).parent)
THREADS = ("pull-", "pull-", "sync", "digest", "MainThread", "")
"""How the names of those begin that may be held up; most goes wrong behind those that pull."""

PLACES_RATIO = 0.3
MOST_RESTS = 8
REST_S = 0.002
Trace = Callable[[FrameType, str, object], "Trace | None"]


def shake(seed: int) -> None:
    """Hold up every thread from now on whose lot it is."""
    chance, rests = random.Random(seed), dict[tuple[str, int], int]()  # noqa: S311  # the same each time
    name = chance.choice(THREADS)

    def pass_line(frame: FrameType, event: str, _said: object) -> Trace | None:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and place not in rests:
            rests[place] = MOST_RESTS if chance.random() < PLACES_RATIO else 0
        if event == "line" and rests[place]:
            rests[place] -= 1
            time.sleep(REST_S)
        return pass_line

    def begin(frame: FrameType, _event: str, _said: object) -> Trace | None:
        is_ours = frame.f_code.co_filename.startswith(ROOM)
        return pass_line if is_ours and threading.current_thread().name.startswith(name) else None

    sys.setswitchinterval(1e-5)
    threading.settrace(begin)
    sys.settrace(begin)


class Watch:
    """Sees every call that claims something; ends the process where that is not so.

    Args:
        cache: Where the fetch writes.
        syncs_first: Whether a file has to be synced before it gets its name.
    """

    def __init__(self, cache: Path, *, syncs_first: bool) -> None:
        self._folder = Cache(cache).folder(MODEL)
        self._syncs_first = syncs_first
        self._synced: dict[int, bytes] = {}
        self._lock = threading.RLock()

    def arm(self) -> None:
        """From now on."""
        for name, seen in (
            *((name, self._sync) for name in SYNCS),
            ("write", self._write),
            ("replace", self._replace),
        ):
            setattr(os, name, self._watched(getattr(os, name), seen))

    def _watched(
        self, call: Callable[..., object], seen: Callable[..., bool]
    ) -> Callable[..., object]:
        def watched(*args: object, **named: object) -> object:
            with self._lock:  # or the disk would change under what is being looked at
                return call(*args, **named) if seen(*args) else None

        return watched

    def _sync(self, fd: int) -> bool:
        file = Path(f"/proc/self/fd/{fd}")
        if file.is_file():
            self._synced[file.stat().st_ino] = file.read_bytes()
        return False  # the disk is spared

    def _replace(self, before: str | Path, after: str | Path) -> bool:
        name = os.path.relpath(after, self._folder)
        if self._syncs_first and name in OBJECTS:
            synced = self._synced.get(Path(before).stat().st_ino)
            self._expect(synced == OBJECTS[name], f"{name} is named before it is synced")
        return True

    def _write(self, _fd: int, line: bytes) -> bool:
        kind, _, rest = line.partition(b" ")
        if kind not in {b"B", b"D", b"S"}:
            return True
        # what an S line covers has to be there although the power goes
        boot, bytes_of = ("another", self._safe) if kind == b"S" else (boot_id(), Path.read_bytes)
        claims = read((self._folder / JOURNAL_NAME).read_bytes() + line, boot_id=boot)
        assert claims is not None
        files = tuple(zip(claims.header.files, claims.files, strict=True))
        spoken_of = files if kind == b"S" else (files[int(rest.split()[0])],)
        for listed, claim in spoken_of:
            if claim.seal or any(claim.have):
                step = claims.header.block_bytes
                is_true = self._is_true(claim, listed.path, step, bytes_of)
                self._expect(is_true, f"{line!r} claims of {listed.path} what is not so")
        return True

    def _safe(self, place: Path) -> bytes:
        return self._synced.get(place.stat().st_ino, b"")

    def _is_true(
        self, claim: Claim, name: str, block_bytes: int, bytes_of: Callable[[Path], bytes]
    ) -> bool:
        part, data = self._folder / PARTIAL_NAME / name, OBJECTS[name]
        here = bytes_of(part if part.exists() else self._folder / name)
        spans = (slice(at, at + block_bytes) for at in range(0, len(data), block_bytes))
        is_here = all(
            here[span] == data[span]
            for span, is_claimed in zip(spans, claim.have, strict=True)
            if is_claimed
        )
        return is_here and (claim.seal is None or here == data)

    @staticmethod
    def _expect(is_so: bool, otherwise: str) -> None:  # noqa: FBT001  # it is what it is called with
        if not is_so:
            _ = sys.stderr.write(f"{otherwise}, in {threading.current_thread().name}\n")
            _ = sys.stderr.flush()
            os._exit(1)


def fetch(place: Path, cache: Path, seed: int) -> int:
    """One fetch in a process of its own; its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    syncs_first = bool(seed % 2)
    Watch(cache, syncs_first=syncs_first).arm()
    shake(seed)
    run(place, cache, is_syncing=True, syncs_first=syncs_first)
    folder = Cache(cache).folder(MODEL)
    os._exit(any((folder / name).read_bytes() != data for name, data in OBJECTS.items()))


def main() -> int:
    """One fetch for each seed of the range."""
    folder, seeds = Path(sys.argv[1]), range(*map(int, sys.argv[2:]))
    place, cache = folder / "objects", folder / "cache"
    _ = lay(place, OBJECTS)
    run(place, cache)  # once, so that no child has to import or to build anything
    for seed in seeds:
        shutil.rmtree(cache)
        if fetch(place, cache, seed):
            _ = sys.stderr.write(f"seed {seed}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
