"""``poolhand models fetch``: bring a model here, with no daemon and no configuration.

With ``--to`` every object under the reference is copied under its relative name; without,
what an engine needs is brought into the cache that the agent serves from. With
``--metadata-only`` only what tells about the model comes, and none of its weights. Progress goes to
standard error and the result to standard output, so both can be kept apart.
"""

import gc
import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...backends.stores.base import Build, Progress
from ...backends.stores.errors import CacheFull, WeightsCorrupt, WeightsUnverified
from ...config.errors import AgentError, RefInvalid, SecretUnusable
from ..weights import standalone
from ..weights.alone import read_checksums
from ..weights.cache import Cache, remove
from ..weights.disk import disk_error
from ..weights.here import bring_here
from ..weights.journal import JOURNAL_NAME
from ..weights.lines import Alone, FetchJob
from ..weights.manifest import folder_name
from ..weights.record import Record
from ..weights.remote_code import FILES, asks_for_code
from ..weights.verify import config_of, read_record, verify
from .bar import Bar
from .exits import Exit
from .models_place import Place, kept, place_of
from .render import plain, size, span

if TYPE_CHECKING:  # where there is no configuration, nothing has to be checked
    from ...config.peers import Peers
    from ...config.stores import Stores
    from ...config.weights import Weights

_METADATA_NAME = "metadata"
"""Folder of the cache with what ``--metadata-only`` brings: no builds, so no agent looks there."""


class _Heard:
    """The last that the child told of its progress."""

    def __init__(self) -> None:
        self.last: Progress | None = None

    @property
    def resumed_bytes(self) -> int:
        return self.last.bytes_resumed if self.last is not None else 0


def models_fetch(args: Namespace) -> int:
    """Fetch, and say what came.

    Returns:
        0 only if everything is here and verified, or was not to be; ``Exit.UNVERIFIED`` if it is
        here and nobody had promised what it is.

    Raises:
        AgentError: It could not be brought here; the leaf says why.
    """
    gc.freeze()  # what was imported stays: whoever looks for what does not would take 10 ms for it
    try:
        place = place_of(args, cast("str", args.model), is_light=args.peer is None)
    except RefInvalid as error:
        print(f"poolhand: {error}\n  {error.remedy}", file=sys.stderr)
        return Exit.USAGE
    checksums = cast("Path | None", args.checksums)
    if checksums is not None and not checksums.is_file():
        print(f"poolhand: --checksums: there is no file {plain(str(checksums))}", file=sys.stderr)
        return Exit.USAGE
    bar = Bar(sys.stderr, place.model)
    heard = _Heard()

    def told(progress: Progress) -> None:
        heard.last = progress
        bar.told(progress, time.monotonic())

    began_s = time.monotonic()
    try:
        found = _brought(args, place, told)
    except AgentError as error:
        bar.close()
        if args.json:
            _print_error(error)
        raise
    except OSError as error:
        bar.close()
        failed = disk_error(error, str(cast("Path | None", args.to) or place.cache_dir))
        if args.json:
            _print_error(failed)
        raise failed from error
    bar.close()
    said = {**found, "seconds": round(time.monotonic() - began_s, 3)}
    said["warnings"] = _warn(Path(cast("str", said["folder"])))
    said["bytes_resumed"] = heard.resumed_bytes
    said["bytes_reused"] = heard.last.bytes_reused if heard.last is not None else 0
    said["bytes_fetched"] = max(0, cast("int", said["size_bytes"]) - heard.resumed_bytes)
    unpromised = cast("Sequence[str]", said.pop("unpromised"))
    is_local = place.ref.scheme == "file"  # what lies on this machine is what was asked for
    if unpromised and not args.no_verify and not is_local:
        return _unverified(args, said, unpromised)
    said["ok"] = True
    _print_result(args, said)
    return Exit.OK


def _unverified(args: Namespace, said: dict[str, object], files: Sequence[str]) -> int:
    """Say that all of it is here, and that nobody can tell whether it is right."""
    error = WeightsUnverified(
        model=cast("str", said["model"]), file=files[0][:200], others=len(files) - 1
    )
    told = {"code": error.code, "sentence": str(error), "remedy": error.remedy}
    _print_result(args, {"ok": False, **said, "error": told})
    if not args.json:
        print(f"poolhand: {plain(error)}\n  {error.remedy}", file=sys.stderr)
    return Exit.UNVERIFIED


def _brought(args: Namespace, place: Place, told: Callable[[Progress], None]) -> dict[str, object]:
    to, is_metadata = cast("Path | None", args.to), cast("bool", args.metadata_only)
    if to is None and is_metadata:
        to = place.cache_dir / _METADATA_NAME / folder_name(place.model)
    stores, weights = _stores(args, place), _weights(args, place)
    checksums = cast("Path | None", args.checksums)
    alone = Alone(
        checksums=None if checksums is None else os.path.abspath(checksums),  # noqa: PTH100  # keeps links
        is_verified=not args.no_verify,
        is_all=to is not None,
        is_metadata=is_metadata,
    )
    peers = _peers(args, place)
    if to is None:
        is_held = alone.checksums is not None or not alone.is_verified
        held = alone if is_held else None
        job = FetchJob(
            place.model, place.ref, stores, weights, str(place.cache_dir), held, peers=peers
        )
        build = _built(args, place, job, told)
        record = read_record(Cache(place.cache_dir).folder(place.model))
        unpromised = () if record is None or alone.checksums else record.unpromised
        return {**_of_build(place, build), "unpromised": unpromised}
    copy = standalone.Copy(place.ref, Path(os.path.abspath(to)), place.cache_dir)  # noqa: PTH100  # keeps links
    job = FetchJob(copy.model, copy.ref, stores, weights, copy.stage_dir, alone, peers=peers)
    return _of_copy(copy, alone, standalone.bring(copy, job, told=told))


def _built(args: Namespace, place: Place, job: FetchJob, told: Callable[[Progress], None]) -> Build:
    """Bring a build into the cache; unused ones leave if the bounds ask for it."""
    cache = Cache(place.cache_dir)

    def room(size_bytes: int) -> None:
        from ..weights import shelves  # noqa: PLC0415  # what is here already needs no room

        cache.remember(place.model, str(place.ref), size_bytes)
        for name in shelves.make_room(
            cache,
            place.model,
            size_bytes,
            settings=place.cache,
            protected=kept(args, place.pinned),
        ):
            print(f"poolhand: {name} left the cache to make room", file=sys.stderr)

    folder = cache.folder(place.model)
    try:
        _ = bring_here(job, told=told, room=room)
    except CacheFull:
        if not (folder / JOURNAL_NAME).exists():  # nothing of it is here: leave no empty folder
            _ = remove(folder, model=place.model)
        raise
    if job.alone is not None:
        _hold(place, job.alone)
    return verify(folder, model=place.model)


def _peers(args: Namespace, place: Place) -> "Peers":
    """Whom to ask before the store."""
    asked, key = cast("list[str] | None", args.peer), cast("Path | None", args.peers_key)
    if asked is None:
        return place.peers
    key_file = place.peers.key_file if key is None else os.path.abspath(key)  # noqa: PTH100  # keeps links
    if key_file is None:
        reason = "peers prove to each other that they share a key: name its file"
        raise SecretUnusable(source="--peers-key", reason=reason)
    return place.peers.model_copy(update={"urls": tuple(asked), "key_file": key_file})


def _warn(folder: Path) -> list[str]:
    """What the owner should know of a build that is whole and right."""
    said: list[str] = []
    for name in FILES:
        try:
            config = config_of(folder, model=str(folder), name=name)
        except (WeightsCorrupt, OSError):
            continue  # a copy may hold anything
        said += asks_for_code(name, config)
    for line in said:
        print(f"poolhand: {line}", file=sys.stderr)
    return said


def _hold(place: Place, alone: Alone) -> None:
    """Hold what was in the cache already to the checksums, too."""
    record = read_record(Cache(place.cache_dir).folder(place.model))
    if alone.checksums is None or record is None:
        return
    promised = read_checksums(Path(alone.checksums), model=place.model)
    for file in record.files:
        if promised.get(file.path) != file.sha256:
            reason = "the checksums say otherwise"
            raise WeightsCorrupt(model=place.model, file=file.path, reason=reason)


def _stores(args: Namespace, place: Place) -> "Stores":
    endpoint = cast("str | None", args.endpoint)
    if endpoint is None:
        return place.stores
    s3 = place.stores.s3.model_copy(update={"endpoint": endpoint})
    return place.stores.model_copy(update={"s3": s3})


def _weights(args: Namespace, place: Place) -> "Weights":
    chosen: dict[str, object] = {}
    if args.connections is not None:
        chosen["connections"] = chosen["max_connections"] = cast("int", args.connections)
    if args.limit is not None:
        chosen["max_bytes_per_s"] = int(cast("float", args.limit))
    return place.weights.model_copy(update=chosen)


def _of_build(place: Place, build: Build) -> dict[str, object]:
    return {
        "model": place.model,
        "ref": str(place.ref),
        "folder": build.folder,
        "size_bytes": build.size_bytes,
        "verified_by": build.verified_by,
        "weight_hash": build.weight_hash,
    }


def _of_copy(copy: standalone.Copy, alone: Alone, record: Record) -> dict[str, object]:
    verified_by = "checksums" if alone.checksums is not None else record.verified_by
    return {
        "model": copy.model,
        "ref": record.ref,
        "folder": str(copy.to),
        "size_bytes": record.size_bytes,
        "verified_by": verified_by if alone.is_verified else None,
        "unpromised": () if alone.checksums is not None else record.unpromised,
        "files": [
            {"path": file.path, "size_bytes": file.size_bytes, "sha256": file.sha256}
            for file in record.files
        ],
    }


def _print_error(error: AgentError) -> None:
    said = {"code": error.code, "sentence": str(error), "remedy": error.remedy}
    print(json.dumps({"ok": False, "error": said}))


def _print_result(args: Namespace, said: dict[str, object]) -> None:
    if args.json:
        print(json.dumps(said))
        return
    fetched, seconds = cast("int", said["bytes_fetched"]), cast("float", said["seconds"])
    words = {
        "checksums": "held to the checksums",
        "manifest": "held to the manifest",
        "store": "held to what the store tells of the bytes",
    }
    reused = cast("int", said["bytes_reused"])
    taken = f", {size(reused)} taken over from other builds here" if reused else ""
    how = words.get(str(said["verified_by"]), "digests taken, as it lies on this machine")
    if args.no_verify:
        how = "not verified, as was asked"
    elif not said["ok"]:
        how = "NOT VERIFIED: nobody promised what its bytes are"
    print(
        f"{plain(said['folder'])}: {size(cast('int', said['size_bytes']))}, "
        f"{size(fetched)} of it fetched in {span(seconds)}{taken}; {how}"
    )
