"""``poolhand logs``: what the agent wrote down, wherever it writes.

The running agent is asked where that is: systemd's journal, or a file. When none answers, the
places are looked at in which the last one may have left it.
"""

import contextlib
import json
import os
import shutil
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO, cast

from ..control.client import AgentNotRunning, get
from .exits import Exit
from .places import add_config, add_state_dir, home, socket_of, state_of
from .render import plain, table
from .status import ANSWER_S, read

LINES = 50
LOOK_S = 0.25

_HEAD = ("at", "level", "what")


def add_arguments(parser: ArgumentParser) -> None:
    """Take how much, and whether to go on."""
    add_config(parser)
    add_state_dir(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more is written")
    parser.add_argument("-n", "--lines", metavar="N", type=int, default=LINES, help="the last N")
    parser.add_argument("--json", action="store_true", help="lines as they were written")


def main(args: Namespace) -> int:
    """Show the log.

    Returns:
        0; 1 if there is none to be found. With systemd's journal: what ``journalctl`` returns.
    """
    place = _place(args)
    is_followed = cast("bool", args.follow)
    lines = max(0, cast("int", args.lines))
    if place.get("kind") == "journal" and (program := shutil.which("journalctl")):
        options = ["--no-pager", "-n", str(lines), *(["-f"] if is_followed else [])]
        options += ["-o", "json"] if args.json else []
        sys.stdout.flush()
        os.execv(program, [program, *options, plain(place.get("match"))])  # noqa: S606  # no shell
    if place.get("kind") != "file":
        print("poolhand: it writes neither to the journal nor to a file", file=sys.stderr)
        print("  Look where it was started, or run it as a service.", file=sys.stderr)
        return Exit.FAILURE
    return _show(Path(plain(place.get("path"))), args, lines, is_followed=is_followed)


def _show(path: Path, args: Namespace, lines: int, *, is_followed: bool) -> int:
    is_raw = cast("bool", args.json)
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in deque(file, maxlen=lines):
                print(line.rstrip("\n") if is_raw else human(line))
            sys.stdout.flush()  # whoever reads a pipe waits for nothing that is here
            if not is_followed:
                return Exit.OK
            for line in _more(path, file):
                print(line.rstrip("\n") if is_raw else human(line), flush=True)
    except OSError as error:
        print(f"poolhand: {path}: {error.strerror or error}", file=sys.stderr)
    return Exit.FAILURE


def human(line: str) -> str:
    """A line of the log as text that cannot steer a terminal; what is no JSON as it is."""
    facts: Mapping[str, object] = {}
    with contextlib.suppress(ValueError, RecursionError):
        facts = table(cast("object", json.loads(line)))
    if not set(_HEAD) <= set(facts):
        return plain(line.rstrip("\n"))
    rest = " ".join(f"{name}={facts[name]}" for name in facts if name not in _HEAD)
    head = f"{plain(facts['at'])[:23].replace('T', ' ')} {plain(facts['level']):7}"
    return plain(f"{head} {plain(facts['what'])} {rest}".rstrip())


def _more(path: Path, file: TextIO) -> Iterator[str]:
    """Whole lines as they are written; a file that took the place of this one is gone over to."""
    part = ""
    while True:
        found = file.readline()
        if found.endswith("\n"):
            yield part + found
            part = ""
        elif found:
            part += found
        else:
            if _is_replaced(path, file):
                file.seek(0)
                with path.open(encoding="utf-8", errors="replace") as after:
                    yield from _more(path, after)
            time.sleep(LOOK_S)


def _is_replaced(path: Path, file: TextIO) -> bool:
    try:
        now, mine = path.stat(), os.fstat(file.fileno())
    except OSError:
        return False
    if now.st_ino == mine.st_ino and now.st_size < file.tell():
        file.seek(0)  # it was emptied
    return now.st_ino != mine.st_ino


def _place(args: Namespace) -> Mapping[str, object]:
    try:
        found = read(*get(socket_of(args), "/v1/status", ANSWER_S))
        return table(table(found.get("node")).get("log"))
    except AgentNotRunning:
        left = (
            state_of(args) / "agent.log",
            home() / "Library" / "Logs" / "poolhand" / "poolhand.log",
            home() / "Library" / "Logs" / "poolhand.log",
            Path("/usr/local/var/log/poolhand.log"),
        )
        for path in left:
            if path.is_file():
                return {"kind": "file", "path": str(path)}
        return {"kind": "journal", "match": "SYSLOG_IDENTIFIER=poolhand"}
