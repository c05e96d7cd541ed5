"""The unique set size of a real process."""

import os

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
