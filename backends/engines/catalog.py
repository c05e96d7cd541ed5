"""Which engine runs a model; an adapter is imported only when it is chosen."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ...config.external import External
from ...config.settings import ModelEntry, Settings
from .base import Engine
from .errors import EngineMissing

_MLX_EXTRA = "pip install 'poolhand[mlx]'"


@dataclass(frozen=True, slots=True)
class Shelter:
    """Where an engine keeps prompts and answers.

    Attributes:
        is_inprocess: In the agent's own process, and in no other.
        is_hidden: Wherever it is, debuggers are kept away, or the engine does not start.
    """

    is_inprocess: bool
    is_hidden: bool


def shelter(entry: ModelEntry, settings: Settings) -> Shelter:
    """Where the engine that would be chosen keeps its text."""
    if entry.external is not None:
        # it leaves this machine, and nobody here can say who looks at it there
        return Shelter(is_inprocess=False, is_hidden=False)
    if entry.engine == "echo":
        return Shelter(is_inprocess=True, is_hidden=True)
    return Shelter(is_inprocess=settings.engines.mlx.isolation == "inprocess", is_hidden=True)


def engine_for(entry: ModelEntry, build_folder: str, settings: Settings) -> Engine:
    """The engine for a build on this machine; not started.

    Args:
        entry: What the operator offers; ``auto`` is never ``echo``.
        build_folder: The verified build on disk, absolute.
        settings: Those in force.

    Raises:
        EngineMissing: Nothing that is installed here runs it.
    """
    if entry.engine == "echo":
        from .echo import EchoEngine  # noqa: PLC0415 - only when chosen

        return EchoEngine(model=entry.id)
    if (lack := support()["mlx"]) is not None:
        raise EngineMissing(engine="mlx", needs=lack)
    from .mlx import MlxEngine  # noqa: PLC0415 - only when chosen

    return MlxEngine(
        build_folder,
        model=entry.id,
        settings=settings.engines.mlx,
        context_tokens=entry.context_tokens,
    )


def hosted_engine(entry: ModelEntry, external: External, state_dir: Path) -> Engine:
    """The engine of a model that somebody else runs; not started.

    Args:
        entry: What the operator offers.
        external: Its own table: who is asked.
        state_dir: The agent's own folder, where the day's counts lie.
    """
    from .hosted import HostedEngine  # noqa: PLC0415 - only when chosen
    from .hosted_days import Days, path_of  # noqa: PLC0415 - likewise
    from .hosted_key import key_of  # noqa: PLC0415 - likewise

    path = path_of(state_dir, entry.id)
    days = Days(path, model=entry.id, external=external, clock_s=time.time)
    return HostedEngine(
        model=entry.id, external=external, days=days, key=lambda: key_of(external, os.environ)
    )


def support() -> Mapping[str, str | None]:
    """Each engine that ``auto`` may take, and what it lacks on this machine; ``None``: nothing.

    Nothing is imported to find out.
    """
    return {"mlx": _lack_of("mlx", "mlx_lm")}


def _lack_of(*modules: str) -> str | None:
    return _MLX_EXTRA if any(find_spec(module) is None for module in modules) else None
