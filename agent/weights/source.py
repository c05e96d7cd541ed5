"""How the pulling threads reach a store, as plain calls."""

import threading
from collections.abc import Callable

from ...backends.stores.base import Location, RemoteFile
from ...backends.stores.errors import StoreUnreachable
from ...config.frozen import frozen
from .ranges import CredentialsStale, Hiccup


@frozen
class Source:
    """How workers reach the store; every call may come from any thread.

    Attributes:
        model: For messages.
        store: For messages.
        locate: Where to read a file now; must not wait.
        refresh: Fetch credentials again; waits.
        chance: Gives numbers in [0, 1).
        stall_timeout_s: Seconds without a byte before a connection is given up.
        max_bytes_per_s: All connections together; ``None``: as fast as it goes.
        note_date: Hears the store's time when it says that ours is too far off.
        note_region: Hears in which region the store wants to be asked.
        no_progress_s: A read that brings nothing is tried again for so long at least.
        syncs_first: Whether a file gets its final name only once it is on the platter.
    """

    model: str
    store: str
    locate: Callable[[RemoteFile], Location]
    refresh: Callable[[], None]
    chance: Callable[[], float]
    stall_timeout_s: float
    max_bytes_per_s: int | None = None
    note_date: Callable[[str], None] | None = None
    no_progress_s: float = 0.0
    syncs_first: bool = True
    note_region: Callable[[str], None] | None = None

    def heed(self, stale: CredentialsStale) -> None:
        """Pass on what the store said of its clock and its region; :attr:`refresh` comes next."""
        if stale.date is not None and self.note_date is not None:
            self.note_date(stale.date)
        if stale.region is not None and self.note_region is not None:
            self.note_region(stale.region)

    def place(self, remote: RemoteFile) -> Location:
        """Where to read a file now.

        Raises:
            Hiccup: That takes a new token or address, from a store that is away.
        """
        try:
            return self.locate(remote)
        except StoreUnreachable as error:
            raise Hiccup(reason="no token or address to be had") from error


class Renewal:
    """Credentials fetched again: once for all who found the same ones stale.

    Args:
        refresh: Fetches them; waits.

    Attributes:
        count: How often that was done.
    """

    def __init__(self, refresh: Callable[[], None]) -> None:
        self._refresh = refresh
        self._lock = threading.Lock()
        self.count = 0

    def since(self, seen: int) -> None:
        """Fetch them, if nobody did since :attr:`count` was ``seen``."""
        with self._lock:
            if self.count == seen:  # else another worker did it while we waited
                self._refresh()
                self.count += 1
