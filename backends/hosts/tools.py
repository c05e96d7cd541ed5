"""The system's own tools, run with a limit; recorded answers can stand in for all of them.

Every tool is called by its absolute path, for a service has next to no PATH.
"""

import subprocess
from collections.abc import Callable

Command = tuple[str, ...]
Readings = Callable[[Command], "str | None"]
"""One command line in; what it printed out, or ``None`` if it could not be run in time."""

_LIMIT_S = 10.0
"""A tool that takes longer tells us nothing; system_profiler needs one to three seconds."""


def run_tool(command: Command) -> str | None:
    """Run one of the system's tools; give what it printed, whatever its exit code.

    ``sysctl`` exits 1 when one key of many is unknown, and still prints the others.
    """
    try:
        done = subprocess.run(  # noqa: S603 - fixed command lines with absolute paths
            command, capture_output=True, timeout=_LIMIT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace")
