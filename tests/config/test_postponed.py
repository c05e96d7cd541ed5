"""Modules that libraries bring and nobody calls."""

import subprocess
import sys

PROGRAM = """
import sys
from poolhand.config.postponed import import_later
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


CHILD = """
import sys
from poolhand.config.postponed import import_later
import_later()
import poolhand.agent.weights.fetcher, poolhand.backends.stores.s3
left = ("urllib.parse", "ipaddress", "ntpath", "selectors", "array", "dataclasses", "hmac")
print([name for name in left if type(sys.modules.get(name)).__name__ == "module"])
from urllib.parse import quote
import ipaddress, ntpath, selectors
print(quote("a b"), ipaddress.ip_address("::1"), ntpath.join("a", "b"))
print(selectors.DefaultSelector.__name__ != "", sys.modules["selectors"] is not selectors)
"""


def test_a_child_that_fetches_brings_only_what_it_calls() -> None:
    ended = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines() == ["[]", "a%20b ::1 a\\b", "True True"]
