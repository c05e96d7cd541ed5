"""A coordinator's public catalog, read in the background: which builds may be offered from there.

Asked at the start, then now and then, and soon after a model was named that nobody here knows.
What was read last is kept in the state folder, so that a restart offers the same without it. A
failure changes nothing: it is told, and what is known stays offered. No redirect is followed and
nobody is shown who we are.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from ...backends.engines.http_call import CallFailed, Peer, call
from ...backends.stores.addresses import Guard, named
from ...backends.stores.errors import ModelMissing, StoreDenied, StoreUnreachable, WeightsCorrupt
from ...config.errors import AgentError, StateDamaged
from ...config.settings import ModelEntry, Settings
from ..core.events import CatalogRead, Event, ListingFailed
from ..weights.manifest import MAX_MANIFEST_BYTES
from ..weights.registry import (
    CATALOG_PATH,
    MAX_ALIASES,
    MAX_CATALOG_BYTES,
    MAX_OFFERED,
    Listed,
    manifest_path,
    offer,
    read_listing,
    wanted,
)
from .state_files import Pen, Strict, read_file

FILE = "catalog.json"
SOON_S = 5.0
"""Two readings are never closer than this, whatever is named."""

CONNECT_S, SILENCE_S, WHOLE_S = 10.0, 15.0, 60.0
"""Seconds for one connection, between two pieces of an answer, and for all of an answer."""

_OK, _DENIED, _NOT_THERE = 200, frozenset({401, 403}), frozenset({404, 410})

_Text = Annotated[str, Field(min_length=1, max_length=1024)]


class _Kept(Strict):
    """One build, as it was offered last."""

    id: _Text
    ref: _Text
    weight_hash: _Text


class _File(Strict):
    """What was read last."""

    models: Annotated[list[_Kept], Field(max_length=MAX_OFFERED)]
    aliases: Annotated[dict[_Text, list[_Text]], Field(max_length=MAX_ALIASES)]


class Registry:
    """Owner of what a catalog has told.

    Args:
        settings: Those of the start; ``[catalog]`` holds until a restart.
        state_dir: Where what was read last is kept.
        tell: Puts an event into the inbox.
        offers: Takes all builds that are offered from the catalog.
        taken: The ids that ``[[models]]`` names now.
    """

    def __init__(
        self,
        settings: Settings,
        state_dir: Path,
        *,
        tell: Callable[[Event], None],
        offers: Callable[[Sequence[ModelEntry]], None],
        taken: Callable[[], Iterable[str]],
    ) -> None:
        self._policy = settings.catalog.at(_origin(settings))
        self._path = state_dir / FILE
        self._tell, self._pen = tell, Pen(tell)
        self._offers = offers
        self._taken = taken
        self._asked = asyncio.Event()
        self._url = self._policy.url or ""
        self._is_home = self._url == _origin(settings)
        self._ca_file = settings.coordinator.ca_file
        self._host = named(self._url)
        # whom the operator named may be asked, wherever that is; nobody else is
        self._guard = Guard(self._host, [self._host, *settings.stores.trusted_hosts])
        self._known: dict[Listed, ModelEntry] = {}
        self._tls: ssl.SSLContext | None = None

    def recall(self) -> None:
        """Offer what was read last, as far as the operator still lets it be."""
        try:
            kept = read_file(self._path, _File)
        except StateDamaged as error:
            self._tell(ListingFailed(self._host, error))
            return
        if kept is None:
            return
        self._tell(CatalogRead({name: tuple(builds) for name, builds in kept.aliases.items()}))
        self._offers([
            ModelEntry(id=one.id, ref=one.ref, weight_hash=one.weight_hash)
            for one in kept.models
            if self._policy.names(one.id) and self._policy.holds(one.ref)
        ])  # fmt: skip

    def ask(self) -> None:
        """Have it read soon."""
        self._asked.set()

    async def keep(self) -> None:
        """Read it again and again, until cancelled."""
        while True:
            self._asked.clear()
            try:
                await self._read()
            except AgentError as error:
                self._tell(ListingFailed(self._host, error))
            await asyncio.sleep(SOON_S)
            try:
                async with asyncio.timeout(self._policy.refresh_s):
                    _ = await self._asked.wait()
            except TimeoutError:
                continue

    async def _read(self) -> None:
        body = await self._get(CATALOG_PATH, MAX_CATALOG_BYTES, model="")
        listing = read_listing(body, host=self._host)
        builds = wanted(listing, self._policy, self._taken())
        found: dict[Listed, ModelEntry] = {}
        for build in builds:
            entry = self._known.get(build) or await self._promised(build)
            if entry is not None:
                found[build] = entry
        aliases = listing.aliases
        hashes = listing.hashes if self._is_home else None
        if aliases is not None or hashes is not None:
            self._tell(CatalogRead(aliases, hashes))
        is_new = found != self._known
        self._known = found
        if is_new:
            await self._keep(found.values(), aliases or {})
        self._offers(list(found.values()))

    async def _promised(self, build: Listed) -> ModelEntry | None:
        """The build as its manifest promises it; a bad one is told of, and the rest goes on."""
        try:
            data = await self._get(
                manifest_path(build.model), MAX_MANIFEST_BYTES, model=build.model
            )
            return offer(build, data, self._policy)
        except (ModelMissing, WeightsCorrupt) as error:
            self._tell(ListingFailed(build.model, error))
            return None

    async def _get(self, path: str, most_bytes: int, *, model: str) -> bytes:
        """Ask for one document.

        Raises:
            WeightsError: It is not to be had, or must not be asked for there.
        """
        peer = await self._peer()
        try:
            async with asyncio.timeout(WHOLE_S):
                asked = call(peer, "GET", path, connect_s=CONNECT_S, silence_s=SILENCE_S)
                async with asked as answer:
                    body = await answer.whole(limit_bytes=most_bytes)
        except TimeoutError:
            reason = f"its answer takes more than {WHOLE_S:g} s"
            raise StoreUnreachable(store=self._host, reason=reason) from None
        except CallFailed as error:
            raise StoreUnreachable(store=self._host, reason=str(error)) from None
        if answer.status in _DENIED:
            raise StoreDenied(store=self._host, reason=f"status {answer.status}")
        if answer.status in _NOT_THERE and model:
            raise ModelMissing(model=model, reason="the catalog has no manifest of it")
        if answer.status != _OK:
            raise StoreUnreachable(store=self._host, reason=f"status {answer.status}")
        return body

    async def _peer(self) -> Peer:
        """Whom to ask, judged anew each time."""
        peer = await asyncio.to_thread(self._guard.admit, self._url)
        if peer.origin.is_tls and self._tls is None:
            try:
                self._tls = await asyncio.to_thread(
                    ssl.create_default_context, cafile=self._ca_file
                )
            except (OSError, ssl.SSLError):
                reason = "coordinator.ca_file holds no certificates that can be read"
                raise StoreUnreachable(store=self._host, reason=reason) from None
        return Peer(self._url, {}, address=peer.address, tls=self._tls)

    async def _keep(
        self, entries: Iterable[ModelEntry], aliases: Mapping[str, Sequence[str]]
    ) -> None:
        models = [
            _Kept(id=one.id, ref=one.ref, weight_hash=one.weight_hash or "") for one in entries
        ]
        rows = {name: list(builds) for name, builds in aliases.items()}
        await self._pen.write(self._path, _File(models=models, aliases=rows))


def _origin(settings: Settings) -> str:
    """The coordinator's own host, as a URL."""
    parts = urlsplit(settings.coordinator.socket_url)
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"
