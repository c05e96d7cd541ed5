"""vLLM's server, as of 0.33.0 (pure)."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from .profiles import (
    SERVED_NAME,
    CannotServe,
    Launch,
    Plan,
    Tuning,
    adapter_name,
    boards,
    check_boards,
    listen_on_port,
)

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What ``--max-lora-rank`` takes. Source: ``vllm/config/lora.py``, ``MaxLoRARanks``."""


class VllmProfile:
    """``vllm serve``. Its key does not cover ``/metrics``, so it listens on a Unix socket."""

    name = "vllm"
    takes_socket = True
    ready = "/health"
    tells_ready = True
    asks: Mapping[str, object] = MappingProxyType(
        {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    )
    renamed: Mapping[str, str] = MappingProxyType({})
    sleep: tuple[str, str] | None = ("/sleep?level=1", "/wake_up")

    def adapted(self, number: int | None) -> Mapping[str, object]:
        """It has a name like a model's."""
        return {} if number is None else {"model": adapter_name(number)}

    def launch(self, plan: Plan) -> Launch:
        """The command line; see :meth:`.profiles.Profile.launch`."""
        check_boards(plan)
        argv = [*plan.program, "serve", plan.model, "--served-model-name", SERVED_NAME]
        argv += ["--uds", plan.socket_path] if plan.socket_path else listen_on_port(plan)
        argv += ["--max-num-seqs", str(plan.max_running), "--disable-uvicorn-access-log"]
        argv += ["--shutdown-timeout", str(round(plan.stop_timeout_s))]
        if plan.context_tokens is not None:
            argv += ["--max-model-len", str(plan.context_tokens)]
        if plan.tensor_parallel > 1:
            argv += ["--tensor-parallel-size", str(plan.tensor_parallel)]
        if plan.memory_ratio is not None:
            argv += ["--gpu-memory-utilization", f"{plan.memory_ratio:g}"]
        if plan.load_format != "auto":
            argv += ["--load-format", plan.load_format]
        if plan.adapters:
            argv += _lora(plan.adapters)
        environment = {
            "VLLM_API_KEY": plan.key,
            "VLLM_NO_USAGE_STATS": "1",
            **boards(plan),
            **plan.store,
        }
        if plan.sleep_after_s > 0:
            argv.append("--enable-sleep-mode")
            # what else this opens is behind the socket of our own folder
            environment["VLLM_SERVER_DEV_MODE"] = "1"
        return Launch((*argv, *plan.flags), environment)


def _lora(adapters: Sequence[Tuning]) -> list[str]:
    """The flags for adapters: room for the widest of them, all in one batch."""
    widest = max((one.rank or 0 for one in adapters), default=0)
    room = next((rank for rank in RANKS if rank >= widest), None)
    if room is None:
        problem = f"an adapter has rank {widest}, and {RANKS[-1]} is the most"
        raise CannotServe(problem)
    argv = ["--enable-lora", "--max-loras", str(len(adapters))]
    argv += ["--max-lora-rank", str(room)] if widest else []
    modules = [json.dumps({"name": one.name, "path": one.folder}) for one in adapters]
    return [*argv, "--lora-modules", *modules]
