"""A registry's manifest on the web: the files beside it, with the digests that it promises.

The manifest is read here for its list only. Whoever fetches reads it again, as one of the
files, and holds it against every rule; what is promised here is held, too. The reference's
own host may be this machine by name; everything else has to be public or named by the
operator, and unencrypted only if named or this machine.
"""

import asyncio
import re
from typing import cast
from urllib.parse import quote

from ...config.foreign_json import TooMuch, parsed
from ...config.loopback import is_loopback
from ...config.refs import ModelRef
from ...config.stores import Stores
from .addresses import Guard, named
from .base import HttpLocation, RemoteFile
from .errors import ModelMissing, WeightsCorrupt, WeightsUnsafe
from .http_ranges import HttpClient, refusal
from .paths import MOST_OBJECTS, Choose, everything, metadata, safe_path, wanted
from .web_files import WebFiles

MOST_MANIFEST_BYTES = 64 * 2**20
_MOST_PLACES = 5 * MOST_OBJECTS
"""Of objects and lists: each costs memory, however short it is."""

_MANIFEST = "manifest.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OK = 200


class HttpsStore:
    """What one manifest lists, as a :class:`~poolhand.backends.stores.base.Store`.

    Attributes:
        notes: What a person may want to know about the access; nothing here.
    """

    def __init__(self, ref: ModelRef, stores: Stores) -> None:
        self._url = str(ref)
        self._base = self._url.removesuffix(_MANIFEST)
        self._model = str(ref)
        self.name = self._base.rstrip("/")
        self.notes: tuple[str, ...] = ()
        host = ref.container.rpartition(":")[0] or ref.container
        own = [named(self._url)] if is_loopback(host) or is_loopback(ref.container) else []
        guard = Guard(self.name, [*stores.trusted_hosts, *own])
        self._client = HttpClient(self.name, guard, ca_file=stores.https.ca_file)
        self._files = WebFiles(self._client, model=self._model, home=self._url)
        self._choose: Choose = wanted

    def take_all(self) -> None:
        """Leave nothing out of ``files``."""
        self._choose = everything

    def take_metadata(self) -> None:
        """Leave the weights out of ``files``."""
        self._choose = metadata

    async def files(self) -> tuple[RemoteFile, ...]:
        """List what the manifest lists, and itself; see the protocol for what is raised."""
        answer = await asyncio.to_thread(
            self._client.ask, self._url, most_bytes=MOST_MANIFEST_BYTES
        )
        if answer.status != _OK:
            raise refusal(answer, store=self.name, model=self._model)
        kept = self._choose(self._listed(answer.body), model=self._model)
        if not any(file.path != _MANIFEST for file in kept):
            raise ModelMissing(model=self._model, reason="the manifest lists no file of a model")
        return await self._files.probed(kept)

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read a part of a small file; see the protocol for what is raised."""
        return await self._files.read(file, start=start, stop=stop)

    def location(self, file: RemoteFile) -> HttpLocation:
        """Where to read the file now; see the protocol for what is raised."""
        return self._files.location(file)

    async def refresh(self) -> None:
        """Forget where redirects led; there are no credentials."""
        self._files.forget()

    async def close(self) -> None:
        """Give back connections; safe to call twice."""
        self._client.close()

    def _listed(self, body: bytes) -> list[RemoteFile]:
        if body.count(b"{") + body.count(b"[") > _MOST_PLACES:
            reason = f"its manifest lists more than {MOST_OBJECTS} files"
            raise WeightsUnsafe(model=self._model, reason=reason)
        try:
            found = parsed(body)
        except TooMuch as error:
            raise self._senseless(reason=str(error)) from None
        except (ValueError, RecursionError):
            raise self._senseless(reason="is no JSON") from None
        entries = cast("dict[str, object]", found).get("files") if isinstance(found, dict) else None
        if not isinstance(entries, list):
            raise self._senseless(reason="has no list of files")
        listed = cast("list[object]", entries)
        if len(listed) > MOST_OBJECTS:
            reason = f"its manifest lists more than {MOST_OBJECTS} files"
            raise WeightsUnsafe(model=self._model, reason=reason)
        files = [self._file(entry) for entry in listed]
        if _MANIFEST not in {file.path for file in files}:
            files.append(RemoteFile(_MANIFEST, len(body), None, self._url))
        return files

    def _file(self, entry: object) -> RemoteFile:
        match entry:
            case {"path": str(path), "size_bytes": int(size), "sha256": str(sha256)} if (
                size >= 0 and not isinstance(size, bool) and _SHA256.fullmatch(sha256)
            ):
                pass
            case _:
                raise self._senseless(reason="has an entry without path, size_bytes and sha256")
        try:
            url = f"{self._base}{quote(safe_path(path), safe='/~')}"
        except ValueError as error:
            raise WeightsUnsafe(model=self._model, reason=f"the path {error}") from None
        return RemoteFile(path, size, None, url, sha256)

    def _senseless(self, *, reason: str) -> WeightsCorrupt:
        return WeightsCorrupt(model=self._model, file=_MANIFEST, reason=reason)
