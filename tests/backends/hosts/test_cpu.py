"""The CPU's share, on the machine that runs the tests."""

import os
import subprocess
import sys
import time

import pytest

from poolhand.backends.hosts.cpu import CpuMeter, usable_cores


def test_the_first_reading_is_none_and_a_busy_while_is_seen() -> None:
    meter = CpuMeter()
    assert meter.usage_ratio() is None, "there is nothing to compare with yet"
    until_s = time.monotonic() + 0.2
    while time.monotonic() < until_s:
        pass
    busy = meter.usage_ratio()
    assert busy is not None
    # one of our cores was busy all the while; the clock ticks 100 times a second
    assert 0.5 / (os.cpu_count() or 1) < busy <= 1.0


def test_each_meter_keeps_its_own_last_reading() -> None:
    first, second = CpuMeter(), CpuMeter()
    first.usage_ratio()
    assert second.usage_ratio() is None


@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")
def test_cores_are_those_we_may_run_on() -> None:
    program = (
        "import os; from poolhand.backends.hosts.cpu import usable_cores;"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(usable_cores().total)"
    )
    said = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert said.stdout == "1\n"
    cores = usable_cores()
    assert cores.total == len(os.sched_getaffinity(0))
    assert (cores.performance, cores.efficiency) == (None, None), "not told apart here"
