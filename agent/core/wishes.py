"""Wishes for bytes alone: ``prefetch_model`` and the desired builds of a pool.

One build at a time comes to disk in the background, prefetches first. Nothing here takes a slot
or unloads anybody; what a coordinator is told of a prefetch is at most its reference node's pace.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from ...backends.stores.base import Progress, Stock
from ...config.errors import AgentError
from ...config.frozen import frozen
from ...config.settings import Settings
from ..wire.inbound import DesiredModels, PrefetchModel
from ..wire.outbound import PrefetchModelStatus
from .ahead import Ahead
from .pool import Pool, is_allowed
from .slots import COMING
from .stays import Outcome, Stays

MOST_ETA_S = 366 * 86400.0
"""Nothing is foretold beyond a year."""

PROGRESS_EVERY_S = 2.0
PROGRESS_EVERY_RATIO = 0.05
"""A prefetch is reported at most so often: the reference node's pace."""

Came: TypeAlias = "Outcome | PrefetchModelStatus"
"""What comes of a wish for bytes."""


@frozen
class _Told:
    """What was last reported of a prefetch."""

    at_s: float
    ratio: float


class Wishes:
    """Every wish for bytes, and whose turn it is.

    Args:
        stays: Where a build's stay begins, and where it is looked for.
        chance: Gives numbers in [0, 1).

    Attributes:
        desired: What the coordinator wants here; ``None`` until it said so on this line.
        is_known: Whether the coordinator has shown that it knows more than the stock protocol.
    """

    def __init__(self, stays: Stays, chance: Callable[[], float]) -> None:
        self.desired: DesiredModels | None = None
        self.is_known = False
        self._stays = stays
        self._ahead = Ahead(chance)
        self._prefetches: dict[str, _Told] = {}
        self._wished: set[str] = set()
        self._tried: set[str] = set()
        self._swapped: set[str] = set()
        self._pushed_s = 0.0

    @property
    def deadline_s(self) -> float | None:
        """By when :meth:`look` wants to be called; ``None`` if only an event can help."""
        return self._ahead.deadline_s

    def prefetch(self, wish: PrefetchModel, settings: Settings, now_s: float) -> list[Came]:
        """The coordinator wants the model's bytes here; whatever is allowed may come."""
        model = wish.model_id
        entry = settings.entry(model)
        if entry is None or not is_allowed(entry, settings.pools.allowed):
            text = f"model '{model}' not in advertised model list"
            return [PrefetchModelStatus(model_id=model, status="failed", error=text)]
        self._prefetches[model] = _Told(now_s, 0.0)
        started = PrefetchModelStatus(model_id=model, status="started")
        if self._stays.ready(model):
            return [started, *self.told(model, None)]
        others = (s for s in self._stays.all() if s.state in COMING and s.model != model)
        if any(not stay.is_load for stay in others):
            return [started] if self._ahead.put(model, wish.priority) else self._full(model)
        return [started, *self._bring(model, now_s)]

    def desire(self, wish: DesiredModels, now_s: float) -> list[Came]:
        """The coordinator says what it wants here, in full; what it no longer wants stops."""
        if wish != self.desired:
            self._pushed_s = now_s
            self._tried.clear()
            self._swapped.clear()
            self._ahead.forgive()
        self.desired = wish
        wanted = {model.desired_build for model in wish.models}
        came: list[Came] = []
        for model in sorted(self._wished - wanted):
            self._wished.discard(model)
            stay = self._stays.find(model, COMING)
            if stay is not None and not stay.is_load and model not in self._prefetches:
                came += self._stays.release(model, None, now_s)
        return came

    def awaited(self, stocks: Mapping[str, Stock]) -> frozenset[str]:
        """The desired builds that are not here yet: nobody is told of them before they are."""
        rows = self.desired.models if self.desired is not None else ()
        here = {stock.model for stock in stocks.values() if stock.state == "here"}
        return frozenset(row.desired_build for row in rows) - here

    def failures(self, model: str) -> tuple[int, float | None]:
        """How often in a row a build's bytes did not come, and when they are tried again."""
        return self._ahead.failures(model)

    def look(self, now_s: float) -> bool:
        """Look at the clock.

        Returns:
            Whether :meth:`next` may have something to begin.
        """
        return self._ahead.look(now_s)

    def next(self, pool: Pool, stocks: Mapping[str, Stock], now_s: float) -> list[Came]:
        """Begin what has its turn now: prefetches first, then what is desired."""
        if self._is_busy:
            return []
        model = self._ahead.next()
        if model is None:
            return self.pursue(pool, stocks, now_s)
        is_here = self._stays.ready(model) is not None
        return [*self.told(model, None)] if is_here else self._bring(model, now_s)

    def pursue(self, pool: Pool, stocks: Mapping[str, Stock], now_s: float) -> list[Came]:
        """Bring the next desired build of the pool to disk, one at a time."""
        if self.desired is None or self._is_busy:
            return []
        for wanted in self.desired.models:
            model = wanted.desired_build
            is_here = model in stocks and stocks[model].state == "here"
            is_here = is_here or self._stays.ready(model) is not None
            may_try = model not in self._tried and self._ahead.may_try(model)
            if pool.serves(model) and not is_here and may_try:
                self._wished.add(model)
                return self._bring(model, now_s)
        return []

    def swap(self, pool: Pool, stocks: Mapping[str, Stock]) -> tuple[str, str] | None:
        """A resident build that its alias's desired one may replace, and that one.

        Only what lies here, verified, replaces anything, and each wish is tried once.
        """
        if self.desired is None:
            return None
        for row in self.desired.models:
            before, after = row.previous_build, row.desired_build
            is_here = after in stocks and stocks[after].state == "here"
            if not before or before == after or not is_here or after in self._swapped:
                continue
            resident = self._stays.ready(before)
            # who was loaded since is wanted by whoever had him loaded
            if resident is None or resident.since_s > self._pushed_s:
                continue
            if pool.serves(after) and self._is_away(after):
                return before, after
        return None

    def superseded(self) -> list[str]:
        """Residents whose alias's desired build answers beside them: a free slot let it come.

        Whoever is desired by another alias is not among them, nor who was loaded since the wish.
        """
        rows = self.desired.models if self.desired is not None else ()
        wanted = {row.desired_build for row in rows}
        found: list[str] = []
        for row in rows:
            before = row.previous_build
            if not before or before in wanted or self._stays.ready(row.desired_build) is None:
                continue
            resident = self._stays.ready(before)
            if resident is not None and resident.since_s <= self._pushed_s:
                found.append(before)
        return found

    def swapped(self, model: str, *, is_over: bool = True) -> None:
        """The desired build is on its way into memory; or it is not, and may try again."""
        (self._swapped.add if is_over else self._swapped.discard)(model)

    def _is_away(self, model: str) -> bool:
        return all(stay.model != model for stay in self._stays.all())

    def progressed(
        self, model: str, progress: Progress, now_s: float
    ) -> Iterable[PrefetchModelStatus]:
        """More bytes are here: told if somebody waits for them, and not too often."""
        told = self._prefetches.get(model)
        ratio = progress.bytes_done / progress.bytes_total if progress.bytes_total else 0.0
        if told is None or (
            now_s - told.at_s < PROGRESS_EVERY_S and ratio - told.ratio < PROGRESS_EVERY_RATIO
        ):
            return []
        self._prefetches[model] = _Told(now_s, ratio)
        more = self.is_known and progress.bytes_total > 0
        rate = progress.rate_bytes_s if more else None
        return [
            PrefetchModelStatus(
                model_id=model,
                status="downloading",
                bytes_done=progress.bytes_done,
                bytes_total=progress.bytes_total,
                percent=percent(progress) if more else None,
                rate_bytes_s=round(rate) if rate else None,
                eta_s=_whole(progress.eta_s) if more else None,
            )
        ]

    def ended(self, model: str, error: AgentError | None) -> list[PrefetchModelStatus]:
        """Bytes that were fetched ahead are here, or did not come."""
        if error is None:
            self._tried.add(model)
            self._ahead.came(model)
        else:
            self._ahead.failed(model)
        return self.told(model, error)

    def told(self, model: str, error: AgentError | None) -> list[PrefetchModelStatus]:
        """The end of a prefetch, if one was asked for."""
        if self._prefetches.pop(model, None) is None:
            return []
        return [prefetch_status(model, error)]

    def line_lost(self) -> None:
        """Whoever wished is gone."""
        self._prefetches.clear()
        self._ahead.clear_queue()
        self.desired, self.is_known = None, False

    @property
    def _is_busy(self) -> bool:
        return any(stay.state in COMING and not stay.is_load for stay in self._stays.all())

    def _full(self, model: str) -> list[Came]:
        del self._prefetches[model]
        return [PrefetchModelStatus(model_id=model, status="failed", error="server busy")]

    def _bring(self, model: str, now_s: float) -> list[Came]:
        if self._stays.find(model, COMING) is not None:
            return []
        return [*self._stays.begin(model, now_s, is_load=False, askers=0)]


def percent(progress: Progress) -> float | None:
    """How much is here, of 100; ``None`` while nobody knows how much there is."""
    if progress.bytes_total <= 0:
        return None
    return round(min(100.0, 100.0 * progress.bytes_done / progress.bytes_total), 1)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(max(0.0, min(seconds, MOST_ETA_S)))


def prefetch_status(model: str, error: AgentError | None) -> PrefetchModelStatus:
    """How a prefetch ended."""
    if error is None:
        return PrefetchModelStatus(model_id=model, status="verified")
    return PrefetchModelStatus(model_id=model, status="failed", error=error.load_text)
