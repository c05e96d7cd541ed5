"""What the library takes of an answer has an end."""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from poolhand.backends.stores import s3_bounds, s3_lean
from poolhand.backends.stores.base import RemoteFile
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.backends.stores.s3 import S3Store
from poolhand.config.refs import ModelRef
from poolhand.config.stores import S3

Listening = Callable[..., AbstractAsyncContextManager[str]]
REF = ModelRef.parse("s3://models/tiny")
KEY = b"<Key>tiny/a.json</Key><Size>1</Size>"
PAGE = b"<ListBucketResult><Contents>" + KEY + b"</Contents>%s</ListBucketResult>"

pytestmark = pytest.mark.usefixtures("is_lean", "keys")


def reply(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Length: {told}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def always(answer: bytes) -> Callable[[str], bytes]:
    return lambda _: answer


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden"])
async def test_an_answer_that_is_too_long_is_left(
    listening: Listening, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    for module in (s3_bounds, s3_lean):
        monkeypatch.setattr(module, "MOST_ANSWER_BYTES", 1000)
    page = PAGE % (b" " * 2000)
    async with listening(always(reply(page, status)), None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        with pytest.raises(StoreUnreachable, match="no sensible answer"):
            _ = await store.files()
        await store.close()


async def test_one_that_breaks_off_is_asked_for_again(listening: Listening) -> None:
    asked: list[str] = []

    def answer(head: str) -> bytes:
        asked.append(head)
        page = PAGE % b""
        return reply(page[:-20], length=len(page)) if len(asked) == 1 else reply(page)

    async with listening(answer, None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        assert [file.path for file in await store.files()] == ["a.json"]
        await store.close()
    assert len(asked) == 2


async def test_an_object_that_is_longer_than_it_was_listed_is_none(listening: Listening) -> None:
    async with listening(always(reply(b"x" * 5000, "206 Partial")), None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        with pytest.raises(StoreUnreachable, match="11 bytes where 10 were asked for"):
            _ = await store.read(RemoteFile("a.json", 10, None, "tiny/a.json"))
        await store.close()
