"""The typed door to NVML, with a small library of Python in the place of the real one."""

from types import SimpleNamespace
from typing import cast

from poolhand.backends.hosts.nvml import Boards, Handle, Memory, Nvml, open_boards

GIB = 2**30


class Failed(Exception):
    """Raised as the library raises: with a number."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class OldDriver:
    """One board of 8 GiB behind a driver that has not the second version of the structure."""

    NVMLError = Failed

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - the library's name
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802 - the library's name
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: Handle, version: int = 0) -> Memory:  # noqa: N802
        """Only version 1 is known; the name is the library's."""
        if version:
            raise Failed(13)
        return cast("Memory", cast("object", SimpleNamespace(total=8 * GIB, free=5 * GIB)))


def boards() -> tuple[Boards, Handle]:
    opened = Boards(cast("Nvml", cast("object", OldDriver())))
    return opened, opened.handles()[0]


def test_an_old_driver_is_asked_the_old_question() -> None:
    opened, handle = boards()
    assert opened.memory_bytes(handle) == (8 * GIB, 5 * GIB)
    assert not opened.is_unified(handle)


def test_a_question_that_fails_has_no_answer() -> None:
    opened, _ = boards()

    def fail() -> int:
        raise Failed(999)

    assert opened.ask(fail) is None
    assert opened.ask(lambda: 0) == 0


def test_a_machine_without_the_library_has_no_boards() -> None:
    # holds where there is a board as well: then the boards can be opened
    opened = open_boards()
    assert opened is None or opened.handles()
