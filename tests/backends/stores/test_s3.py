"""S3 where it differs from other stores: who is asked, and what goes wrong."""

import asyncio
import http.client
import os
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from pathlib import Path

import pytest

from poolhand.agent.dev.faults import Fault
from poolhand.agent.dev.objectstore import ObjectStore
from poolhand.backends.stores.base import HttpLocation, RemoteFile
from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    WeightsChanged,
    WeightsUnsafe,
)
from poolhand.backends.stores.s3 import S3Store
from poolhand.config.errors import ConfigInvalid
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3

REF = ModelRef.parse("s3://models/tiny")
CONFIG = b'{"a": 1}'
HTML = b"<html><body>Welcome to nginx!</body></html>"
ENTRY = b"<Contents><Key>tiny/config.json</Key><Size>%s</Size><ETag>&quot;e&quot;</ETag></Contents>"
LISTING = b"<ListBucketResult>" + ENTRY % b"8" + b"</ListBucketResult>"
ENDLESS = (
    b"<ListBucketResult><IsTruncated>true</IsTruncated>"
    b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
)

Answer = Callable[[str], bytes]
Listening = Callable[[Answer, ssl.SSLContext | None], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def opened(config: S3, ref: ModelRef = REF) -> AsyncGenerator[S3Store]:
    store = S3Store(ref, config, os.environ)
    try:
        yield store
    finally:
        await store.close()


async def listed(config: S3) -> S3Store:
    """A store that has listed the one file of the build, and is closed again."""
    async with opened(config) as store:
        (file,) = await store.files()
        assert file.path == "config.json"
        assert await store.read(file) == CONFIG
        return store


def file_named(path: str) -> RemoteFile:
    return RemoteFile(path, len(CONFIG), None, f"tiny/{path}")


def fetch(location: HttpLocation, *, host: str = "") -> tuple[int, bytes]:
    """Read a location with the standard library alone; connect to ``host`` if it is given."""
    line = http.client.HTTPConnection(host or location.host, location.port, timeout=10)
    if location.is_tls:
        context = ssl.create_default_context(cafile=location.ca_file)
        line = http.client.HTTPSConnection(location.host, location.port, context=context)
    line.putrequest("GET", location.target, skip_host=True, skip_accept_encoding=True)
    for name, value in location.headers.items():
        line.putheader(name, value)
    line.endheaders()
    answer = line.getresponse()
    content = answer.read()
    line.close()
    return answer.status, content


def reply(status: str, body: bytes, headers: str = "") -> bytes:
    lines = f'HTTP/1.1 {status}\r\n{headers}ETag: "e"\r\nContent-Length: {len(body)}\r\n'
    return f"{lines}Connection: close\r\n\r\n".encode() + body


async def test_the_endpoint_precedence_holds_end_to_end(
    public: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dead = "http://127.0.0.1:9"
    profile = f"[default]\nservices = here\n[services here]\ns3 =\n  endpoint_url = {public.url}\n"
    (tmp_path / "aws_config_file").write_text(profile)
    assert (await listed(S3())).endpoint.source == "profile"
    monkeypatch.setenv("AWS_ENDPOINT_URL", dead)
    with pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1:9/models"):
        await listed(S3())
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", public.url)
    assert (await listed(S3())).endpoint.source == "AWS_ENDPOINT_URL_S3"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", dead)
    store = await listed(S3(endpoint=public.url))
    assert store.endpoint.source == "config"
    assert store.notes[0] == store.endpoint.why


def test_an_endpoint_that_cannot_be_used_is_told_at_once() -> None:
    with pytest.raises(ConfigInvalid):
        S3Store(REF, S3(endpoint="store:9000"), os.environ)


@pytest.mark.usefixtures("keys")
async def test_virtual_addressing_puts_the_bucket_into_the_host(signed: ObjectStore) -> None:
    config = S3(endpoint=f"http://localhost:{signed.port}")
    async with opened(config) as store:
        (file,) = await store.files()
    async with opened(config.model_copy(update={"addressing": "virtual"})) as store:
        await store.refresh()
        location = store.location(file)
    assert (location.host, location.target) == ("models.localhost", "/tiny/config.json")
    # not every resolver knows names below localhost, so the test connects by itself
    assert await asyncio.to_thread(fetch, location, host="127.0.0.1") == (200, CONFIG)


async def test_without_an_endpoint_it_is_aws_of_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    async with opened(S3(unsigned=True)) as store:
        await store.refresh()
        location = store.location(file_named("config.json"))
    assert (location.host, location.port) == ("models.s3.eu-west-1.amazonaws.com", 443)
    assert location.is_tls
    assert store.name == "s3.eu-west-1.amazonaws.com/models"


@pytest.mark.usefixtures("keys")
async def test_a_bucket_that_turns_out_to_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name comes from whoever answers, so nothing but a region's name gets into a host's."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    async with opened(S3()) as store:
        await store.refresh()
        for odd in ("", "evil.example/", "a@b", "x" * 80, "eu west"):
            store.note_region(odd)
            await store.refresh()
            location = store.location(file_named("config.json"))
            assert location.host == "models.s3.us-east-1.amazonaws.com"
        store.note_region("eu-west-1")
        await store.refresh()
        location = store.location(file_named("config.json"))
    assert location.host == "models.s3.eu-west-1.amazonaws.com"
    assert "/eu-west-1/s3/aws4_request" in location.headers["authorization"]


async def test_a_closed_port_is_told_quickly_with_the_host(unused_tcp_port: int) -> None:
    before_s = time.monotonic()
    with pytest.raises(StoreUnreachable, match=f"127.0.0.1:{unused_tcp_port}.*no connection"):
        await listed(S3(endpoint=f"http://127.0.0.1:{unused_tcp_port}"))
    assert time.monotonic() - before_s < 5


async def test_a_host_that_does_not_exist_is_unreachable() -> None:
    with pytest.raises(StoreUnreachable, match=r"store\.invalid"):
        await listed(S3(endpoint="http://store.invalid:9000"))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(on="list", status=503, code="SlowDown"), "overloaded or broken"),
        (Fault(on="list", status=500), "overloaded or broken"),
        (Fault(on="list", status=400, code="InvalidRequest"), "400 InvalidRequest"),
    ],
)
async def test_a_store_in_trouble_is_unreachable(
    public: ObjectStore, fault: Fault, reason: str
) -> None:
    public.faults.put([fault])
    with pytest.raises(StoreUnreachable, match=reason):
        await listed(S3(endpoint=public.url))


async def test_one_broken_answer_is_asked_for_again(public: ObjectStore) -> None:
    public.faults.put([Fault(on="list", status=503, first=1)])
    await listed(S3(endpoint=public.url))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(ignore_range=True), StoreUnreachable),
        (Fault(end_after_bytes=2), StoreUnreachable),
        (Fault(reset_after_bytes=2), StoreUnreachable),
        (Fault(replace_after_gets=0), WeightsChanged),
        (Fault(status=403), StoreDenied),
        (Fault(status=404), WeightsChanged),
    ],
)
async def test_a_read_gives_the_bytes_or_an_error(
    public: ObjectStore, fault: Fault, error: type[Exception]
) -> None:
    async with opened(S3(endpoint=public.url)) as store:
        (file,) = await store.files()
        public.faults.put([fault])
        with pytest.raises(error):
            await store.read(file, start=1, stop=7)


@pytest.mark.usefixtures("is_lean")
async def test_another_range_than_asked_is_none_of_the_object(listening: Listening) -> None:
    def answer(head: str) -> bytes:
        if "list-type" in head:
            return reply("200 OK", LISTING)
        return reply("206 Partial", b"ab", "Content-Range: bytes 2-3/8\r\n")

    async with listening(answer, None) as url, opened(S3(endpoint=url)) as store:
        (file,) = await store.files()
        assert await store.read(file, start=2, stop=4) == b"ab"
        with pytest.raises(StoreUnreachable, match="another range"):
            _ = await store.read(file, start=1, stop=3)


@pytest.mark.usefixtures("is_lean")
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"not xml at all", StoreUnreachable),
        (b"", StoreUnreachable),
        (HTML, StoreUnreachable),
        (LISTING.replace(b"<Key>", b"<Key>two</Key><Key>"), StoreUnreachable),
        (b"<ListBucketResult>" + ENTRY % b"-1" + b"</ListBucketResult>", StoreUnreachable),
        (b"<ListBucketResult>" + ENTRY % b"soon" + b"</ListBucketResult>", StoreUnreachable),
        (b"<ListBucketResult><Contents/></ListBucketResult>", StoreUnreachable),
        (ENDLESS, WeightsUnsafe),
        (ENDLESS.partition(b"<Next")[0] + b"</ListBucketResult>", StoreUnreachable),
    ],
)
async def test_an_answer_without_sense_is_an_error_with_a_name(
    listening: Listening, body: bytes, error: type[Exception]
) -> None:
    async with listening(lambda _: reply("200 OK", body), None) as url:
        with pytest.raises(error):
            await listed(S3(endpoint=url))


async def test_a_read_asks_for_the_listed_version_and_no_more(listening: Listening) -> None:
    heads: list[str] = []

    def answer(head: str) -> bytes:
        heads.append(head.lower())
        return reply("200 OK", LISTING) if "list-type" in head else reply("206 Partial", b"a")

    async with listening(answer, None) as url, opened(S3(endpoint=url)) as store:
        (file,) = await store.files()
        assert await store.read(file, start=2, stop=3) == b"a"
    assert 'if-match: "e"\r\n' in heads[-1]
    assert "range: bytes=2-2\r\n" in heads[-1]


async def test_a_store_that_ignores_if_match_is_caught_by_its_own_tag(
    listening: Listening,
) -> None:
    def answer(head: str) -> bytes:
        if "list-type" in head:
            return reply("200 OK", LISTING)
        return reply("206 Partial", b"12345678").replace(b'"e"', b'"f"')

    async with listening(answer, None) as url, opened(S3(endpoint=url)) as store:
        (file,) = await store.files()
        with pytest.raises(WeightsChanged):
            await store.read(file)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (b"tiny/../x.json", WeightsUnsafe),
        (b"tiny//x.json", WeightsUnsafe),
        (b"tiny/README.md", ModelMissing),
    ],
)
async def test_a_key_may_be_harmful_or_useless(
    listening: Listening, key: bytes, error: type[Exception]
) -> None:
    body = LISTING.replace(b"tiny/config.json", key)
    async with listening(lambda _: reply("200 OK", body), None) as url:
        with pytest.raises(error):
            await listed(S3(endpoint=url))


async def test_a_placeholder_of_a_folder_is_no_file_and_nothing_is_read_of_nothing(
    listening: Listening,
) -> None:
    empty = (ENTRY % b"0").replace(b"config.json", b"sub/")
    body = LISTING.replace(b"<ListBucketResult>", b"<ListBucketResult>" + empty)
    async with (
        listening(lambda _: reply("200 OK", body), None) as url,
        opened(S3(endpoint=url)) as store,
    ):
        (file,) = await store.files()
        assert await store.read(file, start=8) == b""


async def test_a_listing_that_goes_on_with_nothing_has_an_end(listening: Listening) -> None:
    pages = count()

    def answer(_: str) -> bytes:
        return reply("200 OK", ENDLESS.replace(b"again", b"page %d" % next(pages)))

    async with listening(answer, None) as url:
        with pytest.raises(WeightsUnsafe, match="has no end"):
            await listed(S3(endpoint=url))
    assert next(pages) == 200


async def test_a_listing_that_goes_in_a_circle_ends_where_it_comes_round(
    listening: Listening,
) -> None:
    pages = count()

    def answer(_: str) -> bytes:
        return reply("200 OK", ENDLESS.replace(b"again", b"page %d" % (next(pages) % 3)))

    async with listening(answer, None) as url:
        with pytest.raises(WeightsUnsafe, match="has no end"):
            await listed(S3(endpoint=url))
    assert next(pages) == 4


@pytest.mark.usefixtures("keys")
async def test_a_wrong_clock_is_set_by_the_stores(
    signed: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library has a clock of its own, so the store's is heard with the first bytes."""
    monkeypatch.setenv("BOTO_CONFIG", __file__)
    late_s = timedelta(hours=2).total_seconds()
    store = S3Store(REF, S3(endpoint=signed.url), os.environ, clock=lambda: time.time() + late_s)
    (file,) = await store.files()
    status, content = await asyncio.to_thread(fetch, store.location(file))
    assert (status, b"RequestTimeTooSkewed" in content) == (403, True)
    for unreadable in ("", "yesterday", "Mon, 99 Jan"):
        store.note_server_date(unreadable)
    assert (await asyncio.to_thread(fetch, store.location(file)))[0] == 403
    store.note_server_date(format_datetime(datetime.now(UTC), usegmt=True))
    assert await asyncio.to_thread(fetch, store.location(file)) == (200, CONFIG)
    await store.close()


async def test_a_location_before_the_first_call_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="first"):
        S3Store(REF, S3(), os.environ).location(file_named("x.json"))


async def test_a_whole_bucket_can_be_a_model(public: ObjectStore) -> None:
    async with opened(S3(endpoint=public.url), ModelRef.parse("s3://models")) as store:
        assert [file.path for file in await store.files()] == ["tiny/config.json"]


@pytest.mark.parametrize("is_lean", [True, False])
@pytest.mark.parametrize("key", [b"other/config.json", b"tinyconfig.json", b"config.json", b"tiny"])
async def test_what_was_not_asked_for_is_no_part_of_the_model(
    listening: Listening,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    key: bytes,
    *,
    is_lean: bool,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # with no files of a chain in it
    if not is_lean:
        monkeypatch.setenv("AWS_PROFILE", "default")
        _ = (tmp_path / "aws_config_file").write_text("[default]\n")
    body = LISTING.replace(b"tiny/config.json", key)
    async with listening(lambda _: reply("200 OK", body), None) as url:
        with pytest.raises(StoreUnreachable, match="was not asked for"):
            await listed(S3(endpoint=url))


@pytest.mark.parametrize("pays", [True, False])
async def test_whoever_pays_says_so_each_time(
    listening: Listening, keys: None, *, pays: bool
) -> None:
    heads: list[str] = []

    def answer(head: str) -> bytes:
        heads.append(head.lower())
        return reply("200 OK", LISTING) if "list-type" in head else reply("206 Partial", b"a")

    async with (
        listening(answer, None) as url,
        opened(S3(endpoint=url, requester_pays=pays)) as store,
    ):
        (file,) = await store.files()
        assert await store.read(file, start=2, stop=3) == b"a"
        location = store.location(file)
    said = ["x-amz-request-payer: requester\r\n" in head for head in heads]
    assert said == [pays, pays]
    assert location.headers.get("x-amz-request-payer") == ("requester" if pays else None)
    signed = location.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    assert ("x-amz-request-payer" in signed.split(";")) == pays
    assert location.headers["x-amz-checksum-mode"] == "ENABLED", "else S3 keeps checksums to itself"
