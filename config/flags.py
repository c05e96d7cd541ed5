"""Which flags an operator may add to a server's command line.

Nothing on these lists opens a port, runs code out of a model, reads another file or writes down
what is asked.
"""

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field

from .stores import ARRAY

Flag = Annotated[str, Field(pattern=r"^--[a-z][a-z0-9-]*(=[ -~]+)?$", max_length=1024)]

VLLM_FLAGS = frozenset(
    [
        "--async-scheduling",
        "--attention-backend",
        "--block-size",
        "--compilation-config",
        "--cpu-offload-gb",
        "--disable-custom-all-reduce",
        "--dtype",
        "--enable-auto-tool-choice",
        "--enable-chunked-prefill",
        "--enable-expert-parallel",
        "--enable-prefix-caching",
        "--enforce-eager",
        "--kv-cache-dtype",
        "--kv-cache-memory-bytes",
        "--limit-mm-per-prompt",
        "--max-num-batched-tokens",
        "--no-async-scheduling",
        "--no-enable-chunked-prefill",
        "--no-enable-prefix-caching",
        "--pipeline-parallel-size",
        "--quantization",
        "--reasoning-parser",
        "--scheduling-policy",
        "--seed",
        "--tokenizer-mode",
        "--tool-call-parser",
    ]
)
SGLANG_FLAGS = frozenset(
    [
        "--attention-backend",
        "--chunked-prefill-size",
        "--cpu-offload-gb",
        "--cuda-graph-max-bs",
        "--disable-cuda-graph",
        "--disable-radix-cache",
        "--dp-size",
        "--dtype",
        "--enable-torch-compile",
        "--ep-size",
        "--kv-cache-dtype",
        "--max-prefill-tokens",
        "--max-total-tokens",
        "--page-size",
        "--pp-size",
        "--quantization",
        "--random-seed",
        "--reasoning-parser",
        "--sampling-backend",
        "--schedule-conservativeness",
        "--schedule-policy",
        "--tool-call-parser",
    ]
)
LLAMACPP_FLAGS = frozenset(
    [
        "--batch-size",
        "--cache-ram",
        "--cache-reuse",
        "--cache-type-k",
        "--cache-type-v",
        "--fit",
        "--flash-attn",
        "--kv-unified",
        "--main-gpu",
        "--mlock",
        "--n-gpu-layers",
        "--no-kv-unified",
        "--no-mmap",
        "--no-warmup",
        "--numa",
        "--reasoning-budget",
        "--reasoning-format",
        "--seed",
        "--split-mode",
        "--tensor-split",
        "--threads",
        "--threads-batch",
        "--ubatch-size",
    ]
)


def allowed(flags: tuple[str, ...], known: frozenset[str]) -> tuple[str, ...]:
    """The flags themselves, if all are on the list.

    Raises:
        ValueError: One is not, or stands there twice.
    """
    names = [flag.partition("=")[0] for flag in flags]
    for name in names:
        if name not in known:
            problem = f"{name} is not among the flags that may be added"
            raise ValueError(problem)
        if names.count(name) > 1:
            problem = f"{name} is there twice"
            raise ValueError(problem)
    return flags


VllmFlags = Annotated[tuple[Flag, ...], ARRAY, AfterValidator(partial(allowed, known=VLLM_FLAGS))]
SglangFlags = Annotated[
    tuple[Flag, ...], ARRAY, AfterValidator(partial(allowed, known=SGLANG_FLAGS))
]
LlamacppFlags = Annotated[
    tuple[Flag, ...], ARRAY, AfterValidator(partial(allowed, known=LLAMACPP_FLAGS))
]
