"""An end to what the library takes into memory.

It reads an answer to its last byte before anybody sees the first, and a store that never ends one
would fill the machine within the minute that it is given. So each answer is read here, up to a
bound; an object's bytes, which whoever asked for them reads, are left alone.
"""

import importlib
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from typing import Protocol, Self, cast

from .s3_errors import expect_plain
from .s3_session import MOST_ANSWER_BYTES

_ERRORS_FROM = 300


class _Stream(Protocol):
    def iter_any(self) -> AsyncIterator[bytes]: ...


class _Raw(Protocol):
    @property
    def content(self) -> _Stream: ...
    def close(self) -> None: ...


class _Answer(Protocol):
    raw: object
    status_code: int
    headers: Mapping[str, str]


class _Request(Protocol):
    stream_output: bool
    url: str


class _Session(Protocol):
    async def __aenter__(self) -> object: ...
    async def __aexit__(self, *error: object) -> object: ...
    async def close(self) -> None: ...
    async def send(self, request: _Request) -> _Answer: ...


class BoundedSession:
    """What sends the library's requests, with an end to each answer; has the face of its own.

    Args:
        options: As the library gives them to its own.
    """

    def __init__(self, **options: object) -> None:
        module = importlib.import_module("aiobotocore.httpsession")
        self._session = cast("_Session", module.AIOHTTPSession(**options))

    async def __aenter__(self) -> Self:
        """Begin."""
        _ = await self._session.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Give connections back."""
        _ = await self._session.__aexit__(*error)

    async def close(self) -> None:
        """The same."""
        await self._session.close()

    async def send(self, request: _Request) -> _Answer:
        """Send a request.

        Raises:
            Compressed: The answer is not as it was asked for.
            ValueError: The answer is longer than any that makes sense.
            botocore.exceptions.HTTPClientError: There was none, or not all of it.
        """
        is_object, request.stream_output = request.stream_output, True
        try:
            answer = await self._session.send(request)
        finally:
            request.stream_output = is_object
        if answer.status_code < _ERRORS_FROM:
            expect_plain(answer.headers.get("content-encoding", ""))
        if not is_object or answer.status_code >= _ERRORS_FROM:
            answer.raw = _Whole(await _body(cast("_Raw", answer.raw), request.url))
        return answer


class _Whole:
    """A body that is here already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        """All of it."""
        return self._body


async def _body(raw: _Raw, url: str) -> bytes:
    from aiohttp import ClientError  # noqa: PLC0415  # the library is here by now
    from botocore.exceptions import ConnectionClosedError, ReadTimeoutError  # noqa: PLC0415

    got = bytearray()
    with ExitStack() as undo:
        _ = undo.callback(raw.close)
        try:
            async for piece in raw.content.iter_any():
                got += piece
                if len(got) > MOST_ANSWER_BYTES:
                    raise ValueError(len(got))
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except ClientError as error:
            raise ConnectionClosedError(endpoint_url=url, error=error) from error
        _ = undo.pop_all()  # at its end, the connection serves the next request
    return bytes(got)
