"""May a model come to this node? May it move into a slot now?

Two questions, two pure functions. The answer is a value that the caller matches on; nothing
is changed here.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias

from ...config.frozen import frozen
from ...config.refusals import InsufficientMemory, ModelNotInPool, PlacementError, SlotsBusy
from .pool import Pool
from .slots import COMING, LEAVING, SlotState, Stay, residents


@frozen
class Refuse:
    """Change nothing, and say why."""

    error: PlacementError


@frozen
class Join:
    """It is here, or on its way."""

    stay: Stay


@frozen
class Admit:
    """Start a stay: bring its bytes, disturb nobody."""


@frozen
class Grant:
    """Give it a slot now."""


@frozen
class Evict:
    """Release this resident, which is idle or outside the pool, then ask again."""

    model: str


@frozen
class Wait:
    """Somebody is on the way out already: ask again when he is gone."""


Settled: TypeAlias = Refuse | Grant | Evict | Wait
"""What :func:`settle` may answer."""


def admit(
    model: str,
    *,
    pool: Pool,
    stays: Sequence[Stay],
    slots: int,
    busy: Collection[str],
    pinned: Collection[str] = (),
) -> Refuse | Join | Admit:
    """Decide whether ``model`` may come to this node at all.

    Args:
        model: The build that is asked for.
        pool: What this node serves.
        stays: Every stay, in any state.
        slots: ``max_model_slots``.
        busy: Models with requests that have not ended.
        pinned: Models that make way for no other.

    Returns:
        :class:`Refuse` also when every slot is promised: to a resident that answers, or to
        a load in progress, which pins its slot before it holds it.
    """
    if not pool.serves(model):
        return Refuse(outside(model, pool))
    here = [stay for stay in stays if stay.model == model and stay.state not in LEAVING]
    if here and here[0].is_load:
        return Join(here[0])
    if is_full(pool=pool, stays=stays, slots=slots, busy=busy, pinned=pinned):
        return Refuse(SlotsBusy(model=model, slots=slots))
    return Join(here[0]) if here else Admit()


def is_full(
    *,
    pool: Pool,
    stays: Iterable[Stay],
    slots: int,
    busy: Collection[str],
    pinned: Collection[str],
) -> bool:
    """Whether every slot is promised to somebody: then nobody new may come, whoever it is."""
    kept = {*busy, *(name for name in pinned if pool.serves(name))}
    return sum(is_promised(stay, kept) for stay in stays) >= slots


def outside(model: str, pool: Pool) -> ModelNotInPool:
    """The refusal of a model that the pool does not hold."""
    return ModelNotInPool(model=model, pool=pool.name)


def is_promised(stay: Stay, busy: Collection[str]) -> bool:
    """Whether a stay's slot cannot be had by another: it loads, answers, or is pinned."""
    if stay.state in COMING:
        return stay.is_load
    return stay.state in {SlotState.READY, SlotState.DRAINING} and stay.model in busy


def settle(
    staged: Stay,
    *,
    stays: Sequence[Stay],
    slots: int,
    busy: Collection[str],
    free_bytes: int,
    outside: Collection[str] = (),
    pinned: Collection[str] = (),
    now_s: float = 0.0,
) -> Settled:
    """Decide whether a STAGED stay may take a slot now.

    Args:
        staged: The stay whose bytes are verified and wait.
        stays: Every stay, ``staged`` among them.
        slots: ``max_model_slots``.
        busy: Models with requests that have not ended.
        free_bytes: Memory that a new model may take as things are.
        outside: Models outside the pool: they go even if they answer, once they have answered.
        pinned: Models that make way for no other.
        now_s: The node's time.

    Returns:
        Never an :class:`Evict` that would not help: if the model does not fit even with
        every resident gone that may go, all of them stay.
    """
    here = residents(stays)
    leaving = [stay for stay in here if stay.state in LEAVING]
    gone_soon = {stay.model for stay in leaving if stay.model not in busy} | {*outside}
    if any(stay.model in gone_soon or stay.model == staged.model for stay in leaving):
        return Wait()
    idle = [
        stay
        for stay in here
        if stay.state is SlotState.READY
        and (stay.model not in busy or stay.model in outside)
        and (stay.model not in pinned or stay.model in outside)
    ]
    is_full = len(here) >= slots
    if not is_full and staged.needs_bytes <= free_bytes:
        return Grant()
    if staged.needs_bytes > free_bytes + sum(stay.claims_bytes for stay in idle):
        return Refuse(_too_large(staged, here, idle, slots, free_bytes))
    if idle:
        cheapest = min(
            idle,
            key=lambda s: (s.model not in outside, reload_cost(s, now_s), s.last_used_s),
        )
        return Evict(cheapest.model)
    return Refuse(SlotsBusy(model=staged.model, slots=slots))


def in_doubt(now: Settled, later: Settled) -> Settled:
    """Wait for the end of a load, where that may show room.

    What a load was promised may be missing from the machine's reading already, or not yet.
    Nobody is refused, and nobody has to go, before that is known.

    Args:
        now: What :func:`settle` says if all of it is still to be taken.
        later: What it says if all of it was taken.
    """
    has_room = isinstance(later, Grant) and not isinstance(now, Grant)
    has_hope = isinstance(later, Evict) and isinstance(now, Refuse)
    return Wait() if has_room or has_hope else now


def reload_cost(stay: Stay, now_s: float) -> float:
    """What it costs to have an idle resident gone: bytes, load time, how lately it was asked."""
    idle_s = max(0.0, now_s - stay.last_used_s)
    return stay.takes_bytes * (1.0 if stay.load_s is None else stay.load_s) / (1.0 + idle_s)


def _too_large(
    staged: Stay, here: Sequence[Stay], idle: Iterable[Stay], slots: int, free_bytes: int
) -> PlacementError:
    """Busy residents may leave one day; a machine that is too small will not grow."""
    gone_bytes = sum(stay.claims_bytes for stay in idle)
    if staged.needs_bytes <= free_bytes + sum(stay.claims_bytes for stay in here):
        return SlotsBusy(model=staged.model, slots=slots)
    return InsufficientMemory(
        model=staged.model, needs_bytes=staged.needs_bytes, free_bytes=free_bytes + gone_bytes
    )
