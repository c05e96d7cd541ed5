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
"""Source: linux/prctl.h."""

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
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, _leave)
    sys.excepthook = _tell_where
    faulthandler.enable()


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
