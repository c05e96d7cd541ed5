"""The MLX child process: says hello, loads one model, answers, leaves.

It is started by ``mlx.py`` with the number of an inherited socket and the process id of its
parent. It never outlives that parent, listens to nobody else and writes nothing but where an
error came from.
"""

import os
import sys
from collections.abc import Sequence

from .footprint import footprint_bytes
from .leash import hold_to_parent, places
from .messages import Hello, LoadFailed, LoadFault, LoadModel, ModelLoaded, Progress
from .pipe import Pipe

_GOODBYE_S = 2.0
_REASON_CHARS = 300
_NO_MEMORY = ("unable to allocate", "attempting to allocate", "insufficient memory")
"""Source: mlx/backend/*/allocator.cpp, lower-cased; it has no class of its own for them."""


def main(arguments: Sequence[str]) -> int:
    """Run the child; the exit status is 0 when it was asked to leave.

    Args:
        arguments: The socket's number and the parent's process id.
    """
    hold_to_parent(int(arguments[1]))
    pipe = Pipe.inherited(int(arguments[0]))
    # after the leash, for importing takes a second
    from . import mlx_loading  # noqa: PLC0415
    from .decoding import Loop  # noqa: PLC0415

    pipe.say(Hello(mlx_loading.version(), mlx_loading.device()))
    message = _first(pipe)
    if message is None:
        return 0

    def progressed(done_bytes: int, total_bytes: int) -> None:
        pipe.say(Progress(done_bytes, total_bytes))
        pipe.exchange(0)
        if pipe.is_closed:
            raise SystemExit(0)

    try:
        model = mlx_loading.load(message, progressed=progressed)
    except Exception as error:  # noqa: BLE001 - whatever it is, the engine must be told
        sys.stderr.write(places(error) + "\n")
        pipe.say(LoadFailed(_kind(error), _words(error)))
        pipe.drain(_GOODBYE_S)
        return 1
    pipe.say(ModelLoaded(model.context_tokens, footprint_bytes(os.getpid())))
    Loop(pipe, model, max_running=message.max_running, memory=mlx_loading.memory).run()
    pipe.drain(_GOODBYE_S)
    return 0


def _first(pipe: Pipe) -> LoadModel | None:
    while not pipe.is_closed:
        for message in pipe.exchange(60):
            return message if isinstance(message, LoadModel) else None
    return None


def _kind(error: BaseException) -> LoadFault:
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        return "out_of_memory"
    return "bad_model"


def _words(error: BaseException) -> str:
    """One line about a load; it names files and tensors, for nothing was asked yet."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:_REASON_CHARS]


if __name__ == "__main__":
    sys.exit(main(sys.argv[-2:]))
