"""Which engine runs a model; an adapter is imported only when it is chosen."""

import os
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import cast

from ...config.engines import EngineName
from ...config.external import External
from ...config.frozen import frozen
from ...config.settings import ModelEntry, Settings
from .base import Engine
from .errors import EngineMissing

_MLX_EXTRA = "pip install 'poolhand[mlx]'"

NO_ADAPTERS: Mapping[str, str] = MappingProxyType({})
NO_ADAPTERS_HERE = "adapters by name: only vLLM, SGLang and llama.cpp serve them"

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
"""There while NVIDIA's driver is loaded; to look costs nothing."""


@frozen
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
    match choice(entry, settings):
        case "echo":
            return Shelter(is_inprocess=True, is_hidden=True)
        case "mlx":
            is_inprocess = settings.engines.mlx.isolation == "inprocess"
            return Shelter(is_inprocess=is_inprocess, is_hidden=True)
        case _:
            # a program of somebody else lets itself be looked into as it likes
            return Shelter(is_inprocess=False, is_hidden=False)


def choice(entry: ModelEntry, settings: Settings, *, has_nvidia: bool | None = None) -> EngineName:
    """Which engine a model gets, before its bytes are here: never ``auto``.

    The model's own wish comes first, then its pool's, then the default, then what suits the
    machine: a GGUF file is llama.cpp's, and NVIDIA's boards are for vLLM or SGLang where one
    of them is installed. Everything else is MLX's.

    Args:
        entry: What the operator offers.
        settings: Those in force.
        has_nvidia: Whether NVIDIA's driver is loaded; ``None``: look.
    """
    wished = (entry.engine, _of_pool(entry, settings), settings.engines.default)
    for name in wished:
        if name != "auto":
            return name
    if "gguf" in entry.ref.lower():
        return "llamacpp"
    if NVIDIA_DRIVER.exists() if has_nvidia is None else has_nvidia:
        from .served_programs import program_of  # noqa: PLC0415 - only where it is of use

        for server in ("vllm", "sglang"):
            if program_of(server, settings.engines) is not None:
                return server
    return "mlx"


def _of_pool(entry: ModelEntry, settings: Settings) -> EngineName:
    names = {entry.id, *entry.aliases}
    for line in settings.engines.by_pool:
        pool, _, engine = line.rpartition("=")
        if pool in names:
            return cast("EngineName", engine)
    return "auto"


def engine_for(
    entry: ModelEntry,
    build_folder: str,
    settings: Settings,
    slot: int = 0,
    adapters: Mapping[str, str] = NO_ADAPTERS,
) -> Engine:
    """The engine for a build on this machine; not started.

    Args:
        entry: What the operator offers; ``auto`` is never ``echo``.
        build_folder: The verified build on disk, absolute.
        settings: Those in force.
        slot: Which slot the model has, 0 for the first.
        adapters: Folders of verified adapters, by what requests call them.

    Raises:
        EngineMissing: Nothing that is installed here runs it.
    """
    match choice(entry, settings):
        case "echo" | "mlx" as name if adapters:
            raise EngineMissing(engine=name, needs=NO_ADAPTERS_HERE)
        case "echo":
            from .echo import EchoEngine  # noqa: PLC0415 - only when chosen

            return EchoEngine(model=entry.id)
        case "vllm" | "sglang" | "llamacpp" as name:
            from .served_choice import own_engine  # noqa: PLC0415 - only when chosen

            return own_engine(name, entry, build_folder, settings, slot, adapters)
        case "attach":
            from .served_choice import attached_engine  # noqa: PLC0415 - only when chosen

            return attached_engine(entry, settings)
        case _:
            return _mlx_engine(entry, build_folder, settings)


def _mlx_engine(entry: ModelEntry, build_folder: str, settings: Settings) -> Engine:
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


def lack_of(entry: ModelEntry, settings: Settings) -> str | None:
    """What helps where a model's engine is not here; ``None``: it is, or nobody can tell yet.

    Nothing is imported or run to find out.
    """
    if entry.external is not None:
        return None
    match choice(entry, settings):
        case "mlx":
            return support()["mlx"]
        case "vllm" | "sglang" | "llamacpp" as name:
            from .served_programs import INSTALL, program_of  # noqa: PLC0415 - only of use here

            return INSTALL[name] if program_of(name, settings.engines) is None else None
        case _:
            return None


def support() -> Mapping[str, str | None]:
    """The engine that ``auto`` falls back on, and what it lacks here; ``None``: nothing.

    Nothing is imported to find out.
    """
    return {"mlx": _lack_of("mlx", "mlx_lm")}


def _lack_of(*modules: str) -> str | None:
    return _MLX_EXTRA if any(find_spec(module) is None for module in modules) else None
