"""How busy the boards are with programs that are not ours."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.hosts.activity_gpu import (
    FIRST_NAMESPACE,
    LOOK_BACK_S,
    NOT_FOUND,
    OthersOnGpu,
    others_ratio,
    own_processes,
    sees_all_processes,
)
from poolhand.backends.hosts.nvml import Boards, Nvml

OURS, THEIRS = 100, 200


@dataclass
class Sample:
    """One process at one moment."""

    pid: int
    smUtil: int  # noqa: N815 - the library's name
    timeStamp: int = 1  # noqa: N815 - the library's name


class NvmlError(Exception):
    """What the library raises."""

    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__(value)


@dataclass
class Library:
    """Two boards, and what each says of its processes."""

    told: dict[int, list[Sample] | NvmlError]
    asked_us: list[int] = field(default_factory=list[int])
    NVMLError: type[Exception] = NvmlError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - the library's name
        return len(self.told)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - the library's name
        return index

    def nvmlDeviceGetProcessUtilization(  # noqa: N802 - the library's name
        self, handle: int, since_us: int
    ) -> Sequence[Sample]:
        self.asked_us.append(since_us)
        answer = self.told[handle]
        if isinstance(answer, NvmlError):
            raise answer
        return answer


def ratio(*boards: list[Sample] | NvmlError) -> float | None:
    library = Library(dict(enumerate(boards)))
    opened = Boards(cast("Nvml", cast("object", library)))
    found = OthersOnGpu(opened, own=lambda: {OURS}, now=lambda: 1000.0).ratio()
    assert set(library.asked_us) <= {int((1000.0 - LOOK_BACK_S) * 1e6)}
    return found


@pytest.mark.parametrize(
    ("boards", "expected"),
    [
        ([], None),
        ([[Sample(OURS, 90)]], 0.0),
        ([[Sample(OURS, 60), Sample(THEIRS, 35)]], 0.35),
        ([[Sample(THEIRS, 80, 5), Sample(THEIRS, 10, 9)]], 0.1),
        ([[Sample(THEIRS, 70), Sample(201, 70)]], 1.0),
        ([[Sample(0, 99), Sample(THEIRS, 4_294_967)]], 0.0),
        ([[Sample(OURS, 99)], [Sample(THEIRS, 50)]], 0.5),
        ([NvmlError(NOT_FOUND)], 0.0),
        ([NvmlError(3)], None),
        ([NvmlError(15), [Sample(THEIRS, 20)]], 0.2),
    ],
)
def test_the_busiest_board_counts_and_our_own_work_does_not(
    boards: list[list[Sample] | NvmlError], expected: float | None
) -> None:
    found = ratio(*boards)
    assert found == (None if expected is None else pytest.approx(expected))


@given(
    st.lists(
        st.builds(Sample, st.integers(-1, 5), st.integers(-5, 150), st.integers(0, 9)), max_size=12
    )
)
def test_law_our_own_work_never_counts(samples: list[Sample]) -> None:
    assert 0.0 <= others_ratio(samples, ()) <= 1.0
    assert others_ratio(samples, range(6)) == 0.0


def test_our_processes_are_this_one_and_its_children() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        found = own_processes()
        assert {os.getpid(), child.pid} <= found
        assert os.getppid() not in found
    finally:
        child.communicate(b"\n", timeout=20)


def test_inside_a_container_nothing_is_said(tmp_path: Path) -> None:
    assert sees_all_processes(tmp_path) is False
    place = tmp_path / "proc/self/ns"
    place.mkdir(parents=True)
    (place / "pid").symlink_to("pid:[4026532281]")
    assert sees_all_processes(tmp_path) is False
    (place / "pid").unlink()
    (place / "pid").symlink_to(FIRST_NAMESPACE)
    assert sees_all_processes(tmp_path) is True
