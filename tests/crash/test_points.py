"""kill -9, or the power gone, before every step of a fetch that changes the disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(__file__).with_name("crash_points.py"))
SHAKEN = str(Path(__file__).with_name("shaken_fetches.py"))
SHAKEN_PEERS = str(Path(__file__).with_name("shaken_peers.py"))
RANGES = tuple((first, first + 42) for first in range(1, 211, 42))
FEWEST_POINTS = 200
KINDS = {"posix_fallocate", "pwrite", "write", "replace"}
"""No sync among them: a fetch of less than 5 s waits for none unless it is told to."""


def points(mode: str, folder: Path, first: int, last: int) -> list[tuple[int, str]]:
    """Where fetches ended; each was held against the truth."""
    said = [sys.executable, PROGRAM, mode, str(folder), str(first), str(last)]
    done = subprocess.run(said, capture_output=True, check=False)  # noqa: S603  # our own
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return [(step, call) for step, call in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def killed() -> dict[int, list[tuple[int, str]]]:
    """Where fetches were killed, by the first step of the range."""
    return {}


@pytest.mark.parametrize(("first", "last"), RANGES)
def test_killed_before_every_step(
    tmp_path: Path, first: int, last: int, killed: dict[int, list[tuple[int, str]]]
) -> None:
    killed[first] = points("kill", tmp_path, first, last)
    assert [step for step, _ in killed[first]] == list(range(first, last))


def test_there_were_enough_points_and_of_every_kind(
    killed: dict[int, list[tuple[int, str]]],
) -> None:
    if len(killed) != len(RANGES):
        pytest.skip("only some of the ranges were run")
    found = {point for points in killed.values() for point in points}
    assert len({step for step, _ in found}) >= FEWEST_POINTS
    assert {call for _, call in found} >= KINDS


@pytest.mark.parametrize("mode", ["power", "synced"])
def test_the_power_gone_before_a_step(tmp_path: Path, mode: str) -> None:
    """What was not synced is lost or torn, the last renames too; by turns after a kill.

    No byte that was lost is believed; and where a file is synced before it gets its name, no
    final name is ever without all of its bytes.
    """
    found = points(mode, tmp_path, 60, 220)
    fewest = 15
    assert len(found) >= fewest


def test_nothing_is_claimed_before_it_is_so_though_threads_are_held_up(tmp_path: Path) -> None:
    """A thread rests between two lines, and the others go on: at some places in each fetch."""
    said = [sys.executable, SHAKEN, str(tmp_path), "0", "12"]
    done = subprocess.run(said, capture_output=True, check=False)  # noqa: S603  # our own
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_nothing_wrong_is_offered_though_threads_are_held_up_and_a_peer_lies(
    tmp_path: Path,
) -> None:
    said = [sys.executable, SHAKEN_PEERS, str(tmp_path), "0", "8"]
    done = subprocess.run(said, capture_output=True, check=False)  # noqa: S603  # our own
    assert done.returncode == 0, done.stderr.decode()[-2000:]
