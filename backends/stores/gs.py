"""Google Cloud Storage by its own interfaces: JSON for the listing, XML for the bytes.

The listing tells each object's generation, and every read insists on it, so that a replaced
object is never read as the one that was listed. HMAC keys are for S3's interface: with them a
bucket is an :class:`~.s3.S3Store` at Google's endpoint. An emulator or any other endpoint gets
no Google credentials unless the operator says so.

Source:
    Cloud Storage JSON API, ``Objects: list``; XML API, "Download an object" and "HTTP headers"
    (``x-goog-if-generation-match``, ``x-goog-user-project``); "Interoperability with other
    storage providers"; ``STORAGE_EMULATOR_HOST`` as Google's client libraries read it.
"""

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import quote, urlencode, urlsplit

from ...config.errors import ConfigInvalid
from ...config.foreign_json import readable
from ...config.refs import ModelRef
from ...config.stores import S3, Stores
from .addresses import Guard, named
from .base import HttpLocation, RemoteFile
from .errors import StoreUnreachable, WeightsUnsafe
from .gs_auth import METADATA_HOST, GoogleTokens, is_googles, key_file, read_key
from .http_ranges import HttpClient, refusal
from .paths import MOST_OBJECTS, Choose, everything, metadata, safe_path, under_prefix, wanted
from .web_files import NONE, Headers, WebFiles

ENDPOINT = "https://storage.googleapis.com"
_GOOGLE = re.compile(r"(?:[a-z0-9-]+\.)*googleapis\.com")
_MOST_PAGES = 200
_MOST_PAGE_BYTES = 16 * 2**20
_FIELDS = "nextPageToken,items(name,size,generation,md5Hash)"
_OK = 200


def endpoint_of(stores: Stores, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Which endpoint wins.

    Returns:
        The URL without a slash at its end, and whether the operator named it.

    Raises:
        ConfigInvalid: It is no URL.
    """
    chosen = stores.gs.endpoint or environ.get("STORAGE_EMULATOR_HOST", "").strip()
    url = chosen if "://" in chosen or not chosen else f"http://{chosen}"
    if url and (not named(url) or urlsplit(url).scheme not in {"http", "https"}):
        where = "stores.gs.endpoint" if stores.gs.endpoint else "STORAGE_EMULATOR_HOST"
        raise ConfigInvalid(
            path=where,
            line=None,
            problem="cannot use this endpoint: it is no http(s) URL",
            suggestion="for example http://127.0.0.1:4443",
        )
    return (url or ENDPOINT).rstrip("/"), bool(url)


def as_s3(stores: Stores, environ: Mapping[str, str]) -> S3:
    """How the same bucket is reached with HMAC keys."""
    endpoint, _ = endpoint_of(stores, environ)
    return S3(
        endpoint=endpoint,
        region="auto",
        addressing="path",
        profile=stores.gs.hmac_profile,
        ca_file=stores.gs.ca_file,
    )


class GsStore:
    """One prefix of a bucket as a :class:`~poolhand.backends.stores.base.Store`.

    Attributes:
        notes: What a person may want to know about the access, one sentence each.

    Raises:
        ConfigInvalid: The endpoint that wins cannot be used.
    """

    def __init__(self, ref: ModelRef, stores: Stores, environ: Mapping[str, str]) -> None:
        self._bucket = ref.container
        self._prefix = f"{ref.path}/" if ref.path else ""
        self._model = str(ref)
        self._config = stores.gs
        self._environ = environ
        self._endpoint, is_chosen = endpoint_of(stores, environ)
        self.name = f"{self._endpoint}/{self._bucket}"
        self.notes: tuple[str, ...] = ()
        self._metadata_host = environ.get("GCE_METADATA_HOST", "").strip() or METADATA_HOST
        own = [named(self._endpoint)] if is_chosen else []
        guard = Guard(self.name, [*stores.trusted_hosts, *own])
        self._client = HttpClient(self.name, guard, ca_file=self._config.ca_file)
        # of its own, so that no redirect of the store's can lead to the metadata server
        self._machine = HttpClient(self.name, Guard(self.name, [self._metadata_host]))
        self._files = WebFiles(
            self._client,
            model=self._model,
            home=self._endpoint,
            auth=self._auth,
            extra=self._condition,
        )
        self._choose: Choose = wanted
        self._tokens: GoogleTokens | None = None
        self._generations: Mapping[str, str] = {}

    def take_all(self) -> None:
        """Leave nothing out of ``files``."""
        self._choose = everything

    def take_metadata(self) -> None:
        """Leave the weights out of ``files``."""
        self._choose = metadata

    async def files(self) -> tuple[RemoteFile, ...]:
        """List the prefix; see the protocol for what is raised."""
        found = await asyncio.to_thread(self._listed)
        kept = under_prefix(
            found, self._choose, model=self._model, bucket=self._bucket, prefix=self._prefix
        )
        return await self._files.probed(kept)

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read a part of a small file; see the protocol for what is raised."""
        return await self._files.read(file, start=start, stop=stop)

    def location(self, file: RemoteFile) -> HttpLocation:
        """Where to read the file now; see the protocol for what is raised."""
        return self._files.location(file)

    async def refresh(self) -> None:
        """Read the key file again, and ask for a new token.

        Raises:
            StoreDenied: The credentials are no good.
        """
        self._tokens = await asyncio.to_thread(self._found)
        self._files.forget()

    async def close(self) -> None:
        """Give back connections; safe to call twice. Locations can still be had."""
        self._client.close()
        self._machine.close()

    def _found(self) -> GoogleTokens | None:
        auth, is_google = self._config.auth, _is_google(self._endpoint)
        path, is_default = None, auth == "adc" or (auth == "auto" and is_google)
        if is_default:
            path = key_file(self._config.credentials_file, self._environ)
        if auth == "machine" or (is_default and path is None and is_googles(self._environ)):
            self.notes = ("reads as this machine's own account",)
            return GoogleTokens(self._machine, None, metadata_host=self._metadata_host)
        if path is None:
            self.notes = ("reads without credentials",)
            return None
        return GoogleTokens(self._client, read_key(path, store=self.name))

    def _auth(self) -> Headers:
        payer = self._config.user_project or (self._tokens.payer if self._tokens else "")
        paid = {"x-goog-user-project": payer} if payer else {}
        return {**paid, **(self._tokens.headers() if self._tokens is not None else NONE)}

    def _condition(self, key: str) -> Headers:
        generation = self._generations.get(key)
        return {"x-goog-if-generation-match": generation} if generation else NONE

    def _listed(self) -> list[RemoteFile]:
        if self._tokens is None:
            self._tokens = self._found()
        asked = {"prefix": self._prefix, "fields": _FIELDS, "maxResults": "1000"}
        files: list[RemoteFile] = []
        generations: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            page = self._page(asked)
            entries = page.get("items", [])
            for entry in cast("list[object]", entries) if isinstance(entries, list) else []:
                file, generation = self._file(entry)
                if file is not None:
                    files.append(file)
                    generations[file.key] = generation
            token = page.get("nextPageToken")
            if not isinstance(token, str) or not token:
                self._generations = generations
                return files
            if len(files) > MOST_OBJECTS or token == asked.get("pageToken"):
                break
            asked["pageToken"] = token
        reason = f"more than {MOST_OBJECTS} objects lie under it, or its listing has no end"
        raise WeightsUnsafe(model=self._model, reason=reason)

    def _page(self, asked: Mapping[str, str]) -> Mapping[str, object]:
        url = f"{self._endpoint}/storage/v1/b/{quote(self._bucket, safe='')}/o?{urlencode(asked)}"
        answer = self._client.ask(url, auth=self._auth(), most_bytes=_MOST_PAGE_BYTES)
        if answer.status == 401 and self._tokens is not None:  # noqa: PLR2004  # HTTP: it ended early
            self._tokens.forget()
            answer = self._client.ask(url, auth=self._auth(), most_bytes=_MOST_PAGE_BYTES)
        if answer.status != _OK:
            denied = "" if self._tokens is not None else "it does not serve this to strangers"
            raise refusal(answer, store=self.name, model=self._model, denied=denied)
        found = readable(answer.body)
        if not isinstance(found, dict):
            raise StoreUnreachable(store=self.name, reason="its listing makes no sense")
        return cast("Mapping[str, object]", found)

    def _file(self, entry: object) -> tuple[RemoteFile | None, str]:
        match entry:
            case {"name": str(name), "size": str(size), "generation": str(generation)} if (
                size.isdecimal() and generation.isdecimal()
            ):
                pass
            case _:
                raise StoreUnreachable(store=self.name, reason="its listing makes no sense")
        if not name.startswith(self._prefix):  # a part of another model is no part of this one
            reason = f"its listing names {name[:200]!a}, which was not asked for"
            raise StoreUnreachable(store=self.name, reason=reason)
        relative = name.removeprefix(self._prefix)
        if not relative or (name.endswith("/") and int(size) == 0):
            return None, ""  # what consoles put there to show an empty folder
        try:
            path = safe_path(relative)
        except ValueError as error:
            raise WeightsUnsafe(model=self._model, reason=f"the object {error}") from None
        url = f"{self._endpoint}/{quote(self._bucket, safe='')}/{quote(name, safe='/~')}"
        told = _md5(cast("dict[str, object]", entry).get("md5Hash"))
        return RemoteFile(path, int(size), None, url, told=told), generation


def _md5(said: object) -> str | None:
    """What is told of an object; nothing of one that was composed of others."""
    if not isinstance(said, str):
        return None
    try:
        raw = base64.b64decode(said, validate=True)
    except ValueError:
        return None
    return f"md5:{raw.hex()}" if len(raw) == 16 else None  # noqa: PLR2004  # bytes of an MD5


def _is_google(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    return parts.scheme == "https" and _GOOGLE.fullmatch(parts.hostname or "") is not None
