"""What a coordinator's public catalog lists, and what of it this machine may offer.

Nothing here is believed for being listed: an id has to be named by the operator, a build's
manifest has to hold together and to be the one that the catalog promises, and the bytes are held
to its hash once they are here. Pure: texts in, values out.

Source:
    d-inference, ``GET /v1/models/catalog?include_aliases=1``; nullable lists do occur, and
    ``s3_name`` carries the value of ``r2_prefix``.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import cast
from urllib.parse import quote

from ...backends.stores.errors import StoreUnreachable, WeightsCorrupt
from ...config.catalog import Catalog
from ...config.errors import RefInvalid
from ...config.frozen import frozen
from ...config.settings import ModelEntry
from . import manifest

CATALOG_PATH = "/v1/models/catalog?include_aliases=1"
MAX_CATALOG_BYTES = 8 * 2**20
MAX_OFFERED, MAX_ALIASES, MAX_ID_CHARS = 64, 256, 256
"""More builds or aliases, or longer names, are not taken over: they come from outside."""

MAX_PREFIX_CHARS = 512

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*")
_ENDED = frozenset({"retired", "disabled", "deleted", "archived"})


@frozen
class Listed:
    """One build of a catalog.

    Attributes:
        prefix: Where its registry keeps its objects.
        weight_hash: What its bytes have to be.
    """

    model: str
    prefix: str
    weight_hash: str


@frozen
class Listing:
    """A catalog that was read.

    Attributes:
        builds: In its order.
        aliases: Desired, previous and retired builds of each alias; ``None``: it lists none.
        hashes: What it pins by build, empty where it pins nothing; also such as cannot be had.
    """

    builds: tuple[Listed, ...]
    aliases: Mapping[str, tuple[str, ...]] | None
    hashes: Mapping[str, str]


def manifest_path(model: str) -> str:
    """Where a build's manifest is asked for."""
    return f"/v1/models/catalog/manifest/{quote(model, safe='')}"


def read_listing(body: bytes, *, host: str) -> Listing:
    """Read a catalog; what makes no sense in it is left out.

    Args:
        body: JSON.
        host: For messages.

    Raises:
        StoreUnreachable: It is no catalog.
    """
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    fields = _fields(found)
    if not isinstance(fields.get("models"), list):
        raise StoreUnreachable(store=host, reason="it answers with no catalog of models")
    builds = tuple(
        build for row in _rows(fields["models"]) if (build := _listed(_fields(row))) is not None
    )
    aliases = fields.get("aliases")
    return Listing(
        builds,
        None if aliases is None else _aliases(_rows(aliases)),
        dict(pin for row in _rows(fields["models"]) if (pin := _pin(_fields(row))) is not None),
    )


def wanted(listing: Listing, policy: Catalog, taken: Iterable[str]) -> tuple[Listed, ...]:
    """The builds that the operator named and has not described himself, at most so many.

    Args:
        listing: What the catalog says.
        policy: What the operator says.
        taken: Ids that ``[[models]]`` names: these rows win.
    """
    known = set(taken)
    named = [b for b in listing.builds if policy.names(b.model) and b.model not in known]
    return tuple({build.model: build for build in named}.values())[:MAX_OFFERED]


def offer(build: Listed, data: bytes, policy: Catalog) -> ModelEntry:
    """What this machine may offer of a build, once its manifest was read.

    Args:
        build: As the catalog lists it.
        data: The manifest.
        policy: Says which store keeps the objects.

    Raises:
        WeightsCorrupt: The manifest breaks a rule, or is not the one that is listed.
    """
    name, model = manifest.MANIFEST_NAME, build.model
    try:
        promise = manifest.parse(data, model=model)
        ref = policy.ref(promise.prefix)
    except manifest.ManifestInvalid as error:
        raise WeightsCorrupt(model=model, file=name, reason=str(error)) from None
    except RefInvalid as error:
        raise WeightsCorrupt(model=model, file=name, reason=error.reason) from None
    if promise.prefix != build.prefix:
        reason = "its prefix is not the one that the catalog lists"
        raise WeightsCorrupt(model=model, file=name, reason=reason)
    if promise.aggregate_sha256 != build.weight_hash:
        reason = "its hash is not the one that the catalog lists"
        raise WeightsCorrupt(model=model, file=name, reason=reason)
    return ModelEntry(id=model, ref=ref, weight_hash=build.weight_hash)


def _listed(row: Mapping[str, object]) -> Listed | None:
    model = row.get("id")
    prefix = row.get("r2_prefix") or row.get("s3_name")
    digest = row.get("weight_hash") or row.get("aggregate_sha256")
    if not (isinstance(model, str) and isinstance(prefix, str) and isinstance(digest, str)):
        return None
    is_over = row.get("active") is False or row.get("status") in _ENDED
    is_odd = not _is_id(model) or not 0 < len(prefix) <= MAX_PREFIX_CHARS
    if is_over or is_odd or not _SHA256.fullmatch(digest):
        return None
    return Listed(model, prefix.strip("/"), digest)


def _pin(row: Mapping[str, object]) -> tuple[str, str] | None:
    """A build that is offered there, and its hash; empty if none is pinned."""
    model, digest = row.get("id"), row.get("weight_hash") or row.get("aggregate_sha256") or ""
    is_over = row.get("active") is False or row.get("status") in _ENDED
    if is_over or not isinstance(model, str) or not _is_id(model):
        return None
    return model, digest if isinstance(digest, str) else ""


def _aliases(rows: Iterable[object]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in map(_fields, rows):
        name = row.get("id")
        if not isinstance(name, str) or not _is_id(name) or len(found) >= MAX_ALIASES:
            continue
        builds = [row.get("desired_build"), row.get("previous_build"), row.get("primary_build")]
        builds += _rows(row.get("retired_builds"))
        named = [build for build in builds if isinstance(build, str) and _is_id(build)]
        found[name] = tuple(dict.fromkeys(named))
    return found


def _is_id(text: str) -> bool:
    return len(text) <= MAX_ID_CHARS and _ID.fullmatch(text) is not None


def _fields(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _rows(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
