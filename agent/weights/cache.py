"""The cache folder: what lies where, whole or in part.

Layout, one folder a model, named by :func:`~.manifest.folder_name`, never by the raw id::

    <cache>/models/<slug>--<12 hex>/
        config.json, model.safetensors, …   complete and digested; nothing else has such a name
        manifest.ok                         the record; written last, makes the folder a build
        .partial/<path>                     files being fetched, preallocated
        .journal                            which of their bytes are here
        .shared                             which of those other nodes may have; see peers_shared
        .lock                               held by the one fetch that writes here
    <cache>/models/.listed.json             sizes of builds that were listed but are not here
    <cache>/models/.listed.lock             held by whoever is writing that
"""

import fcntl
import json
import os
import time
from collections.abc import Collection, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

from ...backends.stores.base import Build
from ...backends.stores.errors import CacheBusy, WeightsCorrupt, WeightsUnsafe
from ...config.atomic import write_atomically
from .journal import JOURNAL_NAME
from .manifest import folder_name
from .record import RECORD_NAME
from .verify import changed_files, describe, read_record

PARTIAL_NAME = ".partial"
SHARED_NAME = ".shared"
LEAVING_PREFIX = ".leaving-"
_LOCK_NAME = ".lock"
_LISTED_NAME = ".listed.json"
_LISTED_LOCK_NAME = ".listed.lock"
_MAX_LISTED_BYTES = 2**20
_LOCK_RETRY_S = 0.1


class Cache:
    """The folder that holds models; a value without state of its own.

    Args:
        folder: ``cache.dir``; made when first written to.
    """

    def __init__(self, folder: Path | str) -> None:
        self.models = Path(folder) / "models"

    def folder(self, model: str) -> Path:
        """Where this model lies, or would."""
        return self.models / folder_name(model)

    def build(self, model: str, ref: str) -> Build | None:
        """The verified build, if it is here and untouched; reads no weights.

        Args:
            model: The build's id.
            ref: Where it must have come from.
        """
        folder = self.folder(model)
        record = read_record(folder)
        if record is None or (record.model, record.ref) != (model, ref):
            return None
        if changed_files(folder, record):
            return None
        try:
            return describe(folder, record)
        except WeightsCorrupt:
            return None

    def size_bytes(self, model: str) -> int:
        """Disk space of the model's folder, partial files counted as far as allocated."""
        return allocated_bytes(self.folder(model))

    def drop(self, model: str) -> int:
        """Delete the model, whole or partial.

        Returns:
            Bytes given back.

        Raises:
            CacheBusy: It is being fetched.
            OSError: The folder cannot be changed.
        """
        return remove(self.folder(model), model=model)

    def orphans(self, models: Collection[str]) -> tuple[Path, ...]:
        """Folders that belong to none of ``models``, sorted."""
        kept = {folder_name(model) for model in models}
        try:
            found = [path for path in self.models.iterdir() if not path.name.startswith(".")]
        except OSError:
            return ()
        return tuple(sorted(path for path in found if path.name not in kept))

    @contextmanager
    def lock(self, model: str, *, patience_s: float = 0.0) -> Generator[None]:
        """Hold the model's folder, making it if need be.

        Args:
            model: Whose folder.
            patience_s: How long a child of an agent that died may take to notice.

        Raises:
            CacheBusy: Another process holds it.
            WeightsUnsafe: The folder is a link to somewhere else.
            OSError: The folder cannot be made.
        """
        folder = self.folder(model)
        if folder.is_symlink():
            reason = f"its folder {folder} is a symbolic link"
            raise WeightsUnsafe(model=model, reason=reason)
        give_up_s, is_held = time.monotonic() + patience_s, False
        with ExitStack() as locks:
            while not is_held:  # whoever had it may have deleted the folder, and its lock with it
                folder.mkdir(parents=True, exist_ok=True)
                is_held = locks.enter_context(_locked(folder, model, give_up_s=give_up_s))
            _take_links_away(folder)
            yield

    def listed(self) -> dict[str, int]:
        """Sizes of builds as they were last listed: ``"model ref"`` to bytes."""
        try:
            with (self.models / _LISTED_NAME).open("rb") as file:
                found: object = json.loads(file.read(_MAX_LISTED_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        items = cast("dict[str, object]", found).items()
        return {name: size for name, size in items if isinstance(size, int)}

    def remember(self, model: str, ref: str, size_bytes: int) -> None:
        """Keep the size of a build that was listed; blocks while somebody else keeps one.

        Raises:
            OSError: The folder cannot be written to.
        """
        self.models.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.models / _LISTED_LOCK_NAME, flags, 0o644)
        try:
            # a load and the inventory list side by side, in threads and in other processes
            fcntl.flock(fd, fcntl.LOCK_EX)
            listed = {**self.listed(), listed_key(model, ref): size_bytes}
            write_atomically(self.models / _LISTED_NAME, json.dumps(listed, indent=1).encode())
        finally:
            os.close(fd)

    def has_partial(self, model: str) -> bool:
        """Whether an unfinished fetch left something to go on from."""
        return (self.folder(model) / JOURNAL_NAME).is_file()


def listed_key(model: str, ref: str) -> str:
    """Under which name :meth:`Cache.listed` keeps a build's size."""
    return f"{model} {ref}"


def _take_links_away(folder: Path) -> None:
    """Nobody but us writes here, and we make no links: one that is here leads us astray."""
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue  # whoever wants to write there hears of it
        for entry in entries:  # each knows what it is: one more question for each of many costs
            if entry.is_symlink():
                Path(entry.path).unlink()
            elif entry.is_dir():
                waiting.append(entry.path)


@contextmanager
def _locked(folder: Path, model: str, *, give_up_s: float) -> Generator[bool]:
    """Hold the lock that lies in a folder; whether it lies there still."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(folder / _LOCK_NAME, flags, 0o644)
    try:
        _lock(fd, model, give_up_s=give_up_s)
        yield _is_in(folder, fd)
    finally:
        os.close(fd)


def _is_in(folder: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), (folder / _LOCK_NAME).lstat())
    except FileNotFoundError:
        return False


def _lock(fd: int, model: str, *, give_up_s: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= give_up_s:
                raise CacheBusy(model=model) from error
            time.sleep(_LOCK_RETRY_S)
        else:
            return


def allocated_bytes(folder: Path) -> int:
    """Disk space of what lies below a folder; sparse files count as far as allocated."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(base, name)).st_blocks * 512  # noqa: PTH118  # hot for 10,000 files
            except OSError:
                continue  # gone meanwhile
    return total


def remove(folder: Path, *, model: str) -> int:
    """Delete one model's folder so that a kill at any moment leaves nothing like a build.

    The record goes first: what is left is no build. Then the folder gets a name that no
    model has, in one step, and only then its files go.

    Args:
        folder: A link is taken away, and what it points at is left alone.
        model: For the message.

    Returns:
        Bytes given back.

    Raises:
        CacheBusy: It is being fetched.
        OSError: It cannot be changed.
    """
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return 0
    with _locked(folder, model, give_up_s=0.0) as is_held:
        if not is_held:
            raise CacheBusy(model=model)  # deleted already, and somebody made it anew
        size_bytes = allocated_bytes(folder)
        (folder / RECORD_NAME).unlink(missing_ok=True)
        leaving = folder.with_name(f"{LEAVING_PREFIX}{folder.name}-{os.getpid()}")
        _ = folder.rename(leaving)
    import shutil  # noqa: PLC0415  # seldom needed, and no small thing in an idle agent

    shutil.rmtree(leaving, ignore_errors=True)
    return size_bytes
