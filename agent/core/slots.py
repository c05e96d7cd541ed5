"""One model's stay on this node, as a table.

A *slot* is room in memory for one model. A stay holds one from LOADING to UNLOADING; until
then its bytes arrive and are checked while the resident model goes on answering. Whatever
may happen to a stay stands in :data:`TRANSITIONS`, and what does not stand there cannot
happen. There is no failed state to be stuck in: a failure ends the stay and travels on as a
value.

::

    DOWNLOADING ─▶ VERIFYING ─▶ STAGED ─▶ LOADING ─▶ READY ─▶ DRAINING ─▶ UNLOADING ─▶ EMPTY
         └─────────────┴───────────┴─▶ EMPTY └─────────┴──────────┴─▶ UNLOADING
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType

from ...backends.stores.base import Build, Progress
from ...config.frozen import frozen


class SlotState(StrEnum):
    """Where a stay is between nothing and a model that answers."""

    EMPTY = "empty"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    STAGED = "staged"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    UNLOADING = "unloading"


class SlotEvent(StrEnum):
    """What can happen to a stay."""

    FETCHED = "fetched"
    VERIFIED = "verified"
    GRANTED = "granted"
    LOADED = "loaded"
    RELEASED = "released"
    DRAINED = "drained"
    STOPPED = "stopped"
    FAILED = "failed"


_S, _E = SlotState, SlotEvent

TRANSITIONS: Mapping[tuple[SlotState, SlotEvent], SlotState] = MappingProxyType(
    {
        # the way in and out
        (_S.DOWNLOADING, _E.FETCHED): _S.VERIFYING,
        (_S.VERIFYING, _E.VERIFIED): _S.STAGED,
        (_S.STAGED, _E.GRANTED): _S.LOADING,
        (_S.LOADING, _E.LOADED): _S.READY,
        (_S.READY, _E.RELEASED): _S.DRAINING,
        (_S.DRAINING, _E.DRAINED): _S.UNLOADING,
        (_S.UNLOADING, _E.STOPPED): _S.EMPTY,
        # no engine yet: nothing to stop
        (_S.DOWNLOADING, _E.RELEASED): _S.EMPTY,
        (_S.DOWNLOADING, _E.FAILED): _S.EMPTY,
        (_S.VERIFYING, _E.RELEASED): _S.EMPTY,
        (_S.VERIFYING, _E.FAILED): _S.EMPTY,
        (_S.STAGED, _E.RELEASED): _S.EMPTY,
        (_S.STAGED, _E.FAILED): _S.EMPTY,
        # an engine that may be alive is stopped before its memory counts as free
        (_S.LOADING, _E.RELEASED): _S.UNLOADING,
        (_S.LOADING, _E.FAILED): _S.UNLOADING,
        (_S.READY, _E.FAILED): _S.UNLOADING,
        (_S.DRAINING, _E.FAILED): _S.UNLOADING,
    }
)

HOLDS_MEMORY = frozenset({_S.LOADING, _S.READY, _S.DRAINING, _S.UNLOADING})
"""The states that occupy a slot: ``max_model_slots`` bounds how many stays are in them."""

COMING = frozenset({_S.DOWNLOADING, _S.VERIFYING, _S.STAGED, _S.LOADING})
"""The states that lead to READY by themselves."""

LEAVING = frozenset({_S.DRAINING, _S.UNLOADING})
"""The states that lead to EMPTY by themselves."""


@frozen
class Stay:
    """One model's time on this node.

    Attributes:
        is_load: Whether it wants a slot; otherwise its bytes are fetched ahead and it ends
            once they are verified.
        askers: Loads of the coordinator that wait for an answer.
        since_s: When it came into its state, in the node's time.
        build: What lies on disk; known from STAGED on.
        needs_bytes: Memory that it takes with one request of full length, as admitted, and as
            corrected once it is measured; 0 until STAGED.
        holds_bytes: Memory that it took, measured; ``None`` until READY or if unmeasurable.
        load_s: Seconds its load took.
        context_tokens: Most tokens its engine can hold of one request.
        sleeps: Whether its engine leaves its memory by itself when it is idle for long.
        last_used_s: When its last request ended, in the node's time; since READY if none did.
        progress: How far its download is.
        displaced: Models that went for it; they come back if it does not.
    """

    model: str
    state: SlotState = SlotState.DOWNLOADING
    is_load: bool = True
    askers: int = 0
    since_s: float = 0.0
    build: Build | None = None
    needs_bytes: int = 0
    holds_bytes: int | None = None
    load_s: float | None = None
    context_tokens: int | None = None
    sleeps: bool = False
    last_used_s: float = 0.0
    progress: Progress | None = None
    displaced: tuple[str, ...] = ()

    def after(self, event: SlotEvent, now_s: float) -> "Stay":
        """The stay that ``event`` makes of this one.

        Raises:
            KeyError: If the table has no such transition: a bug, not a failure.
        """
        return replace(self, state=TRANSITIONS[self.state, event], since_s=now_s)

    @property
    def takes_bytes(self) -> int:
        """Memory to count for it: what was measured, else what was admitted."""
        return self.holds_bytes if self.holds_bytes is not None else self.needs_bytes

    @property
    def due_bytes(self) -> int:
        """Memory that it may still take beyond that, while it answers."""
        is_answering = self.state in {SlotState.READY, SlotState.DRAINING}
        return max(0, self.needs_bytes - self.takes_bytes) if is_answering else 0

    @property
    def claims_bytes(self) -> int:
        """Memory that others may have once it is gone."""
        return self.takes_bytes + self.due_bytes


def most_used_first(stays: Iterable[Stay], busy: Collection[str]) -> list[str]:
    """Models in memory, those that answer first, then the latest used; then those that load."""
    known = [stay for stay in stays if stay.is_load]
    known.sort(key=lambda s: (s.model in busy, s.state not in COMING, s.last_used_s), reverse=True)
    return [stay.model for stay in known]


def residents(stays: Iterable[Stay]) -> list[Stay]:
    """The stays that occupy a slot."""
    return [stay for stay in stays if stay.state in HOLDS_MEMORY]
