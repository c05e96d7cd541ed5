"""Which pool this machine serves: the assignment that holds, and what is known of aliases.

The configuration, a state file, an operator, a coordinator and chance may all choose; here their
words become one assignment, which is written down as soon as it changes. How a machine gets from
one pool to another while models answer is the business of :mod:`.moves`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from ...backends.stores.base import Stock
from ...config.settings import Settings
from ..wire.inbound import DesiredModels
from .admission import ceiling_bytes
from .assignment import Assignment, Source, seed
from .effects import PersistAssignment, RefreshInventory
from .loads import Loads, Said
from .pool import Pool, Topology, candidates, digest_of, pool_for
from .requests import Ledger
from .slots import COMING, SlotState, most_used_first


class Choice:
    """Owner of the assignment and of what is known of aliases.

    Args:
        settings: What the operator chose.
        loads: Whose pool this is.
        ledger: Who is answered just now.
        machine_id: A random value that stays with the machine.

    Attributes:
        settings: What the operator chose last.
    """

    def __init__(
        self, settings: Settings, loads: Loads, ledger: Ledger, *, machine_id: str
    ) -> None:
        self.settings = settings
        self.loads = loads
        self.ledger = ledger
        self._machine_id = machine_id
        self._too_large: frozenset[str] = frozenset()
        self.topology = Topology()
        self.assignment = seed(settings, self._names(), machine_id=machine_id)
        self._repool()

    # ── what chooses ──────────────────────────────────────────────────────────────────

    def recalled(self, read: Assignment | None, now_s: float) -> list[Said]:
        """The state file was read: what it says holds, if it still can."""
        if read is not None:
            moved_s = None if read.moved_s is None else now_s + read.moved_s
            kept = replace(read, source="persisted", since_s=now_s + read.since_s, moved_s=moved_s)
            self.assignment = seed(
                self.settings, self._names(), machine_id=self._machine_id, kept=kept, now_s=now_s
            )
        else:
            self.assignment = replace(self.assignment, since_s=now_s)
        return self.adopt(self.assignment, now_s)

    def settings_changed(self, settings: Settings, now_s: float) -> list[Said]:
        """The operator chose otherwise."""
        self.settings = settings
        after = self._seeded(now_s)
        said = self.adopt(after, now_s) if after != self.assignment else []
        self._repool()
        return said

    def sized(
        self, stocks: Iterable[Stock], total_bytes: int | None, now_s: float, *, may_move: bool
    ) -> list[Said]:
        """Sizes are known: a pool that this machine cannot hold is not chosen by chance.

        Args:
            stocks: Every offered model, as far as its size is known.
            total_bytes: The memory in which weights live; ``None`` if it was not measured.
            now_s: The node's time.
            may_move: Whether nothing keeps the machine where it is.
        """
        if total_bytes is None:
            return []
        most = ceiling_bytes(total_bytes)
        self._too_large = frozenset(s.model for s in stocks if (s.size_bytes or 0) > most)
        names = self._names()
        fits = {key for keys in names.values() for key in keys}
        is_chance = self.assignment.source in {"sole", "hash"}
        if not is_chance or not fits or fits & {*self.assignment.scope} or not may_move:
            return []
        kept = replace(self.assignment, scope=())
        after = seed(self.settings, names, machine_id=self._machine_id, kept=kept, now_s=now_s)
        return [*self.adopt(after, now_s), RefreshInventory(self.loads.pool.models)]

    def desired(
        self, said: DesiredModels, before: DesiredModels | None, now_s: float
    ) -> list[Said]:
        """A coordinator told which builds stand behind its aliases.

        Whatever is in memory keeps its place: if the assigned alias is gone, the pool falls back
        to the keys that are left of what is here; if several were left, a statement that names
        one of them decides.
        """
        fell = self._redrawn(self.topology.after(said, before, self.settings), now_s)
        if fell:
            return fell
        named = {model.model_name for model in said.models}
        if len(named & {*self.assignment.scope}) == 1:
            return self._narrow(named, "desired", now_s)
        return []

    def listed(self, aliases: Mapping[str, Collection[str]] | None, now_s: float) -> list[Said]:
        """A public catalog told which builds stand behind its aliases, retired ones too."""
        return [] if aliases is None else self._redrawn(self.topology.listed(aliases), now_s)

    def taken(self, model: str, source: Source, now_s: float) -> list[Said]:
        """A load or a request was taken on: it chooses, or narrows, what nobody chose."""
        stay = self.loads.stays.find(model, COMING | {SlotState.READY})
        entry = self.settings.entry(model)
        if entry is None or stay is None or not stay.is_load:
            return []
        keys = self.topology.keys_of(entry)
        if self.assignment.scope:
            said = self._narrow({*keys, model}, source, now_s)
        else:
            said = self.adopt(self.assignment.then(keys, source, now_s), now_s)
        return [*said, *self.loads.expel(self.busy, now_s, is_all=False)] if said else []

    def released(self, now_s: float) -> list[Said]:
        """The operator takes his choice back: what is in memory decides, or else chance."""
        self.assignment = replace(self.assignment, scope=(), only=())
        said = self.adopt(self._seeded(now_s), now_s)
        return [*said, *self.loads.repool(self.settings, self.loads.pool, self.busy, now_s)]

    def adopt(self, after: Assignment, now_s: float) -> list[Said]:
        """Have an assignment hold from now on, and written down."""
        self.assignment = after
        self._repool()
        return [PersistAssignment(after, now_s, digest_of(self._names()))]

    # ── what would be chosen ──────────────────────────────────────────────────────────

    def pool_under(self, assignment: Assignment) -> Pool:
        """What this machine would serve if the assignment held."""
        return pool_for(assignment, self.settings, self.topology)

    def is_allowed(self, pool: str, models: Iterable[str]) -> bool:
        """Whether local policy lets this machine serve these builds of a pool, or any of it."""
        members = {*self.members(pool)}
        return bool(members) and members.issuperset(models)

    def members(self, pool: str) -> tuple[str, ...]:
        """The builds that are offered, allowed and of a pool, in the config's order."""
        names = candidates(self.settings, self.topology)
        return tuple(name for name, keys in names.items() if pool == name or pool in keys)

    def chosen_by(self, pool: str | None, model: str | None, now_s: float) -> tuple[str, ...]:
        """The keys that a wish means; without one, those that this machine would choose."""
        if pool is not None:
            return (
                tuple(self.topology.keys_of(entry))
                if pool == model and (entry := self.settings.entry(pool)) is not None
                else (pool,)
            )
        kept = replace(self.assignment, scope=())
        here = self._here()
        return seed(
            self.settings,
            self._names(),
            machine_id=self._machine_id,
            kept=kept,
            here=here,
            now_s=now_s,
        ).scope

    @property
    def busy(self) -> frozenset[str]:
        """The models that answer somebody just now."""
        return self.ledger.busy()

    # ── inside ────────────────────────────────────────────────────────────────────────

    def _names(self) -> dict[str, frozenset[str]]:
        return dict(candidates(self.settings, self.topology, too_large=self._too_large))

    def _here(self) -> list[str]:
        return most_used_first(self.loads.stays.all(), self.busy)

    def _seeded(self, now_s: float) -> Assignment:
        return seed(
            self.settings,
            self._names(),
            machine_id=self._machine_id,
            kept=self.assignment,
            here=self._here(),
            now_s=now_s,
        )

    def _redrawn(self, topology: Topology, now_s: float) -> list[Said]:
        """Builds belong together otherwise: an assigned alias that is gone falls back."""
        if topology == self.topology:
            return []
        members, self.topology = self.loads.pool.models, topology
        names, scope = self._names(), {*self.assignment.scope}
        known = {key for keys in names.values() for key in keys} | names.keys()
        if scope and not scope & known:
            here = [m for m in (*self._here(), *members) if m in names]
            after = self.assignment.then(names[here[0]], "resident", now_s) if here else None
            return self.adopt(after or self._seeded(now_s), now_s)
        self._repool()
        return []

    def _narrow(self, keys: Iterable[str], source: Source, now_s: float) -> list[Said]:
        after = self.assignment.narrowed(keys, source, now_s)
        return [] if after is self.assignment else self.adopt(after, now_s)

    def _repool(self) -> None:
        self.loads.pool = self.pool_under(self.assignment)
