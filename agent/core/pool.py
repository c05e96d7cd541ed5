"""Is this model ours to serve?

A *pool key* is an alias, or the id of a build that no alias names. The node serves one key;
what belongs to it is decided by key sets, so that every build of an alias is in one pool. The
operator's allow-list stands before everything: nothing that comes over the line widens it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Literal

from ...config.settings import ModelEntry, Settings

Source = Literal["config", "sole", "hash", "none"]
"""Who chose the key: the configuration, the lack of any other, or the rendezvous hash."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What this node serves now.

    Attributes:
        assigned: The pool key; ``None`` if nothing is offered or allowed.
        models: Ids of the builds in it that the operator allows, in the order of the config.
        source: Who chose the key.
    """

    assigned: str | None
    models: tuple[str, ...]
    source: Source

    @property
    def name(self) -> str:
        """The key, for sentences."""
        return self.assigned or "none"

    def serves(self, model: str) -> bool:
        """Whether ``model`` may be advertised, fetched, loaded and asked."""
        return model in self.models


def pool_of(settings: Settings, *, machine_id: str) -> Pool:
    """The pool that the settings give this machine.

    Args:
        settings: Whose ``pools`` and ``models`` count.
        machine_id: A random value that stays with the machine; it spreads a fleet evenly.

    Returns:
        The configured key if there is one; else the only key that is offered and allowed;
        else the key that wins the rendezvous hash for this machine.
    """
    offered = [entry for entry in settings.models if is_allowed(entry, settings.pools.allowed)]
    assigned = settings.pools.assigned
    if assigned is not None:
        return Pool(assigned, _members(offered, assigned), "config")
    keys = sorted({key for entry in offered for key in keys_of(entry)})
    if not keys:
        return Pool(None, (), "none")
    chosen = max(keys, key=lambda key: _weight(machine_id, key))
    return Pool(chosen, _members(offered, chosen), "sole" if len(keys) == 1 else "hash")


def keys_of(entry: ModelEntry) -> frozenset[str]:
    """The pool keys of a build: its aliases, or its id if it has none."""
    return frozenset(entry.aliases or (entry.id,))


def is_allowed(entry: ModelEntry, allowed: Sequence[str]) -> bool:
    """Whether a name or glob of the allow-list meets the build's id or one of its aliases."""
    names = (entry.id, *entry.aliases)
    return not allowed or any(fnmatchcase(name, glob) for glob in allowed for name in names)


def _members(offered: Iterable[ModelEntry], key: str) -> tuple[str, ...]:
    return tuple(entry.id for entry in offered if key == entry.id or key in entry.aliases)


def _weight(machine_id: str, key: str) -> bytes:
    return sha256(machine_id.encode() + b"\0" + key.encode()).digest()
