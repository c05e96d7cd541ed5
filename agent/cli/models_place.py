"""Which model, which cache and which settings a ``models`` verb means.

A configuration is used if there is one and never needed: without, a model is named by its
reference, the cache is the platform's, and stores are reached as the environment says, by the
variables of their own libraries and by ours.
"""

import json
import os
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...config.defaults import defaults
from ...config.errors import RefInvalid
from ...config.frozen import frozen
from ...config.paths import ORDERS_FILE
from ...config.refs import ModelRef
from ..weights.cache import Cache
from ..weights.light import Table
from ..weights.lines import LIGHT_SCHEMES
from ..weights.manifest import folder_name
from ..weights.verify import read_record
from .places import cache_of, config_of, socket_of, state_of
from .render import items, table

if TYPE_CHECKING:  # where there is no configuration, nothing has to be checked
    from ...config.peers import Peers
    from ...config.settings import Cache as CacheSettings
    from ...config.settings import ModelEntry, Settings, Stores, Weights

_SAID = tuple(f"POOLHAND_{table}__" for table in ("STORES", "WEIGHTS", "CACHE", "PEERS"))
"""How variables begin that set what these verbs heed."""

_NO_COORDINATOR = b'coordinator.url = "wss://coordinator.invalid"\n'
_AT_REST = frozenset({"listed", "partial", "here", "unknown", "empty", "absent", "on_disk"})
"""States of a model that no engine has and no fetch brings."""


@frozen
class Place:
    """What one verb works on.

    Attributes:
        model: The build's id.
        cache_dir: The cache folder, absolute.
        cache: Its bounds.
        stores: As configured, or by default.
        weights: As configured, or by default.
        peers: As configured, or nobody.
        pinned: Ids of what the configuration pins.
    """

    model: str
    ref: ModelRef
    cache_dir: Path
    cache: "CacheSettings"
    stores: "Stores"
    weights: "Weights"
    peers: "Peers"
    pinned: frozenset[str] = frozenset()


@frozen
class Ground:
    """The machine's side of it, whatever the model.

    Attributes:
        entries: What the configuration offers; empty without one.
    """

    cache_dir: Path
    cache: "CacheSettings"
    stores: "Stores"
    weights: "Weights"
    peers: "Peers"
    entries: "tuple[ModelEntry, ...]" = ()

    @property
    def pinned(self) -> frozenset[str]:
        """Ids of what the configuration pins."""
        return frozenset(entry.id for entry in self.entries if entry.pinned)


def ground_of(args: Namespace, *, is_light: bool = False) -> Ground:
    """Read the configuration if there is one.

    Args:
        args: The verb's arguments.
        is_light: Where there is none, plain values do; see :mod:`poolhand.config.defaults`.

    Raises:
        ConfigError: It was named and is not there, or cannot be used.
    """
    path = config_of(args)
    here = cache_of(args)
    is_named = args.config is not None or "POOLHAND_CONFIG" in os.environ
    is_written = is_named or path.is_file()
    if not is_written and not any(name.startswith(_SAID) for name in os.environ):
        return _unwritten(here, is_light=is_light)
    from ...config.load import load  # noqa: PLC0415  # pulls in the loader, only if there is any

    # what the environment says counts without a file, too, and these verbs call no coordinator
    files = None if is_written else {path: _NO_COORDINATOR}
    settings: Settings = load(path, os.environ, files).settings
    named = settings.cache.dir
    return Ground(
        Path(named) if named else here,
        settings.cache,
        settings.stores,
        settings.weights,
        settings.peers,
        settings.models,
    )


def _unwritten(here: Path, *, is_light: bool) -> Ground:
    if is_light:
        cache, stores, weights, peers = map(Table, defaults("Cache", "Stores", "Weights", "Peers"))
        peers = peers.model_copy(update={"is_on": False})
        tables = cast(
            "tuple[CacheSettings, Stores, Weights, Peers]", (cache, stores, weights, peers)
        )
        return Ground(here, *tables)
    from ...config.peers import NO_PEERS  # noqa: PLC0415  # most fetches check nothing
    from ...config.settings import Cache as CacheSettings  # noqa: PLC0415  # likewise
    from ...config.settings import Stores, Weights  # noqa: PLC0415  # likewise

    return Ground(here, CacheSettings(), Stores(), Weights(), NO_PEERS)


def place_of(args: Namespace, text: str, *, is_light: bool = False) -> Place:
    """What a reference, an id or an alias means here.

    Args:
        args: The verb's arguments.
        text: A reference such as ``s3://bucket/prefix``, or what the configuration offers.
        is_light: Whether plain values do for settings that nobody wrote.

    Raises:
        RefInvalid: It is no reference, and nothing offered bears that name.
        ConfigError: The configuration cannot be used.
    """
    ground = ground_of(args, is_light=is_light and text.partition("://")[0] in LIGHT_SCHEMES)
    entry = _offered(ground, text)
    ref = entry.place if entry is not None else ModelRef.parse(text)
    named = cast("str | None", getattr(args, "id", None))
    model = named or (entry.id if entry is not None else model_of(ref))
    here, stores, weights = ground.cache_dir, ground.stores, ground.weights
    return Place(model, ref, here, ground.cache, stores, weights, ground.peers, ground.pinned)


def in_use(args: Namespace) -> set[str]:
    """Models that a running agent has in memory or on their way there."""
    from ..control.client import AgentNotRunning, get  # noqa: PLC0415  # most verbs ask no agent
    from .status import ANSWER_S, read  # noqa: PLC0415  # likewise

    try:
        code, body = get(socket_of(args), "/v1/models", ANSWER_S)
    except AgentNotRunning:
        return set()
    models = [table(one) for one in items(read(code, body).get("models"))]
    return {str(one.get("id")) for one in models if one.get("state") not in _AT_REST}


def kept(args: Namespace, pinned: Collection[str]) -> set[str]:
    """Models that make way for no other: in use, or pinned.

    Args:
        args: The verb's arguments.
        pinned: What the configuration pins; what an operator's order does is found here.
    """
    try:
        orders = json.loads((state_of(args) / ORDERS_FILE).read_bytes())
    except (OSError, ValueError):
        orders = None  # nobody has ordered anything, or the agent is to see to its file
    return in_use(args).union(pinned, map(str, items(table(orders).get("pins"))))


def model_of(ref: ModelRef) -> str:
    """The id of a model that nobody has named: what its publisher seems to call it."""
    if ref.scheme == "hf":
        name = ref.file.rpartition("/")[2].rpartition(".")[0] or ref.path
        return f"{ref.container}/{name}"
    return "/".join(ref.path.split("/")[-2:]).strip("/") or ref.container


def id_of(ground: Ground, text: str) -> str:
    """The id of a build that is named by id, alias, reference or folder."""
    for entry in ground.entries:
        if text == entry.id or text in entry.aliases or text == entry.ref:
            return entry.id
    for folder in Cache(ground.cache_dir).orphans(()):
        record = read_record(folder)
        if record is not None and text in {record.model, record.ref, folder.name}:
            return record.model if folder_name(record.model) == folder.name else text
    return text


def _offered(ground: Ground, text: str) -> "ModelEntry | None":
    try:
        ref = str(ModelRef.parse(text))
    except RefInvalid:
        ref = None
    for entry in ground.entries:
        if text == entry.id or text in entry.aliases or ref == entry.ref:
            return entry
    return None
