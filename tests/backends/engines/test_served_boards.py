"""Boards that a server is given, against a small library of Python in the place of NVML."""

from types import SimpleNamespace
from typing import cast

import pytest

from poolhand.backends.engines.served_boards import indices, lack, used_bytes
from poolhand.backends.hosts.nvml import Boards, Handle, Memory, Nvml

GIB = 2**30


class Failed(Exception):
    """Raised as the library raises."""


class Library:
    """Three boards of 8 GiB, of which the nth has n GiB in use; the last does not say."""

    NVMLError = Failed

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - the library's name
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802 - the library's name
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: Handle, version: int = 0) -> Memory:  # noqa: N802
        """The older form alone; the name is the library's."""
        used = cast("int", cast("object", handle)) * GIB
        if version or used == 2 * GIB:
            raise Failed
        told = SimpleNamespace(total=8 * GIB, free=8 * GIB - used)
        return cast("Memory", cast("object", told))


BOARDS = Boards(cast("Nvml", cast("object", Library())))


@pytest.mark.parametrize(("gpus", "numbers"), [("", ()), ("0", (0,)), ("2,0,11", (2, 0, 11))])
def test_a_choice_is_a_list_of_numbers(gpus: str, numbers: tuple[int, ...]) -> None:
    assert indices(gpus) == numbers


@pytest.mark.parametrize("gpus", ["", "0", "0,1,2"])
def test_boards_that_are_here_can_be_chosen(gpus: str) -> None:
    assert lack(gpus, BOARDS) is None


def test_a_board_that_is_not_here_is_named() -> None:
    assert lack("0,3", BOARDS) == "board 3: this machine has 3, counted from 0"


def test_without_the_library_nothing_is_known() -> None:
    assert lack("7", None) is None
    assert used_bytes("", None) is None


def test_what_is_in_use_is_added_up_if_all_say_so() -> None:
    assert used_bytes("0", BOARDS) == 0
    assert used_bytes("0,1", BOARDS) == GIB
    assert used_bytes("1,2", BOARDS) is None
    assert used_bytes("", BOARDS) is None
