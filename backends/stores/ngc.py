"""NVIDIA NGC: a model's version, file by file.

A personal key is a bearer token by itself; an older key is exchanged for one that lives a
quarter of an hour. The listing promises sha256 where the version's storage has them; older
storage gives signed addresses instead, which are read without the token.

Source:
    NGC API, ``/v2/org/{org}[/team/{team}]/models/{name}/versions/{version}/files``, and
    ModelExpress, ``modelexpress_common/src/providers/ngc.rs``: paging, the two kinds of
    storage, key files. Not run against the real one: nobody here has a key.
"""

import asyncio
import base64
import binascii
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlencode

from ...config.foreign_json import readable
from ...config.refs import ModelRef
from ...config.stores import Stores
from .addresses import Guard, named
from .base import HttpLocation, RemoteFile
from .errors import ModelMissing, StoreDenied, StoreUnreachable, WeightsUnsafe
from .http_ranges import HttpClient, refusal
from .paths import MOST_OBJECTS, Choose, everything, metadata, safe_path, wanted
from .tokens import basic, bearer, first, from_file
from .web_files import Headers, WebFiles

ENDPOINT = "https://api.ngc.nvidia.com"
AUTH_ENDPOINT = "https://authn.nvidia.com"
TOKEN_LIFE_S = 600.0
"""Source: ModelExpress renews after 10 minutes of about 15."""

_PAGE_FILES = 500
_MOST_PAGES = 100
_MOST_PAGE_BYTES = 16 * 2**20
_KEY_LINE = re.compile(r"(?im)^\s*api_?key\s*=\s*['\"]?([^\s'\"]+)")
_OK = 200
_NAMED_TYPE = 3


class NgcStore:
    """One version of a model as a :class:`~poolhand.backends.stores.base.Store`.

    Attributes:
        notes: What a person may want to know about the access; nothing here.
    """

    def __init__(
        self,
        ref: ModelRef,
        stores: Stores,
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        config = stores.ngc
        chosen = config.endpoint or environ.get("NGC_API_ENDPOINT", "").strip()
        authn = config.auth_endpoint or environ.get("NGC_AUTH_ENDPOINT", "").strip()
        self._authn = (authn or AUTH_ENDPOINT).rstrip("/")
        self._endpoint = (chosen or ENDPOINT).rstrip("/")
        self._base, self._scope = _places(ref)
        self._model = str(ref)
        self._key_file = config.key_file
        self._environ = environ
        self._clock = clock
        self.name = f"{self._endpoint}/{ref.container}/{ref.path}:{ref.revision}"
        self.notes: tuple[str, ...] = ()
        own = [named(url) for url in (chosen, authn) if url]
        guard = Guard(self.name, [*stores.trusted_hosts, *own])
        self._client = HttpClient(self.name, guard, ca_file=config.ca_file)
        self._files = WebFiles(
            self._client, model=self._model, home=self._endpoint, auth=self._auth
        )
        self._choose: Choose = wanted
        self._lock = threading.Lock()
        self._token: tuple[Headers, float] | None = None
        self._signed: dict[str, str] = {}

    def take_all(self) -> None:
        """Leave nothing out of ``files``."""
        self._choose = everything

    def take_metadata(self) -> None:
        """Leave the weights out of ``files``."""
        self._choose = metadata

    async def files(self) -> tuple[RemoteFile, ...]:
        """List the version; see the protocol for what is raised."""
        kept = self._choose(await asyncio.to_thread(self._listed), model=self._model)
        if not kept:
            raise ModelMissing(model=self._model, reason="the version holds no file of a model")
        return await self._files.probed(kept)

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read a part of a small file; see the protocol for what is raised."""
        return await self._files.read(file, start=start, stop=stop)

    def location(self, file: RemoteFile) -> HttpLocation:
        """Where to read the file now; see the protocol for what is raised."""
        url = self._signed.get(file.path, file.key)
        return self._files.location(replace(file, key=url))

    async def refresh(self) -> None:
        """Ask for a new token and for every address again.

        Raises:
            WeightsError: The listing, which has the addresses of older storage, cannot be read.
        """
        with self._lock:
            self._token = None
        self._files.forget()
        if self._signed:
            _ = await asyncio.to_thread(self._listed)

    async def close(self) -> None:
        """Give back connections; safe to call twice."""
        self._client.close()

    # ── who we are ────────────────────────────────────────────────────────────────────

    def _auth(self) -> Headers:
        with self._lock:
            if self._token is None or self._clock() >= self._token[1]:
                self._token = (self._asked(self._key()), self._clock() + TOKEN_LIFE_S)
            return self._token[0]

    def _asked(self, key: str) -> Headers:
        if not key or key.startswith("nvapi-"):
            return bearer(key, store=self.name)
        url = f"{self._authn}/token?{urlencode({'service': 'ngc', 'scope': self._scope})}"
        auth = basic("$oauthtoken", key)
        answer = self._client.ask(url, auth=auth, most_bytes=_MOST_PAGE_BYTES)
        if answer.status != _OK:
            denied = "the API key is not good for this organisation"
            raise refusal(answer, store=self.name, model=self._model, denied=denied)
        match readable(answer.body):
            case {"token": str(token)} if token:
                return bearer(token, store=self.name)
            case _:
                raise StoreDenied(store=self.name, reason="the API key gets no token")

    def _key(self) -> str:
        if self._key_file is not None:
            return from_file(Path(self._key_file), store=self.name, is_needed=True)
        key = first(self._environ, ("NGC_API_KEY", "NGC_CLI_API_KEY"))
        if key:
            return key
        home = self._environ.get("NGC_CLI_HOME", "").strip()
        path = (Path(home) if home else Path.home()) / ".ngc" / "config"
        text = from_file(path, store=self.name, is_needed=False)
        match readable(text.encode()):
            case {"apikey": str(key)} | {"api_key": str(key)} | {"apiKey": str(key)}:
                return key.strip()
            case _:
                found = _KEY_LINE.search(text)
                return "" if found is None else found[1]

    # ── the listing ───────────────────────────────────────────────────────────────────

    def _listed(self) -> list[RemoteFile]:
        files: list[RemoteFile] = []
        for number in range(1, _MOST_PAGES + 1):
            page = self._page(number)
            files += self._of_page(page)
            match page.get("paginationInfo"):
                case {"totalPages": int(total)} if number < total:
                    pass
                case _:
                    return files
            if len(files) > MOST_OBJECTS:
                break
        reason = f"more than {MOST_OBJECTS} files lie in it, or its listing has no end"
        raise WeightsUnsafe(model=self._model, reason=reason)

    def _page(self, number: int) -> Mapping[str, object]:
        asked = urlencode({"page-size": _PAGE_FILES, "page-number": number})
        auth = self._auth()
        url = f"{self._endpoint}{self._base}?{asked}"
        answer = self._client.ask(url, auth=auth, most_bytes=_MOST_PAGE_BYTES)
        if answer.status != _OK:
            denied = "the API key may not read it" if auth else "it wants an API key: NGC_API_KEY"
            raise refusal(answer, store=self.name, model=self._model, denied=denied)
        page = readable(answer.body)
        if not isinstance(page, dict):
            raise StoreUnreachable(store=self.name, reason="its listing makes no sense")
        found = cast("Mapping[str, object]", page)
        match found.get("requestStatus"):
            case {"statusCode": str(code)} if code != "SUCCESS":
                shown = code if re.fullmatch(r"[A-Z_]{1,64}", code) else "a failure"
                raise StoreUnreachable(store=self.name, reason=f"it answers {shown}")
            case _:
                return found

    def _of_page(self, page: Mapping[str, object]) -> list[RemoteFile]:
        urls, paths = _list(page.get("urls")), _list(page.get("filepath"))
        if urls and len(urls) == len(paths):
            files = [self._file(path, url, None) for path, url in zip(paths, urls, strict=True)]
            self._signed |= {file.path: file.key for file in files}
            return files
        return [self._entry(entry) for entry in _list(page.get("modelFiles"))]

    def _entry(self, entry: object) -> RemoteFile:
        match entry:
            case {"path": str(path)}:
                url = f"{self._endpoint}{self._base}/{quote(path, safe='/~')}"
                sha256 = cast("dict[str, object]", entry).get("sha256_base64")
                return self._file(path, url, _hex(sha256))
            case _:
                raise StoreUnreachable(store=self.name, reason="its listing makes no sense")

    def _file(self, path: object, url: object, sha256: str | None) -> RemoteFile:
        if not isinstance(path, str) or not isinstance(url, str):
            raise StoreUnreachable(store=self.name, reason="its listing makes no sense")
        try:
            return RemoteFile(safe_path(path), 0, None, url, sha256)  # sizes come by the probe
        except ValueError as error:
            raise WeightsUnsafe(model=self._model, reason=f"the path {error}") from None


def _places(ref: ModelRef) -> tuple[str, str]:
    """The path of a version's files, and what a token for them has to be good for."""
    names = ref.path.split("/")
    kind = names[1] if len(names) == _NAMED_TYPE else "models"
    team = f"/team/{names[0]}" if len(names) > 1 else ""
    base = f"/v2/org/{ref.container}{team}/{kind}/{names[-1]}/versions/{ref.revision}/files"
    scope = f"group/ngc:{ref.container}" + (f"/{names[0]}" if team else "")
    return base, scope


def _hex(sha256: object) -> str | None:
    if not isinstance(sha256, str):
        return None
    try:
        raw = base64.b64decode(sha256, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == 32 else None  # noqa: PLR2004  # bytes of a sha256


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
