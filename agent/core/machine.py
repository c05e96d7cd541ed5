"""What is known of the machine now: what it is, how it is, what runs on it, what lies on its disk.

Readings come as events and are kept here, the latest of each; nothing is read here.
"""

from collections.abc import Collection, Iterable, Mapping

from ...backends.engines.base import Load
from ...backends.hosts.base import HostFacts, HostSample
from ...backends.stores.base import Stock, Survey
from ...config.settings import Settings
from . import report
from .admission import budget_bytes
from .slots import Stay
from .stays import holdings_of


class Machine:
    """The latest readings; the only one that keeps them.

    Attributes:
        facts: What the machine is; ``None`` until it was looked at, and nothing is done before.
        sample: How it is.
        loads: By model, how busy each running engine is.
        stocks: By model, what of the offered ones is on disk.
        lacks: By model, what helps where its engine is not here.
        survey: How the cache stands; ``None`` until its keeper looked.
        catalog: Weight hashes by build, as the coordinator's catalog has them; ``None``: unread.
    """

    def __init__(self) -> None:
        self.facts: HostFacts | None = None
        self.sample = HostSample()
        self.loads: dict[str, Load] = {}
        self.stocks: dict[str, Stock] = {}
        self.lacks: dict[str, str] = {}
        self.survey: Survey | None = None
        self.catalog: Mapping[str, str] | None = None

    def sampled(self, sample: HostSample, loads: Mapping[str, Load]) -> None:
        """The machine and its engines were read."""
        self.sample, self.loads = sample, dict(loads)

    def listed(self, stocks: Iterable[Stock], lacks: Iterable[tuple[str, str]] = ()) -> None:
        """The disk was looked at, and which engines there are."""
        self.stocks, self.lacks = {stock.model: stock for stock in stocks}, dict(lacks)

    def stopped(self, model: str) -> None:
        """An engine is gone, and what was read of it is of no meaning any more."""
        self.loads.pop(model, None)

    def free_bytes(
        self,
        settings: Settings,
        stays: Iterable[Stay],
        busy: Collection[str],
        *,
        are_loaded: bool = False,
    ) -> int:
        """What a new model could take as things are; 0 if that cannot be told.

        Args:
            settings: They say what is never promised.
            stays: Every stay, in any state.
            busy: Models with requests that have not ended.
            are_loaded: Whether to take it that those that load have taken all of theirs already.
        """
        return budget_bytes(
            total_bytes=self.sample.memory_total_bytes,
            available_bytes=self.sample.memory_available_bytes,
            reserve_bytes=report.reserve_bytes(settings),
            holdings=holdings_of(stays, busy, are_loaded=are_loaded),
        )
