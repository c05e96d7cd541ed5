"""Asking for one chunk until it is here; only here is tried again what fails for a moment."""

import threading
import time
from collections.abc import Callable

from ...backends.stores.base import RemoteFile
from ...backends.stores.errors import StoreDenied, StoreUnreachable
from .arrival import Arrival
from .digests import Interrupted
from .patience import Patience
from .ranges import CredentialsStale, Hiccup, RangeReader, Span
from .source import Renewal, Source


class Surplus(Exception):  # nobody's failure
    """The store refuses, and without this one it would be asked no less than is wanted."""


class Asking:
    """How a store is asked; its methods may be called from any thread.

    Args:
        source: How to reach the store.
        stop: Set, nothing is tried again.
        block_bytes: So many bytes are progress.
        is_surplus: Whether more ask than are wanted.

    Attributes:
        refusals: How often the store has said so far that it is asked too much.
    """

    def __init__(
        self,
        source: Source,
        stop: threading.Event,
        *,
        block_bytes: int,
        is_surplus: Callable[[], bool],
    ) -> None:
        self._source = source
        self._stop = stop
        self._block_bytes = block_bytes
        self._is_surplus = is_surplus
        self._renewal = Renewal(source.refresh)
        self._counting = threading.Lock()
        self.refusals = 0

    def bring(self, remote: RemoteFile, arrival: Arrival, reader: RangeReader) -> None:
        """Ask for a chunk, again and again from the byte reached.

        Raises:
            Interrupted: Somebody asked to stop.
            Surplus: Others had better ask for it, later; nothing of it has come.
            WeightsError: It cannot be had.
        """
        seen_refreshes, was_refreshed = self._renewal.count, False
        patience = Patience(
            no_progress_s=self._source.no_progress_s,
            block_bytes=self._block_bytes,
            now_s=time.monotonic(),
        )
        while arrival.at < arrival.stop:
            span = Span(remote.path, arrival.at, arrival.stop, remote.size_bytes, remote.etag)
            try:
                reader.read(self._source.place(remote), span, arrival.write)
            except Hiccup as hiccup:
                if self._stop.is_set():
                    raise Interrupted from hiccup
                is_untouched = arrival.at == arrival.start
                if hiccup.is_refusal and is_untouched and self._is_surplus():
                    raise Surplus from hiccup
                if not hiccup.is_free and not arrival.was_hurried():
                    self._rest(patience, arrival.explained(hiccup), arrival.at - span.start)
            except CredentialsStale as stale:
                if was_refreshed:
                    raise StoreDenied(store=self._source.store, reason=stale.reason) from stale
                self._source.heed(stale)
                self._renewal.since(seen_refreshes)
                was_refreshed = True

    def _rest(self, patience: Patience, hiccup: Hiccup, got_bytes: int) -> None:
        with self._counting:
            self.refusals += hiccup.is_refusal
        wait_s = patience.wait_s(
            got_bytes=got_bytes,
            asked_s=hiccup.wait_s,
            now_s=time.monotonic(),
            chance=self._source.chance(),
        )
        if wait_s is None:
            reason = f"{hiccup.reason}, {patience.tries} times"
            raise StoreUnreachable(store=self._source.store, reason=reason) from hiccup
        if self._stop.wait(wait_s):
            raise Interrupted
