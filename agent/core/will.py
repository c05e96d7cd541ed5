"""What this node would say to a load, or to a request for a model that is not loaded."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from functools import partial
from typing import TypeAlias

from ...backends.stores.base import Stock
from ...config.errors import AgentError
from ...config.frozen import frozen
from ...config.refusals import InsufficientMemory
from .cold import estimate
from .loads import Loads

Objects: TypeAlias = Callable[[str, int | None], AgentError | None]
"""Takes a build's id and the memory that its load would find, in bytes; gives why a request for
it would be refused now. An unknown memory is no reason."""


@frozen
class Will:
    """What the node itself says to loads, at one moment.

    Attributes:
        kept: Models that make way for no other now.
        takes_loads: Whether a load of any model may begin now.
        objects: Its refusals of requests for what is not loaded; unset: it has none.
    """

    kept: frozenset[str] = frozenset()
    takes_loads: bool = True
    objects: Objects | None = field(default=None, compare=False)

    def objection(self, model: str, room_bytes: int | None) -> AgentError | None:
        """Why a request for a model that is not loaded would be refused now, if so."""
        return None if self.objects is None else self.objects(model, room_bytes)


WILLING = Will()


def will(loads: Loads, busy: Collection[str], stocks: Mapping[str, Stock], now_s: float) -> Will:
    """What the node says to loads now; nothing is changed by asking."""
    wait_s = loads.guard.full_again_s(loads.settings.slots, now_s)
    objects = partial(_objection, loads, busy, stocks, now_s)
    return Will(loads.kept(now_s), wait_s <= 0.0, objects)


def _objection(
    loads: Loads,
    busy: Collection[str],
    stocks: Mapping[str, Stock],
    now_s: float,
    model: str,
    room_bytes: int | None,
) -> AgentError | None:
    error = loads.objection(model, busy, now_s, stocks)
    stock = stocks.get(model)
    build = None if stock is None else stock.build
    if error is not None or room_bytes is None or build is None or not build.is_here:
        return error
    needs = loads.measured.corrected(model, estimate(loads.settings, model, build))
    if needs.total_bytes <= room_bytes:
        return None
    return InsufficientMemory(model=model, needs_bytes=needs.total_bytes, free_bytes=room_bytes)
