"""What a child does first, so that it never outlives the agent and is the first to go.

It runs in the child, before anything heavy is imported.
"""

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import sys
from pathlib import Path
from types import FrameType, TracebackType

_PR_SET_PDEATHSIG = 1
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
"""Source: linux/prctl.h."""

_PT_DENY_ATTACH = 31
"""Source: sys/ptrace.h of macOS."""

OOM_SCORE = 800
"""Of 1000: when memory runs out, the kernel takes the engine and not the agent."""


def hold_to_parent(parent_pid: int) -> None:
    """Bind this process to its parent and keep prompts out of what a crash leaves behind.

    Leaves at once if the parent is gone already. SIGTERM unwinds the stack, so that a model
    is dropped in order; an error that nobody caught tells where it came from, never its words.

    Args:
        parent_pid: Who started this process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    if os.getppid() != parent_pid:
        raise SystemExit(0)
    # after the score, for the files that say it belong to root from here on
    if not forbid_debuggers() and sys.platform in {"linux", "darwin"}:
        problem = "debuggers cannot be kept away"
        raise SystemExit(problem)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, _leave)
    sys.excepthook = _tell_where
    faulthandler.enable()


def forbid_debuggers() -> bool:
    """Keep this user's other processes from looking into this one's memory.

    Root still can. From here on, the memory that this process holds can be measured by itself
    and by root alone.

    Returns:
        Whether it holds: read back on Linux; macOS says it once, and has no way to ask.

    Source:
        prctl(2), PR_SET_DUMPABLE; ptrace(2) of macOS, PT_DENY_ATTACH.
    """
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        return prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
    if sys.platform == "darwin":
        return ctypes.CDLL(None).ptrace(_PT_DENY_ATTACH, 0, None, 0) == 0
    return False


def places(error: BaseException) -> str:
    """Where an error came from, as ``Type at file:line < file:line``; none of its words."""
    where: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        where.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' < '.join(reversed(where))}"


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _tell_where(
    _kind: type[BaseException], error: BaseException, _trace: TracebackType | None
) -> None:
    sys.stderr.write(places(error) + "\n")
