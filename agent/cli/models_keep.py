"""``poolhand models verify | rm | prune``: the cache in its owner's hands.

They work on the folder itself, whether or not an agent runs; what a running agent has in
memory or is about to, they leave alone.
"""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from ...backends.stores.base import Progress
from ...backends.stores.errors import ModelMissing
from ...config.refs import ModelRef
from ..weights import repair, scrub, shelves, standalone
from ..weights.cache import Cache
from ..weights.here import bring_here
from ..weights.lines import Alone, FetchJob
from ..weights.tempo import Pace
from ..weights.verify import read_record, verify
from .bar import Bar
from .exits import Exit
from .models_place import Ground, ground_of, id_of, in_use, kept
from .render import plain, size, table, told


def models_verify(args: Namespace) -> int:
    """Read builds whole and hold them to their digests; mend them if asked to.

    Returns:
        0 if all is as it was, or is so again; 1 if something is damaged.
    """
    ground = ground_of(args)
    cache = Cache(ground.cache_dir)
    named = cast("str | None", args.model)
    if args.to is not None:
        return _verify_copy(args, ground, cast("Path", args.to))
    folders = [cache.folder(id_of(ground, named))] if named else list(cache.orphans(()))
    found: list[dict[str, object]] = []
    for folder in folders:
        record = read_record(folder)
        if record is None and named is None:
            continue  # unfinished: there is nothing yet to be held to
        found.append(_verified(args, ground, cache, folder, record.model if record else str(named)))
    return _said(args, found)


def _verify_copy(args: Namespace, ground: Ground, to: Path) -> int:
    place = Path(os.path.abspath(to))  # noqa: PTH100  # keeps links
    memory = standalone.memory_of(ground.cache_dir, place)
    record = read_record(memory)
    if record is None:
        raise ModelMissing(model=str(to), reason="no copy was brought there by this user")
    found, one = _read_whole(memory, record.ref)
    if found.bad and args.repair:
        copy = standalone.Copy(ModelRef.parse(record.ref), place, ground.cache_dir)
        standalone.distrust(copy, {bad.path for bad in found.bad})
        bar = Bar(sys.stderr, record.ref)
        job = FetchJob(copy.model, copy.ref, ground.stores, ground.weights, copy.stage_dir, Alone())
        try:
            _ = standalone.bring(
                copy, job, told=lambda progress: bar.told(progress, time.monotonic())
            )
        finally:
            bar.close()
        one |= {"ok": True, "state": "repaired"}
    return _said(args, [one])


def _said(args: Namespace, found: Sequence[Mapping[str, object]]) -> int:
    is_good = all(one["ok"] for one in found)
    lines = [
        f"{plain(one['model'])}: {plain(one['state'])}{_why(cast('list[object]', one['bad']))}"
        for one in found
    ]
    told({"ok": is_good, "models": list(found)}, lines or ["the cache is empty"], is_json=args.json)
    return Exit.OK if is_good else Exit.FAILURE


def models_rm(args: Namespace) -> int:
    """Delete a model from the cache, whole or partial.

    Returns:
        0; 1 if nothing of it was here, or it is in use.
    """
    ground = ground_of(args)
    model = id_of(ground, cast("str", args.model))
    if model in in_use(args):
        print(f"poolhand: {plain(model)} is in use by the running agent", file=sys.stderr)
        return Exit.FAILURE
    cache = Cache(ground.cache_dir)
    if not os.path.lexists(cache.folder(model)):
        raise ModelMissing(model=model, reason="nothing of it lies in the cache")
    gave = cache.drop(model)
    told(
        {"model": model, "freed_bytes": gave},
        [f"{plain(model)}: {size(gave)} freed"],
        is_json=args.json,
    )
    return Exit.OK


def models_prune(args: Namespace) -> int:
    """Delete what is left over, what nobody offers, and what is beyond the bounds.

    Without a configuration nobody knows what is offered, so no build is an orphan then.

    Returns:
        0.
    """
    ground = ground_of(args)
    cache = Cache(ground.cache_dir)
    known = [entry.id for entry in ground.entries] or None
    before = {one.folder: one for one in shelves.held(cache)}
    stay = kept(args, ground.pinned)
    gone = shelves.prune(cache, settings=ground.cache, known=known, protected=stay)
    freed = sum(before[name].size_bytes for name in gone if name in before)
    lines = [f"{plain(name)}: {size(before[name].size_bytes)} freed" for name in gone]
    said = {"gone": list(gone), "freed_bytes": freed}
    told(said, lines or ["nothing has to go"], is_json=args.json)
    return Exit.OK


def _verified(
    args: Namespace, ground: Ground, cache: Cache, folder: Path, model: str
) -> dict[str, object]:
    found, one = _read_whole(folder, model)
    if found.bad and args.repair:
        _mend(ground, cache, found)
        one |= {"ok": True, "state": "repaired"}
    return one


def _read_whole(folder: Path, model: str) -> tuple[scrub.Scrubbed, dict[str, object]]:
    record = read_record(folder)
    bar = Bar(sys.stderr, model)
    done, total, pace = 0, 0 if record is None else record.size_bytes, Pace()

    def told(count: int) -> None:
        nonlocal done
        done, now_s = done + count, time.monotonic()
        pace.told(done, now_s)
        rate, eta_s = pace.rate_bytes_s, pace.left_s(total - done)
        bar.told(Progress(done, total, 0, rate, "verify", eta_s=eta_s), now_s)

    found = scrub.scrub(folder, model=model, told=told)
    bar.close()
    state = "damaged" if found.bad else "whole"
    bad = [{"path": one.path, "reason": one.reason} for one in found.bad]
    return found, {"model": model, "ok": not found.bad, "state": state, "bad": bad}


def _mend(ground: Ground, cache: Cache, found: scrub.Scrubbed) -> None:
    record = found.record
    chunk_bytes = ground.weights.chunk_bytes
    _ = repair.set_aside(cache, record.model, record, found.bad, chunk_bytes=chunk_bytes)
    bar = Bar(sys.stderr, record.model)
    job = FetchJob(
        record.model,
        ModelRef.parse(record.ref),
        ground.stores,
        ground.weights,
        str(ground.cache_dir),
    )
    try:
        _ = bring_here(job, told=lambda progress: bar.told(progress, time.monotonic()))
    finally:
        bar.close()
    _ = verify(cache.folder(record.model), model=record.model)


def _why(bad: Sequence[object]) -> str:
    words = [f"{plain(table(one).get('path'))}: {plain(table(one).get('reason'))}" for one in bad]
    return "".join(f"\n  {line}" for line in words)
