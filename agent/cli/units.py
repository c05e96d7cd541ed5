"""``poolhand service``: have systemd or launchd keep the agent running.

Every verb may be given twice: what is so already is left as it is.
"""

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from .exits import Exit
from .places import add_config
from .supervisors import Systemd, Words
from .units_place import Place, SupervisorFailed, place_of, refuse_hidden

VERBS: tuple[tuple[str, str], ...] = (
    ("install", "write its file, have it started now and with the machine"),
    ("uninstall", "stop it and delete its file; configuration, state and weights stay"),
    ("start", "start it"),
    ("stop", "have it drain and leave; it comes back with the machine"),
    ("restart", "stop it, then start it"),
    ("status", "say whether it is installed, runs, and is what `install` would write"),
    ("logs", "print the end of its log"),
)
"""The actions, in the order of a service's life."""

GONE_S = 180.0
"""How long an old one may take to leave: ``TimeoutStopSec`` of the units, and more."""

LOOK_S = 0.1
COMMAND_S = 240.0


def add_arguments(parser: ArgumentParser) -> None:
    """Take an action and its arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, words in VERBS:
        one = actions.add_parser(name, help=words, description=words, allow_abbrev=False)
        scope = one.add_mutually_exclusive_group()
        for kind in ("system", "user"):
            text = f"the {kind}'s service manager (default: the system's for root, else the user's)"
            scope.add_argument(
                f"--{kind}", dest="scope", action="store_const", const=kind, help=text
            )
        boards = one.add_mutually_exclusive_group()
        boards.add_argument("--gpu", action="store_true", default=None, help="with NVIDIA boards")
        boards.add_argument("--no-gpu", dest="gpu", action="store_false", help="without any device")
        add_config(one)
        one.add_argument("--run-as", metavar="USER", help="macOS, --system: whose daemon it is")
        one.add_argument(
            "--root", metavar="DIR", type=Path, default=Path("/"), help="of the system (an image's)"
        )
        if name in {"install", "uninstall"}:
            one.add_argument("--dry-run", action="store_true", help="show it, and do nothing")
        if name == "install":
            one.add_argument("--no-start", action="store_true", help="write the file, and no more")
        if name == "status":
            one.add_argument("--json", action="store_true", help="print JSON for programs")
        if name == "logs":
            one.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
            one.add_argument("-n", "--lines", type=int, default=50, help="how many (default: 50)")


def main(args: Namespace, platform: str = sys.platform) -> int:
    """Do what was asked for.

    Args:
        args: What :func:`add_arguments` took.
        platform: As ``sys.platform`` says it.

    Raises:
        SupervisorFailed: The service manager is not there, or refused.
        ConfigError: ``install``: no agent would start with this configuration.
    """
    place = place_of(args, platform)
    match cast("str", args.action):
        case "install":
            return _install(args, place)
        case "uninstall":
            return _uninstall(args, place)
        case "start":
            return _start(place)
        case "stop":
            return _stop(place)
        case "restart":
            _stop(place)
            return _start(place)
        case "status":
            return _status(args, place)
        case _:
            words = place.job.logs(cast("int", args.lines), is_followed=cast("bool", args.follow))
            return _told(words)


# ── the verbs ─────────────────────────────────────────────────────────────────────────


def _install(args: Namespace, place: Place) -> int:
    is_here = cast("Path", args.root) == Path("/")
    is_dry, is_start = cast("bool", args.dry_run), is_here and not cast("bool", args.no_start)
    text = _read(place.job.path)
    wanted = text if place.vendor and text is None else place.text
    changed = wanted != text
    steps = [*place.job.load, *(place.job.start if is_start else ())]
    if is_dry:
        _show(place.job.path, text or "", wanted or "")
        print(f"would write {place.job.path}" if changed else f"{place.file} stays as it is")
        if is_start:
            print(*(f"would run: {' '.join(words)}" for words in steps), sep="\n")
            _refuse_what_would_not_start(place)
        return Exit.OK
    if is_start:
        _refuse_what_would_not_start(place)
        if changed and text is not None:
            _leave(place)
    if changed:
        _write(place.job.path, wanted or "")
        if place.log_dir is not None:
            place.log_dir.mkdir(parents=True, exist_ok=True)
    print(f"{'wrote' if changed else 'as it was:'} {place.file}{_score(place)}")
    if is_start:
        if isinstance(place.job, Systemd) or not _is_held(place):
            _run_all(place.job.load)
        _run_all(place.job.start, lenient=1)
        print(f"{place.job.name} runs")
    return Exit.OK


def _uninstall(args: Namespace, place: Place) -> int:
    path = place.job.path
    text = _read(path)
    if cast("bool", args.dry_run):
        _show(path, text or "", "")
        print(*(f"would run: {' '.join(words)}" for words in place.job.unload), sep="\n")
        print(f"would delete {path}" if text is not None else f"{path} is not there")
        return Exit.OK
    is_here = cast("Path", args.root) == Path("/")
    if text is None and place.vendor is None and not (is_here and _is_held(place)):
        print(f"{path} is not there")
        return Exit.OK
    if is_here:
        _leave(place)
    path.unlink(missing_ok=True)
    if is_here:
        _run_all(place.job.forget)
    print(f"{place.job.name} is gone; configuration, state and weights stay")
    return Exit.OK


def _start(place: Place) -> int:
    _refuse_absent(place)
    if not isinstance(place.job, Systemd) and not _is_held(place):
        _run_all(place.job.load)
    _run_all(place.job.start, lenient=1)
    print(f"{place.job.name} runs")
    return Exit.OK


def _stop(place: Place) -> int:
    _refuse_absent(place)
    if _is_running(place):
        _run_all(place.job.stop)
        _await(lambda: not _is_running(place), place)
    print(f"{place.job.name} does not run")
    return Exit.OK


def _status(args: Namespace, place: Place) -> int:
    text = _read(place.file)
    is_running = text is not None and _is_running(place)
    is_drifted = text is not None and place.file == place.job.path and text != place.text
    if cast("bool", args.json):
        told = {
            "name": place.job.name,
            "file": str(place.file),
            "installed": text is not None,
            "running": is_running,
            "drifted": is_drifted,
        }
        print(json.dumps(told))
    else:
        print(f"{place.job.name}: {'runs' if is_running else 'does not run'}")
        print(f"  {place.file}{'' if text is not None else ' is not there'}")
        if text is None:
            print("  -> poolhand service install")
        elif is_drifted:
            print("  it is not what this version would write")
            print("  -> poolhand service install --dry-run")
    return Exit.OK if is_running else Exit.NOT_RUNNING


# ── steps ─────────────────────────────────────────────────────────────────────────────


def _leave(place: Place) -> None:
    """Have an old one leave, and wait until nothing of it is left."""
    if _is_held(place):
        _run_all(place.job.unload)
        _await(lambda: not _is_held(place), place)


def _await(is_so: Callable[[], bool], place: Place) -> None:
    give_up_s = time.monotonic() + GONE_S
    while not is_so():
        if time.monotonic() > give_up_s:
            raise SupervisorFailed(command=place.job.name, reason=f"still there after {GONE_S:g} s")
        time.sleep(LOOK_S)


def _is_running(place: Place) -> bool:
    ended = _run(place.job.is_running)
    return place.job.runs(ended.returncode, ended.stdout)


def _is_held(place: Place) -> bool:
    ended = _run(place.job.is_held)
    return ended.returncode == 0 or (
        isinstance(place.job, Systemd) and place.job.runs(ended.returncode, ended.stdout)
    )


def _refuse_absent(place: Place) -> None:
    if not place.file.exists():
        reason = f"{place.file} is not there: poolhand service install"
        raise SupervisorFailed(command=place.job.name, reason=reason)


def _refuse_what_would_not_start(place: Place) -> None:
    """What does not hold is said now, by us, and not later by a log.

    Raises:
        ConfigError: The configuration does not.
        SupervisorFailed: The program lies where the service cannot see it.
    """
    from ...config.load import load  # noqa: PLC0415  # heavy, and only for this verb

    refuse_hidden(place)
    load(place.config, os.environ)


def _run_all(steps: Sequence[Words], *, lenient: int = 0) -> None:
    """Run commands in order; the first ``lenient`` of several may fail."""
    for at, words in enumerate(steps):
        ended = _run(words)
        if ended.returncode and (at >= lenient or len(steps) == 1):
            said = (ended.stderr or ended.stdout).strip().splitlines()
            reason = said[0] if said else f"it ended with {ended.returncode}"
            raise SupervisorFailed(command=" ".join(words), reason=reason)


def _run(words: Words) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # noqa: S603  # a command of supervisors.py
            words, capture_output=True, text=True, check=False, timeout=COMMAND_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SupervisorFailed(command=" ".join(words), reason=str(error)) from error


def _told(words: Words) -> int:
    """Run a command whose output is for the reader."""
    try:
        code = subprocess.run(words, check=False).returncode  # noqa: S603  # as above
    except OSError as error:
        raise SupervisorFailed(command=words[0], reason=str(error)) from error
    return Exit.FAILURE if code else Exit.OK


def _show(path: Path, before: str, after: str) -> None:
    named = (str(path) if before else "/dev/null", str(path) if after else "/dev/null")
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *named, lineterm="")
    for line in lines:
        print(line)


def _read(path: Path) -> str | None:
    with suppress(FileNotFoundError, NotADirectoryError):
        return path.read_text(encoding="utf-8")
    return None


def _write(path: Path, text: str) -> None:
    """Write it whole or not at all; everybody may read it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, delete=False, encoding="utf-8"
        ) as new:
            new.write(text)
        Path(new.name).chmod(0o644)
        Path(new.name).replace(path)
    except OSError as error:
        raise SupervisorFailed(command=str(path), reason=error.strerror or str(error)) from error


def _score(place: Place) -> str:
    """How much systemd thinks a unit of the system leaves open; empty where it cannot say."""
    program = shutil.which("systemd-analyze")
    if program is None or not isinstance(place.job, Systemd) or place.job.is_user:
        return ""
    ended = _run((program, "security", "--offline=true", "--no-pager", str(place.file)))
    last = (ended.stdout.strip().splitlines() or [""])[-1]
    found = re.search(r"level for \S+: ([\d.]+)", last)
    return f" (exposure {found[1]} of 10)" if found else ""
