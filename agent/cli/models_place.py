"""Which model, which cache and which settings a ``models`` verb means.

A configuration is used if there is one and never needed: without, a model is named by its
reference, the cache is the platform's, and stores are reached as the environment says.
"""

import os
from argparse import Namespace
from pathlib import Path
from typing import cast

from ...config.errors import RefInvalid
from ...config.frozen import frozen
from ...config.peers import NO_PEERS, Peers
from ...config.refs import ModelRef
from ...config.settings import Cache as CacheSettings
from ...config.settings import ModelEntry, Settings, Stores, Weights
from ..weights.cache import Cache
from ..weights.manifest import folder_name
from ..weights.verify import read_record
from .places import cache_of, config_of, socket_of
from .render import items, table

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
    """

    model: str
    ref: ModelRef
    cache_dir: Path
    cache: CacheSettings
    stores: Stores
    weights: Weights
    peers: Peers = NO_PEERS


@frozen
class Ground:
    """The machine's side of it, whatever the model.

    Attributes:
        entries: What the configuration offers; empty without one.
    """

    cache_dir: Path
    cache: CacheSettings
    stores: Stores
    weights: Weights
    entries: tuple[ModelEntry, ...]
    peers: Peers = NO_PEERS


def ground_of(args: Namespace) -> Ground:
    """Read the configuration if there is one.

    Raises:
        ConfigError: It was named and is not there, or cannot be used.
    """
    path = config_of(args)
    here = cache_of(args)
    if args.config is None and "POOLHAND_CONFIG" not in os.environ and not path.is_file():
        return Ground(here, CacheSettings(), Stores(), Weights(), ())
    from ...config.load import load  # noqa: PLC0415  # pulls in the loader, only if there is a file

    settings: Settings = load(path, os.environ).settings
    named = settings.cache.dir
    return Ground(
        Path(named) if named else here,
        settings.cache,
        settings.stores,
        settings.weights,
        settings.models,
        settings.peers,
    )


def place_of(args: Namespace, text: str) -> Place:
    """What a reference, an id or an alias means here.

    Args:
        args: The verb's arguments.
        text: A reference such as ``s3://bucket/prefix``, or what the configuration offers.

    Raises:
        RefInvalid: It is no reference, and nothing offered bears that name.
        ConfigError: The configuration cannot be used.
    """
    ground = ground_of(args)
    entry = _offered(ground, text)
    ref = entry.place if entry is not None else ModelRef.parse(text)
    named = cast("str | None", getattr(args, "id", None))
    model = named or (entry.id if entry is not None else model_of(ref))
    here, stores, weights = ground.cache_dir, ground.stores, ground.weights
    return Place(model, ref, here, ground.cache, stores, weights, ground.peers)


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


def model_of(ref: ModelRef) -> str:
    """The id of a model that nobody has named: what its publisher seems to call it."""
    if ref.scheme == "hf":
        return f"{ref.container}/{ref.path}"
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


def _offered(ground: Ground, text: str) -> ModelEntry | None:
    try:
        ref = str(ModelRef.parse(text))
    except RefInvalid:
        ref = None
    for entry in ground.entries:
        if text == entry.id or text in entry.aliases or ref == entry.ref:
            return entry
    return None
