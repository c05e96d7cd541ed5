"""Compares two settings: what changed, what it touches, and what of it can hold at once.

A running node takes over what it can. What it cannot is named and keeps its old value, so that
it is reported as pending instead of being half-applied.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, cast

from .frozen import frozen
from .settings import Section, Settings

Part = Literal[
    "line",
    "pool",
    "slots",
    "catalog",
    "stores",
    "cache",
    "weights",
    "peers",
    "engines",
    "requests",
    "memory",
    "hours",
    "owner",
    "log",
    "control",
    "telemetry",
]
"""What a change can touch; ``line`` has to be dialled again."""

PART_OF: Mapping[str, Part] = MappingProxyType(
    {
        "coordinator": "line",
        "wire": "line",
        "pools": "pool",
        "models": "pool",
        "slots": "slots",
        "catalog": "catalog",
        "stores": "stores",
        "cache": "cache",
        "weights": "weights",
        "peers": "peers",
        "engines": "engines",
        "requests": "requests",
        "memory": "memory",
        "hours": "hours",
        "owner": "owner",
        "log": "log",
        "control": "control",
        "telemetry": "telemetry",
    }
)
"""The part that each table of the file speaks of."""

When = Literal["now", "line", "fetch", "load", "restart"]
"""From when on a changed key holds in a running agent: at once; on the next line, which is
dialled as soon as no request runs; for the next fetch; for the next load; not before a restart."""

WHEN: Mapping[str, When] = MappingProxyType(
    {
        "coordinator": "line",
        "coordinator.heartbeat_interval_s": "now",
        # the token is read once: what holds it is a matter of the start
        "coordinator.token_file": "restart",
        "coordinator.token_env": "restart",
        "coordinator.token_credential": "restart",
        "coordinator.token_keychain": "restart",
        "wire": "line",
        "pools": "now",
        # a model in memory goes on as it was loaded; its ref and its engine hold for the next load
        "models": "now",
        "slots": "now",
        # read at the start: what it may claim of privacy depends on it
        "catalog": "restart",
        "stores": "fetch",
        "cache": "now",
        "cache.dir": "restart",  # open journals do not move
        "weights": "fetch",
        "weights.max_bytes_per_s": "now",
        "peers": "fetch",
        # the process that answers peers has them from its start
        "peers.listen": "restart",
        "peers.key_file": "restart",
        "peers.max_bytes_per_s": "restart",
        "peers.max_connections": "restart",
        "engines": "load",
        "requests": "now",
        "memory": "now",
        "hours": "now",
        "owner": "now",
        "log": "now",
        "log.format": "restart",  # one log, one form
        "control": "restart",  # a port that is open stays
        "control.openai_api": "now",
        "telemetry": "now",
    }
)
"""By table or key; the longest that fits a key decides, and what is not here needs a restart."""

WORDS: Mapping[When, str] = MappingProxyType(
    {
        "now": "at once",
        "line": "on the next line, as soon as no request runs",
        "fetch": "for the next fetch",
        "load": "for the next load",
        "restart": "after a restart",
    }
)
"""The same for people."""


@frozen
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
    return Change(keys, parts, tuple(key for key in keys if when(key) == "restart"))


def when(key: str) -> When:
    """From when on a changed key holds in a running agent.

    Args:
        key: Dotted, such as ``slots.max_model_slots`` or ``models[0].ref``.
    """
    words = key.partition("[")[0].split(".")
    for end in range(len(words), 0, -1):
        if found := WHEN.get(".".join(words[:end])):
            return found
    return "restart"


def keeping(old: Settings, new: Settings, keys: Sequence[str]) -> Settings:
    """The new settings, but with the old values of these keys."""
    merged: Section = new
    for key in keys:
        merged = _with(merged, old, key.split("."))
    return cast("Settings", merged)


def _with(section: Section, old: Section, at: Sequence[str]) -> Section:
    name, *rest = at
    before = cast("object", getattr(old, name))
    if rest and isinstance(before, Section):
        before = _with(cast("Section", getattr(section, name)), before, rest)
    return section.model_copy(update={name: before})


def _changed(old: Section, new: Section, prefix: str) -> Iterator[str]:
    for name in type(old).model_fields:
        before = cast("object", getattr(old, name))
        after = cast("object", getattr(new, name))
        if isinstance(before, Section) and isinstance(after, Section):
            yield from _changed(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name
