"""Which flags an operator may add to a server's command line.

Nothing on these lists opens a port, runs code out of a model, reads another file or writes down
what is asked.
"""

import re
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Annotated

from .rules import After, Bound

Flag = Annotated[str, Bound(pattern=r"^--[a-z][a-z0-9-]*(=[ -~]+)?$", max_length=1024)]

_NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?")

VLLM_FLAGS = frozenset(
    [
        "--async-scheduling",
        "--attention-backend",
        "--block-size",
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
FLAGS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"vllm": VLLM_FLAGS, "sglang": SGLANG_FLAGS, "llamacpp": LLAMACPP_FLAGS}
)


def allowed(flags: tuple[str, ...], known: frozenset[str]) -> tuple[str, ...]:
    """The flags themselves, if all are on the list.

    Raises:
        ValueError: One is not, or stands there twice, or brings another one as its value.
    """
    names = [flag.partition("=")[0] for flag in flags]
    for name, value in (flag.partition("=")[::2] for flag in flags):
        if name not in known:
            problem = f"{name} is not among the flags that may be added"
            raise ValueError(problem)
        if names.count(name) > 1:
            problem = f"{name} is there twice"
            raise ValueError(problem)
        # a server that knows no --name=value gets two words, and takes the second for a flag
        if value.startswith("-") and _NUMBER.fullmatch(value) is None:
            problem = f"{name} cannot have a value that begins with a dash"
            raise ValueError(problem)
    return flags


def of_any(flags: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The flags of one model, if each is on one of the lists; which one counts is seen later.

    Raises:
        ValueError: As for :func:`allowed`.
    """
    return flags and allowed(flags, VLLM_FLAGS.union(*FLAGS.values()))


AnyFlags = Annotated[tuple[Flag, ...] | None, After(of_any)]
VllmFlags = Annotated[tuple[Flag, ...], After(partial(allowed, known=VLLM_FLAGS))]
SglangFlags = Annotated[tuple[Flag, ...], After(partial(allowed, known=SGLANG_FLAGS))]
LlamacppFlags = Annotated[tuple[Flag, ...], After(partial(allowed, known=LLAMACPP_FLAGS))]
