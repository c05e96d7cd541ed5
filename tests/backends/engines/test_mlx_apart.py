"""The files that have MLX in their own process, each in a process of its own.

The library keeps streams by thread and process, and a model that leaves clears them all: what
asks it next in the same process would find none.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
APART = sorted(HERE.glob("apart_mlx_*.py"))


@pytest.mark.engine
@pytest.mark.parametrize("path", APART, ids=lambda path: path.stem)
def test_it_passes_in_a_process_of_its_own(path: Path) -> None:
    ended = subprocess.run(  # noqa: S603  # our own interpreter and file
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)],
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]


def test_there_are_some() -> None:
    assert len(APART) == 5
