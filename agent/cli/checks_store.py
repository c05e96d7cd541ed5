"""Checks of the stores, by the stores' own code: can this node list what it offers?"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import urlsplit

from ...backends.stores.base import Store
from ...backends.stores.catalog import store_for
from ...backends.stores.errors import StoreDenied
from ...config.errors import AgentError
from ...config.settings import ModelEntry
from ..weights.plane import Plane
from .checks_told import Finding, Ground, fail, failed_by, ok, skipped, warn
from .render import size

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "store.endpoint": "where each store is asked, and which setting says so",
        "store.listable": "each model's files can be listed with these credentials",
    }
)
_REMEDY = "Check the store's endpoint and the network."
_WHOSE = "It was asked with this shell's environment; the agent that runs has its own."
LISTING_S = 8.0
"""Seconds that one listing may take."""


def look(ground: Ground) -> Iterator[Finding]:
    """List every model that has a reference, all of them at once."""
    entries = [entry for entry in ground.settings.models if not entry.is_elsewhere]
    if not entries:
        why = "no model with a ref is offered"
        yield skipped("store.endpoint", why)
        yield skipped("store.listable", why)
        return
    seen: set[tuple[str, str]] = set()
    for pair in _all(ground, entries):
        for found in pair:
            key = (found.id, found.subject)
            if key not in seen:
                yield found
            seen.add(key)


def _all(ground: Ground, entries: list[ModelEntry]) -> list[tuple[Finding, Finding]]:
    found: dict[str, tuple[Finding, Finding]] = {}

    def ask(entry: ModelEntry) -> None:
        found[entry.id] = _one(ground, entry)

    threads = [threading.Thread(target=ask, args=(entry,), daemon=True) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[entry.id] for entry in entries]


def _one(ground: Ground, entry: ModelEntry) -> tuple[Finding, Finding]:
    ref = entry.place
    where = f"{ref.scheme}://{ref.container}"
    try:
        store = store_for(ref, ground.settings.stores, ground.environ)
    except AgentError as error:
        lost = failed_by("store.endpoint", error, where)
        return lost, skipped("store.listable", "its store cannot be used", entry.id)
    plane = Plane(store)
    try:
        files = plane.ask(store.files, timeout_s=LISTING_S)
        found = _listed(store, entry, sum(file.size_bytes for file in files), len(files))
    except TimeoutError:
        cause = f"store {store.name} did not list it within {LISTING_S:.0f} s"
        found = fail("store.listable", cause, _REMEDY, entry.id)
    except StoreDenied as error:
        found = failed_by("store.listable", error, entry.id)
        if ground.runs:
            found = replace(found, remedy=f"{error.remedy} {_WHOSE}")
    except AgentError as error:
        found = failed_by("store.listable", error, entry.id)
    except OSError as error:
        cause = f"store {store.name}: {error.strerror or error}"
        found = fail("store.listable", cause, "Check the path and its permissions.", entry.id)
    finally:
        plane.ask(store.close)
    return _endpoint(store, where), found


def _listed(store: Store, entry: ModelEntry, size_bytes: int, count: int) -> Finding:
    notes: tuple[str, ...] = getattr(store, "notes", ())
    unsigned = "; ".join(note for note in notes if "unsigned" in note)
    words = f"{count} file(s), {size(size_bytes)}" + (f"; {unsigned}" if unsigned else "")
    return ok("store.listable", words, entry.id)


def _endpoint(store: Store, where: str) -> Finding:
    from ...backends.stores.endpoints import Endpoint  # noqa: PLC0415  # beside its only use

    chosen = getattr(store, "endpoint", None)
    if not isinstance(chosen, Endpoint):
        return ok("store.endpoint", f"{store.name}", where)
    cause = f"{chosen.why} (region {chosen.region}, bucket in the {_part(chosen.addressing)})"
    parts = urlsplit(chosen.url or "https://")
    if parts.scheme == "http" and not _is_here(parts.hostname or ""):
        remedy = "Use https://, or keep that network to yourself: weights are checked, keys signed."
        return warn("store.endpoint", f"{cause}; unencrypted", remedy, where)
    return ok("store.endpoint", cause, where)


def _part(addressing: str) -> str:
    return "path" if addressing == "path" else "host name"


def _is_here(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"
