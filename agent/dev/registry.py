"""Who is connected, what each offers and holds, and who is asked next.

The coordinator's memory, without its sockets: sockets tell it what was heard and when, the
HTTP side asks it for routes. Time is an argument, in seconds of one monotonic clock. Nothing
survives a socket; what was known of a provider that left is kept for a while to be looked at.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import asdict
from typing import TypeAlias

from ...config.frozen import frozen
from .provider import MOST_KEPT, Provider, RequestRecord

STALE_S = 90.0
"""A provider that has been silent for longer is on its way out, in seconds."""

SWEEPS_TO_EVICT = 2
PENDING_LOAD_S = 120.0
"""How long one load may be pending before it is planned again, in seconds."""


@frozen
class Alias:
    """A public name, the build it points at, and the one that build replaces."""

    name: str
    desired: str
    previous: str = ""


@frozen
class Route:
    """Whom to ask.

    Attributes:
        build: The concrete model id.
        is_resident: Whether it can answer without a load.
    """

    provider: Provider
    build: str
    is_resident: bool


Aliases: TypeAlias = dict[str, Alias]


class Registry:
    """All providers and requests of one coordinator."""

    def __init__(self, aliases: Iterable[Alias] = ()) -> None:
        self.aliases: Aliases = {alias.name: alias for alias in aliases}
        self.providers: dict[str, Provider] = {}
        self.gone: deque[Provider] = deque(maxlen=64)
        self.requests: OrderedDict[str, RequestRecord] = OrderedDict()

    def builds(self, asked: str) -> tuple[str, ...]:
        """The concrete models behind a name, the wanted one first."""
        alias = self.aliases.get(asked)
        if alias is None:
            return (asked,)
        return (alias.desired, alias.previous) if alias.previous else (alias.desired,)

    def names(self) -> list[str]:
        """Everything a client may ask for now: builds on offer, and aliases of such."""
        builds = {
            build for each in self.providers.values() if each.is_usable for build in each.models
        }
        live = {name for name in self.aliases if not builds.isdisjoint(self.builds(name))}
        return sorted(builds | live)

    def route(self, asked: str, *, skip: Iterable[str] = (), now_s: float) -> Route | None:
        """Whom to ask for a model: who holds it, else who could load it; the least busy.

        Args:
            asked: A build or an alias.
            skip: Providers that were tried already.
            now_s: The time.

        Returns:
            ``None`` if nobody offers it.
        """
        tried = set(skip)
        usable = [
            each for each in self.providers.values() if each.is_usable and each.id not in tried
        ]
        for is_resident in (True, False):
            for build in self.builds(asked):
                offering = [
                    each
                    for each in usable
                    if build in each.models and (build in each.resident) is is_resident
                ]
                if offering:
                    best = min(
                        offering, key=lambda each: (len(each.requests), each.has_pending(now_s))
                    )
                    return Route(provider=best, build=build, is_resident=is_resident)
        return None

    def desired_for(self, provider: Provider) -> list[dict[str, str]]:
        """The rows of ``desired_models`` that concern what a provider offers."""
        rows = (alias for alias in self.aliases.values() if self._concerns(alias, provider))
        return [desired_row(alias) for alias in rows]

    def desire(self, aliases: Iterable[Alias]) -> None:
        """Take another statement of what is desired; it replaces the last one."""
        self.aliases = {alias.name: alias for alias in aliases}

    def desired_rows(self) -> list[dict[str, str]]:
        """All rows of ``desired_models``, whomever they concern."""
        return [desired_row(alias) for alias in self.aliases.values()]

    def _concerns(self, alias: Alias, provider: Provider) -> bool:
        return not provider.models.keys().isdisjoint(self.builds(alias.name))

    def note_request(self, record: RequestRecord) -> None:
        """Keep a request's record; the oldest are forgotten."""
        self.requests[record.request_id] = record
        while len(self.requests) > MOST_KEPT:
            self.requests.popitem(last=False)

    def sweep(self, now_s: float, *, stale_s: float = STALE_S) -> list[Provider]:
        """Whom to evict: silent for too long, in two sweeps one after the other."""
        for each in self.providers.values():
            heard_s = max(each.connected_s, each.registered_s or 0.0, each.heartbeat_s or 0.0)
            each.stale_sweeps = each.stale_sweeps + 1 if now_s - heard_s > stale_s else 0
        return [each for each in self.providers.values() if each.stale_sweeps >= SWEEPS_TO_EVICT]

    def view(self, now_s: float) -> dict[str, object]:
        """All of it as JSON: who is here, who left lately, what was asked."""
        return {
            "now_s": now_s,
            "providers": [each.view() for each in self.providers.values()],
            "gone": [each.view() for each in self.gone],
            "requests": [asdict(each) for each in self.requests.values()],
            "aliases": [asdict(each) for each in self.aliases.values()],
        }

    def leave(self, provider: Provider, ended: str) -> None:
        """Forget a provider whose socket is gone."""
        provider.ended = ended
        self.providers.pop(provider.id, None)
        self.gone.append(provider)


def desired_row(alias: Alias) -> dict[str, str]:
    """One entry of ``desired_models``."""
    row = {"model_name": alias.name, "desired_build": alias.desired}
    return {**row, "previous_build": alias.previous} if alias.previous else row
