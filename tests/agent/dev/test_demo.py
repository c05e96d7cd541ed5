"""The demonstration, played whole, broken off, and gone wrong."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.demo import STEPS, Scene, play
from poolhand.agent.dev.narration import Narrator
from poolhand.agent.dev.stage import NotAsExpected, Stage

DEMO = (sys.executable, "-m", "poolhand.agent", "dev", "demo")


def left_behind(folder: Path) -> list[psutil.Process]:
    """Processes that work in a folder, or in one that is gone from there."""
    found: list[psutil.Process] = []
    for each in psutil.process_iter():
        try:
            found += [each] if each.cwd().startswith(str(folder)) else []
        except psutil.Error:
            continue
    return found


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_it_plays_to_the_end_and_leaves_nothing(tmp_path: Path) -> None:
    began_s = time.monotonic()
    ended = subprocess.run(  # noqa: S603  # our own words
        DEMO,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    said = ended.stdout
    assert ended.returncode == 0, said + ended.stderr
    assert ended.stderr == ""
    assert time.monotonic() - began_s < 90
    assert said.count(f"  | {expected_text('alpha')}\n") == 2
    assert said.count(f"  | {expected_text('beta')}\n") == 1
    assert re.search(r"of \d\.\d MB \(\d+%", said)
    assert "refused: model 'org/other' not in advertised model list: outside assigned pool" in said
    assert "downloading, verifying, staged, the first unloading" in said
    table = said[said.index("step  ") :].splitlines()
    assert [row.split("  ")[0] for row in table[2:-2]] == [name for name, _, _ in STEPS]
    assert "\x1b" not in said
    assert list(tmp_path.iterdir()) == []
    assert left_behind(tmp_path) == []


@pytest.mark.e2e
@pytest.mark.parametrize("moment", ["> A store", "ok registered", "downloading"])
def test_ctrl_c_drains_and_leaves_nothing(tmp_path: Path, moment: str) -> None:
    with subprocess.Popen(  # noqa: S603  # our own words
        DEMO,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert any(moment in line for line in child.stdout)
        child.send_signal(signal.SIGINT)
        said, wrong = child.communicate(timeout=40)
    assert child.returncode == 0, said + wrong
    assert "interrupted: draining" in said
    assert wrong == ""
    assert list(tmp_path.iterdir()) == []
    assert left_behind(tmp_path) == []


def test_a_step_that_goes_wrong_is_the_last_and_is_explained(tmp_path: Path) -> None:
    out = io.StringIO()
    taken: list[str] = []

    def wrong(_: Scene) -> str:
        raise NotAsExpected(what="the moon is made of cheese")

    def note(_: Scene) -> str:
        taken.append("one")
        return "noted"

    with Stage(tmp_path) as stage:
        stage.open_store(tmp_path / "nowhere").process.wait(20)
        steps = [("good", "First", note), ("bad", "Then", wrong), ("never", "Last", note)]
        assert play(Scene(stage, Narrator(out, {})), steps) == 1
    said = out.getvalue()
    assert taken == ["one"]
    assert "not as expected: the moon is made of cheese" in said
    assert "the end of the store's log:" in said
    assert "not a folder" in said
    assert re.search(r"^bad +FAILED +\d", said, re.MULTILINE)
    assert "Last" not in said


@pytest.mark.parametrize("name", ["openai", "mlx_lm", "aiobotocore"])
def test_what_is_not_installed_is_named_with_its_cure(name: str) -> None:
    program = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from poolhand.agent.cli.main import main\n"
        "sys.exit(main(['dev', 'demo']))"
    )
    ended = subprocess.run(  # noqa: S603  # our own words
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.returncode == 1
    assert f"not installed: {name}; run: pip install 'poolhand[dev]'" in ended.stdout
    assert ended.stderr == ""


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    ended = subprocess.run(  # noqa: S603  # our own words
        [*DEMO, "--dir", str(tmp_path)], capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.returncode == 2
    assert "is not an empty folder" in ended.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_client_is_imported_when_it_is_used() -> None:
    program = "import sys, poolhand.agent.dev.demo; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # noqa: S603  # our own words
