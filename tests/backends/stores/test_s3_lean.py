"""Where two plain GETs do: when, what they ask, and what their answers may be."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from poolhand.agent.weights.plane import Plane
from poolhand.backends.stores.endpoints import choose
from poolhand.backends.stores.errors import (
    StoreDenied,
    StoreUnreachable,
    WeightsChanged,
    WeightsUnsafe,
)
from poolhand.backends.stores.s3 import S3Store
from poolhand.backends.stores.s3_lean import suffices
from poolhand.config.refs import ModelRef
from poolhand.config.stores import S3

Listening = Callable[..., AbstractAsyncContextManager[str]]
REF = ModelRef.parse("s3://models/tiny")
HERE = "http://127.0.0.1:9000"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "s3cr3t"}
ENTRY = "<Contents><Key>{}</Key><Size>{}</Size><ETag>&quot;e&quot;</ETag></Contents>"


def page(*keys: str, more: str = "") -> bytes:
    entries = "".join(ENTRY.format(key, 8) for key in keys)
    name = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f"<ListBucketResult {name}>{entries}{more}</ListBucketResult>".encode()


def reply(body: bytes, status: str = "200 OK") -> bytes:
    lines = f'HTTP/1.1 {status}\r\nETag: "e"\r\nContent-Length: {len(body)}\r\n'
    return f"{lines}Connection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("config", "environ", "does"),
    [
        (S3(endpoint=HERE, unsigned=True), {}, True),
        (S3(endpoint=HERE), KEYS, True),
        (S3(endpoint=HERE), {}, True),
        (S3(endpoint=HERE), {"AWS_ACCESS_KEY_ID": "half a pair"}, False),
        (S3(endpoint=HERE), {"BOTO_CONFIG": __file__}, False),
        (S3(endpoint=HERE, profile="p"), KEYS, False),
        (S3(endpoint=HERE), {**KEYS, "AWS_PROFILE": "p"}, False),
        (S3(), KEYS, False),
        (S3(endpoint="https://s3.eu-west-1.amazonaws.com"), KEYS, False),
    ],
)
def test_when_it_suffices(
    config: S3, environ: dict[str, str], *, does: bool, tmp_path: Path
) -> None:
    everything = {"HOME": str(tmp_path), **environ}
    assert suffices(config, everything, choose(config, everything, "models")) is does
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").touch()
    assert not suffices(config, everything, choose(config, everything, "models"))


@pytest.mark.usefixtures("keys")
async def test_a_listing_of_pages_with_odd_names(listening: Listening) -> None:
    asked: list[str] = []

    def answer(head: str) -> bytes:
        asked.append(head)
        if "continuation-token=t%2F1" in head:
            return reply(page("tiny/b.json"))
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t/1</NextContinuationToken>"
        coded = "<EncodingType>url</EncodingType>"
        return reply(page("tiny/a+%2B%C3%A9.json", more=more + coded))

    async with listening(answer, None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        files = await store.files()
        await store.close()
    assert [file.path for file in files] == ["a +é.json", "b.json"]
    assert all("AWS4-HMAC-SHA256 Credential=AKIDTEST" in head for head in asked)
    assert len(asked) == 2


@pytest.mark.usefixtures("keys")
async def test_ten_thousand_keys_over_ten_pages(listening: Listening) -> None:
    asked: list[str] = []

    def answer(head: str) -> bytes:
        number = len(asked)
        asked.append(head)
        assert (
            f"continuation-token=p{number} " in head or f"continuation-token=p{number}&" in head
        ) == bool(number)
        keys = (f"tiny/{number:02}/{at:03}.json" for at in range(1000))
        more = f"<NextContinuationToken>p{number + 1}</NextContinuationToken>"
        is_last = number == 9
        end = "" if is_last else f"<IsTruncated>true</IsTruncated>{more}"
        return reply(page(*keys, more=end))

    async with listening(answer, None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        files = await store.files()
        await store.close()
    assert len(asked) == 10
    assert [file.path for file in files] == [
        f"{n // 1000:02}/{n % 1000:03}.json" for n in range(10_000)
    ]


async def test_a_listing_with_a_comment_and_marked_text(listening: Listening) -> None:
    body = page("tiny/a.json").replace(b"<Contents>", b"<!-- all of it --><Contents>")
    body = body.replace(b"tiny/a.json", b"<![CDATA[tiny/a.json]]>")
    async with listening(always(reply(body)), None) as url:
        store = S3Store(REF, S3(endpoint=url, unsigned=True), {})
        files = await store.files()
        await store.close()
    assert [file.path for file in files] == ["a.json"]


def always(answer: bytes) -> Callable[[str], bytes]:
    return lambda _: answer


BAD: dict[str, tuple[bytes, type[Exception]]] = {
    "no XML": (reply(b"hello"), StoreUnreachable),
    "another document": (reply(b"<Html/>"), StoreUnreachable),
    "entities": (reply(b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult/>'), StoreUnreachable),
    "entities in UTF-16": (
        reply(
            '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "c">]>'
            "<ListBucketResult/>".encode("utf-16")
        ),
        StoreUnreachable,
    ),
    "a size in words": (reply(page("tiny/a.json").replace(b">8<", b">many<")), StoreUnreachable),
    "no size": (reply(page("tiny/a.json").replace(b"<Size>8</Size>", b"")), StoreUnreachable),
    "a size beyond all": (
        reply(page("tiny/a.json").replace(b">8<", b">%d<" % 2**63)),
        WeightsUnsafe,
    ),
    "a tag with a line's end": (
        reply(page("tiny/a.json").replace(b"&quot;e&quot;", b"&#13;&#10;X-Evil: 1")),
        StoreUnreachable,
    ),
    "no HTTP": (b"hello\r\n\r\n", StoreUnreachable),
    "denied": (
        reply(b"<Error><Code>AccessDenied</Code></Error>", "403 Forbidden"),
        StoreDenied,
    ),
    "denied without words": (reply(b"", "403 Forbidden"), StoreDenied),
    "busy for long": (reply(b"", "503 Slow Down"), StoreUnreachable),
}


@pytest.mark.parametrize(("answer", "kind"), BAD.values(), ids=BAD.keys())
async def test_what_makes_no_sense(
    listening: Listening, answer: bytes, kind: type[Exception]
) -> None:
    async with listening(always(answer), None) as url:
        store = S3Store(REF, S3(endpoint=url, unsigned=True), {})
        with pytest.raises(kind):
            _ = await store.files()
        await store.close()


@pytest.mark.parametrize("length", ["Content-Length: 100000\r\n", ""])
async def test_an_answer_that_drips_is_given_up(length: str, *, is_lean: bool) -> None:
    left = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode())
        leaving = asyncio.ensure_future(reader.read())
        while not (await asyncio.wait([leaving], timeout=0.05))[0]:
            writer.write(b" ")
        writer.close()
        left.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = S3(endpoint=url)
    assert suffices(config, os.environ, choose(config, os.environ, "models")) is is_lean
    store = S3Store(REF, config, os.environ, patience_s=0.5)
    async with server, asyncio.timeout(20):
        with pytest.raises(StoreUnreachable, match="no answer in time"):
            _ = await store.files()
        await store.close()
        _ = await left.wait()  # else the end of the program would wait for a thread


@pytest.mark.parametrize("silent", [1, 2])
async def test_a_line_that_falls_silent_is_left_for_another_once(silent: int) -> None:
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        is_silent = asked <= silent
        _ = await reader.readuntil(b"\r\n\r\n")
        if is_silent:
            _ = await reader.read()
        else:
            writer.write(reply(page("tiny/a.json")))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    # a sixth of it for each line: long enough for an answer on a slow machine, where one comes
    patience_s = 12.0 if silent == 1 else 1.2
    store = S3Store(REF, S3(endpoint=url, unsigned=True), {}, patience_s=patience_s)
    async with server, asyncio.timeout(20):
        if silent == 1:
            (file,) = await store.files()
            assert file.path == "a.json"
        else:
            with pytest.raises(StoreUnreachable, match="no answer in time"):
                _ = await store.files()
        await store.close()
    assert asked == 2


async def test_a_busy_store_is_asked_again_and_a_version_insisted_on(listening: Listening) -> None:
    heads: list[str] = []

    def answer(head: str) -> bytes:
        heads.append(head)
        if len(heads) == 1:
            return reply(b"", "503 Slow Down")
        if "list-type" in head:
            return reply(page("tiny/a.json"))
        return reply(b"", "412 Precondition Failed") if len(heads) > 3 else reply(b'{"a": 1}')

    async with listening(answer, None) as url:
        store = S3Store(REF, S3(endpoint=url, unsigned=True), {})
        (file,) = await store.files()
        assert await store.read(file) == b'{"a": 1}'
        assert 'if-match: "e"' in heads[-1].lower()
        with pytest.raises(WeightsChanged):
            _ = await store.read(file)
        await store.close()


@pytest.mark.parametrize("is_library", [False, True], ids=["lean", "library"])
@pytest.mark.parametrize("date", ["Sun, 06 Nov 2033 08:49:37 GMT", "soon", ""])
async def test_a_clock_that_is_wrong_is_set_by_the_stores(
    listening: Listening, monkeypatch: pytest.MonkeyPatch, date: str, *, is_library: bool
) -> None:
    for name, value in {**KEYS, **({"BOTO_CONFIG": __file__} if is_library else {})}.items():
        monkeypatch.setenv(name, value)
    heads: list[str] = []

    def answer(head: str) -> bytes:
        heads.append(head.lower())
        if "x-amz-date: 20331106t" in heads[-1]:
            return reply(page("tiny/a.json"))
        body = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
        told = f"403 Forbidden\r\nDate: {date}" if date else "403 Forbidden"
        return reply(body, told)

    async with listening(answer, None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        if date.endswith("GMT"):
            (file,) = await store.files()
            assert file.path == "a.json"
            signed = store.location(file).headers["x-amz-date"]
            assert signed.startswith("20331106T"), "the bytes are asked for by the same clock"
        else:
            with pytest.raises(StoreDenied, match="clock"):
                _ = await store.files()
        await store.close()
    assert len(heads) == 2 + is_library, "once, and no more"


@pytest.mark.parametrize("is_library", [False, True], ids=["lean", "library"])
@pytest.mark.parametrize("expires", [(0,), (1,), (0, 2)], ids=["listing", "read", "each once"])
async def test_credentials_that_expired_are_fetched_again_once(
    listening: Listening,
    monkeypatch: pytest.MonkeyPatch,
    expires: tuple[int, ...],
    *,
    is_library: bool,
) -> None:
    """The keys are others by then, as with those that a role gives out; both must be used."""
    heads: list[str] = []

    def answer(head: str) -> bytes:
        heads.append(head)
        if len(heads) - 1 in expires:
            for name, value in KEYS.items():
                monkeypatch.setenv(name, f"{value}{len(heads)}")
            return reply(b"<Error><Code>ExpiredToken</Code></Error>", "403 Forbidden")
        return reply(page("tiny/a.json")) if "list-type" in head else reply(b'{"a": 1}')

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    if is_library:
        monkeypatch.setenv("BOTO_CONFIG", __file__)
    async with listening(answer, None) as url:
        store = S3Store(REF, S3(endpoint=url), os.environ)
        assert store.is_loopless is not is_library
        try:
            (file,) = await store.files()
            assert await store.read(file) == b'{"a": 1}'
        finally:
            await store.close()
    assert len(heads) == 2 + len(expires)
    for number in expires:
        assert "AKIDTEST/" in heads[0]
        assert f"AKIDTEST{number + 1}/" in heads[number + 1]


async def test_credentials_that_expire_again_and_again_are_told(listening: Listening) -> None:
    heads: list[str] = []

    def answer(head: str) -> bytes:
        heads.append(head)
        return reply(b"<Error><Code>ExpiredToken</Code></Error>", "403 Forbidden")

    async with listening(answer, None) as url:
        store = S3Store(REF, S3(endpoint=url), KEYS)
        with pytest.raises(StoreDenied, match="expired"):
            _ = await store.files()
        await store.close()
    assert len(heads) == 2, "once, and no more"


def test_neither_library_is_imported_for_it() -> None:
    program = (
        "import asyncio, sys\n"
        "from poolhand.backends.stores.s3 import S3Store\n"
        "from poolhand.config.refs import ModelRef\n"
        "from poolhand.config.stores import S3\n"
        "store = S3Store(ModelRef.parse('s3://models/k'), "
        "S3(endpoint='http://127.0.0.1:9', unsigned=True), {'HOME': '/nowhere'})\n"
        "asyncio.run(store.refresh())\n"
        "print([m for m in ('botocore', 'aiobotocore', 'aiohttp') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)  # noqa: S603  # ours
    assert done.stdout.strip() == b"[]"


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("begins_in_a_loop", [True, False])
async def test_a_bucket_elsewhere_is_followed(
    listening: Listening, *, begins_in_a_loop: bool
) -> None:
    """By the library, which needs a loop; where none runs, the question is asked again in one."""
    moved = "301 Moved Permanently\r\nx-amz-bucket-region: eu-west-1"

    def answer(head: str) -> bytes:
        if "/eu-west-1/s3/" in head:
            return reply(page("tiny/a.json"))
        return reply(b"<Error><Code>PermanentRedirect</Code></Error>", moved)

    async with listening(answer, None) as url:
        store = S3Store(REF, S3(endpoint=url, region="us-east-1"), os.environ)
        assert store.is_loopless
        asked = Plane(store)
        if begins_in_a_loop:
            files = await store.files()
            await store.close()
        else:
            files = await asyncio.to_thread(asked.ask, store.files)
            await asyncio.to_thread(asked.ask, store.close)
    assert [file.path for file in files] == ["a.json"]
