"""Engines: MLX, and servers of their own: vLLM, SGLang, llama.cpp's, one that runs already.

What an operator may add to a server's command line is on the lists of :mod:`.flags`.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from .adapters import AdapterLine, checked
from .flags import AnyFlags, LlamacppFlags, SglangFlags, VllmFlags
from .loopback import is_loopback
from .rules import Bound, checks, whole
from .section import Section, absent

Seconds = Annotated[float, Bound(gt=0)]
Program = Annotated[str, Bound(pattern=r"^/[^\x00-\x1f]+$", max_length=1024)]
Boards = Annotated[str, Bound(pattern=r"^[0-9]{1,2}(,[0-9]{1,2}){0,63}$")]
Ratio = Annotated[float, Bound(gt=0, le=1)]
PoolEngine = Annotated[str, Bound(pattern=r"^[^=]{1,256}=(mlx|vllm|sglang|llamacpp)$")]
LoadFormat = Literal["auto", "safetensors", "runai_streamer", "fastsafetensors"]
ModelLoadFormat = Literal[LoadFormat, "stream"]
EngineName = Literal["auto", "mlx", "vllm", "sglang", "llamacpp", "attach", "echo"]
DefaultEngine = Literal["auto", "mlx", "vllm", "sglang", "llamacpp"]


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
        prefill_step_tokens: Most tokens of a prompt that are read at once; beside running answers
            fewer, as far as their pauses would be longer than a tenth of a second.
        max_running: Requests answered side by side.
        max_output_tokens: Bound of one answer.
        prompt_cache_gib: Most that is kept of finished answers, so that a chat that goes on is not
            read again from its beginning; 0: nothing. How soon an answer begins then tells whether
            somebody has asked the like before.
    """

    isolation: Literal["child", "inprocess"] = "child"
    start_timeout_s: Seconds = 900.0
    stall_timeout_s: Seconds = 60.0
    stop_timeout_s: Seconds = 10.0
    prefill_step_tokens: Annotated[int, Bound(ge=16, le=8192)] = 512
    max_running: Annotated[int, Bound(ge=1, le=256)] = 8
    max_output_tokens: Annotated[int, Bound(ge=1)] = 32768
    prompt_cache_gib: Annotated[float, Bound(ge=0, le=4096)] = 0.0


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
    max_running: Annotated[int, Bound(ge=1, le=1024)] = 8
    max_waiting: Annotated[int, Bound(ge=0, le=4096)] = 16
    max_output_tokens: Annotated[int, Bound(ge=1)] = 32768


class Vllm(Section):
    """``[engines.vllm]``: the server of vLLM.

    Attributes:
        program: The command ``vllm``, absolute; unset: beside this Python, then on the PATH.
        tensor_parallel: Boards that one model is spread over.
        memory_ratio: The part of each board that it takes; unset: vLLM's own.
        load_format: How weights come off the disk.
        sleep: Idle for ``slots.idle_unload_s``, a model that is not pinned leaves its boards'
            memory instead of its slot, and wakes for the next request.
        flags: Further flags of its command line, ``--name`` or ``--name=value``; only those
            that are on a list.
    """

    program: Program | None = None
    tensor_parallel: Annotated[int, Bound(ge=1, le=64)] = 1
    memory_ratio: Ratio | None = None
    load_format: LoadFormat = "auto"
    sleep: bool = False
    flags: VllmFlags = ()


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
    tensor_parallel: Annotated[int, Bound(ge=1, le=64)] = 1
    memory_ratio: Ratio | None = None
    load_format: LoadFormat = "auto"
    flags: SglangFlags = ()


class Llamacpp(Section):
    """``[engines.llamacpp]``: the server of llama.cpp, for GGUF files.

    Attributes:
        program: The command ``llama-server``, absolute; unset: the one on the PATH.
        sleep: Idle for ``slots.idle_unload_s``, a model that is not pinned leaves its memory
            instead of its slot, and wakes for the next request.
        flags: Further flags of its command line, ``--name`` or ``--name=value``; only those
            that are on a list.
    """

    program: Program | None = None
    sleep: bool = False
    flags: LlamacppFlags = ()


class Serving(Section):
    """``[models.serving]``: what one model wants different from its engine's own table.

    Attributes:
        max_running: Requests answered side by side; unset: as ``[engines.server]`` says.
        tensor_parallel: Boards that the model is spread over.
        gpus: Boards that it may use, as ``0,1``; unset: those of its slot.
        memory_ratio: The part of each board that it takes.
        load_format: How weights come off the disk. ``stream``: they never lie on it: vLLM or SGLang
            reads them from S3 itself, with credentials of the agent's environment; nothing is
            fetched, verified or counted here.
        adapters: What is served beside the model, as ``NAME=REF``: a name that requests ask for
            and where its weights live. For vLLM, SGLang and llama.cpp.
        images: Whether pictures in a chat are passed on; unset: if the model's files say that it
            sees (for an attached server: not).
        flags: Instead of the engine's own flags; only those that are on its list.
    """

    max_running: Annotated[int, Bound(ge=1, le=1024)] | None = None
    tensor_parallel: Annotated[int, Bound(ge=1, le=64)] | None = None
    gpus: Boards | None = None
    memory_ratio: Ratio | None = None
    load_format: ModelLoadFormat | None = None
    adapters: tuple[AdapterLine, ...] = ()
    images: bool | None = None
    flags: AnyFlags = None

    @checks("adapters")
    @staticmethod
    def _are_adapters(lines: tuple[str, ...]) -> tuple[str, ...]:
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
    socket: Annotated[str, Bound(pattern=r"^/[^\x00-\x1f]+$", max_length=103)] | None = None
    model: Annotated[str, Bound(min_length=1, max_length=1024)] | None = None
    key_file: str | None = None

    @checks("url")
    @staticmethod
    def _is_on_this_machine(url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url.strip())
        problem = "must be http://HOST:PORT on this machine; elsewhere it is [models.external]"
        if parts.scheme != "http" or parts.username or parts.query or parts.fragment:
            raise ValueError(problem)
        if parts.path.strip("/") or not parts.port or not is_loopback(parts.hostname or ""):
            raise ValueError(problem)
        return f"http://{parts.netloc}"

    @whole
    def _is_in_one_place(self) -> None:
        if self.url is not None and self.socket is not None:
            problem = "name either url or socket"
            raise ValueError(problem)

    @property
    def is_named(self) -> bool:
        """Whether there is a server to attach to."""
        return self.url is not None or self.socket is not None


class Engines(Section):
    """``[engines]``: what runs the models.

    Attributes:
        default: The engine of models that name none; ``auto``: what fits machine and build.
        by_pool: Engines of whole pools, as ``NAME=ENGINE`` with an alias or an id; a model's own
            choice wins.
        gpus: Boards of each model slot, as ``0,1``, the first slot's first; unset: all of them.
    """

    default: DefaultEngine = "auto"
    by_pool: tuple[PoolEngine, ...] = ()
    gpus: tuple[Boards, ...] = ()
    mlx: Mlx = absent()
    server: Server = absent()
    vllm: Vllm = absent()
    sglang: Sglang = absent()
    llamacpp: Llamacpp = absent()
