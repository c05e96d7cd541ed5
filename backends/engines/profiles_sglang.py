"""SGLang's server, as of 0.5.23 (pure)."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from .profiles import (
    SERVED_NAME,
    Launch,
    Plan,
    adapter_name,
    boards,
    check_boards,
    listen_on_port,
)

ARGUMENTS = "arguments.yaml"
"""Source: "--config" in ``sglang/srt/server_args.py``; the command line wins over the file."""


class SglangProfile:
    """``sglang.launch_server``.

    It listens on a port. Its key comes by a file of arguments that only this user may read: what
    stands on a command line can be read by every user of the machine.
    """

    name = "sglang"
    takes_socket = False
    ready = "/ready"
    tells_ready = True
    asks: Mapping[str, object] = MappingProxyType(
        {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    )
    renamed: Mapping[str, str] = MappingProxyType({})
    sleep: tuple[str, str] | None = None

    def adapted(self, number: int | None) -> Mapping[str, object]:
        """Named in a field of its own."""
        return {} if number is None else {"lora_path": adapter_name(number)}

    def launch(self, plan: Plan) -> Launch:
        """The command line; see :meth:`.profiles.Profile.launch`."""
        check_boards(plan)
        argv = [*plan.program, "-m", "sglang.launch_server", "--model-path", plan.model]
        argv += ["--served-model-name", SERVED_NAME, *listen_on_port(plan)]
        argv += ["--config", f"{plan.folder}/{ARGUMENTS}", "--enable-metrics"]
        argv += ["--max-running-requests", str(plan.max_running)]
        if plan.context_tokens is not None:
            argv += ["--context-length", str(plan.context_tokens)]
        if plan.tensor_parallel > 1:
            argv += ["--tp-size", str(plan.tensor_parallel)]
        if plan.memory_ratio is not None:
            argv += ["--mem-fraction-static", f"{plan.memory_ratio:g}"]
        if plan.load_format != "auto":
            argv += ["--load-format", plan.load_format]
        if plan.adapters:
            # the model without any of them counts as one more
            argv += ["--enable-lora", "--max-loras-per-batch", str(len(plan.adapters) + 1)]
            paths = [{"lora_name": one.name, "lora_path": one.folder} for one in plan.adapters]
            argv += ["--lora-paths", *map(json.dumps, paths)]
        files = {ARGUMENTS: f"api-key: {json.dumps(plan.key)}\n"}
        return Launch((*argv, *plan.flags), {**boards(plan), **plan.store}, files)
