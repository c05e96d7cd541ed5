"""Memory that is free goes back to the machine, where the C library can be asked."""

import gc
import platform

import psutil
import pytest

from poolhand.agent.runtime.thrift import give_back, keep_one_heap


@pytest.fixture(autouse=True)
def _thaw() -> object:
    yield
    gc.unfreeze()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_what_is_free_in_the_middle_of_the_heap_goes_back() -> None:
    # small enough to lie on the heap, with something that stays between them
    pieces = [bytes(2**15) for _ in range(2000)]
    kept = pieces[::100]
    del pieces
    before = psutil.Process().memory_info().rss
    assert give_back()
    assert before - psutil.Process().memory_info().rss > 20 * 2**20
    assert len(kept) == 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_the_c_library_takes_the_choice_of_one_heap() -> None:
    assert keep_one_heap()
