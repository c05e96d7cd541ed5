"""Which builds have to stay on this disk, whatever room is wanted."""

from collections.abc import Iterable
from dataclasses import field

from ...config.frozen import frozen
from ..wire.inbound import DesiredModels
from .foresight import Foresee
from .slots import Stay


@frozen
class Wanted:
    """Models by what they are wanted for.

    Attributes:
        here: In memory or on their way there: their files are being read or written.
        kept: Not to leave the disk: those, and what is pinned or desired.
        loads: Those of the first that are to be loaded, not only fetched.
        foresee: Tells why a model could not be loaded whenever it came; ``None``: nobody can.
    """

    here: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    loads: frozenset[str] = frozenset()
    foresee: Foresee | None = field(default=None, compare=False)


def wanted_of(
    stays: Iterable[Stay],
    pinned: Iterable[str],
    desired: DesiredModels | None,
    foresee: Foresee | None = None,
) -> Wanted:
    """What the node wants as things are.

    Args:
        stays: Every stay, in any state.
        pinned: Models that make way for no other.
        desired: What the coordinator wants here; ``None`` if it never said.
        foresee: Tells why a model could not be loaded whenever it came.
    """
    stays = tuple(stays)
    here = frozenset(stay.model for stay in stays)
    loads = frozenset(stay.model for stay in stays if stay.is_load)
    builds = () if desired is None else (one.desired_build for one in desired.models)
    return Wanted(here, here.union(pinned, builds), loads, foresee)
