"""Which of the locked distributions the package needs: its requirements, and theirs in turn.

Prints the lock file's own entries, hashes included, for one Python on one machine. What needs
what is read from the distributions that are installed in `.venv`; versions and hashes come from
the lock file alone.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import cast

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent


def entries(lock: str) -> dict[str, str]:
    """The lock file's entries by the distribution's name, each with its hashes.

    Args:
        lock: Its text, as ``uv pip compile --generate-hashes`` writes it.
    """
    texts: dict[str, str] = {}
    for text in re.findall(r"(?m)^\S+?==(?:.*\\\n)(?:    --hash=.*\n?)+", lock):
        name = canonicalize_name(re.split(r"[\[=]", text, maxsplit=1)[0])
        texts[name] = texts.get(name, "") + text  # one for each kind of machine, maybe
    return texts


def needed(extras: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Names of all distributions that the package needs with these extras.

    Args:
        extras: Of the package itself.
        environment: Markers of the target, as PEP 508 names them.

    Returns:
        Canonical names, sorted; the package's own is not among them.
    """
    seen: set[tuple[str, str]] = set()
    wanted = [("poolhand", extra) for extra in ("", *extras)]
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in _requirements(name):
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({**environment, "extra": extra}):
                child = canonicalize_name(requirement.name)
                wanted += [(child, one) for one in ("", *requirement.extras)]
    return sorted({name for name, _ in seen} - {"poolhand"})


def target(python: str) -> dict[str, str]:
    """What markers are held against: this machine, with that Python.

    Args:
        python: Its command.
    """
    version = subprocess.run(  # noqa: S603  # the one that was named
        [python, "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    short = ".".join(version.split(".")[:2])
    here = dict(cast("Mapping[str, str]", default_environment()))
    return here | {"python_full_version": version, "python_version": short}


def _requirements(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []  # another platform's: it is in no environment here


def main() -> int:
    """Print the entries; 1 if one is not in the lock file."""
    parser = argparse.ArgumentParser(description="Print the lock file's entries that are needed.")
    parser.add_argument("--extras", default="", help="of the package, with commas")
    parser.add_argument("--python", default=sys.executable, help="for which Python")
    args = parser.parse_args()
    environment = target(cast("str", args.python))
    locked = entries((HERE / "requirements.lock").read_text(encoding="utf-8"))
    names = needed(filter(None, cast("str", args.extras).split(",")), environment)
    lost = [name for name in names if name not in locked]
    if lost:
        print(f"not in the lock file: {', '.join(lost)}", file=sys.stderr)
        return 1
    print("".join(locked[name] for name in names), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
