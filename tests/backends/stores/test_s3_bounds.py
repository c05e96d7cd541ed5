"""What the library takes of an answer has an end."""

import gzip
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


@pytest.mark.parametrize("coding", ["gzip", "br", "aws-chunked, gzip"])
async def test_a_compressed_answer_is_told_as_one_at_once(
    listening: Listening, coding: str
) -> None:
    """No word of it was asked for so, and to ask again changes nothing."""
    asked: list[str] = []
    body = gzip.compress(PAGE % b"")

    def answer(head: str) -> bytes:
        asked.append(head.lower())
        return reply(body).replace(b"\r\n", f"\r\nContent-Encoding: {coding}\r\n".encode(), 1)

    async with listening(answer, None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        with pytest.raises(StoreUnreachable, match="it sends compressed bytes") as refused:
            _ = await store.files()
        with pytest.raises(StoreUnreachable, match="it sends compressed bytes"):
            _ = await store.read(RemoteFile("a.json", 10, None, "tiny/a.json"))
        await store.close()
    assert not refused.value.is_busy, "or it would be asked again, for as long as there is patience"
    assert len(asked) == 2
    assert all("accept-encoding: identity\r\n" in head for head in asked)


@pytest.mark.parametrize("is_bare", [True, False])
async def test_a_word_that_changes_no_byte_is_none(listening: Listening, *, is_bare: bool) -> None:
    told = b"\r\nContent-Encoding:" + (b"\r\n" if is_bare else b" aws-chunked\r\n")
    answer = reply(PAGE % b"").replace(b"\r\n", told, 1)
    async with listening(always(answer), None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        assert [file.path for file in await store.files()] == ["a.json"]
        await store.close()


async def test_an_object_that_is_longer_than_it_was_listed_is_none(listening: Listening) -> None:
    async with listening(always(reply(b"x" * 5000, "206 Partial")), None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        with pytest.raises(StoreUnreachable, match="11 bytes where 10 were asked for"):
            _ = await store.read(RemoteFile("a.json", 10, None, "tiny/a.json"))
        await store.close()
