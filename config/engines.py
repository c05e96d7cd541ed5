"""Engines that are servers of their own: vLLM, SGLang, llama.cpp's, and one that runs already.

What an operator may add to a server's command line is on a list: nothing on it opens a port,
runs code out of a model, reads another file or writes down what is asked.
"""

from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from .adapters import AdapterLine, checked
from .stores import ARRAY, Section

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Program = Annotated[str, Field(pattern=r"^/[^\x00-\x1f]+$", max_length=1024)]
Boards = Annotated[str, Field(pattern=r"^[0-9]{1,2}(,[0-9]{1,2}){0,63}$")]
Flag = Annotated[str, Field(pattern=r"^--[a-z][a-z0-9-]*(=[ -~]+)?$", max_length=1024)]
Ratio = Annotated[float, Field(gt=0, le=1)]
PoolEngine = Annotated[str, Field(pattern=r"^[^=]{1,256}=(mlx|vllm|sglang|llamacpp)$")]
LoadFormat = Literal["auto", "safetensors", "runai_streamer", "fastsafetensors"]
EngineName = Literal["auto", "mlx", "vllm", "sglang", "llamacpp", "attach", "echo"]
DefaultEngine = Literal["auto", "mlx", "vllm", "sglang", "llamacpp"]

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


class Mlx(Section):
    """``[engines.mlx]``: the MLX engine.

    Attributes:
        isolation: Where the model lives. ``child``: in a process of its own, whose end gives
            all memory back and whose crash leaves the agent alive. ``inprocess``: in a thread
            of the agent, so that text never leaves this process; a crash of the engine is
            then the agent's own, and a thread that hangs cannot be ended.
        start_timeout_s: Seconds a load may take.
        stall_timeout_s: Seconds without a sign of life before the child is given up.
        stop_timeout_s: Seconds a child may take to leave before it is killed.
        prefill_step_tokens: The pause that other streams see while a prompt is read.
        max_running: Requests answered side by side.
        max_output_tokens: Bound of one answer.
    """

    isolation: Literal["child", "inprocess"] = "child"
    start_timeout_s: Seconds = 900.0
    stall_timeout_s: Seconds = 60.0
    stop_timeout_s: Seconds = 10.0
    prefill_step_tokens: Annotated[int, Field(ge=16, le=8192)] = 512
    max_running: Annotated[int, Field(ge=1, le=256)] = 8
    max_output_tokens: Annotated[int, Field(ge=1)] = 32768


class Server(Section):
    """``[engines.server]``: what holds for every engine that is a server of its own.

    Attributes:
        start_timeout_s: Seconds a server may take until it is ready.
        stall_timeout_s: Seconds without a word on any running answer before it is given up.
        stop_timeout_s: Seconds it may take to leave, once asked, before it is killed.
        max_running: Requests answered side by side.
        max_waiting: Requests that may wait beside them; more are refused.
        max_output_tokens: Bound of one answer.
    """

    start_timeout_s: Seconds = 1800.0
    stall_timeout_s: Seconds = 120.0
    stop_timeout_s: Seconds = 30.0
    max_running: Annotated[int, Field(ge=1, le=1024)] = 8
    max_waiting: Annotated[int, Field(ge=0, le=4096)] = 16
    max_output_tokens: Annotated[int, Field(ge=1)] = 32768


class Vllm(Section):
    """``[engines.vllm]``: the server of vLLM.

    Attributes:
        program: The command ``vllm``, absolute; unset: beside this Python, then on the PATH.
        tensor_parallel: Boards that one model is spread over.
        memory_ratio: The part of each board that it takes; unset: vLLM's own.
        load_format: How weights come off the disk.
        sleep_after_s: Idle for so long, it leaves its boards' memory and wakes for the next
            request; 0: never.
        flags: Further flags of its command line, ``--name`` or ``--name=value``; only those
            that are on a list.
    """

    program: Program | None = None
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = 1
    memory_ratio: Ratio | None = None
    load_format: LoadFormat = "auto"
    sleep_after_s: Annotated[float, Field(ge=0, le=2592000)] = 0.0
    flags: Annotated[tuple[Flag, ...], ARRAY] = ()

    @field_validator("flags")
    @classmethod
    def _are_on_the_list(cls, flags: tuple[str, ...]) -> tuple[str, ...]:
        return allowed(flags, VLLM_FLAGS)


class Sglang(Section):
    """``[engines.sglang]``: the server of SGLang.

    Attributes:
        program: A Python that has SGLang, absolute; unset: this one.
        tensor_parallel: Boards that one model is spread over.
        memory_ratio: The part of each board that it takes; unset: SGLang's own.
        load_format: How weights come off the disk.
        flags: Further flags of its command line, ``--name`` or ``--name=value``; only those
            that are on a list.
    """

    program: Program | None = None
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = 1
    memory_ratio: Ratio | None = None
    load_format: LoadFormat = "auto"
    flags: Annotated[tuple[Flag, ...], ARRAY] = ()

    @field_validator("flags")
    @classmethod
    def _are_on_the_list(cls, flags: tuple[str, ...]) -> tuple[str, ...]:
        return allowed(flags, SGLANG_FLAGS)


class Llamacpp(Section):
    """``[engines.llamacpp]``: the server of llama.cpp, for GGUF files.

    Attributes:
        program: The command ``llama-server``, absolute; unset: the one on the PATH.
        sleep_after_s: Idle for so long, it leaves its memory and wakes for the next request;
            0: never.
        flags: Further flags of its command line, ``--name`` or ``--name=value``; only those
            that are on a list.
    """

    program: Program | None = None
    sleep_after_s: Annotated[float, Field(ge=0, le=2592000)] = 0.0
    flags: Annotated[tuple[Flag, ...], ARRAY] = ()

    @field_validator("flags")
    @classmethod
    def _are_on_the_list(cls, flags: tuple[str, ...]) -> tuple[str, ...]:
        return allowed(flags, LLAMACPP_FLAGS)


class Serving(Section):
    """``[models.serving]``: what one model wants different from its engine's own table.

    Attributes:
        max_running: Requests answered side by side; unset: as ``[engines.server]`` says.
        tensor_parallel: Boards that the model is spread over.
        gpus: Boards that it may use, as ``0,1``; unset: those of its slot.
        memory_ratio: The part of each board that it takes.
        load_format: How weights come off the disk.
        adapters: What is served beside the model, as ``NAME=REF``: a name that requests ask for
            and where its weights live. For vLLM, SGLang and llama.cpp.
        flags: Instead of the engine's own flags.
    """

    max_running: Annotated[int, Field(ge=1, le=1024)] | None = None
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] | None = None
    gpus: Boards | None = None
    memory_ratio: Ratio | None = None
    load_format: LoadFormat | None = None
    adapters: Annotated[tuple[AdapterLine, ...], ARRAY] = ()
    flags: Annotated[tuple[Flag, ...], ARRAY] | None = None

    @field_validator("adapters")
    @classmethod
    def _are_adapters(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        return checked(lines)


class Attach(Section):
    """``[models.attach]``: a server on this machine that runs already and is not ours to stop.

    Attributes:
        url: ``http://127.0.0.1:PORT``, on this machine only.
        socket: A Unix socket that it listens on instead, absolute.
        model: What the server calls the model; unset: the entry's id.
        key_file: A file of mode 0600 that holds its key.
    """

    url: str | None = None
    socket: Annotated[str, Field(pattern=r"^/[^\x00-\x1f]+$", max_length=103)] | None = None
    model: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    key_file: str | None = None

    @field_validator("url")
    @classmethod
    def _is_on_this_machine(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url.strip())
        problem = "must be http://HOST:PORT on this machine; elsewhere it is [models.external]"
        if parts.scheme != "http" or parts.username or parts.query or parts.fragment:
            raise ValueError(problem)
        if parts.path.strip("/") or not parts.port or not _is_loopback(parts.hostname or ""):
            raise ValueError(problem)
        return f"http://{parts.netloc}"

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        if self.url is not None and self.socket is not None:
            problem = "name either url or socket"
            raise ValueError(problem)
        return self

    @property
    def is_named(self) -> bool:
        """Whether there is a server to attach to."""
        return self.url is not None or self.socket is not None


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


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
