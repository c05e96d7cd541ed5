"""What a process is spared: its limits, its environment, its memory."""

import os
import resource
import subprocess
import sys

import pytest

from poolhand.backends.engines.manners import (
    give_back,
    limits_kept,
    quiet_environment,
    quiet_while_importing,
)


def test_a_limit_that_an_import_would_set_stays_as_it_was() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with limits_kept():
        import resource as seen_by_an_import  # noqa: PLC0415 - as the library does it

        seen_by_an_import.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
        assert seen_by_an_import.getrlimit(resource.RLIMIT_NOFILE) == before
    assert sys.modules["resource"] is resource
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_the_limits_come_back_even_if_the_import_fails() -> None:
    with pytest.raises(ImportError), limits_kept():
        raise ImportError
    assert sys.modules["resource"] is resource


def test_nothing_may_reach_the_network_or_tell_of_its_use() -> None:
    made = quiet_environment()
    assert made["HF_HUB_OFFLINE"] == made["TRANSFORMERS_OFFLINE"] == made["DO_NOT_TRACK"] == "1"
    assert made["HF_HUB_DISABLE_TELEMETRY"] == made["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
    assert ("MLX_DISABLE_COMPILE" in made) == (sys.platform == "linux")


PROGRAM = """
import os, psutil
from poolhand.backends.engines.manners import be_quiet, give_back
be_quiet()
print(os.environ["HF_HUB_OFFLINE"])
held = [bytes(1000) for _ in range(200_000)]
last = bytes(1000)
full = psutil.Process().memory_info().rss
del held
give_back()
print(full - psutil.Process().memory_info().rss > 100 * 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own way to give memory back")
def test_what_is_free_goes_back_to_the_system() -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", PROGRAM],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.split() == ["1", "True"]
    give_back()


@pytest.mark.parametrize("offline", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_what_others_would_read_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, offline: str
) -> None:
    monkeypatch.delenv(offline, raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "mine")
    with quiet_while_importing():
        assert os.environ[offline] == "1"
    assert offline not in os.environ
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "mine"
