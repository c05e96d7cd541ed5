"""Is this model ours to serve?

A *pool key* is an alias, or the id of a build that no alias names. The node serves one key, or
for a while the few keys of a build that several aliases share; what belongs to it is decided by
key sets, so that every build of an alias is in one pool. The operator's allow-list stands before
everything, and looks at nothing that came over the line.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING

from ...config.frozen import frozen
from ...config.settings import ModelEntry, Settings
from .assignment import Assignment, Source, seed

if TYPE_CHECKING:  # whoever only asks what is allowed need not read the wire
    from ..wire.inbound import DesiredModels

NO_ALIASES: Mapping[str, frozenset[str]] = MappingProxyType({})


MAX_ALIASES, MAX_KEY_CHARS, MAX_BUILDS = 256, 256, 64
"""More aliases, longer names, or more builds of one alias are not kept: they come from outside."""


@frozen
class Topology:
    """Which builds stand behind the aliases, as far as a coordinator told.

    Attributes:
        aliases: Builds that are, or were, behind each alias; only such as are offered here.
    """

    aliases: Mapping[str, frozenset[str]] = field(default_factory=lambda: NO_ALIASES)

    def keys_of(self, entry: ModelEntry) -> frozenset[str]:
        """The pool keys of a build: its aliases, or its id if it has none.

        The operator's own aliases win: nobody else moves a build that he has placed.
        """
        told = (name for name, builds in self.aliases.items() if entry.id in builds)
        return frozenset(entry.aliases or told) or frozenset({entry.id})

    def after(
        self, said: "DesiredModels", before: "DesiredModels | None", settings: Settings
    ) -> "Topology":
        """What is known once ``said`` was heard.

        Args:
            said: The newest statement; an empty one says that nothing is wanted, and nothing
                of which builds belong together.
            before: The last statement on the same line: only an alias that stood there and is
                missing now was removed, for no statement names every alias there is.
            settings: What is offered; builds of others are not kept.
        """
        if not said.models:
            return self
        offered = {entry.id for entry in settings.models}
        named = {model.model_name for model in said.models}
        gone = {model.model_name for model in before.models} - named if before else set[str]()
        known = {name: builds for name, builds in self.aliases.items() if name not in gone}
        for model in said.models:
            builds = offered & {model.desired_build, model.previous_build}
            has_room = model.model_name in known or len(known) < MAX_ALIASES
            if builds and has_room and len(model.model_name) <= MAX_KEY_CHARS:
                known[model.model_name] = known.get(model.model_name, frozenset()) | builds
        return Topology(MappingProxyType(known))

    def listed(self, aliases: Mapping[str, Collection[str]]) -> "Topology":
        """What is known once a public catalog was read, which names every alias there is.

        Args:
            aliases: With the builds behind them, offered here or not yet.
        """
        known: dict[str, frozenset[str]] = {}
        for name, builds in aliases.items():
            if len(known) < MAX_ALIASES and len(name) <= MAX_KEY_CHARS:
                before = self.aliases.get(name, frozenset[str]())
                known[name] = before | frozenset(sorted(builds)[:MAX_BUILDS])
        return Topology(MappingProxyType(known))


@frozen
class Pool:
    """What this node serves now.

    Attributes:
        assigned: The pool key; ``None`` if there is none, or not one alone.
        models: Ids of the builds that may be fetched, loaded and asked, in the config's order.
        source: Who chose.
        scope: Every key the assignment may still narrow to.
        advertised: What a coordinator is told of; usually ``models``.
    """

    assigned: str | None
    models: tuple[str, ...]
    source: Source
    scope: tuple[str, ...] = ()
    advertised: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The key, for sentences."""
        return self.assigned or ", ".join(self.scope) or "none"

    def serves(self, model: str) -> bool:
        """Whether ``model`` may be fetched, loaded and asked."""
        return model in self.models


def pool_of(settings: Settings, *, machine_id: str) -> Pool:
    """The pool that the settings alone give this machine."""
    names = candidates(settings, Topology())
    return pool_for(seed(settings, names, machine_id=machine_id), settings, Topology())


def pool_for(assignment: Assignment, settings: Settings, topology: Topology) -> Pool:
    """What an assignment means with these settings.

    A node without an assignment may be asked for whatever is allowed: the first load or request
    that is taken chooses. The same holds where pools are not enforced, for good.
    """
    offered = allowed_of(settings)
    everything = tuple(entry.id for entry in offered)
    members = tuple(
        entry.id
        for entry in offered
        if _belongs(entry, assignment.scope, topology)
        and (not assignment.only or entry.id in assignment.only)
    )
    is_open = not settings.pools.enforce or not assignment.scope
    return Pool(
        assigned=assignment.pool,
        models=everything if is_open else members,
        source=assignment.source,
        scope=assignment.scope,
        advertised=everything if settings.pools.advertise == "all" else members,
    )


def candidates(
    settings: Settings, topology: Topology, *, too_large: Collection[str] = ()
) -> Mapping[str, frozenset[str]]:
    """The keys of every build that is offered, allowed and not known to be too large."""
    return {
        entry.id: topology.keys_of(entry)
        for entry in allowed_of(settings)
        if entry.id not in too_large
    }


def allowed_of(settings: Settings) -> Sequence[ModelEntry]:
    """What is offered and allowed, in the config's order."""
    return [entry for entry in settings.models if is_allowed(entry, settings.pools.allowed)]


def is_allowed(entry: ModelEntry, allowed: Sequence[str]) -> bool:
    """Whether a name or glob of the allow-list meets the build's id or one of its aliases.

    Only the operator's aliases count: else a coordinator could name its way past the list.
    """
    names = (entry.id, *entry.aliases)
    return not allowed or any(fnmatchcase(name, glob) for glob in allowed for name in names)


def digest_of(names: Mapping[str, Iterable[str]]) -> str:
    """A short digest of which keys each build has; it changes when the topology does."""
    lines = sorted(f"{build}\0{key}" for build, keys in names.items() for key in keys)
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def _belongs(entry: ModelEntry, scope: Collection[str], topology: Topology) -> bool:
    return entry.id in scope or not topology.keys_of(entry).isdisjoint(scope)
