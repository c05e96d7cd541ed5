"""The MLX loop's way in: says hello, loads one model, answers, leaves.

``mlx.py`` starts it as a process, with the number of an inherited socket and the process id
of its parent, or as a thread of the agent. It never outlives that parent, listens to nobody
else and writes nothing but where an error came from.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from .footprint import footprint_bytes
from .leash import hold_to_parent, places
from .manners import give_back, limits_kept, quiet_while_importing
from .messages import Hello, LoadFailed, LoadFault, LoadModel, ModelLoaded, Progress, Take
from .pipe import Pipe

if TYPE_CHECKING:
    from .mlx_taking import Taken

_GOODBYE_S = 2.0
_REASON_CHARS = 300
_NO_MEMORY = ("unable to allocate", "attempting to allocate", "insufficient memory")
"""Source: mlx/backend/*/allocator.cpp, lower-cased; it has no class of its own for them."""

Note = Callable[[str], None]


class _NotWanted(Exception):
    """The engine is gone while its model is loaded."""


def main(arguments: Sequence[str]) -> int:
    """Run as a process; the exit status is 0 when it was asked to leave.

    Args:
        arguments: The socket's number and the parent's process id.
    """
    hold_to_parent(int(arguments[1]))
    pipe = Pipe.inherited(int(arguments[0]))
    return _talk(pipe, _stderr, held_before_bytes=0)


def lodge(pipe: Pipe, note: Note) -> int:
    """Run in a thread of the agent; 0 when it was asked to leave.

    Args:
        pipe: To the engine.
        note: Told where an error came from.
    """
    held_bytes = footprint_bytes(os.getpid())
    with quiet_while_importing(), limits_kept():
        import_module(".mlx_loading", __package__)
    try:
        return _talk(pipe, note, held_before_bytes=held_bytes)
    finally:
        give_back()


def _talk(pipe: Pipe, note: Note, *, held_before_bytes: int | None) -> int:
    # after the leash, for importing takes a second
    with limits_kept():
        from . import mlx_loading  # noqa: PLC0415
        from .mlx_taking import Taken  # noqa: PLC0415

    pipe.say(Hello(mlx_loading.version(), mlx_loading.device()))
    taken = Taken()
    message = _first(pipe, taken)
    try:
        return 0 if message is None else _serve(pipe, message, taken, note, held_before_bytes)
    finally:
        mlx_loading.leave()


def _serve(
    pipe: Pipe, message: LoadModel, taken: "Taken", note: Note, held_before_bytes: int | None
) -> int:
    from . import mlx_loading  # noqa: PLC0415
    from .decoding import Loop  # noqa: PLC0415

    def progressed(done_bytes: int, total_bytes: int) -> None:
        pipe.say(Progress(done_bytes, total_bytes))
        pipe.exchange(0)
        if pipe.is_closed:
            raise _NotWanted

    try:
        model = mlx_loading.load(message, progressed=progressed, early=taken.tensors())
        taken.forget()
    except _NotWanted:
        return 0
    except Exception as error:  # noqa: BLE001 - whatever it is, the engine must be told
        note(places(error) + "\n")
        pipe.say(LoadFailed(_kind(error), _words(error)))
        pipe.drain(_GOODBYE_S)
        return 1
    pipe.say(ModelLoaded(model.context_tokens, _added_bytes(held_before_bytes)))
    Loop(pipe, model, max_running=message.max_running, memory=mlx_loading.memory).run()
    pipe.drain(_GOODBYE_S)
    return 0


def _stderr(words: str) -> None:
    sys.stderr.write(words)


def _added_bytes(before_bytes: int | None) -> int | None:
    """What this process holds more than before; ``None`` if either cannot be read."""
    now_bytes = footprint_bytes(os.getpid())
    if now_bytes is None or before_bytes is None:
        return None
    return max(0, now_bytes - before_bytes)


def _first(pipe: Pipe, taken: "Taken") -> LoadModel | None:
    """Read early what has arrived, until the whole model is to be loaded."""
    while not pipe.is_closed:
        for message in pipe.exchange(60):
            if not isinstance(message, Take):
                return message if isinstance(message, LoadModel) else None
            taken.take(message)
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
