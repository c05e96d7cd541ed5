"""Files behind URLs, as the stores that are no S3 have them: probed, read, located.

Each file is probed once with a GET of its first byte: that follows the redirects to where the
bytes really are, and tells the length and the version tag as *that* place tells them, which
is what the fetch's threads will hold every answer against. An address that was signed for a
while is asked for again well before it expires.
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from urllib.parse import parse_qsl, urlsplit

from ...config.frozen import frozen
from .addresses import named
from .base import HttpLocation, RemoteFile
from .endpoints import Origin, origin
from .errors import ModelMissing, StoreUnreachable, WeightsChanged
from .etags import is_other
from .http_ranges import Answer, HttpClient, refusal

PROBES_AT_ONCE = 8
REDIRECT_LIFE_S = 300.0
"""How long an address is used that came by a redirect and does not say when it expires."""

_LIFE_RATIO = 0.5
"""Of the time that is left; a read that has begun is let to its end by every store."""

_MOST_READ_BYTES = 64 * 2**20
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d{1,18})")
_PARTIAL, _WHOLE, _NO_SUCH_RANGE = 206, 200, 416
_GONE = frozenset({404, 410})

Headers = Mapping[str, str]
NONE: Headers = MappingProxyType({})


@frozen
class _Place:
    """Where a file's bytes are for now.

    Attributes:
        is_home: Whether the store itself has them, so that it sees the authorization.
        until_s: Since the epoch; ``None``: for good.
    """

    origin: Origin
    url: str = field(repr=False)
    is_home: bool
    until_s: float | None


class WebFiles:
    """Files of one model; their keys are URLs.

    Args:
        client: Asks the store.
        model: For messages.
        home: Any URL of the store's own origin; a listed file may be somewhere else.
        auth: Headers that show who we are, for that origin only; may wait for a token.
        extra: Further headers for a key, for that origin only.
        denied: What to say of an answer that denies access; empty: the status.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        client: HttpClient,
        *,
        model: str,
        home: str,
        auth: Callable[[], Headers] = lambda: NONE,
        extra: Callable[[str], Headers] = lambda _: NONE,
        denied: Callable[[Answer], str] = lambda _: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._model = model
        self._home = named(home)
        self._auth = auth
        self._extra = extra
        self._denied = denied
        self._clock = clock
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}

    async def probed(self, listed: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
        """Find out where the files are, how long and of which version.

        Args:
            listed: With URLs for keys; sizes are taken from the answers.

        Raises:
            WeightsError: One of them cannot be read.
        """

        def probe_all() -> tuple[RemoteFile, ...]:
            with ThreadPoolExecutor(PROBES_AT_ONCE) as threads:
                return tuple(threads.map(self._probed, listed))

        return await asyncio.to_thread(probe_all)

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read a part of a small file; see the store's protocol for what is raised."""
        end = file.size_bytes if stop is None else min(stop, file.size_bytes)
        return b"" if start >= end else await asyncio.to_thread(self._read, file, start, end)

    def location(self, file: RemoteFile) -> HttpLocation:
        """Where to read the file now; waits only if an address or a token has grown old.

        Raises:
            WeightsError: The store does not give another.
        """
        place = self._place(file)
        return HttpLocation(
            host=place.origin.host,
            port=place.origin.port,
            is_tls=place.origin.is_tls,
            target="/" + place.url.partition("://")[2].partition("#")[0].partition("/")[2],
            headers={
                "host": place.origin.authority,
                "accept-encoding": "identity",
                **(self._own(file.key) if place.is_home else NONE),
            },
            ca_file=self._client.ca_file,
            is_fleeting=True,
        )

    def forget(self) -> None:
        """Ask for every address again when it is needed next."""
        with self._lock:
            self._places.clear()

    def _own(self, key: str) -> Headers:
        return {**self._extra(key), **self._auth()} if named(key) == self._home else NONE

    def _probed(self, file: RemoteFile) -> RemoteFile:
        answer = self._probe(file, is_new=True)
        size = _size(answer)
        if size is None:
            raise StoreUnreachable(
                store=self._client.store, reason=f"it does not tell how long {file.path} is"
            )
        tag = answer.headers.get("etag", "")
        return replace(file, size_bytes=size, etag=tag if _TAG.fullmatch(tag) else None)

    def _probe(self, file: RemoteFile, *, is_new: bool = False) -> Answer:
        answer = self._client.ask(
            file.key, headers={"range": "bytes=0-0"}, auth=self._own(file.key)
        )
        if answer.status in _GONE and is_new:
            reason = f"{file.path} is listed, and not there"
            raise ModelMissing(model=self._model, reason=reason)
        if answer.status not in {_PARTIAL, _WHOLE} and _size(answer) is None:
            raise self._refused(answer, file)
        now_s = self._clock()
        life_s = lifetime_s(answer.url, now_s)
        if life_s is None and answer.url != file.key:
            life_s = REDIRECT_LIFE_S / _LIFE_RATIO
        until_s = None if life_s is None else now_s + life_s * _LIFE_RATIO
        with self._lock:
            self._places[file.key] = _Place(origin(answer.url), answer.url, answer.is_home, until_s)
        return answer

    def _place(self, file: RemoteFile) -> _Place:
        with self._lock:
            place = self._places.get(file.key)
        if place is None or (place.until_s is not None and self._clock() >= place.until_s):
            _ = self._probe(file)
            with self._lock:
                place = self._places[file.key]
        return place

    def _read(self, file: RemoteFile, start: int, end: int) -> bytes:
        headers = {"range": f"bytes={start}-{end - 1}"}
        if file.etag is not None:
            headers["if-match"] = file.etag
        place = self._place(file)
        own = self._own(file.key) if place.is_home else NONE
        answer = self._client.ask(place.url, headers=headers, auth=own, most_bytes=_MOST_READ_BYTES)
        if answer.status not in {_PARTIAL, _WHOLE}:
            raise self._refused(answer, file)
        if is_other(file.etag, answer.headers.get("etag")):
            raise WeightsChanged(model=self._model, file=file.path)
        content = answer.body[start:end] if answer.status == _WHOLE else answer.body
        if len(content) != end - start:
            reason = f"it sent {len(content)} bytes where {end - start} were asked for"
            raise StoreUnreachable(store=self._client.store, reason=reason)
        return content

    def _refused(self, answer: Answer, file: RemoteFile) -> Exception:
        store, model = self._client.store, self._model
        denied = self._denied(answer)
        return refusal(answer, store=store, model=model, file=file.path, denied=denied)


def lifetime_s(url: str, now_s: float) -> float | None:
    """How long a signed address is good for from now on, in seconds.

    Returns:
        0 or more; ``None`` if it does not say.

    Source:
        Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters"
        (``X-Amz-Date``, ``X-Amz-Expires``; version 2: ``Expires``); Google Cloud Storage,
        "Signed URLs" (``X-Goog-…``); CloudFront's ``Expires``.
    """
    said = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    for maker in ("x-amz", "x-goog"):
        begin, life = said.get(f"{maker}-date", ""), said.get(f"{maker}-expires", "")
        if begin and life.isdecimal():
            try:
                at = datetime.strptime(begin, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            except ValueError:
                return None
            return max(0.0, at.timestamp() + min(int(life), 10**9) - now_s)
    expires = said.get("expires", "")
    return max(0.0, min(int(expires), 10**12) - now_s) if expires.isdecimal() else None


def _size(answer: Answer) -> int | None:
    """The whole file's length, as an answer to a GET of its first byte tells it."""
    if answer.status in {_PARTIAL, _NO_SUCH_RANGE}:
        found = _TOTAL.fullmatch(answer.headers.get("content-range", ""))
        return None if found is None else int(found[1])
    length = answer.headers.get("content-length", "")
    return int(length) if answer.status == _WHOLE and length.isdecimal() else None
