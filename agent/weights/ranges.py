"""One connection, one ranged GET at a time, every answer held against what was listed.

The bytes go from the socket into one reused page-aligned buffer and from there to a sink;
nothing is kept. The socket blocks, with the time limits in the kernel, because a Python
time-out would cost a poll for every read. A reader never retries: it says by the type of
what it raises what has to happen first.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ...backends.stores.base import FileLocation, HttpLocation, Location
from ...backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    WeightsChanged,
)
from ...backends.stores.etags import is_other
from ...backends.stores.exchange import Exchange, Garbled, Head, Line
from ...backends.stores.s3_errors import COMPRESSED, DENIED, SKEWED, STALE, Compressed, expect_plain
from ...config.frozen import frozen
from ...config.patterns import pattern
from .answers import Word, joined, word_of

if TYPE_CHECKING:  # plain HTTP does without
    import ssl

Sink = Callable[[memoryview, int], None]
"""Takes bytes and the file offset they belong to; may raise whatever it likes."""

_ERROR_BODY_BYTES = 4096
_TRANSIENT_STATUS = frozenset({408, 425, 429})
_BROKEN_FROM = 500
_NEVER_STATUS = frozenset({501, 505})
"""Of those from 500 on, what no second try changes. Whatever else a store, or a proxy before it,
makes up, as Cloudflare's do from 520 to 527, is trouble that passes."""

_TRANSIENT_CODES = frozenset({"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable"})
_STALE_CODES = STALE | {SKEWED}
_ELSEWHERE = frozenset({301, 307})
"""Source: Amazon S3, "Making requests", on redirects: permanent, and for a bucket made lately."""

_CODE = pattern(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_CONTENT_RANGE = pattern(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class Hiccup(Exception):  # not a failure yet
    """The same read may well succeed later.

    Attributes:
        wait_s: What the store asked for, in seconds; ``None`` if it did not say.
        is_free: The idle connection had died, which is nobody's fault and costs no try.
        is_refusal: The store said that it is asked too much.
    """

    def __init__(
        self,
        *,
        reason: str,
        wait_s: float | None = None,
        is_free: bool = False,
        is_refusal: bool = False,
    ) -> None:
        self.reason = reason
        self.is_refusal = is_refusal
        self.wait_s = wait_s
        self.is_free = is_free
        super().__init__(reason)


class CredentialsStale(Exception):  # not a failure yet
    """The store wants fresh credentials, another clock, or to be asked in another region.

    Args:
        code: The store's own word for it.
        date: See below.
        region: See below.
        said: What it answered, if it has no word for it.

    Attributes:
        date: The store's own time, if it says that ours is too far off.
        region: Where the bucket is, if it says so.
        reason: What it means if it is said twice.
    """

    def __init__(
        self,
        code: str = "",
        *,
        date: str | None = None,
        region: str | None = None,
        said: str = "",
    ) -> None:
        self.date = date
        self.region = region
        self.reason = DENIED.get(code) or said or "the credentials have expired"
        if region is not None:
            self.reason = "it names another region of the bucket's each time"
        super().__init__(self.reason)


@frozen
class Span:
    """What to read of which file.

    Attributes:
        path: For messages.
        start: First byte.
        stop: One behind the last byte; more than ``start``.
        size_bytes: Length of the whole file as listed.
        etag: The version to insist on; ``None`` if the store has none.
    """

    path: str
    start: int
    stop: int
    size_bytes: int
    etag: str | None

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole file, so that no range needs to be asked for."""
        return self.start == 0 and self.stop == self.size_bytes


class RangeReader:
    """One keep-alive connection; used by one thread, but for :meth:`interrupt`.

    Args:
        model: For messages.
        store: For messages.
        stall_timeout_s: Seconds without one byte before a read is given up.
        buffer: Reused for every read; page-aligned memory is much faster.
        reached: Hears, of each connection that it makes, how long there and back takes, in seconds.

    Attributes:
        is_untold: Whether an answer did not say which version it is of.
        waited_s: How long its last answer took to begin, in seconds; 0 before the first.
        words: What answers said of their objects besides, by path; whoever reads takes it.
    """

    def __init__(
        self,
        *,
        model: str,
        store: str,
        stall_timeout_s: float,
        buffer: memoryview,
        reached: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._model = model
        self._store = store
        self._stall_timeout_s = stall_timeout_s
        self._buffer = buffer
        self._reached = reached
        self.is_untold = False
        self.waited_s = 0.0
        self.words: dict[str, Word] = {}
        self._line: Line | None = None
        self._peer: tuple[object, ...] = ()
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    def read(self, location: Location, span: Span, sink: Sink) -> None:
        """Read one span and hand it to ``sink`` in order, piece by piece.

        Raises:
            Hiccup: Try again; what the sink got so far is good.
            CredentialsStale: Refresh, then try again.
            WeightsChanged: The object is not the one that was listed.
            ModelMissing: The object is gone.
            StoreDenied: The store does not let this node read.
            StoreUnreachable: The store does not speak sensibly.
        """
        if isinstance(location, FileLocation):
            self._read_file(location, span, sink)
            return
        try:
            line, head = self._ask(location, span)
            if head.status not in {200, 206}:
                self._refuse(line, head, span, is_fleeting=location.is_fleeting)
            self._judge(head, span)
            self._pour(line, span, sink)
        finally:
            # a refusal that was read to its end leaves a good connection, too
            if self._line is not None and not (self._line.is_usable and self._line.is_over):
                self.close()

    def interrupt(self) -> None:
        """End a read that runs in another thread; it raises :class:`Hiccup`."""
        line = self._line
        if line is not None:
            line.interrupt()

    def close(self) -> None:
        """Give back the connection; the next read opens another."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _ask(self, location: HttpLocation, span: Span) -> tuple[Line, Head]:
        peer = (
            *(location.host, location.port, location.is_tls, location.ca_file),
            location.connect,
        )
        is_reused = self._line is not None and peer == self._peer
        asked_s = time.monotonic()
        try:
            if self._line is None or not is_reused:
                self.close()
                self._line = self._connect(location)
                self._peer = peer
                self._reached(self._line.delay_s)
            sent_s = time.monotonic()
            head = self._line.ask(location.target, _headers(location, span))
            self.waited_s = time.monotonic() - sent_s
            return self._line, head  # noqa: TRY300  # there is no better place
        except (OSError, Garbled) as error:
            self.close()
            is_quick = time.monotonic() - asked_s < self._stall_timeout_s / 2
            raise Hiccup(reason=_words(error), is_free=is_reused and is_quick) from error

    def _connect(self, location: HttpLocation) -> Line:
        if location.connect is not None:
            return location.connect(self._stall_timeout_s)
        return Exchange(
            location.host,
            location.port,
            self._context(location.ca_file) if location.is_tls else None,
            stall_timeout_s=self._stall_timeout_s,
        )

    def _context(self, ca_file: str | None) -> "ssl.SSLContext":
        if ca_file not in self._contexts:
            import ssl  # noqa: PLC0415  # plain HTTP does without

            self._contexts[ca_file] = ssl.create_default_context(cafile=ca_file)
        return self._contexts[ca_file]

    def _judge(self, head: Head, span: Span) -> None:
        # rclone's S3 answers 200, but names the range that it sends
        is_range = head.status == 206 or (not span.is_whole and "content-range" in head.fields)  # noqa: PLR2004  # HTTP
        if not is_range and not span.is_whole:
            raise StoreUnreachable(store=self._store, reason="it ignores Range requests")
        try:
            expect_plain(head.fields.get("content-encoding", ""))
        except Compressed:
            raise StoreUnreachable(store=self._store, reason=COMPRESSED) from None
        told = head.fields.get("etag")
        if is_other(span.etag, told):
            raise WeightsChanged(model=self._model, file=span.path)
        self.is_untold |= span.etag is not None and told is None
        word = word_of(head.fields, is_whole=span.is_whole)
        if word is not None:
            self.words[span.path] = joined(self.words.get(span.path), word) or word
        if is_range:
            self._judge_range(head.fields.get("content-range", ""), span)
        # ``length`` is None for a chunked answer, whose end then has to be where it should
        if head.length is not None and head.length != span.stop - span.start:
            if not is_range:
                raise WeightsChanged(model=self._model, file=span.path)
            raise StoreUnreachable(store=self._store, reason="it sends another length than asked")

    def _judge_range(self, header: str, span: Span) -> None:
        found = _CONTENT_RANGE.fullmatch(header)
        if found is None or (int(found[1]), int(found[2]) + 1) != (span.start, span.stop):
            raise StoreUnreachable(store=self._store, reason="it sends another range than asked")
        if found[3] not in {"*", str(span.size_bytes)}:
            raise WeightsChanged(model=self._model, file=span.path)

    def _refuse(self, line: Line, head: Head, span: Span, *, is_fleeting: bool) -> None:
        status = head.status
        try:
            found = _CODE.search(line.body(_ERROR_BODY_BYTES, within_s=self._stall_timeout_s))
        except (OSError, Garbled):
            found = None
        code = found[1].decode("ascii") if found else ""
        words = f"answers {status} {code}".strip()
        if code in _STALE_CODES:
            raise CredentialsStale(code, date=head.fields.get("date") if code == SKEWED else None)
        region = head.fields.get("x-amz-bucket-region", "")
        if (status in _ELSEWHERE or code == "AuthorizationHeaderMalformed") and region:
            raise CredentialsStale(code, region=region)
        is_broken = status >= _BROKEN_FROM and status not in _NEVER_STATUS
        if is_broken or status in _TRANSIENT_STATUS or code in _TRANSIENT_CODES:
            raise Hiccup(
                reason=words,
                wait_s=_retry_after_s(head.fields),
                is_refusal=status in {429, 503} or code == "SlowDown",
            )
        if status in {412, 416}:
            raise WeightsChanged(model=self._model, file=span.path)
        if status in {404, 410}:
            raise ModelMissing(model=self._model, reason=f"{span.path} is gone from the store")
        if status in {401, 403} and is_fleeting:
            raise CredentialsStale(said=words)
        if status in {401, 403}:
            raise StoreDenied(store=self._store, reason=words)
        raise StoreUnreachable(store=self._store, reason=words)

    def _pour(self, line: Line, span: Span, sink: Sink) -> None:
        at = span.start
        while at < span.stop:
            view = self._buffer[: min(len(self._buffer), span.stop - at)]
            count = self._take(line, view)
            if not count:
                raise Hiccup(reason="ended its answer early")
            sink(view[:count], at)
            at += count
        if not line.is_over and self._take(line, self._buffer[:1]):
            raise StoreUnreachable(store=self._store, reason="it sends more than was asked for")

    def _take(self, line: Line, view: memoryview) -> int:
        try:
            return line.take(view)
        except (OSError, Garbled) as error:
            raise Hiccup(reason=_words(error)) from error

    def _read_file(self, location: FileLocation, span: Span, sink: Sink) -> None:
        try:
            fd = os.open(location.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ModelMissing(model=self._model, reason=f"{span.path} is gone") from error
        except OSError as error:
            raise StoreDenied(store=self._store, reason=_words(error)) from error
        try:
            at = span.start
            while at < span.stop:
                view = self._buffer[: min(len(self._buffer), span.stop - at)]
                count = os.preadv(fd, [view], at)
                if count == 0:
                    raise WeightsChanged(model=self._model, file=span.path)
                sink(view[:count], at)
                at += count
        finally:
            os.close(fd)


def _headers(location: HttpLocation, span: Span) -> dict[str, str]:
    headers = dict(location.headers)
    if "accept-encoding" not in map(str.lower, headers):
        headers["Accept-Encoding"] = "identity"
    if not span.is_whole:
        headers["Range"] = f"bytes={span.start}-{span.stop - 1}"
    if span.etag is not None:
        headers["If-Match"] = span.etag
    return headers


def _retry_after_s(fields: Mapping[str, str]) -> float | None:
    """What a store asks for, in either form; a date is held against the store's own clock."""
    text = fields.get("retry-after", "")
    if text.isdecimal():
        return float(text) if len(text) < 7 else None  # noqa: PLR2004  # 11 days
    from ...config.dates import http_date_s  # noqa: PLC0415  # only for a store that hesitates

    then_s, now_s = http_date_s(text), http_date_s(fields.get("date"))
    return None if then_s is None or now_s is None else max(0.0, then_s - now_s)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "sends nothing any more"
    if isinstance(error, Garbled):
        return "ended its answer early, or made no sense of it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
