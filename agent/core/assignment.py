"""Which pool is this machine's, who said so, and when may that change?

One assignment at a time, with an epoch that grows with every change, so that a word that comes
late is known for one. Where nobody says anything, each machine chooses for itself: always the
same, and spread evenly over a fleet.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Literal

from ...config.frozen import frozen
from ...config.settings import Settings
from .slots import COMING, SlotState, Stay

Source = Literal[
    "config", "operator", "persisted", "resident", "sole", "hash", "message", "load", "request",
    "desired", "none",
]  # fmt: skip
"""Who chose: the configuration, the operator since, the state file, what is in memory, the lack of
any other, the rendezvous hash, a coordinator's word, a load, a request, the desired list; or
nobody yet."""

MOST_EPOCH = 2**62
"""No epoch from outside may be larger: ours grow by one from there, and the wire has 63 bits."""


@frozen
class Assignment:
    """The one pool of this machine.

    Attributes:
        scope: The pool keys, sorted; more than one only for a build that several aliases share,
            until something narrows it; none while nobody chose.
        source: Who chose.
        epoch: Grows with each change.
        since_s: When it was chosen, in the node's time.
        only: The builds to which a coordinator narrowed the pool; empty: all of it.
        moved_s: When this machine was moved from one pool to another last, if ever.
    """

    scope: tuple[str, ...] = ()
    source: Source = "none"
    epoch: int = 0
    since_s: float = 0.0
    only: tuple[str, ...] = ()
    moved_s: float | None = None

    @property
    def pool(self) -> str | None:
        """The pool key; ``None`` unless it is one alone."""
        return self.scope[0] if len(self.scope) == 1 else None

    def then(
        self,
        scope: Iterable[str],
        source: Source,
        now_s: float,
        *,
        epoch: int | None = None,
        only: Iterable[str] = (),
    ) -> "Assignment":
        """The assignment that follows this one."""
        after = self.epoch + 1 if epoch is None else epoch
        return Assignment(
            tuple(sorted(set(scope))), source, after, now_s, tuple(only), self.moved_s
        )

    def narrowed(self, keys: Iterable[str], source: Source, now_s: float) -> "Assignment":
        """What is left once something was taken on that has only these keys."""
        left = set(self.scope) & set(keys)
        if not left or left == set(self.scope):
            return self
        return replace(self.then(left, source, now_s), only=self.only)


NOBODY = Assignment()


def seed(
    settings: Settings,
    names: Mapping[str, frozenset[str]],
    *,
    machine_id: str,
    kept: Assignment = NOBODY,
    here: Sequence[str] = (),
    now_s: float = 0.0,
) -> Assignment:
    """Choose, where nothing is chosen; the first of these that yields a key.

    The configuration; what is kept, if anything of it is still offered and allowed; what is in
    memory, or was last; the only key there is; the key that wins for this machine. Where the
    whole list is advertised the coordinator is meant to choose, so the last two are left out.

    Args:
        settings: Whose ``pools`` count.
        names: The keys of each build that is offered, allowed and not too large.
        machine_id: A random value that stays with the machine.
        kept: The assignment so far, or of the run before.
        here: Builds in memory, those that answer first, then the latest used.
        now_s: The node's time.

    Returns:
        ``kept``, with whoever chose it now, if the scope is the same; else an assignment with
        the next epoch.
    """
    scope, source = _choice(settings, names, machine_id, kept, here)
    if tuple(sorted(scope)) == kept.scope:
        return kept if source == "persisted" else replace(kept, source=source)
    return kept.then(scope, source, now_s)


def _choice(
    settings: Settings,
    names: Mapping[str, frozenset[str]],
    machine_id: str,
    kept: Assignment,
    here: Sequence[str],
) -> tuple[Iterable[str], Source]:
    if settings.pools.assigned is not None:
        return (settings.pools.assigned,), "config"
    offered = {key for keys in names.values() for key in keys}
    known = offered | names.keys()
    if kept.scope and known.issuperset(kept.scope):
        return kept.scope, "persisted"
    for model in here:
        if model in names:
            return names[model], "resident"
    if not offered or settings.pools.advertise == "all":
        return (), "none"
    return (winner(machine_id, offered),), "sole" if len(offered) == 1 else "hash"


def winner(machine_id: str, keys: Iterable[str]) -> str:
    """The key that wins the rendezvous hash: no order decides, and a new key moves few machines.

    Raises:
        ValueError: There is no key.
    """
    return max(sorted(keys), key=lambda key: sha256(f"{machine_id}\0{key}".encode()).digest())


def obstacle(
    assignment: Assignment,
    settings: Settings,
    *,
    stays: Iterable[Stay],
    requests: int,
    pinned: Collection[str],
    is_draining: bool,
    now_s: float,
    may_drain: bool = False,
) -> str | None:
    """The first thing that keeps this machine from another pool now; ``None`` if nothing does.

    Args:
        assignment: What holds.
        settings: Whose ``pools`` count.
        stays: Every stay: a load in progress pins the pool with nothing in memory yet.
        requests: How many were accepted and have not ended.
        pinned: Models that make way for no other.
        is_draining: Whether the node takes nothing new.
        now_s: The node's time.
        may_drain: Whether requests that run, and what is on its way, may be waited for.
    """
    if settings.pools.assigned is not None:
        return "the pool is assigned by local configuration"
    if not settings.pools.enforce:
        return "pools are not enforced here"
    if is_draining:
        return "provider draining for update"
    for stay in stays:
        is_here = stay.state is SlotState.READY or (stay.state in COMING and stay.is_load)
        if stay.model in pinned and is_here:
            return "a resident model is pinned"
        if not may_drain and stay.state in COMING and stay.is_load:
            return f"a model is {stay.state}"
        if not may_drain and stay.state is not SlotState.READY:
            return f"a model is {stay.state}"
    if requests and not may_drain:
        return f"{requests} request(s) in flight"
    if assignment.moved_s is None:
        return None
    left_s = assignment.moved_s + settings.pools.min_dwell_s - now_s
    return f"reassigned too recently, {left_s:.0f} s left" if left_s > 0 else None
