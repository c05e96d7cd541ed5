"""Postpones modules that libraries import and our processes hardly ever use, until they are used.

It imports nothing itself that a start does not bring anyway.
"""

import os
import sys
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from types import MappingProxyType, ModuleType

_SELDOM: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "importlib.metadata": ("entry_points",),
        "urllib.request": (),
        "urllib.parse": ("quote_from_bytes",),
        "ipaddress": (),
        "ntpath": (),
        "selectors": (),
        "array": (),
        "h11": (),
        "inspect": (),
    }
)
"""By module: which of its functions are imported by name where they are not yet called."""


class _Later(ModuleType):
    """A module that is imported when something of it is asked for.

    The library's ``LazyLoader`` is of no use: a second ``import`` of a module looks at its
    ``__spec__``, and that loads it.
    """

    def __getattr__(self, name: str) -> object:
        if name in _SELDOM[self.__name__]:
            return partial(self._called, name)
        if name.startswith("__"):  # an import statement looks for __path__
            raise AttributeError(name)
        return getattr(self._whole(), name)

    def _called(self, name: str, *args: object, **named: object) -> object:
        return getattr(self._whole(), name)(*args, **named)

    def _whole(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return import_module(self.__name__)


def import_later() -> None:
    """Put off what libraries import and the agent never calls; before anything else is imported.

    ``websockets`` brings ``urllib.request`` to find proxies, and none is ever asked for here;
    it and ``pydantic`` bring ``importlib.metadata``, one for a version, the other to find plugins,
    and none may read what is validated here. ``h11`` waits for the first question to the control
    socket, ``inspect`` for somebody who wants to know a signature: ``dataclasses`` does not.
    ``pathlib`` brings ``ntpath`` for paths of Windows and ``urllib.parse`` for those of URIs, which
    brings ``ipaddress`` for hosts in brackets; ``socket`` brings ``selectors`` to send files and
    ``array`` to pass open ones on.
    Whoever needs one of them gets it whole, at its first use.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    for name in _SELDOM:
        if name not in sys.modules:
            parent, _, own = name.rpartition(".")
            module = sys.modules[name] = _Later(name)
            if parent:
                setattr(import_module(parent), own, module)
