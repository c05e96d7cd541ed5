"""Two settings in; what changed, what it touches and what needs a restart, out.

A running node takes over what it can. What it cannot is named, so that it is reported as
pending instead of being half-applied.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast

from .settings import ModelEntry, Section, Settings

Part = Literal[
    "line",
    "pool",
    "slots",
    "stores",
    "cache",
    "weights",
    "engines",
    "requests",
    "memory",
    "hours",
    "owner",
    "log",
]
"""What a change can touch; ``line`` has to be dialled again."""

PART_OF: Mapping[str, Part] = MappingProxyType(
    {
        "coordinator": "line",
        "wire": "line",
        "pools": "pool",
        "models": "pool",
        "slots": "slots",
        "stores": "stores",
        "cache": "cache",
        "weights": "weights",
        "engines": "engines",
        "requests": "requests",
        "memory": "memory",
        "hours": "hours",
        "owner": "owner",
        "log": "log",
    }
)
"""The part that each table of the file speaks of."""

NEEDS_RESTART = frozenset({"cache.dir", "log.format"})
"""Keys that are read once, at the start: open journals and open streams do not move."""


LIVE = frozenset({"pools", "slots", "requests", "memory", "hours", "owner"})
"""Tables that a running agent takes over as a whole; of ``[[models]]`` only what says to which
pool a model belongs and whether it is pinned."""


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two settings.

    Attributes:
        keys: Dotted, in the order of the file; a change inside ``[[models]]`` is ``models``.
        parts: What these keys touch.
        restart: Those of the keys that a running node cannot take over.
    """

    keys: tuple[str, ...] = ()
    parts: frozenset[Part] = frozenset()
    restart: tuple[str, ...] = ()


def diff(old: Settings, new: Settings) -> Change:
    """Compare the settings in force with those that are wanted."""
    keys = tuple(_changed(old, new, ""))
    parts: frozenset[Part] = frozenset(PART_OF[key.split(".")[0]] for key in keys)
    return Change(keys, parts, tuple(key for key in keys if key in NEEDS_RESTART))


def not_live(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys that differ and that a running agent cannot take over, in the file's order."""
    same = [_essence(settings) for settings in (old, new)]
    keys = diff(old, new).keys
    fixed = [key for key in keys if key.split(".")[0] not in {*LIVE, "models"}]
    return (*fixed, *(("models",) if same[0] != same[1] else ()))


def _essence(settings: Settings) -> list[ModelEntry]:
    """The models without what may change while the agent runs."""
    blank: dict[str, object] = {"aliases": (), "pinned": False}
    return [entry.model_copy(update=blank) for entry in settings.models]


def _changed(old: Section, new: Section, prefix: str) -> Iterator[str]:
    for name in type(old).model_fields:
        before = cast("object", getattr(old, name))
        after = cast("object", getattr(new, name))
        if isinstance(before, Section) and isinstance(after, Section):
            yield from _changed(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name
