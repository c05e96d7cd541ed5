"""Where the programs of servers are on this machine; nothing is run to find out."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ...config.settings import Engines

OwnName = Literal["vllm", "sglang", "llamacpp"]

INSTALL: Mapping[str, str] = MappingProxyType(
    {
        "vllm": "install vLLM in an environment of its own: engines.vllm.program names its `vllm`",
        "sglang": "install SGLang in an environment of its own: engines.sglang.program names "
        "its `python`",
        "llamacpp": "install llama.cpp, or build its server with packaging/llama-server.sh: "
        "engines.llamacpp.program names its `llama-server`",
    }
)


def program_of(name: OwnName, engines: Engines) -> tuple[str, ...] | None:
    """How the server's command line begins; ``None``: its program is not here.

    Nothing is run to find out.
    """
    match name:
        case "vllm":
            found = _named(engines.vllm.program) or _beside("vllm") or _on_path("vllm")
        case "sglang":
            here = sys.executable if find_spec("sglang") is not None else None
            found = _named(engines.sglang.program) or here
        case "llamacpp":
            found = _named(engines.llamacpp.program) or _on_path("llama-server")
    return None if found is None else (found,)


def _named(program: str | None) -> str | None:
    """What the operator named, if it can be run."""
    return program if program is not None and os.access(program, os.X_OK) else None


def _on_path(name: str) -> str | None:
    """A command that the shell would find."""
    import shutil  # noqa: PLC0415  # most machines have no such engine, and no model that wants it

    return shutil.which(name)


def _beside(name: str) -> str | None:
    """A command in the folder of this Python."""
    return _named(str(Path(sys.executable).with_name(name)))
