"""Holds a built wheel against what may be in it: one package, its units, no bare name."""

import sys
import zipfile
from pathlib import Path


def main() -> int:
    """Check the wheel named on the command line.

    Returns:
        0 if it holds what it should and nothing else.
    """
    names = zipfile.ZipFile(sys.argv[1]).namelist()
    roots = {name.split("/", 1)[0] for name in names}
    odd = {root for root in roots if root != "poolhand" and not root.endswith(".dist-info")}
    shipped = {name for name in names if name.startswith("poolhand/")}
    sources = {
        f"poolhand/{path}"
        for wing in ("agent", "backends", "config")
        for path in map(str, Path(wing).rglob("*"))
        if path.endswith((".py", ".json", ".bash", ".zsh", ".fish"))
    }
    missing = sorted(sources - shipped)
    units = [name for name in shipped if name.startswith("poolhand/packaging/units/")]
    for problem in (
        f"top-level names that are not ours: {sorted(odd)}" if odd else "",
        f"sources that are not in the wheel: {missing}" if missing else "",
        "" if units else "the service units are not in the wheel",
    ):
        if problem:
            print(problem, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
