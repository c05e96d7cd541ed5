"""Settings to a server's engine: what it is to serve, and how."""

import os
from collections.abc import Mapping
from dataclasses import replace

from ...config.engines import LoadFormat, Server, Serving
from ...config.settings import ModelEntry, Settings
from .errors import EngineMissing
from .profiles import SERVED_NAME, Plan, Profile, Tuning, adapter_name
from .profiles_attach import AttachProfile
from .profiles_llamacpp import LlamacppProfile
from .profiles_sglang import SglangProfile
from .profiles_vllm import VllmProfile
from .served import ServedEngine
from .served_origins import AttachedServer, OwnServer
from .served_programs import INSTALL, OwnName, program_of
from .served_store import environment


def own_engine(
    name: OwnName,
    entry: ModelEntry,
    build_folder: str,
    settings: Settings,
    slot: int,
    adapters: Mapping[str, str],
) -> ServedEngine:
    """An engine with a server of its own; not started.

    Args:
        name: Which server.
        entry: What is served.
        build_folder: The verified build, absolute.
        settings: Those in force.
        slot: The model's slot, 0 for the first; it has boards of its own if they were given.
        adapters: Folders of verified adapters, by what requests call them.

    Raises:
        EngineMissing: The server's program is not here.
    """
    program = program_of(name, settings.engines)
    if program is None:
        raise EngineMissing(engine=name, needs=INSTALL[name])
    tunings = [Tuning(adapter_name(at), one) for at, one in enumerate(adapters.values())]
    plan = plan_of(name, entry, build_folder, settings, slot, program)
    if entry.is_streamed:
        plan = replace(plan, store=environment(entry.place, settings.stores.s3, os.environ))
    plan = replace(plan, adapters=tuple(tunings))
    profile = _profile(name)
    return ServedEngine(
        OwnServer(profile, plan),
        profile,
        served_name=SERVED_NAME,
        settings=_limits(settings, plan.max_running),
        context_tokens=entry.context_tokens,
        sleep_after_s=plan.sleep_after_s,
        adapters=tuple(adapters),
    )


def attached_engine(entry: ModelEntry, settings: Settings) -> ServedEngine:
    """An engine whose server runs already; not asked yet."""
    return ServedEngine(
        AttachedServer(entry.attach, sees_images=bool(entry.serving.images)),
        AttachProfile(),
        served_name=entry.attach.model or entry.id,
        settings=_limits(settings, entry.serving.max_running),
        context_tokens=entry.context_tokens,
    )


def plan_of(
    name: OwnName,
    entry: ModelEntry,
    build_folder: str,
    settings: Settings,
    slot: int,
    program: tuple[str, ...],
) -> Plan:
    """What a server is to serve, all settings considered; a model's own win."""
    engines, own = settings.engines, entry.serving
    spread = engines.vllm if name == "vllm" else engines.sglang
    has_boards = name != "llamacpp"
    slots_own = engines.gpus[slot] if slot < len(engines.gpus) else ""
    flags = {
        "vllm": engines.vllm.flags,
        "sglang": engines.sglang.flags,
        "llamacpp": engines.llamacpp.flags,
    }
    sleeps = {"vllm": engines.vllm.sleep, "llamacpp": engines.llamacpp.sleep}
    may_sleep = sleeps.get(name, False) and not entry.pinned
    return Plan(
        program=program,
        model=str(entry.place) if entry.is_streamed else build_folder,
        context_tokens=entry.context_tokens,
        max_running=own.max_running or engines.server.max_running,
        tensor_parallel=(own.tensor_parallel or spread.tensor_parallel) if has_boards else 1,
        gpus=own.gpus or slots_own,
        memory_ratio=(own.memory_ratio or spread.memory_ratio) if has_boards else None,
        load_format=_load_format(own, spread.load_format) if has_boards else "auto",
        sleep_after_s=settings.slots.idle_unload_s if may_sleep else 0.0,
        stop_timeout_s=engines.server.stop_timeout_s,
        images=own.images,
        flags=flags[name] if own.flags is None else own.flags,
    )


def _load_format(own: Serving, usual: LoadFormat) -> LoadFormat:
    chosen = own.load_format or usual
    return "runai_streamer" if chosen == "stream" else chosen


def _limits(settings: Settings, max_running: int | None) -> Server:
    """Those of all servers, but for what one model wants different."""
    server = settings.engines.server
    return server if max_running is None else server.model_copy(update={"max_running": max_running})


def _profile(name: OwnName) -> Profile:
    match name:
        case "vllm":
            return VllmProfile()
        case "sglang":
            return SglangProfile()
        case "llamacpp":
            return LlamacppProfile()
