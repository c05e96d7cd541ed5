"""How far this machine is with what a coordinator desires, build by build."""

from collections.abc import Iterable, Iterator, Mapping

from ...backends.stores.base import Stock
from ...config.frozen import frozen
from .loads import Loads
from .pool import is_allowed
from .slots import COMING


@frozen
class Desired:
    """One build that a coordinator wants here.

    Attributes:
        name: The alias that points at it.
        model: The build's id.
        previous: The build that it replaces; ``None`` if there is none.
        state: ``answering``, ``on_disk``, ``coming``, ``waiting`` for its turn, ``failed`` and
            to be tried again, or ``ignored`` by local policy.
        why: Why it is ignored; empty if it is not.
        failures: How often in a row its bytes did not come.
        again_s: When it is tried again, in the node's time; ``None`` if it does not wait.
    """

    name: str
    model: str
    previous: str | None
    state: str
    why: str = ""
    failures: int = 0
    again_s: float | None = None


class Ignored:
    """Which desired builds local policy keeps away; each is told once.

    What was gone in between is told again.
    """

    def __init__(self) -> None:
        self._told: frozenset[tuple[str, str]] = frozenset()

    def news(self, rows: Iterable[Desired]) -> list[Desired]:
        """Those of a statement that the one before did not name, or that had another reason."""
        now = {(row.model, row.why): row for row in rows if row.state == "ignored"}
        new = [row for key, row in now.items() if key not in self._told]
        self._told = frozenset(now)
        return new


def convergence(loads: Loads, stocks: Mapping[str, Stock]) -> Iterator[Desired]:
    """Every row of the statement that holds, in its order.

    Args:
        loads: Whose wishes these are.
        stocks: What lies on disk.
    """
    said = loads.wishes.desired
    for row in said.models if said is not None else ():
        model = row.desired_build
        times, again_s = loads.wishes.failures(model)
        why = _ignored(loads, model)
        state = "ignored" if why else _state(loads, model, stocks, has_failed=times > 0)
        previous = row.previous_build or None
        yield Desired(row.model_name, model, previous, state, why, times, again_s)


def _ignored(loads: Loads, model: str) -> str:
    entry = loads.settings.entry(model)
    if entry is None:
        return "it is not offered here"
    if not is_allowed(entry, loads.settings.pools.allowed):
        return "pools.allowed does not allow it"
    return "" if loads.pool.serves(model) else f"it is outside the pool '{loads.pool.name}'"


def _state(loads: Loads, model: str, stocks: Mapping[str, Stock], *, has_failed: bool) -> str:
    if loads.stays.ready(model) is not None:
        return "answering"
    if loads.stays.find(model, COMING) is not None:
        return "coming"
    if model in stocks and stocks[model].state == "here":
        return "on_disk"
    return "failed" if has_failed else "waiting"
