"""One GET at a time over one blocking socket: what the hot path needs of HTTP/1.1, no more.

The library's client costs a millisecond a request, fifteen to import, and reads TLS through
four layers; small files and short starts are made of such. So this stands in its place where
weights move: a head that is checked line by line, and a body that goes from the socket to
where it belongs. Whatever is odd ends the exchange. Source: RFC 9112.
"""

import _socket  # see :mod:`.sockets`
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from ...config.frozen import frozen
from ...config.patterns import pattern
from .sockets import Pipe, Plain, Tls, connected, delay_s

if TYPE_CHECKING:  # plain HTTP does without
    import ssl

CONNECT_TIMEOUT_S = 10.0
_TICK_S = 0.1
"""So often what came is told, however slowly it comes."""

_LINE_BYTES = 4096
_HEAD_BYTES = 64 * 1024
_PIECE_BYTES = 16 * 1024
_MOST_INTERIM = 8
_MOST_TRAILERS = 64
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELDS = re.compile(r"(?:\n[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\x00\r\n]*+\r?)*+")
_CHUNK = pattern(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_UNFIT = re.compile("[\x00-\x20\x7f]")
_UNFIT_LINE = re.compile("[\x00\r\n]")
_HEAD_END = re.compile(rb"\n\r?\n")
_LINE_END = pattern(rb"\n")


class Garbled(Exception):  # not a failure yet: whoever asked says what it means
    """What came is no answer by the rules of HTTP/1.1."""


@frozen
class Head:
    """The head of an answer.

    Attributes:
        status: From 200 on.
        fields: Names in lower case; what came more than once is joined with ``, ``.
        length: Of the body; ``None`` if only its end will tell.
    """

    status: int
    fields: Mapping[str, str]
    length: int | None


class Line(Protocol):
    """What reads ranges of a store: :class:`Exchange`, or what stands in its place."""

    is_usable: bool
    delay_s: float

    @property
    def is_over(self) -> bool:
        """As an exchange's."""
        ...

    def ask(self, target: str, headers: Mapping[str, str]) -> Head:
        """As an exchange's."""
        ...

    def take(self, view: memoryview) -> int:
        """As an exchange's."""
        ...

    def body(self, most_bytes: int, *, within_s: float) -> bytes:
        """As an exchange's."""
        ...

    def interrupt(self) -> None:
        """As an exchange's."""
        ...

    def close(self) -> None:
        """As an exchange's."""
        ...


class Exchange:
    """One connection; used by one thread, but for :meth:`interrupt`.

    Args:
        host: Name or address.
        port: Of TCP.
        context: For TLS; ``None``: plain.
        stall_timeout_s: Seconds without one byte before a read is given up.
        connect_timeout_s: Seconds for the connection and its TLS.

    Attributes:
        is_usable: Whether another request may be sent when this answer has been read.
        delay_s: How long the connection took there and back when it was made, in seconds.

    Raises:
        OSError: No connection, or no TLS that can be trusted.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: "ssl.SSLContext | None",
        *,
        stall_timeout_s: float,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        self._stall_timeout_s = stall_timeout_s
        self._spare = memoryview(b"")
        self._piece = memoryview(bytearray(_PIECE_BYTES))
        self._chunk_left: int | None = None
        self._left: int | None = 0
        self._is_over = True
        self.is_usable = True
        begun_s = time.monotonic()
        sock = connected(host, port, connect_timeout_s)
        self.delay_s = delay_s(sock, time.monotonic() - begun_s)
        with ExitStack() as undo:
            _ = undo.callback(sock.close)
            tick_s = min(_TICK_S, stall_timeout_s)
            if context is None:
                self._pipe: Pipe = Plain(sock, tick_s=tick_s, limit_s=stall_timeout_s)
            else:
                self._pipe = Tls(sock, context, host, tick_s=tick_s, limit_s=stall_timeout_s)
            _ = undo.pop_all()  # from here on :meth:`close` does
        self._sock = sock

    @property
    def is_over(self) -> bool:
        """Whether the answer has been read to its end."""
        return self._is_over

    def interrupt(self) -> None:
        """End a read that runs in another thread: it raises or sees the end."""
        try:
            self._sock.shutdown(_socket.SHUT_RDWR)
        except OSError:
            return  # it is closed already

    def close(self) -> None:
        """Give back the connection; safe to call twice."""
        self.is_usable = False
        self._sock.close()

    def ask(self, target: str, headers: Mapping[str, str]) -> Head:
        """Send a GET and read the head of its answer.

        Args:
            target: Path and query, encoded.
            headers: All of them, ``Host`` among them.

        Raises:
            Garbled: What came is no answer.
            OSError: The connection broke; ``TimeoutError``: it stood still.
            ValueError: The target or a header cannot be sent.
        """
        self.is_usable = self._is_over = False
        self._spare = memoryview(b"")  # whatever came behind the last answer was not asked for
        self._pipe.send(_request(target, headers))
        for _ in range(_MOST_INTERIM):
            head = self._head()
            if head.status >= 200:  # noqa: PLR2004  # HTTP: those below announce another
                return head
        raise Garbled

    def take(self, view: memoryview) -> int:
        """Fill a buffer with what comes next of the body, as far as that goes for now.

        Args:
            view: At least one byte long.

        Returns:
            How many bytes; 0 at the end of the body.

        Raises:
            Garbled: The body ended early, or its pieces make no sense.
            OSError: The connection broke; ``TimeoutError``: it stood still.
        """
        if self._is_over:
            return 0
        if self._chunk_left is not None:
            return self._take_chunked(view)
        wanted = view if self._left is None else view[: self._left]
        count = self._receive(wanted)
        if self._left is not None:
            if not count:
                raise Garbled
            self._left -= count
        self._is_over = self._left == 0 if count else True
        return count

    def body(self, most_bytes: int, *, within_s: float) -> bytes:
        """The rest of the body, but no more than this.

        Args:
            most_bytes: Where to stop.
            within_s: A store that takes longer stands still, however often it says a byte.

        Raises:
            Garbled: As :meth:`take`.
            OSError: As :meth:`take`.
        """
        until_s = time.monotonic() + within_s
        got, piece = bytearray(), memoryview(bytearray(min(most_bytes, _HEAD_BYTES)))
        while len(got) < most_bytes:
            count = self.take(piece[: most_bytes - len(got)])
            if not count:
                break
            got += piece[:count]
            if time.monotonic() > until_s:
                raise TimeoutError
        return bytes(got)

    def _receive(self, view: memoryview) -> int:
        """Fill a buffer; less only at the end, or where a tick passed meanwhile."""
        count = min(len(self._spare), len(view))
        if count:
            view[:count] = self._spare[:count]
            self._spare = self._spare[count:]
        if count == len(view):
            return count
        got = self._next(view[count:], is_patient=not count)
        return count + got

    def _next(self, view: memoryview, *, is_patient: bool = True, is_filled: bool = True) -> int:
        begun_s = time.monotonic()
        while True:
            got = self._pipe.fill(view, is_filled=is_filled)
            if got is not None:
                return got
            if not is_patient:
                return 0
            if time.monotonic() - begun_s >= self._stall_timeout_s:
                raise TimeoutError

    def _head(self) -> Head:
        head = self._until(_HEAD_END, _HEAD_BYTES).decode("latin-1")
        first, *lines = head.split("\n")
        status = _STATUS.fullmatch(first.removesuffix("\r"))
        if status is None or _FIELDS.fullmatch(head, len(first)) is None:
            raise Garbled
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip(" \t\r")
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        code = int(status[2])
        self._begin(code, fields, is_old=status[1] == "0")
        return Head(code, fields, self._left)

    def _begin(self, status: int, fields: Mapping[str, str], *, is_old: bool) -> None:
        words = map(str.strip, fields.get("connection", "").lower().split(","))
        coding = fields.get("transfer-encoding", "").lower()
        self._chunk_left = self._left = None
        if coding:
            if coding != "chunked" or "content-length" in fields:
                raise Garbled
            self._chunk_left = 0
        elif "content-length" in fields:
            lengths = set(map(str.strip, fields["content-length"].split(",")))
            length = lengths.pop()
            if lengths or not (length.isascii() and length.isdecimal()) or len(length) > 18:  # noqa: PLR2004  # 2^63
                raise Garbled
            self._left = int(length)
        if status in {204, 304} or status < 200:  # noqa: PLR2004  # HTTP: these have no body
            self._chunk_left, self._left = None, 0
        is_kept = "keep-alive" in words if is_old else "close" not in words
        self.is_usable = is_kept and (self._left is not None or self._chunk_left is not None)
        self._is_over = self._left == 0 and status >= 200  # noqa: PLR2004  # as above

    def _until(self, end: re.Pattern[bytes], most_bytes: int) -> bytes:
        """What comes before an end and the return before it; what comes behind it is spared."""
        got, until_s = self._spare, time.monotonic() + self._stall_timeout_s
        while (found := end.search(got)) is None:
            before, count = bytes(got), 0  # it may lie in the piece
            if len(got) < most_bytes:
                count = self._next(self._piece, is_filled=False)
            if not count:
                raise Garbled
            came = self._piece[:count]
            got = memoryview(before + came) if before else came
            if time.monotonic() > until_s:  # so few bytes: a drip of them is no progress
                raise TimeoutError
        self._spare = got[found.end() :]
        return bytes(got[: found.start()]).removesuffix(b"\r")

    # ── a body in pieces ──────────────────────────────────────────────────────────────

    def _take_chunked(self, view: memoryview) -> int:
        if not self._chunk_left:
            self._chunk_left = self._chunk_bytes(self._line())
            if not self._chunk_left:
                # trailers say nothing that is asked for here
                if all(self._line() for _ in range(_MOST_TRAILERS)):
                    raise Garbled
                self._is_over = True
                return 0
        count = self._receive(view[: self._chunk_left])
        if not count:
            raise Garbled
        self._chunk_left -= count
        if not self._chunk_left and self._line():
            raise Garbled
        return count

    @staticmethod
    def _chunk_bytes(line: bytes) -> int:
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise Garbled
        return int(found[1], 16)

    def _line(self) -> bytes:
        return self._until(_LINE_END, _LINE_BYTES)


def _request(target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if _UNFIT.search(target) or _UNFIT_LINE.search("".join(lines)):
        raise ValueError(target[:200])
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
