"""What is different from one kind of server to another (pure).

A profile writes a command line out of a plan and reads the server's own figures. How a server
is started, watched and stopped is the same for all of them.

Source:
    ``vllm serve --help`` of vLLM 0.33.0; ``sglang.launch_server --help`` of SGLang 0.5.23;
    ``llama-server --help`` of llama.cpp as llama-cpp-python 0.3.36 carries it.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Literal, Protocol

from ...config.engines import LoadFormat
from ...config.frozen import frozen

SERVED_NAME = "local"
"""What every server of ours calls its model; the wire's name never gets there."""

HOST = "127.0.0.1"


@frozen
class Tuning:
    """One adapter, as a server is told of it.

    Attributes:
        name: What the server calls it; the wire's name never gets there.
        folder: Its verified build, absolute.
        files: Names of the files in it.
        rank: Of its matrices; ``None`` if it does not say.
    """

    name: str
    folder: str
    files: tuple[str, ...] = ()
    rank: int | None = None


@frozen
class Plan:
    """What is to be started.

    Attributes:
        program: How the server's command line begins.
        model: The build's folder, absolute; or where its store has it, ``s3://…``.
        files: Names of the files in it.
        socket_path: A Unix socket to listen on, for a server that can.
        port: A port of this machine to listen on, for one that cannot.
        folder: One that only this user may enter; the launch's files come to lie there.
        key: Whoever asks the server has to show it.
        context_tokens: Most tokens of prompt and answer; ``None``: the model's own.
        max_running: Requests answered side by side.
        tensor_parallel: Boards that the model is spread over.
        gpus: Boards that it may use; empty: all.
        memory_ratio: The part of each board that it takes; ``None``: the server's own.
        load_format: How weights come off the disk, or out of the store.
        store: Variables that lead to the store, for a server that reads weights from there.
        sleep_after_s: Idle for so long, the server leaves its memory; 0: never.
        stop_timeout_s: Seconds that running answers may take to end when it is asked to leave.
        adapters: Served beside the model, each asked for by name.
        images: Whether pictures are passed on; ``None``: if the files say that it sees.
        flags: What the operator adds.
    """

    program: tuple[str, ...]
    model: str
    files: tuple[str, ...] = ()
    socket_path: str | None = None
    port: int | None = None
    folder: str = ""
    key: str = field(default="", repr=False)
    context_tokens: int | None = None
    max_running: int = 8
    tensor_parallel: int = 1
    gpus: str = ""
    memory_ratio: float | None = None
    load_format: LoadFormat = "auto"
    store: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    sleep_after_s: float = 0.0
    stop_timeout_s: float = 30.0
    adapters: tuple[Tuning, ...] = ()
    images: bool | None = None
    flags: tuple[str, ...] = ()


@frozen
class Launch:
    """A command line, and what its environment holds beyond the usual.

    Attributes:
        files: Texts by name, for the plan's folder: what nobody else is to read.
    """

    argv: tuple[str, ...] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


class CannotServe(ValueError):
    """The build or the plan is not one for this kind of server; the text says why."""


class Profile(Protocol):
    """One kind of server."""

    name: str
    """As in the settings."""

    takes_socket: bool
    """Whether it can listen on a Unix socket."""

    ready: str
    """Answers 200 once the first prompt could be taken."""

    tells_ready: bool
    """Whether it is so; of a server of any kind, an answer there says only that it runs."""

    asks: Mapping[str, object]
    """What each request asks for on top, so that tokens are counted as they come."""

    renamed: Mapping[str, str]
    """Fields of a request that it knows by another name."""

    sleep: tuple[str, str] | None
    """What puts it to sleep and what wakes it, by POST; ``None``: it sees to that itself."""

    def adapted(self, number: int | None) -> Mapping[str, object]:
        """What a request says to a server that has adapters.

        Args:
            number: The place of the one that is meant, 0 for the first; ``None``: none of them.
        """
        ...

    def launch(self, plan: Plan) -> Launch:
        """The command line for a plan.

        Raises:
            CannotServe: There is none.
        """
        ...


Failure = Literal["out_of_memory", "bad_model", "exited"]

_NO_MEMORY = re.compile(
    r"out of memory|outofmemory|cannot allocate|failed to allocate|bad_alloc"
    r"|no available memory for the cache blocks|not enough memory|free memory on device",
    re.IGNORECASE,
)
_BAD_MODEL = re.compile(
    r"failed to load model|error loading model|is not supported|unrecognized model"
    r"|does not appear to have|invalid magic|safetensorerror|no such file"
    r"|missing tensor|trust_remote_code|unknown (?:model )?architecture",
    re.IGNORECASE,
)


def kind_of_failure(tail: str) -> Failure:
    """Why a server left while it loaded, as far as the end of its log gives it away."""
    if _NO_MEMORY.search(tail):
        return "out_of_memory"
    return "bad_model" if _BAD_MODEL.search(tail) else "exited"


def adapter_name(number: int) -> str:
    """What every server of ours calls its adapters, 0 for the first."""
    return f"adapter-{number + 1}"


def boards(plan: Plan) -> dict[str, str]:
    """The variables that choose boards, by the order in which NVML counts them."""
    if not plan.gpus:
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": plan.gpus}


def listen_on_port(plan: Plan) -> tuple[str, ...]:
    """The flags that most servers share for a port of this machine."""
    return ("--host", HOST, "--port", str(plan.port))


def check_boards(plan: Plan) -> None:
    """See that the model is spread over no more boards than it may use.

    Raises:
        CannotServe: It is.
    """
    given = len(plan.gpus.split(",")) if plan.gpus else plan.tensor_parallel
    if plan.tensor_parallel > given:
        problem = f"tensor_parallel is {plan.tensor_parallel}, and {given} board(s) are given"
        raise CannotServe(problem)
