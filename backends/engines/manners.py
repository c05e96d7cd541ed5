"""Keeps an engine's library offline and quiet in the process that imports it."""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import ModuleType


def quiet_environment() -> Mapping[str, str]:
    """Variables that keep the libraries offline, silent about their use, and to themselves."""
    return {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "DO_NOT_TRACK": "1",
        # without it the fused CPU kernels are compiled into a folder that all users share
        **({"MLX_DISABLE_COMPILE": "1"} if sys.platform == "linux" else {}),
    }


def be_quiet() -> None:
    """Set them in this process; before the libraries are imported."""
    os.environ.update(quiet_environment())


@contextmanager
def quiet_while_importing() -> Generator[None]:
    """Be quiet in the block, and take back afterwards what others in this process would read.

    The libraries look at these once, when they are imported; a fetch looks at its own time, also
    at the older word for the same.
    """
    names = [name for name in quiet_environment() if name.startswith(("HF_", "TRANSFORMERS_OFF"))]
    before = {name: os.environ.get(name) for name in names}
    be_quiet()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def limits_kept() -> Generator[None]:
    """Let nothing that is imported in the block change this process's limits.

    ``mlx_lm.utils`` sets the number of open files when it is imported: a lowered hard limit
    cannot be raised again, and one that is lower already makes the import fail.
    """
    stand_in = ModuleType("resource")
    vars(stand_in).update(vars(resource))
    vars(stand_in)["setrlimit"] = _leave_as_it_is
    sys.modules["resource"] = stand_in
    try:
        yield
    finally:
        sys.modules["resource"] = resource


def give_back() -> bool:
    """Collect garbage, and ask the C library to return what is free; takes some 20 ms.

    Returns:
        Whether it can be asked: glibc alone can.

    Source:
        malloc_trim(3); since glibc 2.8 it returns free pages from the middle of a heap too.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True


def _leave_as_it_is(_limit: int, _values: tuple[int, int]) -> None:
    pass
