"""NVIDIA's boards, by a library that answers what it is told to."""

# The library's own names are kept, so that its manual can be read beside this file.
# ruff: noqa: N802, N815

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from poolhand.agent.cli.checks_boards import ABOUT, look, told_of
from poolhand.agent.cli.checks_told import Finding
from poolhand.backends.hosts.nvml import Boards, Nvml

from .checks_world import RUNNING, by_id, ground, verdicts

GIB = 2**30


class NvmlError(Exception):
    """What the library raises."""

    value = 3


@dataclass
class Memory:
    """``nvmlMemory_v2_t``."""

    total: int
    free: int
    used: int = 0
    reserved: int = 0


@dataclass
class Use:
    """``nvmlProcessUtilizationSample_t``."""

    pid: int
    smUtil: int
    timeStamp: int = 1


@dataclass
class Library:
    """One board."""

    free_bytes: int = 70 * GIB
    uses: tuple[Use, ...] = ()
    is_silent: bool = False
    NVMLError: type[Exception] = NvmlError

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int = 0) -> Memory:
        _ = handle, version
        return Memory(80 * GIB, self.free_bytes)

    def nvmlDeviceGetProcessUtilization(self, handle: int, since_us: int) -> tuple[Use, ...]:
        _ = handle, since_us
        if self.is_silent:
            raise NvmlError
        return self.uses


def told(folder: Path, library: Library, *, runs: bool = True) -> dict[str, Finding]:
    here = ground(folder, status=RUNNING if runs else {})
    boards = Boards(cast("Nvml", cast("object", library)))
    return by_id(told_of(here, boards, sees_all=True))


def test_a_board_of_our_own(tmp_path: Path) -> None:
    pid = ground(tmp_path, status=RUNNING).pid
    assert pid is not None
    found = told(tmp_path, Library(uses=(Use(pid, 90),)))
    assert verdicts(found.values()) == dict.fromkeys(ABOUT, "ok")
    assert found["gpu.memory"].cause == "board 0: 70.0 GiB of 80.0 GiB free"


def test_somebody_else_computes_there(tmp_path: Path) -> None:
    found = told(tmp_path, Library(uses=(Use(2**22 + 9, 63),)))["gpu.users"]
    assert (found.verdict, found.cause) == ("warn", "other programs keep a board 63 % busy")


def test_memory_that_others_have(tmp_path: Path) -> None:
    assert told(tmp_path, Library(free_bytes=GIB), runs=False)["gpu.memory"].verdict == "warn"
    assert told(tmp_path, Library(free_bytes=GIB))["gpu.memory"].verdict == "ok", "it may be ours"


def test_a_driver_that_does_not_say(tmp_path: Path) -> None:
    assert told(tmp_path, Library(is_silent=True))["gpu.users"].verdict == "skipped"
    boards = Boards(cast("Nvml", cast("object", Library())))
    found = by_id(told_of(ground(tmp_path), boards, sees_all=False))
    assert found["gpu.users"].verdict == "skipped"


def test_a_driver_without_a_board(tmp_path: Path) -> None:
    here = ground(tmp_path)
    assert verdicts(told_of(here, None, sees_all=True)) == dict.fromkeys(ABOUT, "skipped")
    (here.root / "proc/driver/nvidia").mkdir(parents=True)
    (here.root / "proc/driver/nvidia/version").write_text("NVRM version: 550")
    found = by_id(told_of(here, None, sees_all=True))["gpu.driver"]
    assert found.verdict == "fail"
    assert "opens no board" in found.cause


def test_a_mac_and_this_machine(tmp_path: Path) -> None:
    assert verdicts(look(ground(tmp_path, platform="darwin"))) == dict.fromkeys(ABOUT, "skipped")
    assert set(by_id(look(replace(ground(tmp_path), root=Path("/"))))) == set(ABOUT)
