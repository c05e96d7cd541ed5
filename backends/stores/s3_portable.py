"""Objects by way of the library: where our own sockets may not go, through a proxy.

One connection with the face of :class:`~.exchange.Exchange`, so that whoever reads ranges judges
its answers as any other's. It takes two to four times the processor time of ours, and a
thread of the fetch waits for the event loop in which the library lives.
"""

import asyncio
import concurrent.futures
import errno
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeVar, cast

from .exchange import Head
from .s3_errors import Compressed, answer_errors, code_and_status, failures
from .s3_session import Body, Client

T = TypeVar("T")
Current = Callable[[], Client]
"""The client to ask now: another one after credentials were fetched again."""


class LibraryLine:
    """One object after another; used by one thread, but for :meth:`interrupt`.

    Args:
        current: See :data:`Current`.
        loop: Where that client lives; it runs in another thread.
        asked: What each request says besides: the bucket, who pays.
        stall_timeout_s: Seconds without one byte before a read is given up.

    Attributes:
        is_usable: Whether it may be asked again.
        is_over: Whether the last answer has been read to its end.
        delay_s: How far the store is, which the library does not tell: 0.
    """

    def __init__(
        self,
        current: Current,
        loop: asyncio.AbstractEventLoop,
        asked: Mapping[str, object],
        *,
        stall_timeout_s: float,
    ) -> None:
        self._current = current
        self._loop = loop
        self._asked = asked
        self._stall_timeout_s = stall_timeout_s
        self._body: Body | None = None
        self._left: int | None = None
        self._error = b""
        self._waits_for: concurrent.futures.Future[object] | None = None
        self.is_usable = self.is_over = True
        self.delay_s = 0.0

    def ask(self, target: str, headers: Mapping[str, str]) -> Head:
        """Ask for an object or a range of it.

        Args:
            target: Its key.
            headers: Of these ``Range`` and ``If-Match`` count.

        Raises:
            OSError: There was no answer.
        """
        self.is_over, self._body, self._error = False, None, b""
        said = {name.lower(): value for name, value in headers.items()}
        asked = {**self._asked, "Key": target}
        for name, word in (("range", "Range"), ("if-match", "IfMatch")):
            if name in said:
                asked[word] = said[name]
        try:
            answer = self._wait(self._current().get_object(**asked))
        except Compressed:
            return Head(200, {"content-encoding": "compressed"}, None)
        except answer_errors() as error:
            code, status = code_and_status(error)
            self._error = f"<Code>{code}</Code>".encode()
            about = cast("Mapping[str, Mapping[str, object]]", vars(error)["response"])
            return Head(status or 500, _fields(about), len(self._error))
        self._body = cast("Body", answer["Body"])
        fields = _fields(cast("Mapping[str, Mapping[str, object]]", answer))
        length = fields.get("content-length", "")
        self._left = int(length) if length.isdecimal() else None
        self.is_over = self._left == 0
        metadata = cast("Mapping[str, object]", answer["ResponseMetadata"])
        return Head(cast("int", metadata["HTTPStatusCode"]), fields, self._left)

    def take(self, view: memoryview) -> int:
        """Fill a buffer with what comes next, as far as that goes for now; 0 at the end.

        Raises:
            OSError: It broke off, or stood still.
        """
        if self.is_over or self._body is None:
            return 0
        piece = self._wait(self._body.read(len(view)))
        view[: len(piece)] = piece
        if self._left is not None:
            self._left -= len(piece)
        self.is_over = not piece or self._left == 0
        return len(piece)

    def body(self, most_bytes: int, *, within_s: float) -> bytes:  # noqa: ARG002  # as an exchange's
        """What a refusal says of itself."""
        self.is_over = True
        return self._error[:most_bytes]

    def interrupt(self) -> None:
        """End a read that runs in another thread: it raises."""
        self.is_usable = False
        waits_for = self._waits_for
        if waits_for is not None:
            _ = waits_for.cancel()

    def close(self) -> None:
        """Leave what is left; safe to call twice."""
        self.is_usable = False
        body, self._body = self._body, None
        if body is not None and not self.is_over:
            _ = self._loop.call_soon_threadsafe(body.close)

    def _wait(self, answer: Coroutine[object, None, T]) -> T:
        if not self.is_usable:
            answer.close()
            raise OSError(errno.ECONNABORTED, "interrupted")
        waits_for = asyncio.run_coroutine_threadsafe(answer, self._loop)
        self._waits_for = cast("concurrent.futures.Future[object]", waits_for)
        try:
            return waits_for.result(self._stall_timeout_s)
        except (OSError, Compressed, *answer_errors()):
            raise
        except (concurrent.futures.CancelledError, *failures()) as error:
            # the library's own words may hold the whole address
            raise OSError(errno.ECONNABORTED, type(error).__name__) from None
        finally:
            _ = waits_for.cancel()


def _fields(answer: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return {
        name.lower(): str(value) for name, value in cast("Mapping[str, object]", headers).items()
    }
