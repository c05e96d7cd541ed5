"""What a fetch brings that a person asked for: every object, held to a list if there is one.

An engine's build leaves out what an engine has no use for; a copy leaves out nothing. A
digest that was promised settles what a file's bytes are, so a file with a promise is not
judged by its format; only a pickle is refused whatever was promised.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ...backends.stores.base import MetadataStore, RemoteFile, Store, WholeStore
from ...backends.stores.errors import WeightsCorrupt, WeightsUnsafe
from ...backends.stores.loops import beside
from ...backends.stores.paths import is_wanted, is_weights, spares
from . import manifest
from .lines import Alone, FetchJob
from .parts import Target

OWN_NAMES = frozenset(
    {".partial", ".journal", ".journal.new", ".lock", "manifest.ok.new", ".poolhand"}
)
"""What the folder of an unfinished fetch holds beside the files, and that folder's own name: it is
deleted once they are where they belong."""


async def all_targets(
    store: Store, job: FetchJob, alone: Alone
) -> tuple[list[Target], manifest.Manifest | None]:
    """List everything, and what was promised about it.

    Raises:
        WeightsError: The leaf says what is wrong with the listing or with the promises.
    """
    if alone.is_metadata and isinstance(store, MetadataStore):
        store.take_metadata()
    elif alone.is_all and isinstance(store, WholeStore):
        store.take_all()
    found = await store.files()
    listed = {file.path: file for file in found if _counts(file.path, alone)}
    check_names(listed, model=job.model)
    promise, promised = None, dict[str, str]()
    if alone.is_verified and alone.checksums is not None:
        promised = await beside(read_checksums, Path(alone.checksums), model=job.model)
        promised = _wanted(promised, alone)
        hold(listed, promised, model=job.model, list_name=Path(alone.checksums).name)
    elif alone.is_verified and (file := listed.get(manifest.MANIFEST_NAME)) is not None:
        promise = await _promise(store, file, model=job.model)
        known = () if promise is None else promise.files
        promised = _wanted({one.path: one.sha256 for one in known}, alone)
        hold(listed, promised, model=job.model, list_name=None)

    def is_plain(path: str) -> bool:
        return alone.is_all and (path in promised or not alone.is_verified)

    return [
        Target(
            file,
            promised.get(path) or (file.sha256 if alone.is_verified else None),
            is_plain=is_plain(path),
            is_told=alone.is_verified,
        )
        for path, file in sorted(listed.items())
    ], promise


def check_names(paths: Iterable[str], *, model: str) -> None:
    """Refuse a listing of which a name is unfit for a folder.

    Raises:
        WeightsUnsafe: The message names it.
    """
    names = list(paths)
    problem = manifest.paths_problem(names)
    own = next((name for name in names if name.split("/")[0].casefold() in OWN_NAMES), None)
    if own is not None:
        problem = f"{own[:200]!r} is a name that a fetch keeps for itself"
    if problem:
        raise WeightsUnsafe(model=model, reason=problem)


def read_checksums(path: Path, *, model: str) -> dict[str, str]:
    """The digests that a file promises, by name.

    Raises:
        WeightsCorrupt: It cannot be read or understood.
    """
    from .checksums import MAX_CHECKSUMS_BYTES, ChecksumsInvalid, parse  # noqa: PLC0415  # if asked

    try:
        with path.open("rb") as file:
            data = file.read(MAX_CHECKSUMS_BYTES + 1)
        return parse(data)
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise WeightsCorrupt(model=model, file=str(path), reason=reason) from error
    except ChecksumsInvalid as error:
        raise WeightsCorrupt(model=model, file=str(path), reason=str(error)) from error


def hold(
    listed: Mapping[str, RemoteFile],
    promised: Mapping[str, str],
    *,
    model: str,
    list_name: str | None,
) -> None:
    """Check that a listing and its promises speak of the same files.

    Args:
        listed: What the store has.
        promised: Names to digests.
        model: For messages.
        list_name: Name of the list of checksums: every object but itself has to stand in
            it. ``None`` for a manifest, which need not name model cards.

    Raises:
        WeightsCorrupt: A promised file is missing, or an object is not in the list.
    """
    if missing := sorted(promised.keys() - listed.keys()):
        raise WeightsCorrupt(model=model, file=missing[0][:200], reason="not in the store")
    if list_name is None:
        return
    unknown = {path for path in listed.keys() - promised.keys() if path != list_name}
    if unknown:
        reason = "no line of the checksums names it"
        raise WeightsCorrupt(model=model, file=min(unknown)[:200], reason=reason)


def _wanted(promised: Mapping[str, str], alone: Alone) -> dict[str, str]:
    spare = frozenset[str]() if alone.is_all else spares(promised)
    return {
        path: sha256
        for path, sha256 in promised.items()
        if _counts(path, alone) and path not in spare
    }


def _counts(path: str, alone: Alone) -> bool:
    """Whether a file of this name is asked for."""
    if alone.is_metadata:
        return is_wanted(path) and not is_weights(path)
    return alone.is_all or is_wanted(path)


async def _promise(store: Store, file: RemoteFile, *, model: str) -> manifest.Manifest | None:
    if file.size_bytes > manifest.MAX_MANIFEST_BYTES:
        return None
    data = await store.read(file)
    if manifest.is_foreign(data):
        return None
    try:
        return manifest.parse(data, model=manifest.model_of(data))
    except manifest.ManifestInvalid as error:
        raise WeightsCorrupt(model=model, file=file.path, reason=str(error)) from error
