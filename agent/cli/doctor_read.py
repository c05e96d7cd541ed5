"""``poolhand doctor s3 REF``: one real read, measured, with the code that fetches weights."""

import asyncio
import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict

from ...backends.stores.base import RemoteFile, Store
from ...backends.stores.catalog import store_for
from ...backends.stores.endpoints import Endpoint
from ...backends.stores.errors import StoreDenied, StoreUnreachable
from ...config.errors import AgentError, RefInvalid
from ...config.frozen import frozen
from ..weights.ranges import CredentialsStale, Hiccup, RangeReader, Span
from .exits import Exit
from .models_place import place_of
from .render import MIB, plain, size

MOST_BYTES = 64 * MIB
MOST_S = 5.0
"""Seconds that the read goes on, from its first byte; the listing comes before it."""

LISTING_S = 20.0
STALL_S = 10.0
"""Seconds without one byte before the read is given up."""

BUFFER_BYTES = 2**18
_MB = 1e6


class _Enough(Exception):
    """The time is over: the way to leave a read in its middle."""


@frozen
class Measured:
    """One read.

    Attributes:
        store: Where it was read from.
        why: Which setting says so; empty where there is none to choose.
        listing_s: Until the whole listing was here.
        files: How many were listed.
        size_bytes: All of them together.
        file: Which one was read: the largest.
        first_byte_s: From the request, connection included, to the first bytes of the answer.
        read_bytes: How many came.
        read_s: From the first bytes to the last.
        rate_mb_s: 10^6 bytes a second over this one connection; ``None``: too few to tell.
    """

    store: str
    why: str
    listing_s: float
    files: int
    size_bytes: int
    file: str
    first_byte_s: float
    read_bytes: int
    read_s: float
    rate_mb_s: float | None

    def lines(self) -> Iterator[str]:
        """The same for people."""
        yield f"store       {self.store}" + (f" ({self.why})" if self.why else "")
        told = f"{self.files} file(s), {size(self.size_bytes)}"
        yield f"listing     {1000 * self.listing_s:.0f} ms, {told}"
        yield f"first byte  {1000 * self.first_byte_s:.0f} ms, of {self.file}"
        rate = "too few bytes to tell" if self.rate_mb_s is None else f"{self.rate_mb_s:.0f} MB/s"
        yield f"read        {rate}: {size(self.read_bytes)} in {self.read_s:.2f} s, one connection"


def measure(args: Namespace, text: str) -> int:
    """Read once, and print how that went.

    Returns:
        0 if bytes came, 1 if they did not, 2 if it is no reference.
    """
    try:
        place = place_of(args, text)
    except RefInvalid as error:
        print(f"poolhand: {error}\n  {error.remedy}", file=sys.stderr)
        return Exit.USAGE
    try:
        found = asyncio.run(_measured(store_for(place.ref, place.stores, os.environ), place.model))
    except AgentError as error:
        if args.json:
            print(json.dumps({"code": error.code, "cause": str(error), "remedy": error.remedy}))
            return Exit.FAILURE
        raise
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        print("\n".join(map(plain, found.lines())))
    return Exit.OK


async def _measured(store: Store, model: str) -> Measured:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(LISTING_S):
            files = await store.files()
        listing_s = time.monotonic() - began_s
        largest = max(files, key=lambda file: file.size_bytes)
        first_byte_s, read_s, read_bytes = _read(store, model, largest)
    except TimeoutError:
        reason = f"it did not list within {LISTING_S:.0f} s"
        raise StoreUnreachable(store=store.name, reason=reason) from None
    finally:
        await store.close()
    chosen = getattr(store, "endpoint", None)
    return Measured(
        store=store.name,
        why=chosen.why if isinstance(chosen, Endpoint) else "",
        listing_s=round(listing_s, 4),
        files=len(files),
        size_bytes=sum(file.size_bytes for file in files),
        file=largest.path,
        first_byte_s=round(first_byte_s, 4),
        read_bytes=read_bytes,
        read_s=round(read_s, 4),
        rate_mb_s=round(read_bytes / read_s / _MB, 1) if read_bytes >= MIB and read_s else None,
    )


def _read(store: Store, model: str, file: RemoteFile) -> tuple[float, float, int]:
    """Read until there is enough; seconds to the first bytes, seconds after them, and bytes."""
    if file.size_bytes == 0:
        raise StoreUnreachable(store=store.name, reason="its largest file is empty")
    first_s, last_s, read_bytes = 0.0, 0.0, 0

    def take(piece: memoryview, _: int) -> None:
        nonlocal first_s, last_s, read_bytes
        last_s = time.monotonic()
        first_s = first_s or last_s
        read_bytes += len(piece)
        if last_s - first_s >= MOST_S:
            raise _Enough

    reader = RangeReader(
        model=model,
        store=store.name,
        stall_timeout_s=STALL_S,
        buffer=memoryview(bytearray(BUFFER_BYTES)),
    )
    stop = min(file.size_bytes, MOST_BYTES)
    span = Span(file.path, 0, stop, file.size_bytes, file.etag)
    began_s = time.monotonic()
    try:
        reader.read(store.location(file), span, take)
    except _Enough:
        pass
    except Hiccup as error:
        raise StoreUnreachable(store=store.name, reason=error.reason) from None
    except CredentialsStale:
        reason = "the credentials have expired, or this machine's clock is wrong"
        raise StoreDenied(store=store.name, reason=reason) from None
    finally:
        reader.close()
    return first_s - began_s, last_s - first_s, read_bytes
