"""Engines that are servers: played by a script, llama.cpp's own, and mlx_lm's, attached to."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import pytest
from gguf_of import write_adapter, write_gguf

from poolhand.agent.dev.checkpoint import make_model
from poolhand.backends.engines.profiles import SERVED_NAME, Plan, Profile, Tuning, adapter_name
from poolhand.backends.engines.profiles_attach import AttachProfile
from poolhand.backends.engines.profiles_llamacpp import LlamacppProfile
from poolhand.backends.engines.profiles_sglang import SglangProfile
from poolhand.backends.engines.profiles_vllm import VllmProfile
from poolhand.backends.engines.served import ServedEngine
from poolhand.backends.engines.served_origins import AttachedServer, OwnServer
from poolhand.backends.engines.served_programs import program_of
from poolhand.backends.hosts.nvml import open_boards
from poolhand.config.engines import Attach, Server
from poolhand.config.settings import Engines

STUB = Path(__file__).with_name("stub_server.py")
LLAMA_SERVER = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
"""Built by ``packaging/llama-server.sh``; without it the tests that need it are skipped."""

PATIENCE: dict[str, float] = {
    "start_timeout_s": 50.0,
    "stall_timeout_s": 30.0,
    "stop_timeout_s": 5.0,
}
PROFILES: dict[str, Profile] = {
    "vllm": VllmProfile(),
    "sglang": SglangProfile(),
    "llamacpp": LlamacppProfile(),
}


def build_of(plan: str, folder: Path) -> Path:
    """A build whose server will do as the plan says."""
    build = folder / plan.replace(":", "-")
    build.mkdir(exist_ok=True)
    (build / "plan").write_text(plan)
    (build / "model.gguf").touch()
    return build


def scripted(
    plan: str,
    folder: Path,
    kind: str = "vllm",
    sleep_after_s: float = 0.0,
    adapters: Mapping[str, Path] = MappingProxyType({}),
    **settings: float,
) -> ServedEngine:
    """An engine with a scripted server that speaks as this kind does."""
    profile = PROFILES[kind]
    server = Server.model_validate({**PATIENCE, **settings})
    wanted = Plan(
        (sys.executable, "-P", str(STUB)),
        str(build_of(plan, folder)),
        max_running=server.max_running,
        sleep_after_s=sleep_after_s,
        adapters=tuple(
            Tuning(adapter_name(at), str(one)) for at, one in enumerate(adapters.values())
        ),
    )
    return ServedEngine(
        OwnServer(profile, wanted),
        profile,
        served_name=SERVED_NAME,
        settings=server,
        sleep_after_s=sleep_after_s,
        adapters=tuple(adapters),
        poll_s=0.05,
    )


def llama(folder: Path, preset: str = "nano", *, adapter: str | None = None) -> ServedEngine:
    """An engine with llama.cpp's own server, and one that says other words if it has a name."""
    if LLAMA_SERVER is None:
        pytest.skip("no llama-server: packaging/llama-server.sh builds one")
    make_model(folder / "whole", preset=preset, name=preset)
    build = folder / "gguf"
    build.mkdir()
    write_gguf(folder / "whole", build / "model.gguf")
    profile = LlamacppProfile()
    plan = Plan((LLAMA_SERVER,), str(build), flags=("--threads=2",))
    if adapter is not None:
        (folder / "other").mkdir()
        write_adapter(folder / "whole", folder / "other" / "other.gguf")
        plan = replace(plan, adapters=(Tuning(adapter_name(0), str(folder / "other")),))
    return ServedEngine(
        OwnServer(profile, plan),
        profile,
        served_name=SERVED_NAME,
        settings=Server.model_validate(PATIENCE),
        adapters=() if adapter is None else (adapter,),
        poll_s=0.05,
    )


def real(kind: Literal["vllm", "sglang"], folder: Path) -> ServedEngine:
    """An engine with the real server, where there are a board and the package.

    Without a board it has to be named, by ``VLLM`` or ``SGLANG``: a build for processors.
    """
    named = os.environ.get(kind.upper())
    program = (named,) if named else program_of(kind, Engines())
    if program is None or (named is None and open_boards() is None):
        pytest.skip(f"no {kind} here, or no board for it")
    make_model(folder, preset="tiny", name="tiny")
    profile = PROFILES[kind]
    plan = Plan(program, str(folder), context_tokens=2048, memory_ratio=0.3)
    return ServedEngine(
        OwnServer(profile, plan),
        profile,
        served_name=SERVED_NAME,
        settings=Server(start_timeout_s=600, stop_timeout_s=10),
        poll_s=0.5,
    )


@contextlib.asynccontextmanager
async def attached(folder: Path) -> AsyncGenerator[ServedEngine]:
    """An engine attached to mlx_lm's server, which runs for as long as the block."""
    make_model(folder, preset="nano", name="nano")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = int(bound.getsockname()[1])
    command = ["-m", "mlx_lm.server", "--model", str(folder), "--port", str(port)]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "MLX_DISABLE_COMPILE": "1"}
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-P", *command, env=quiet, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield ServedEngine(
            # it was started a moment ago, and listens late
            AttachedServer(
                Attach(url=f"http://127.0.0.1:{port}"), absent_s=PATIENCE["start_timeout_s"]
            ),
            AttachProfile(),
            served_name=str(folder),
            settings=Server.model_validate(PATIENCE),
            poll_s=0.05,
        )
        assert server.returncode is None, "it is not ours to end"
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.wait()
