"""``poolhand bench MODEL``: how fast this machine answers with a model.

It loads the model into an engine of its own, beside a running agent or without one, and gives all
of it back at the end. Nothing is sent anywhere; a model that a provider runs is not asked, for
that would cost money and say nothing of this machine.
"""

import asyncio
import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from .exits import Exit
from .places import add_config, add_state_dir
from .render import plain, size

if TYPE_CHECKING:
    from ...backends.engines.base import Engine
    from ...backends.stores.base import Build
    from ...config.settings import ModelEntry, Settings
    from .models_place import Place

STREAMS = (1, 8, 32)
MOST_STREAMS = 256
DURATION_S = 5.0

_COLUMNS = ("streams", "tokens/s", "a stream", "first token", "the worst")


def add_arguments(parser: ArgumentParser) -> None:
    """Take a model, how many streams, and how long."""
    parser.add_argument("model", metavar="MODEL", help="an id, an alias or a reference")
    parser.add_argument(
        "--streams",
        metavar="N,…",
        type=_counts,
        default=STREAMS,
        help="how many side by side, one figure after the other (default: 1,8,32)",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=_seconds,
        default=DURATION_S,
        help=f"how long for each figure (default: {DURATION_S:g})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    add_config(parser)
    add_state_dir(parser)


def main(args: Namespace) -> int:
    """Load the model, let streams run, and print what they got.

    Returns:
        0.

    Raises:
        ModelMissing: It is not in the cache.
        EngineError: No engine runs it here, or it broke off.
        ConfigError: The configuration cannot be used, or a provider runs the model.
    """
    from ...backends.engines.errors import EngineDied, EngineStartFailed  # noqa: PLC0415 - likewise
    from ..weights.cache import Cache  # noqa: PLC0415 - only for this verb
    from ..weights.verify import verify  # noqa: PLC0415 - likewise
    from .models_place import in_use, place_of  # noqa: PLC0415 - likewise

    place = place_of(args, cast("str", args.model))
    build = verify(Cache(place.cache_dir).folder(place.model), model=place.model)
    if in_use(args):
        print("poolhand: an agent has models in memory; both get less", file=sys.stderr)
    entry, settings = _chosen(args, place, max(cast("Sequence[int]", args.streams)))
    try:
        told = asyncio.run(_bench(entry, build, settings, args))
    except (EngineStartFailed, EngineDied) as error:
        # nobody else keeps it: this engine was ours alone
        print("\n".join(map(plain, error.tail.splitlines())), file=sys.stderr)
        raise
    print(json.dumps(told, indent=2) if args.json else "\n".join(map(plain, _lines(told))))
    return Exit.OK


def _chosen(args: Namespace, place: "Place", streams: int) -> tuple["ModelEntry", "Settings"]:
    """The model as it would be served here, and an engine that takes all streams at once."""
    from ...config.load import load  # noqa: PLC0415 - only for this verb
    from ...config.settings import ModelEntry, Settings  # noqa: PLC0415 - likewise
    from .places import config_of  # noqa: PLC0415 - likewise

    path = config_of(args)
    is_named = args.config is not None or "POOLHAND_CONFIG" in os.environ
    if is_named or path.is_file():
        settings = load(path, os.environ).settings
    else:
        settings = Settings.model_validate({"coordinator": {"url": "ws://127.0.0.1"}})
    entry = settings.entry(place.model) or ModelEntry(id=place.model, ref=str(place.ref))
    mlx, server = settings.engines.mlx, settings.engines.server
    wide = {
        "mlx": mlx.model_copy(update={"max_running": max(mlx.max_running, streams)}),
        # a server answers as many at once as it will in service; the others wait there
        "server": server.model_copy(update={"max_waiting": max(server.max_waiting, streams)}),
    }
    engines = settings.engines.model_copy(update=wide)
    return entry, settings.model_copy(update={"engines": engines})


async def _bench(
    entry: "ModelEntry", build: "Build", settings: "Settings", args: Namespace
) -> Mapping[str, object]:
    from ...backends.engines.catalog import engine_for  # noqa: PLC0415 - only for this verb

    engine = engine_for(entry, build.folder, settings)
    try:
        return await _measured(engine, entry, build, args)
    finally:
        await engine.stop()


async def _measured(
    engine: "Engine", entry: "ModelEntry", build: "Build", args: Namespace
) -> Mapping[str, object]:
    from .streams import measure  # noqa: PLC0415 - only for this verb

    loaded = await engine.start()
    endpoint = "chat" if build.has_chat_template else "text"
    duration_s = cast("float", args.seconds)
    levels: list[Mapping[str, object]] = []
    for streams in cast("Sequence[int]", args.streams):
        level = await measure(engine, streams, duration_s, endpoint=endpoint)
        levels.append(level.told())
    load = engine.load()
    return {
        "model": entry.id,
        "ref": entry.ref,
        "engine": engine.name,
        "weights_bytes": build.weights_bytes,
        "load_s": round(loaded.took_s, 3),
        "memory_bytes": loaded.memory_bytes,
        "decode_tps": load.decode_tps,
        "prefill_tps": load.prefill_tps,
        "levels": levels,
    }


def _lines(told: Mapping[str, object]) -> list[str]:
    memory = told["memory_bytes"]
    held = f", {size(memory)} of memory" if isinstance(memory, int) else ""
    rows = [_COLUMNS, *map(_row, cast("Sequence[Mapping[str, object]]", told["levels"]))]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_COLUMNS))]
    return [
        f"{told['model']} on {told['engine']}: loaded in {told['load_s']} s{held}",
        *("  ".join(map(str.rjust, row, widths)) for row in rows),
    ]


def _row(level: Mapping[str, object]) -> tuple[str, ...]:
    rates = (f"{level[name]:.1f}" for name in ("tokens_per_s", "tokens_per_s_per_stream"))
    waits = (_wait(level[name]) for name in ("first_token_median_s", "first_token_worst_s"))
    return (str(level["streams"]), *rates, *waits)


def _wait(wait_s: object) -> str:
    return f"{wait_s * 1000:.1f} ms" if isinstance(wait_s, float) else "-"


def _counts(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() and 1 <= int(word) <= MOST_STREAMS for word in words):
        problem = f"whole numbers from 1 to {MOST_STREAMS}, such as 1,8,32"
        raise ArgumentTypeError(problem)
    return tuple(map(int, words))


def _seconds(text: str) -> float:
    try:
        duration_s = float(text)
    except ValueError:
        duration_s = 0.0
    if not 0 < duration_s <= 3600:  # noqa: PLR2004 - an hour
        problem = "seconds, more than 0 and at most 3600"
        raise ArgumentTypeError(problem)
    return duration_s
