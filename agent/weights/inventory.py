"""Which offered models are listed, partly here, or here: quick, and without hashing."""

from collections.abc import Sequence

from ...backends.stores.base import Stock
from ...config.settings import ModelEntry
from .boot import boot_id
from .cache import Cache, listed_key
from .journal import JOURNAL_NAME, load


def inventory(cache: Cache, entries: Sequence[ModelEntry]) -> tuple[Stock, ...]:
    """How much of each offered model is on this disk; blocks for as long as a few stats take.

    Args:
        cache: Where models lie.
        entries: What the machine offers.

    Returns:
        One stock an entry, in the same order.
    """
    listed, boot = cache.listed(), boot_id()
    return tuple(_stock(cache, entry, listed, boot) for entry in entries)


def _stock(cache: Cache, entry: ModelEntry, listed: dict[str, int], boot: str) -> Stock:
    if entry.is_elsewhere:
        return Stock(entry.id, "here", 0)
    build = cache.build(entry.id, entry.ref)
    if build is not None and entry.weight_hash in {None, build.weight_hash}:
        return Stock(entry.id, "here", build.size_bytes, build.size_bytes, build)
    size_bytes = listed.get(listed_key(entry.id, entry.ref))
    claims = load(cache.folder(entry.id) / JOURNAL_NAME, boot_id=boot)
    if claims is None or claims.header.ref != entry.ref:
        return Stock(entry.id, "listed", size_bytes)
    total_bytes = sum(file.size_bytes for file in claims.header.files)
    return Stock(entry.id, "partial", total_bytes, claims.bytes_here)
