"""A folder on this machine, or one that is mounted here.

Links are followed for content, for that is how the caches of other tools are laid out, but
only to regular files; a link to a folder is not entered. The version tag is made of what the
file system changes when a file is replaced: inode, length and modification time.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ...config.refs import ModelRef
from .base import FileLocation, RemoteFile
from .errors import ModelMissing, StoreDenied, StoreUnreachable, WeightsChanged, WeightsUnsafe
from .loops import beside
from .paths import (
    MOST_OBJECTS,
    Choose,
    everything,
    is_wanted,
    metadata,
    of_one,
    safe_path,
    wanted,
)


class LocalStore:
    """A folder as a :class:`~poolhand.backends.stores.base.Store`.

    Attributes:
        notes: What a person may want to know about the access; nothing here.
    """

    def __init__(self, ref: ModelRef) -> None:
        self._folder = Path(ref.path)
        self._model = str(ref)
        self._one = ref.file
        self.name = str(ref)
        self.notes: tuple[str, ...] = ()
        self._choose: Choose = wanted

    def take_all(self) -> None:
        """Leave nothing out of ``files``."""
        self._choose = everything

    def take_metadata(self) -> None:
        """Leave the weights out of ``files``."""
        self._choose = metadata

    @property
    def is_loopless(self) -> bool:
        """Whether no event loop is needed: so it is, always."""
        return True

    async def files(self) -> tuple[RemoteFile, ...]:
        """List the folder; see the protocol for what is raised."""
        return await beside(self._list)

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read a part of a small file; see the protocol for what is raised."""
        return await beside(self._read, file, start, stop)

    def location(self, file: RemoteFile) -> FileLocation:
        """The file's own path."""
        return FileLocation(file.key)

    async def refresh(self) -> None:
        """Nothing: a folder has no credentials."""

    async def close(self) -> None:
        """Nothing is held open."""

    def _list(self) -> tuple[RemoteFile, ...]:
        if not self._folder.is_dir():
            raise ModelMissing(model=self._model, reason="there is no such folder")
        try:
            listed = of_one(self._walk(), self._one, model=self._model)
            found = self._choose(listed, model=self._model)
        except OSError as error:
            raise self._failure(error) from error
        if not found:
            raise ModelMissing(model=self._model, reason="the folder holds no file of a model")
        return found

    def _walk(self) -> Iterator[RemoteFile]:
        count = 0
        for folder, _, names in os.walk(self._folder, onerror=_raise):
            for name in names:
                count += 1
                if count > MOST_OBJECTS:
                    reason = f"more than {MOST_OBJECTS} files lie under it"
                    raise WeightsUnsafe(model=self._model, reason=reason)
                yield self._file(Path(folder) / name)

    def _file(self, path: Path) -> RemoteFile:
        try:
            relative = safe_path(path.relative_to(self._folder).as_posix())
        except ValueError as error:
            raise WeightsUnsafe(model=self._model, reason=str(error)) from None
        if not (self._choose is everything or is_wanted(relative)):
            return RemoteFile(relative, 0, None, str(path))  # its name is all that matters
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            reason = f"{relative!a} is no regular file"
            raise WeightsUnsafe(model=self._model, reason=reason)
        return RemoteFile(relative, facts.st_size, _etag(facts), str(path))

    def _read(self, file: RemoteFile, start: int, stop: int | None) -> bytes:
        try:
            with Path(file.key).open("rb") as opened:
                is_same = _etag(os.fstat(opened.fileno())) == file.etag
                opened.seek(start)
                span = (file.size_bytes if stop is None else min(stop, file.size_bytes)) - start
                content = opened.read(max(0, span)) if is_same else b""
        except FileNotFoundError:
            raise WeightsChanged(model=self._model, file=file.path) from None
        except OSError as error:
            raise self._failure(error) from error
        if not is_same:
            raise WeightsChanged(model=self._model, file=file.path)
        return content

    def _failure(self, error: OSError) -> ModelMissing | StoreDenied | StoreUnreachable:
        reason = error.strerror or "it cannot be read"
        match error:
            case PermissionError():
                return StoreDenied(store=self.name, reason=reason)
            case FileNotFoundError():
                return ModelMissing(model=self._model, reason=f"{error.filename!a}: {reason}")
            case _:
                return StoreUnreachable(store=self.name, reason=reason)


def _raise(error: OSError) -> None:
    raise error


def _etag(facts: os.stat_result) -> str:
    return f'"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"'
