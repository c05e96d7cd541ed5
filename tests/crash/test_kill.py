"""kill -9 at any moment of a fetch, then again: the bytes are right and hardly any came twice."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from weights_origin import CHILD, REF, Origin, quick, stores_of, toy

from poolhand.agent.weights.boot import boot_id
from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.journal import JOURNAL_NAME, load
from poolhand.agent.weights.lines import FetchJob, encode_job

MODEL = "org/toy"
CHUNK_BYTES = 2**16
CONNECTIONS = 4


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin(toy(shard_bytes=1_500_000, shards=3)) as serving:
        yield serving


def start(origin: Origin, folder: Path) -> subprocess.Popen[bytes]:
    weights = quick(chunk_bytes=CHUNK_BYTES, connections=CONNECTIONS)
    job = FetchJob(MODEL, REF, stores_of(origin), weights, str(folder))
    pipe = subprocess.PIPE
    child = subprocess.Popen(CHILD, stdin=pipe, stdout=pipe)  # noqa: S603  # our own
    assert child.stdin is not None
    _ = child.stdin.write(encode_job(job, "fetch"))
    child.stdin.flush()
    return child


def finish(child: subprocess.Popen[bytes]) -> dict[str, object]:
    assert child.stdout is not None
    lines = child.stdout.read().splitlines()
    assert child.wait() == 0, lines[-1:]
    assert child.stdin is not None
    child.stdin.close()
    child.stdout.close()
    last: dict[str, object] = json.loads(lines[-1])
    return last


def kill(child: subprocess.Popen[bytes]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() in {-signal.SIGKILL, 0}
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        pipe.close()


def hold_against(origin: Origin, folder: Path) -> int:
    """Check that the journal and every final name tell the truth; bytes that are here."""
    place = Cache(folder).folder(MODEL)
    for name, data in origin.objects.items():
        if (place / name).exists():
            assert (place / name).read_bytes() == data, "a final name is always whole"
    claims = load(place / JOURNAL_NAME, boot_id=boot_id())
    if claims is None:
        return 0
    for listed, claim in zip(claims.header.files, claims.files, strict=True):
        data, part = origin.objects[listed.path], place / ".partial" / listed.path
        here = (
            (part if part.exists() else place / listed.path).read_bytes()
            if any(claim.have)
            else b""
        )
        step = claims.header.block_bytes
        for block, is_here in enumerate(claim.have):
            span = slice(block * step, (block + 1) * step)
            assert not is_here or here[span] == data[span], "a journal never claims a missing byte"
    return claims.bytes_here


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again(origin: Origin, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # the same each time
    here = 0
    total = sum(map(len, origin.objects.values()))
    origin.pause_s = 0.004
    try:
        for _ in range(4):
            target = chance.uniform(0.02, 0.3) * total
            before = origin.sent_bytes
            child = start(origin, tmp_path)
            give_up_s = time.monotonic() + 20
            while origin.sent_bytes - before < target and child.poll() is None:
                assert time.monotonic() < give_up_s
                time.sleep(0.001)  # polls the origin's counter; nothing depends on its length
            kill(child)
            here = hold_against(origin, tmp_path)
    finally:
        origin.pause_s = 0.0
    before = origin.sent_bytes
    _ = finish(start(origin, tmp_path))
    again = origin.sent_bytes - before
    listing = 2000  # bytes of the list itself
    assert again <= total - here + CONNECTIONS * CHUNK_BYTES + listing
    build = Cache(tmp_path).build(MODEL, str(REF))
    assert build is not None
    place = Path(build.folder)
    assert {name: (place / name).read_bytes() for name in origin.objects} == origin.objects


@pytest.mark.parametrize("share", [0.0, 0.35, 0.7, 0.999])
def test_a_journal_cut_anywhere_still_leads_to_the_right_bytes(
    origin: Origin, tmp_path: Path, share: float
) -> None:
    """Whatever of the journal reached the disk, and whatever lies in the folder."""
    child = start(origin, tmp_path)
    before = origin.sent_bytes
    origin.pause_s = 0.004
    while origin.sent_bytes - before < 1_000_000 and child.poll() is None:
        time.sleep(0.001)
    kill(child)
    origin.pause_s = 0.0
    journal = Cache(tmp_path).folder(MODEL) / JOURNAL_NAME
    data = journal.read_bytes()
    _ = journal.write_bytes(data[: int(len(data) * share)])
    _ = hold_against(origin, tmp_path)
    _ = finish(start(origin, tmp_path))
    build = Cache(tmp_path).build(MODEL, str(REF))
    assert build is not None


def test_the_part_files_vanished_but_the_journal_did_not(origin: Origin, tmp_path: Path) -> None:
    child = start(origin, tmp_path)
    before = origin.sent_bytes
    origin.pause_s = 0.004
    while origin.sent_bytes - before < 1_000_000 and child.poll() is None:
        time.sleep(0.001)
    kill(child)
    origin.pause_s = 0.0
    for part in (Cache(tmp_path).folder(MODEL) / ".partial").iterdir():
        part.unlink()
    _ = finish(start(origin, tmp_path))
    assert Cache(tmp_path).build(MODEL, str(REF)) is not None
