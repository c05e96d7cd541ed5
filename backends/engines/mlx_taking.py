"""Tensors read from files that are still arriving; in the child only.

What is read here is provisional. It is used only once the whole build is published, and then
each tensor takes the place of the one that its file has under that name; whatever was not read
early, or not well, comes from the file as usual.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false
# The library has no types; what comes from it is cast where it enters.

from collections.abc import Callable, Mapping
from typing import cast

import mlx.core as mx

from .messages import Take

Arrays = dict[str, mx.array]
Classes = Callable[[dict[str, object]], tuple[type, type]]


class Taken:
    """What was read so far, file by file."""

    def __init__(self) -> None:
        self._lazy: dict[str, Arrays] = {}
        self._files: dict[str, Arrays] = {}

    def take(self, message: Take) -> None:
        """Read what has arrived; a file that cannot be read is left for later."""
        whole = message.places[1]
        if not message.names:
            self._lazy.pop(whole, None)
            self._files.pop(whole, None)
            return
        try:
            arrays = self._open(message)
            mx.eval([arrays[name] for name in message.names])
        except (OSError, RuntimeError, ValueError, KeyError):
            self._lazy.pop(whole, None)
            return
        mine = self._files.setdefault(whole, {})
        mine.update((name, arrays[name]) for name in message.names)

    def tensors(self) -> Arrays:
        """All of them by name; a name that two files have is left out."""
        found: Arrays = {}
        twice: set[str] = set()
        for arrays in self._files.values():
            twice |= found.keys() & arrays.keys()
            found |= arrays
        return {name: array for name, array in found.items() if name not in twice}

    def forget(self) -> None:
        """Hold nothing any more: the model has what it uses."""
        self._lazy.clear()
        self._files.clear()

    def _open(self, message: Take) -> Arrays:
        arriving, whole = message.places
        if whole not in self._lazy:
            try:
                self._lazy[whole] = _load(arriving)
            except (OSError, RuntimeError):
                self._lazy[whole] = _load(whole)  # it is complete by now
        return self._lazy[whole]


def _load(path: str) -> Arrays:
    return cast("Arrays", mx.load(path, format="safetensors"))


def with_early(classes: Classes, early: Arrays) -> Classes:
    """The library's choice of classes, whose model is given what was read early.

    ``sanitize`` is the one place where a model sees its weights by the names they have in the
    files, before anything is made of them.

    Args:
        classes: How the library finds a model's class and its arguments' class.
        early: By name; emptied as it is used.
    """

    def chosen(config: dict[str, object]) -> tuple[type, type]:
        model, arguments = classes(config)

        def sanitize(self: object, weights: Mapping[str, mx.array]) -> object:
            mine = dict(weights)
            for name, lazy in mine.items():
                array = early.pop(name, None)
                if array is not None and (array.shape, array.dtype) == (lazy.shape, lazy.dtype):
                    mine[name] = array
            own = cast("object", getattr(model, "sanitize", None))
            return own(self, mine) if callable(own) else mine

        return type(model.__name__, (model,), {"sanitize": sanitize}), arguments

    return chosen
