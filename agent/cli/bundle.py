"""``poolhand support-bundle``: gathers what helps to find a fault, and uploads nothing.

Everything is redacted first, listed with its size, shown if asked for, and only then written:
one archive of mode 0600 that a person may read, and send or not.
"""

import io
import json
import os
import platform
import sys
import tarfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import cast

from ... import __version__
from ...config.errors import ConfigError
from ..control.client import AgentNotRunning, get
from .exits import Exit
from .places import add_config, add_state_dir, config_of, home, socket_of, state_of
from .redaction import redacted, secrets_of
from .render import plain, size, table
from .status import ANSWER_S, read

MOST_LOG_BYTES = 2 * 2**20
MOST_FILE_BYTES = 2**20

QUESTIONS = {
    "status.json": "/v1/status",
    "models.json": "/v1/models",
    "config.json": "/v1/config",
    "metrics.txt": "/metrics",
}
"""What the running agent is asked, by the name in the archive."""


def add_arguments(parser: ArgumentParser) -> None:
    """Take where to, and how much to ask."""
    add_config(parser)
    add_state_dir(parser)
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="the archive (default: here, by the time)"
    )
    parser.add_argument("--show", action="store_true", help="print every file before it is written")
    parser.add_argument("--list", action="store_true", help="only list, and write nothing")
    parser.add_argument("--yes", action="store_true", help="write without asking")
    parser.add_argument("--json", action="store_true", help="list as JSON for programs")


def main(args: Namespace) -> int:
    """Gather, list, ask, write.

    Returns:
        0; 1 if it was not written, or nobody can be asked whether to.
    """
    files = gathered(args)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    named = cast("Path | None", args.output)
    path = named or Path(f"poolhand-support-{stamp}.tar.gz")
    if args.json:
        listed = [{"name": name, "bytes": len(text.encode())} for name, text in files.items()]
        print(json.dumps({"path": str(path), "files": listed, "uploaded": False}))
    else:
        for name, text in files.items():
            print(f"{size(len(text.encode())):>10}  {name}")
    if args.show:
        for name, text in files.items():
            print(f"\n==> {name} <==\n{_shown(text)}")
    if args.list:
        return Exit.OK
    if not args.yes and not _is_wanted(path):
        print("Nothing was written.", file=sys.stderr)
        return Exit.FAILURE
    return _write(path, files, stamp)


def gathered(args: Namespace) -> dict[str, str]:
    """Every file of the bundle by its name, redacted."""
    secrets = secrets_of(os.environ) | _token(args)
    return {name: redacted(text, secrets, str(home())) for name, text in _found(args)}


def _found(args: Namespace) -> Iterator[tuple[str, str]]:
    yield "about.json", json.dumps(_about(), indent=1)
    answers = dict(_answers(args))
    yield from answers.items()
    config = config_of(args)
    for path in (config, *sorted(config.with_name("agent.d").glob("*.toml"))):
        yield f"config/{path.name}", _text(path, MOST_FILE_BYTES)
    yield "state-folder.txt", "\n".join(_listed(state_of(args)))
    log = table(table(read(200, answers.get("status.json", "").encode()).get("node")).get("log"))
    if log.get("kind") == "file":
        yield "agent.log", _text(Path(plain(log.get("path"))), MOST_LOG_BYTES)
    elif log.get("kind") == "journal":
        yield "agent.log", _journal(plain(log.get("match")))


def _about() -> dict[str, object]:
    named = {one.metadata["Name"]: one.version for one in distributions() if one.metadata["Name"]}
    return {
        "version": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "unix_s": int(time.time()),
        "packages": dict(sorted(named.items())),
    }


def _answers(args: Namespace) -> Iterator[tuple[str, str]]:
    for name, target in QUESTIONS.items():
        try:
            code, body = get(socket_of(args), target, ANSWER_S)
        except AgentNotRunning as error:
            yield "not-running.txt", str(error)
            return
        if code == 200:  # noqa: PLR2004  # HTTP OK
            yield name, body.decode(errors="replace")


def _text(path: Path, most_bytes: int) -> str:
    """The end of a file, or why there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - most_bytes))
            return file.read(most_bytes).decode(errors="replace")
    except OSError as error:
        return f"{path}: {error.strerror or error}\n"


def _listed(folder: Path) -> Iterator[str]:
    """Names, modes and sizes of the state folder; never what is in its files."""
    try:
        for path in sorted(folder.iterdir()):
            facts = path.lstat()
            yield f"{facts.st_mode & 0o7777:04o} {facts.st_size:>10} {path.name}"
    except OSError as error:
        yield f"{folder}: {error.strerror or error}"


def _journal(match: str) -> str:
    import subprocess  # noqa: PLC0415  # only under systemd

    words = ["journalctl", "--no-pager", "-n", "5000", "-o", "short-iso", match]
    try:
        ended = subprocess.run(words, capture_output=True, check=False, timeout=20)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"journalctl: {error}\n"
    return ended.stdout[-MOST_LOG_BYTES:].decode(errors="replace")


def _token(args: Namespace) -> set[str]:
    """The coordinator's token, so that it can be taken out wherever it stands."""
    from ...config.load import load  # noqa: PLC0415  # brings pydantic, which other verbs spare
    from ...config.secrets import coordinator_token  # noqa: PLC0415  # the same

    try:
        found = coordinator_token(
            load(config_of(args), os.environ).settings.coordinator, os.environ
        )
    except ConfigError:
        return set()
    return set() if found.secret is None else {found.secret.reveal()}


def _shown(text: str) -> str:
    return "\n".join(plain(line) for line in text.splitlines())


def _is_wanted(path: Path) -> bool:
    if not sys.stdin.isatty():
        print("poolhand: nobody can be asked here; --yes writes it", file=sys.stderr)
        return False
    return input(f"Write these to {path}? Nothing is uploaded. [y/N] ").strip().lower() == "y"


def _write(path: Path, files: dict[str, str], stamp: str) -> int:
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        print(f"poolhand: {path}: {error.strerror or error}", file=sys.stderr)
        return Exit.FAILURE
    with os.fdopen(opened, "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            raw = text.encode()
            entry = tarfile.TarInfo(f"poolhand-support-{stamp}/{name}")
            entry.size, entry.mode, entry.mtime = len(raw), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(raw))
    print(f"written: {path}", file=sys.stderr)
    return Exit.OK
