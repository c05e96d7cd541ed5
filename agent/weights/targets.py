"""Which files of a store make the model, and what was promised about each of them."""

from collections.abc import Mapping

from ...backends.stores.base import RemoteFile, Store
from ...backends.stores.errors import WeightsCorrupt, WeightsUnsafe
from ...backends.stores.paths import is_wanted, spares
from . import manifest
from .lines import FetchJob
from .parts import Target
from .publish import expect


async def targets_of(store: Store, job: FetchJob) -> tuple[list[Target], manifest.Manifest | None]:
    """List a model, and hold the listing against what was promised.

    Returns:
        Its files, and the manifest if the store has one.

    Raises:
        WeightsError: The leaf says what is wrong with the listing or with the promises.
    """
    model = job.model
    if job.alone is not None:
        from .alone import all_targets  # noqa: PLC0415  # a pool's model is never such

        return await all_targets(store, job, job.alone)
    found = await store.files()
    for file in found:
        if problem := manifest.path_problem(file.path):
            raise WeightsUnsafe(model=model, reason=f"{file.path[:200]!r} {problem}")
    listed = {file.path: file for file in found if not manifest.is_hidden(file.path)}
    promise = await _promise(store, listed.get(manifest.MANIFEST_NAME), model=model)
    if promise is None:
        if job.weights.require_manifest:
            name, reason = manifest.MANIFEST_NAME, "the store has none, but it is required"
            raise WeightsCorrupt(model=model, file=name, reason=reason)
        targets = [Target(file, file.sha256) for file in listed.values()]
    else:
        expect(promise.aggregate_sha256, job, file=manifest.MANIFEST_NAME)
        targets = _promised(promise, listed, model=model)
    if problem := manifest.meeting_problem([target.remote.path for target in targets]):
        raise WeightsUnsafe(model=model, reason=problem)
    return targets, promise


def _promised(
    promise: manifest.Manifest, listed: Mapping[str, RemoteFile], *, model: str
) -> list[Target]:
    targets: list[Target] = []
    spare = spares(file.path for file in promise.files)
    for file in promise.files:
        if not is_wanted(file.path) or file.path in spare:
            if manifest.is_integrity(file.path):
                reason = f"{file.path[:200]!r} is of a kind that is not downloaded"
                raise WeightsUnsafe(model=model, reason=reason)
            continue  # model cards and the like: promised, and of no use here
        found = listed.get(file.path)
        if found is None or found.size_bytes != file.size_bytes:
            reason = "not in the store" if found is None else "size is not the promised one"
            raise WeightsCorrupt(model=model, file=file.path, reason=reason)
        targets.append(Target(found, file.sha256))
    return targets


async def _promise(
    store: Store, file: RemoteFile | None, *, model: str
) -> manifest.Manifest | None:
    if file is None:
        return None
    problem = f"longer than {manifest.MAX_MANIFEST_BYTES} bytes"
    if file.size_bytes <= manifest.MAX_MANIFEST_BYTES:
        data = await store.read(file)
        if manifest.is_foreign(data):
            return None
        try:
            return manifest.parse(data, model=model)
        except manifest.ManifestInvalid as error:
            problem = str(error)
    raise WeightsCorrupt(model=model, file=file.path, reason=problem)
