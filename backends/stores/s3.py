"""S3, or whatever speaks S3.

Lists and reads small files through aiobotocore, and signs locations by itself, so that the
threads that move the bytes never wait for it. Everything that signing needs is one immutable
snapshot: made when the store is opened, replaced as a whole by ``refresh``.

Requests go out unsigned if the operator says so, and also if no credentials are found
anywhere; the latter is noted, and a store that then refuses is reported with that reason.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from ...config.frozen import frozen, replace
from ...config.refs import ModelRef
from .base import HttpLocation, RemoteFile
from .endpoints import Endpoint, choose, is_region
from .errors import StoreUnreachable, WeightsChanged, WeightsUnsafe
from .etags import is_fit, is_other, quoted, told
from .loops import need_loop, within
from .paths import MOST_OBJECTS, Choose, everything, metadata, safe_path, under_prefix, wanted
from .s3_errors import (
    SKEWED,
    STALE,
    Answered,
    answer_errors,
    code_and_status,
    failures,
    of_answer,
    of_failure,
)
from .s3_lean import LeanClient, LeanSession, is_elsewhere, suffices
from .s3_session import Body, Client, Session, Way
from .signing import Credentials, Signer, StoreClock, encoded_key

if TYPE_CHECKING:  # checked settings; the fetching child has plain values of the same names
    from ...config.stores import S3
    from .s3_portable import LibraryLine

T = TypeVar("T")
PATIENCE_S = 60.0
"""For one answer of the control plane from its first byte to its last: a drip is no progress."""

_MOST_PAGES = 200
"""A listing that goes on longer, however little it lists, is not one of a model."""

_SAID = frozenset({"Contents", "IsTruncated", "KeyCount", "MaxKeys", "Name"})
"""A page says one of them; the library takes the words of a portal, or none, for an empty page."""

_NOT_FOUND = "no credentials were found, and the store does not serve this without"
_NOT_WANTED = "it does not serve this without credentials, and stores.s3.unsigned sends none"


@frozen
class _Open:
    """What an open store works with; replaced as a whole."""

    client: Client
    way: Way
    endpoint: Endpoint
    signer: Signer | None
    credentials: Credentials | None
    ca_file: str | None


class S3Store:
    """One prefix of a bucket as a :class:`~poolhand.backends.stores.base.Store`.

    Args:
        ref: Bucket and prefix.
        config: Our own settings of S3.
        environ: The process's own environment: it decides the endpoint and the region here,
            and the credential chain of botocore reads the same by itself.
        clock: Seconds since the epoch, for signatures.
        patience_s: For one answer, its last byte included.

    Attributes:
        notes: What a person may want to know about the access, one sentence each.

    Raises:
        ConfigInvalid: The endpoint or the region that wins cannot be used.
    """

    def __init__(
        self,
        ref: ModelRef,
        config: "S3",
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._region = ""
        self._bucket = ref.container
        self._prefix = f"{ref.path}/" if ref.path else ""
        self._model = str(ref)
        self._config = config
        self._environ = environ
        self._clock = StoreClock(clock)
        self._is_md5 = config.etag_is_md5
        self._is_portable = config.engine == "portable"
        self._is_lean = not self._is_portable
        self._open: _Open | None = None
        self._left: list[Client] = []
        self._choose: Choose = wanted
        self._payer = {"RequestPayer": "requester"} if config.requester_pays else {}
        self._present(choose(config, environ, self._bucket))

    @property
    def is_loopless(self) -> bool:
        """Whether the environment says all that is needed, so that no library is."""
        first = choose(self._config, self._environ, self._bucket)
        return self._is_lean and suffices(self._config, self._environ, first)

    def take_all(self) -> None:
        """Leave nothing out of ``files``."""
        self._choose = everything

    def take_metadata(self) -> None:
        """Leave the weights out of ``files``."""
        self._choose = metadata

    async def files(self) -> tuple[RemoteFile, ...]:
        """List the prefix; see the protocol for what is raised."""
        found = [file async for file in self._listed()]
        kept = under_prefix(
            found, self._choose, model=self._model, bucket=self._bucket, prefix=self._prefix
        )
        state = await self._opened()
        if state.credentials is not None:  # the listing may have been sent on to another region
            signer = Signer(state.credentials, state.way.region)
            self._open = replace(state, signer=signer)
        return kept

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read a part of a small file; see the protocol for what is raised."""
        end = file.size_bytes if stop is None else min(stop, file.size_bytes)
        if start >= end:
            return b""
        asked: dict[str, object] = {
            "Bucket": self._bucket,
            "Key": file.key,
            "Range": f"bytes={start}-{end - 1}",
            **self._payer,
        }
        if file.etag is not None:
            asked["IfMatch"] = file.etag
        with self._told(file.path):
            answer, content = await self._ask(
                lambda client: _object(client, asked, most_bytes=end - start + 1)
            )
        told = answer.get("ETag")
        if is_other(file.etag, told if isinstance(told, str) else None):
            raise WeightsChanged(model=self._model, file=file.path)
        span = answer.get("ContentRange")
        if isinstance(span, str) and span.partition("/")[0] != f"bytes {start}-{end - 1}":
            raise StoreUnreachable(store=self.name, reason="it sends another range than asked")
        if len(content) != end - start:
            reason = f"it sent {len(content)} bytes where {end - start} were asked for"
            raise StoreUnreachable(store=self.name, reason=reason)
        return content

    def location(self, file: RemoteFile) -> HttpLocation:
        """Where to read the file now, signed for about 15 minutes; quick, from any thread.

        Raises:
            RuntimeError: Neither ``files`` nor ``refresh`` was called before: a bug.
        """
        state = self._open
        if state is None:
            message = "call files() or refresh() first"
            raise RuntimeError(message)
        place = state.way.origin
        if self._is_portable:
            return HttpLocation(
                place.host, place.port, place.is_tls, file.key, {}, connect=self._line
            )
        target = f"{place.prefix}/{encoded_key(file.key)}"
        more = {"x-amz-checksum-mode": "ENABLED"}
        if self._payer:
            more["x-amz-request-payer"] = "requester"
        headers = {"host": place.authority, **more}
        if state.signer is not None:
            headers = state.signer.headers(
                authority=place.authority,
                target=target,
                now_s=self._clock.now_s(),
                more=more,
            )
        headers["accept-encoding"] = "identity"
        return HttpLocation(place.host, place.port, place.is_tls, target, headers, state.ca_file)

    def note_server_date(self, date: str) -> None:
        """Sign by the store's clock from now on.

        Args:
            date: The ``Date`` header of an answer that called ours too far off; one that
                cannot be read changes nothing.
        """
        self._clock.heed(date)

    def note_region(self, region: str) -> None:
        """Ask in this region from the next :meth:`refresh` on.

        Args:
            region: ``x-amz-bucket-region`` of an answer; one that is no name changes nothing.
        """
        if is_region(region):
            self._region = region

    async def refresh(self) -> None:
        """Read the shared files and ask the credential chain again, with nothing cached.

        Raises:
            StoreDenied: Credentials are configured but cannot be had.
            StoreUnreachable: Whoever gives credentials out does not answer.
        """
        old = self._open
        with self._told():
            async with within(self._patience_s):
                self._open = await self._connect(old)
        if old is not None:
            self._left.append(old.client)  # who asks beside us may still use it

    async def close(self) -> None:
        """Give back connections; safe to call twice. Locations can still be signed."""
        left, self._left = self._left, []
        for client in (*left, *(() if self._open is None else (self._open.client,))):
            await client.close()

    async def _ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        """Ask once more, with credentials fetched again, if those that were sent have expired."""
        state = await self._opened()
        try:
            async with within(self._patience_s):
                return await question(state.client)
        except answer_errors() as error:
            code = code_and_status(error)[0]
            # the library goes by this machine's clock, and has no other
            is_skewed = code == SKEWED and not (
                self._is_portable or isinstance(state.client, LeanClient)
            )
            if state.signer is None or not (is_skewed or code in STALE):
                raise
        if self._open is state:  # else who asks beside us has done it
            self._left.append(state.client)  # who asks beside us may still use it
            if is_skewed:
                self._open = self._by_the_stores_clock(state)
            else:
                async with within(self._patience_s):
                    self._open = await self._connect(state)
        state = await self._opened()
        async with within(self._patience_s):
            return await question(state.client)

    def _by_the_stores_clock(self, state: _Open) -> _Open:
        endpoint = replace(state.endpoint, region=state.way.region)
        client = LeanClient(
            endpoint, state.signer, state.ca_file, self._clock, patience_s=self._patience_s
        )
        return replace(state, client=client)

    def _line(self, stall_timeout_s: float) -> "LibraryLine":
        from .s3_portable import LibraryLine  # noqa: PLC0415  # where the operator wants it

        asked = {"Bucket": self._bucket, **self._payer}
        current: Callable[[], Client] = lambda: cast("_Open", self._open).client  # noqa: E731  # short
        return LibraryLine(current, self._loop, asked, stall_timeout_s=stall_timeout_s)

    async def _opened(self) -> _Open:
        if self._open is None:
            await self.refresh()
        return cast("_Open", self._open)

    async def _connect(self, old: _Open | None) -> _Open:
        if self.is_loopless:
            session: Session | LeanSession = LeanSession(
                self._environ, self._clock, patience_s=self._patience_s
            )
        else:
            self._loop = need_loop()
            session = Session(self._config.profile, is_proxied=self._is_portable)
        endpoint = choose(self._config, self._environ, self._bucket, profile=session.profile)
        if self._region:
            endpoint = replace(endpoint, region=self._region)
        credentials = None
        if not self._config.unsigned:
            credentials = await session.credentials(is_aws=endpoint.is_aws)
        ca_file = session.ca_file(self._config.ca_file)
        self._present(endpoint, is_without=not self._config.unsigned and credentials is None)
        is_signed = credentials is not None
        client = await session.client(endpoint, is_signed=is_signed, ca_file=ca_file)
        way = Way(endpoint, self._bucket)
        if old is not None and old.endpoint == endpoint:
            way = old.way  # it knows of a redirect already
        if isinstance(session, Session):
            way.follow(client)
        signer = None if credentials is None else Signer(credentials, way.region)
        return _Open(client, way, endpoint, signer, credentials, ca_file)

    def _present(self, endpoint: Endpoint, *, is_without: bool = False) -> None:
        self.endpoint = endpoint
        self.name = f"{endpoint.url or f's3.{endpoint.region}.amazonaws.com'}/{self._bucket}"
        without = ("no credentials were found anywhere: reading unsigned",)
        self.notes: tuple[str, ...] = (endpoint.why, *(without if is_without else ()))

    async def _listed(self) -> AsyncIterator[RemoteFile]:
        asked: dict[str, object] = {"Bucket": self._bucket, "Prefix": self._prefix, **self._payer}
        count, asked_for = 0, set[object]()
        for _ in range(_MOST_PAGES):
            page = await self._page(asked)
            for entry in cast("list[Mapping[str, object]]", page.get("Contents", [])):
                file = self._file(entry)
                count += 1
                if file is not None:
                    yield file
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated"):
                return
            if not token:
                raise StoreUnreachable(store=self.name, reason="its listing breaks off")
            if count > MOST_OBJECTS or token in asked_for:
                break
            asked_for.add(token)
            asked["ContinuationToken"] = token
        reason = f"more than {MOST_OBJECTS} objects lie under it, or its listing has no end"
        raise WeightsUnsafe(model=self._model, reason=reason)

    async def _page(self, asked: Mapping[str, object]) -> Mapping[str, object]:
        with self._told():
            try:
                page = await self._ask(lambda client: client.list_objects_v2(**asked))
            except Answered as error:
                if not self._is_lean or not is_elsewhere(error):
                    raise
            else:
                if page.keys().isdisjoint(_SAID):
                    raise StoreUnreachable(store=self.name, reason="it sends no listing")
                return page
        self._is_lean = False  # another region: the library knows how to follow
        self._open = None  # whoever begins anew, beside a loop, must not find the lean one
        await self.refresh()
        return await self._page(asked)

    def _file(self, entry: Mapping[str, object]) -> RemoteFile | None:
        key, size, etag = entry.get("Key"), entry.get("Size"), entry.get("ETag")
        if not isinstance(key, str) or not isinstance(size, int) or size < 0:
            raise StoreUnreachable(store=self.name, reason="its listing makes no sense")
        if not key.startswith(self._prefix):  # a part of another model is no part of this one
            reason = f"its listing names {key[:200]!a}, which was not asked for"
            raise StoreUnreachable(store=self.name, reason=reason)
        relative = key.removeprefix(self._prefix)
        if not relative or (key.endswith("/") and size == 0):
            return None  # what consoles put there to show an empty folder
        try:
            path = safe_path(relative)
        except ValueError as error:
            raise WeightsUnsafe(model=self._model, reason=f"the key {error}") from None
        tag = quoted(etag) if isinstance(etag, str) and etag else None
        if tag is not None and not is_fit(tag):
            raise StoreUnreachable(store=self.name, reason="its listing makes no sense")
        word = told(tag, size_bytes=size) if tag and self._is_md5 else None
        return RemoteFile(path, size, tag, key, told=word)

    @contextmanager
    def _told(self, file: str = "") -> Generator[None]:
        try:
            yield
        except answer_errors() as error:
            code, status = code_and_status(error)
            raise of_answer(
                code,
                status,
                store=self.name,
                model=self._model,
                file=file,
                is_unsigned=self._open is not None and self._open.signer is None,
                unsigned_why=_NOT_WANTED if self._config.unsigned else _NOT_FOUND,
            ) from None  # the original carries the store's own words
        except failures() as error:
            raise of_failure(error, store=self.name) from None


async def _object(
    client: Client, asked: Mapping[str, object], *, most_bytes: int
) -> tuple[Mapping[str, object], bytes]:
    answer = await client.get_object(**asked)
    got = bytearray()
    async with cast("Body", answer["Body"]) as body:
        while len(got) < most_bytes and (piece := await body.read(most_bytes - len(got))):
            got += piece
        if len(got) == most_bytes:
            body.close()
    return answer, bytes(got)
