"""What a child does first; in processes of their own, for it binds the one it runs in."""

import os
import signal
import subprocess
import sys

import pytest

from poolhand.backends.engines.leash import OOM_SCORE, places

BODY = """
import os, resource, signal, sys
from poolhand.backends.engines.leash import hold_to_parent
hold_to_parent(int(sys.argv[1]))
"""

FORBID = """
from poolhand.backends.engines.leash import forbid_debuggers
print(forbid_debuggers())
"""


def run(program: str, parent: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", BODY + program, str(parent)],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )


def test_it_leaves_when_the_parent_is_another() -> None:
    done = run("print('still here')", os.getpid() + 1)
    assert (done.returncode, done.stdout) == (0, "")


def test_no_core_is_dumped_and_the_kernel_takes_it_first() -> None:
    done = run(
        "print(resource.getrlimit(resource.RLIMIT_CORE))\n"
        "print(open('/proc/self/oom_score_adj').read() if sys.platform == 'linux' else '')",
        os.getpid(),
    )
    lines = done.stdout.split("\n")
    assert lines[0] == "(0, 0)"
    if sys.platform == "linux":
        assert int(lines[1]) == OOM_SCORE


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own word, by prctl")
def test_debuggers_are_kept_away_and_it_is_read_back() -> None:
    ask = "import ctypes\nprint(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    assert run(ask, os.getpid()).stdout == "0\n"
    before = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", f"{FORBID}\n{ask}"],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    assert before.stdout == "True\n0\n"


def test_sigterm_unwinds_the_stack() -> None:
    program = """
try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
finally:
    print("put away")
"""
    done = run(program, os.getpid())
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == "put away\n"


def test_an_error_tells_its_place_and_none_of_its_words() -> None:
    done = run("raise ValueError('a secret')", os.getpid())
    assert done.returncode == 1
    assert "ValueError at <string>" in done.stderr
    assert "secret" not in done.stderr


def test_places_are_innermost_first() -> None:
    with pytest.raises(ValueError, match="invalid literal") as raised:
        int("secret")
    assert places(raised.value).startswith("ValueError at test_leash.py:")
    assert "secret" not in places(raised.value)
