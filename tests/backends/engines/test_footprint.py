"""The unique set size of a real process."""

import os
import subprocess
import sys

import pytest

from poolhand.backends.engines.footprint import footprint_bytes


def test_it_grows_with_what_the_process_holds() -> None:
    before = footprint_bytes(os.getpid())
    held = bytearray(os.urandom(2**20) * 32)
    after = footprint_bytes(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before > len(held) / 2


def test_of_a_process_that_is_not_there_nothing_is_known() -> None:
    assert footprint_bytes(2**22 + 1) is None


HIDDEN = """
import ctypes, os, signal, sys
import psutil
from poolhand.backends.engines.footprint import footprint_bytes
from poolhand.backends.engines.leash import forbid_debuggers
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after an exec: anybody of this user may look
out, into = os.pipe()
child = os.fork()
if child == 0:
    holds = sys.argv[1] != "hide" or forbid_debuggers()
    own = bytearray(os.urandom(2**22))  # the rest it may still share with its parent
    os.write(into, f"{holds and (footprint_bytes(os.getpid()) or 0) > 2**20}".encode())
    signal.pause()
own = os.read(out, 10).decode()
def can_read_memory():
    try:
        with open(f"/proc/{child}/mem", "rb"):
            return True
    except PermissionError:
        return False
print(own, footprint_bytes(child) is not None, can_read_memory())
os.kill(child, 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what a process may see of another, by /proc")
@pytest.mark.parametrize(("mode", "can_look"), [("hide", "False"), ("show", "True")])
def test_a_hidden_process_alone_can_measure_itself(mode: str, can_look: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", HIDDEN, mode],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.split() == ["True", can_look, can_look]
