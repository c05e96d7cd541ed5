"""kill -9 before every step of a fetch that changes the disk, and again while it resumes."""

import subprocess
import sys
from pathlib import Path

import pytest
from crash_points import OBJECTS
from weights_origin import Origin

PROGRAM = str(Path(__file__).with_name("crash_points.py"))


@pytest.mark.parametrize("first", [1, 26, 51, 76])
def test_killed_before_every_step(tmp_path: Path, first: int) -> None:
    """Four times 25 steps, each with two more on the way back: more than 200 kills."""
    with Origin(OBJECTS) as origin:
        said = [sys.executable, PROGRAM, str(origin.port), str(tmp_path)]
        done = subprocess.run(  # noqa: S603  # our own
            [*said, str(first), str(first + 25)], capture_output=True, check=False
        )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    fewest = 50 if first < 76 else 25
    assert int(done.stdout) >= fewest, "a step that never came was no point"
