"""Memory that is free goes back to the machine, where the C library can be asked."""

import gc
import platform
import subprocess
import sys

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


PROGRAM = """
import sys
from poolhand.agent.runtime.thrift import import_later
import_later()
import poolhand.agent.daemon
print(sorted({"zipfile", "email", "shutil", "http.client", "h11._events"} & set(sys.modules)))
import h11, importlib.metadata, urllib.request
h11.Connection(h11.SERVER)
print(callable(urllib.request.urlopen), importlib.metadata.version("pydantic") > "2")
print(sorted({"zipfile", "email", "shutil", "http.client", "h11._events"} & set(sys.modules)))
"""


def test_what_is_never_called_is_not_imported_and_comes_whole_when_it_is_needed() -> None:
    ended = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines() == [
        "[]",
        "True True",
        "['email', 'h11._events', 'http.client', 'shutil', 'zipfile']",
    ]
