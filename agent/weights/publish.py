"""From digested files to a build: the last look, and the record that makes it one."""

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path

from ...backends.stores.base import VerifiedBy
from ...backends.stores.errors import ModelMissing, WeightsChanged, WeightsCorrupt
from ...config.atomic import write_atomically
from ...config.frozen import frozen
from .answers import is_answers
from .digests import MARK_BYTES, Interrupted, sha256_of
from .journal import Journal, Seal
from .lines import FetchJob
from .manifest import weight_hash
from .parts import Part, Target
from .record import RECORD_NAME, Record, RecordFile
from .verify import Contents, check_build, check_file, fingerprint

_PIECE_BYTES = 2**20
_THREADS = 4


@frozen
class Digested:
    """A complete file and what its bytes were found to be.

    Attributes:
        weights_bytes: Of its tensors; ``None`` if it was not looked into this time.
    """

    target: Target
    seal: Seal
    marks: tuple[str, ...] = ()
    weights_bytes: int | None = None


def publish(
    folder: Path,
    place: Path,
    job: FetchJob,
    files: Sequence[Digested],
    *,
    is_promised: bool,
    unsynced_boot: str | None = None,
) -> Record:
    """Look at the build as a whole and write its record.

    Args:
        folder: The model's folder in the cache, where the record goes.
        place: Where the files lie; ``folder``, or what a ``file://`` reference points at.
        job: What was asked for.
        files: Every file of the build.
        is_promised: Whether a manifest had promised the digests.
        unsynced_boot: This boot, if the files are not known to be on the platter.

    Raises:
        WeightsCorrupt: The files do not make a build.
    """
    found_hash = weight_hash(
        (found.target.remote.path, bytes.fromhex(found.seal.sha256)) for found in files
    )
    expect(found_hash, job, file="the build")
    contents = _contents(place, files, job, is_promised=is_promised)
    record = Record(
        model=job.model,
        ref=str(job.ref),
        folder=None if place == folder else str(place),
        verified_by=_verified_by(files, is_promised=is_promised),
        weight_hash=found_hash,
        weights_bytes=contents.weights_bytes,
        has_chat_template=contents.has_chat_template,
        mark_bytes=MARK_BYTES,
        unsynced_boot=unsynced_boot,
        files=tuple(_entry(found) for found in files),
    )
    write_atomically(folder / RECORD_NAME, record.encode(), is_synced=unsynced_boot is None)
    return record


def drop_lies(parts: Sequence[Part], wrong: Sequence[int], journal: Journal, *, model: str) -> None:
    """Publish nothing that is not what its store tells, though it was read twice.

    Args:
        parts: All files.
        wrong: Which of them are something else.
        journal: Where they were claimed.
        model: For messages.

    Raises:
        WeightsCorrupt: A file is something else; its name is gone, and so is its claim.
    """
    for number in wrong:
        journal.forget(number)
        parts[number].final.unlink(missing_ok=True)
    if wrong:
        reason = (
            "the store's own tag or checksum is of other bytes (if its tags are no MD5s, "
            "set stores.s3.etag_is_md5 = false)"
        )
        raise WeightsCorrupt(model=model, file=parts[wrong[0]].target.remote.path, reason=reason)


def expect(found_hash: str, job: FetchJob, *, file: str) -> None:
    """Hold a build's hash against the one that was named, if one was.

    Args:
        found_hash: What the bytes are, or are promised to be.
        job: What was asked for.
        file: Where the hash is from, for messages.

    Raises:
        WeightsCorrupt: It is another build.
    """
    if job.weight_hash not in {None, found_hash}:
        raise WeightsCorrupt(model=job.model, file=file, reason="not the build that was named")


def _verified_by(files: Sequence[Digested], *, is_promised: bool) -> VerifiedBy:
    if is_promised:
        return "manifest"
    weights = [
        found for found in files if found.target.remote.path.endswith((".safetensors", ".gguf"))
    ]
    return "store" if all(map(_promise, weights or files)) else "self"


def _promise(found: Digested) -> str | None:
    """What a file was held to by its store; ``None``: by nobody."""
    target, told = found.target, found.target.told
    if target.sha256 is not None:
        return f"sha256:{target.sha256}"
    if is_answers(found.seal.told):
        return found.seal.told
    return told if told is not None and told == found.seal.told else None


def _contents(
    place: Path, files: Sequence[Digested], job: FetchJob, *, is_promised: bool
) -> Contents:
    alone = job.alone
    if alone is not None and alone.is_metadata:
        return Contents(weights_bytes=0, has_chat_template=False)
    seen = {
        found.target.remote.path: found.weights_bytes
        for found in files
        if found.weights_bytes is not None
    }
    paths = [found.target.remote.path for found in files]
    try:
        return check_build(place, paths, model=job.model, seen=seen)
    except WeightsCorrupt:
        # a copy of promised bytes is whole, whether or not an engine could load it
        if alone is None or not alone.is_all or (alone.is_verified and not is_promised):
            raise
        return Contents(weights_bytes=0, has_chat_template=False)


def digest_in_place(
    place: Path,
    targets: Sequence[Target],
    *,
    model: str,
    is_stopped: Callable[[], bool],
    told: Callable[[int], None] = lambda _: None,
) -> list[Digested]:
    """Digest files where they lie, a few at once; nothing is copied.

    Args:
        place: Their folder.
        targets: The files, and what was promised of them.
        model: For messages.
        is_stopped: Asked after every piece.
        told: Hears, from several threads, how many bytes more are digested.

    Raises:
        ModelMissing: A file is gone.
        WeightsChanged: A file was written to meanwhile.
        WeightsCorrupt: A file is not what was promised, or not what its name says.
        WeightsUnsafe: A file is a pickle.
        Interrupted: ``is_stopped`` said so.
    """

    def digest(target: Target) -> Digested:
        path = target.remote.path
        file = place / path
        before = fingerprint(file)
        if before is None:
            raise ModelMissing(model=model, reason=f"{path} is gone")
        view = memoryview(mmap.mmap(-1, _PIECE_BYTES))
        sha256 = sha256_of(file, view, is_stopped=is_stopped, told=told)
        if fingerprint(file) != before or before.size_bytes != target.remote.size_bytes:
            raise WeightsChanged(model=model, file=path)
        if target.sha256 not in {None, sha256}:
            raise WeightsCorrupt(model=model, file=path, reason="hash mismatch")
        weights_bytes = check_file(file, path=path, model=model)
        return Digested(target, Seal(sha256, before), weights_bytes=weights_bytes)

    if is_stopped():
        raise Interrupted
    told(0)
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # no fetch needs it

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="digest") as pool:
        return list(pool.map(digest, targets))


def _entry(found: Digested) -> RecordFile:
    mark = found.seal.fingerprint
    return RecordFile(
        path=found.target.remote.path,
        size_bytes=mark.size_bytes,
        sha256=found.seal.sha256,
        etag=found.target.remote.etag,
        mtime_ns=mark.mtime_ns,
        inode=mark.inode,
        marks=found.marks,
        promise=_promise(found),
    )
