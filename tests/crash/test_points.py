"""kill -9 before every step of a fetch that changes the disk, and again while it resumes."""

import subprocess
import sys
from pathlib import Path

import pytest
from crash_points import OBJECTS
from weights_origin import Origin

PROGRAM = str(Path(__file__).with_name("crash_points.py"))
STEPS = 25
FIRST = (1, 26, 51, 76)
FEWEST_KILLS = 200


@pytest.fixture(scope="module")
def kills() -> dict[int, int]:
    """How many there were, by the first step of the range."""
    return {}


@pytest.mark.parametrize("first", FIRST)
def test_killed_before_every_step(tmp_path: Path, first: int, kills: dict[int, int]) -> None:
    """25 steps, each with two more on the way back."""
    with Origin(OBJECTS) as origin:
        said = [sys.executable, PROGRAM, str(origin.port), str(tmp_path)]
        done = subprocess.run(  # noqa: S603  # our own
            [*said, str(first), str(first + STEPS)], capture_output=True, check=False
        )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    kills[first] = int(done.stdout)
    assert kills[first] >= STEPS, "a step that never came was no point"


def test_there_were_enough_of_them(kills: dict[int, int]) -> None:
    if set(kills) != set(FIRST):
        pytest.skip("only some of the ranges were run")
    assert sum(kills.values()) >= FEWEST_KILLS
