"""A stand-in for the tool that asks the macOS keychain."""

import sys
from pathlib import Path

import pytest

TOOL = """\
#!{python}
# Takes and gives what security(1) does, out of a folder; writes down its arguments.
import pathlib, shlex, sys
here = pathlib.Path(__file__).parent
with (here / "asked").open("a") as asked:
    asked.write(" ".join(sys.argv[1:]) + "\\n")
if (here / "locked").exists():
    sys.exit(36)
def run(words):
    options = dict(zip(words[1:], words[2:]))
    item = here / ("item-" + options["-s"])
    if words[0] == "add-generic-password":
        item.write_bytes(bytes.fromhex(options["-X"]))
    elif not item.exists():
        sys.exit(44)
    elif words[0] == "delete-generic-password":
        item.unlink()
    else:
        sys.stdout.buffer.write(item.read_bytes() + b"\\n")
if sys.argv[1:] == ["-i"]:
    for line in sys.stdin:
        run(shlex.split(line))
else:
    run(sys.argv[1:])
"""


@pytest.fixture
def keychain(tmp_path: Path) -> Path:
    """A folder for the ``PATH``: the stand-in, its items, and ``asked``, all its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "security").write_text(TOOL.format(python=sys.executable))
    (folder / "security").chmod(0o755)
    return folder
