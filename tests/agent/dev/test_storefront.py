"""The server on a real socket: plain HTTP, wire-level faults, and the store's own doors."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from poolhand.agent.dev.faults import Fault
from poolhand.agent.dev.objectstore import ObjectStore, StoreOptions, serve

BODY = hashlib.shake_128(b"body").digest(300_000)
ETAG = f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'
KEY = "/models/a/w.bin"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    (tmp_path / "models" / "a").mkdir(parents=True)
    (tmp_path / "models" / "a" / "w.bin").write_bytes(BODY)
    (tmp_path / "models" / "empty").write_bytes(b"")
    async with await serve(StoreOptions(root=tmp_path)) as running:
        yield running


@dataclass(frozen=True)
class Reply:
    """What came back, as far as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    failure: str = ""
    took_s: float = 0.0


def ask_now(store: ObjectStore, target: str, method: str, headers: dict[str, str]) -> Reply:
    line = http.client.HTTPConnection("127.0.0.1", store.port, timeout=10)
    began_s = time.monotonic()
    try:
        line.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            line.putheader(name, value)
        line.endheaders()
        reply = line.getresponse()
        body, failure = b"", ""
        try:
            while piece := reply.read1(65536):
                body += piece
            if reply.length:
                failure = "short"
        except ConnectionResetError:
            failure = "reset"
        told = dict(reply.headers.items())
        return Reply(reply.status, told, body, failure, time.monotonic() - began_s)
    finally:
        line.close()


async def ask(store: ObjectStore, target: str = KEY, method: str = "GET", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await asyncio.to_thread(ask_now, store, target, method, named)


# ── plain answers ─────────────────────────────────────────────────────────────────────


async def test_a_whole_object(store: ObjectStore) -> None:
    reply = await ask(store)
    assert (reply.status, reply.body) == (200, BODY)
    assert reply.headers["ETag"] == ETAG
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["Content-Length"] == str(len(BODY))
    assert parsedate_to_datetime(reply.headers["Last-Modified"]).tzinfo is not None
    assert reply.headers["x-amz-request-id"] != (await ask(store)).headers["x-amz-request-id"]


async def test_ranges(store: ObjectStore) -> None:
    for text, span in (("bytes=0-9", slice(0, 10)), ("bytes=-5", slice(len(BODY) - 5, None))):
        reply = await ask(store, Range=text)
        assert (reply.status, reply.body) == (206, BODY[span])
        start, stop, _ = span.indices(len(BODY))
        assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(BODY)}"
    refused = await ask(store, Range=f"bytes={len(BODY)}-")
    assert refused.status == 416
    assert refused.headers["Content-Range"] == f"bytes */{len(BODY)}"
    assert b"<Code>InvalidRange</Code>" in refused.body


async def test_an_empty_object(store: ObjectStore) -> None:
    reply = await ask(store, "/models/empty")
    assert (reply.status, reply.body, reply.headers["Content-Length"]) == (200, b"", "0")


async def test_head_tells_and_sends_nothing(store: ObjectStore) -> None:
    reply = await ask(store, method="HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == str(len(BODY))
    assert (await ask(store, "/models/none", "HEAD")).status == 404
    assert (await ask(store, "/models", "HEAD")).status == 200
    assert (await ask(store, "/none", "HEAD")).status == 404


async def test_conditions(store: ObjectStore) -> None:
    assert (await ask(store, If_Match=ETAG)).status == 200
    assert (await ask(store, If_Match=f'"no", {ETAG}')).status == 200
    assert (await ask(store, If_Match="*")).status == 200
    assert (await ask(store, If_Match='"no"')).status == 412
    unchanged = await ask(store, If_None_Match=ETAG)
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert unchanged.headers["ETag"] == ETAG
    assert (await ask(store, If_None_Match='"no"')).status == 200


async def test_a_bucket_may_be_part_of_the_host(store: ObjectStore) -> None:
    for host in ("models.localhost", f"models.s3.localhost:{store.port}", "MODELS.localhost"):
        reply = await ask(store, "/a/w.bin", Host=host)
        assert (reply.status, reply.body) == (200, BODY)
    for host in ("localhost:1", "s3.localhost", "127.0.0.1", "[::1]:1", "elsewhere"):
        assert (await ask(store, Host=host)).status == 200
    listed = await ask(store, "/?list-type=2", Host="models.localhost")
    assert b"<Key>a/w.bin</Key>" in listed.body


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/models/none", 404, "NoSuchKey"),
        ("GET", "/none/k", 404, "NoSuchBucket"),
        ("GET", "/none?list-type=2", 404, "NoSuchBucket"),
        ("GET", "/models/../../etc/passwd", 404, "NoSuchKey"),
        ("GET", "/models/..%2f..%2fetc%2fpasswd", 404, "NoSuchKey"),
        ("GET", "/models/%00", 404, "NoSuchKey"),
        ("GET", "/..", 404, "NoSuchBucket"),
        ("GET", "/%2e%2e/x", 404, "NoSuchBucket"),
        ("GET", "/models/%ff", 400, "InvalidURI"),
        ("GET", "/models", 501, "NotImplemented"),
        ("GET", "/models/a/w.bin?acl", 501, "NotImplemented"),
        ("GET", "/models?list-type=2&max-keys=x", 400, "InvalidArgument"),
        ("PUT", "/models/new", 405, "MethodNotAllowed"),
        ("DELETE", KEY, 405, "MethodNotAllowed"),
    ],
)
async def test_refusals_are_in_s3s_words(
    store: ObjectStore, method: str, target: str, status: int, code: str
) -> None:
    reply = await ask(store, target, method)
    assert reply.status == status
    assert f"<Code>{code}</Code>" in reply.body.decode()
    assert reply.headers["Content-Type"].startswith("application/xml")
    assert reply.headers["x-amz-request-id"] in reply.body.decode()


async def test_buckets_and_their_region_are_told(store: ObjectStore) -> None:
    assert b"<Name>models</Name>" in (await ask(store, "/")).body
    located = await ask(store, "/models?location")
    assert b"LocationConstraint" in located.body
    assert located.headers["x-amz-bucket-region"] == "us-east-1"


async def test_one_connection_serves_many_requests(store: ObjectStore) -> None:
    def many() -> list[bytes]:
        line = http.client.HTTPConnection("127.0.0.1", store.port, timeout=10)
        bodies: list[bytes] = []
        for at in range(0, 50, 10):
            line.request("GET", KEY, headers={"Range": f"bytes={at}-{at + 9}"})
            bodies.append(line.getresponse().read())
            assert line.sock is not None, "kept open"
        line.close()
        return bodies

    assert b"".join(await asyncio.to_thread(many)) == BODY[:50]


# ── faults ────────────────────────────────────────────────────────────────────────────


async def test_a_status_every_second_time(store: ObjectStore) -> None:
    store.faults.put([Fault(status=503, every=2, retry_after_s=3)])
    replies = [await ask(store) for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 503, 200, 503]
    assert b"<Code>SlowDown</Code>" in replies[1].body
    assert replies[1].headers["Retry-After"] == "3"


async def test_an_expired_token(store: ObjectStore) -> None:
    store.faults.put([Fault(status=400, code="ExpiredToken", on="any", first=1)])
    reply = await ask(store)
    assert reply.status == 400
    assert b"<Code>ExpiredToken</Code>" in reply.body
    assert (await ask(store)).status == 200


async def test_a_reset_is_a_reset_and_a_short_body_is_short(store: ObjectStore) -> None:
    store.faults.put([Fault(reset_after_bytes=1000)])
    reset = await ask(store)
    assert reset.failure == "reset"
    assert BODY[:1000].startswith(reset.body)
    store.faults.put([Fault(end_after_bytes=1000)])
    short = await ask(store)
    assert (short.failure, short.body) == ("short", BODY[:1000])
    assert short.headers["Content-Length"] == str(len(BODY))
    store.faults.put([Fault(end_after_bytes=0, bytes_per_s=10**9)])
    assert (await ask(store)).failure == "short"
    store.faults.put([Fault(end_after_bytes=len(BODY))])
    assert (await ask(store)).failure == "", "there was nothing left to cut"


async def test_a_stall_sends_some_and_then_nothing_until_the_store_closes(
    store: ObjectStore,
) -> None:
    store.faults.put([Fault(stall_after_bytes=10)])

    def stalled() -> bytes:
        with socket.create_connection(("127.0.0.1", store.port)) as line:
            line.settimeout(0.3)
            line.sendall(f"GET {KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            got = b""
            with contextlib.suppress(TimeoutError):
                while piece := line.recv(65536):
                    got += piece
                return b"it ended"
            return got.partition(b"\r\n\r\n")[2]

    assert await asyncio.to_thread(stalled) == BODY[:10]
    loose = asyncio.open_connection("127.0.0.1", store.port)
    reader, writer = await loose
    writer.write(f"GET {KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(10) == BODY[:10]
    async with asyncio.timeout(5):
        await store.close()
        assert await reader.read() == b""
    writer.close()


async def test_a_stalled_answer_ends_when_its_client_goes_away(store: ObjectStore) -> None:
    store.faults.put([Fault(stall_after_bytes=10)])
    before = asyncio.all_tasks()
    reader, writer = await asyncio.open_connection("127.0.0.1", store.port)
    writer.write(f"GET {KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(10)
    answering = asyncio.all_tasks() - before
    assert answering
    writer.transport.abort()
    _, running = await asyncio.wait(answering, timeout=5)
    assert running == set()


async def test_a_fault_cuts_what_another_fault_touched(store: ObjectStore) -> None:
    store.faults.put([Fault(flip_byte_at=3), Fault(end_after_bytes=8)])
    reply = await ask(store)
    assert reply.body == BODY[:3] + bytes([BODY[3] ^ 1]) + BODY[4:8]
    assert reply.failure == "short"


async def test_listings_and_heads_have_faults_of_their_own(store: ObjectStore) -> None:
    store.faults.put([Fault(on="list", key="a/*", status=500), Fault(on="head", status=403)])
    assert (await ask(store, "/models?list-type=2&prefix=a/")).status == 500
    assert (await ask(store, "/models?list-type=2")).status == 200
    assert (await ask(store, method="HEAD")).status == 403
    assert (await ask(store)).status == 200


async def test_a_resumed_read_is_seen_range_by_range(store: ObjectStore) -> None:
    store.faults.put([Fault(end_after_bytes=1000, first=2)])
    got = b""
    while len(got) < 5000:
        got += (await ask(store, Range=f"bytes={len(got)}-4999")).body
    assert got == BODY[:5000]
    stats = json.loads((await ask(store, "/_stats")).body)
    asked = [one["range"] for one in stats["ranges"]]
    assert asked == ["bytes=0-4999", "bytes=1000-4999", "bytes=2000-4999"]
    assert stats["bytes_sent"]["models/a/w.bin"] == 5000, "no byte was sent twice"


async def test_readers_do_not_wait_for_each_other(store: ObjectStore) -> None:
    store.faults.put([Fault(stall_after_bytes=0, first=1)])
    reader, writer = await asyncio.open_connection("127.0.0.1", store.port)
    writer.write(f"GET {KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    replies = await asyncio.gather(*(ask(store) for _ in range(16)))
    assert all(reply.body == BODY for reply in replies)
    writer.transport.abort()


async def test_a_listing_pages_and_groups_over_http(store: ObjectStore, tmp_path: Path) -> None:
    for name in ("x/1", "x/2", "y 1"):
        path = tmp_path / "models" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1")
    first = (await ask(store, "/models?list-type=2&max-keys=2&delimiter=/")).body.decode()
    assert "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>" in first
    assert "<Key>empty</Key>" in first
    assert "<IsTruncated>true</IsTruncated>" in first
    token = first.partition("<NextContinuationToken>")[2].partition("<")[0]
    rest = await ask(
        store,
        "/models?list-type=2&delimiter=/&encoding-type=url&continuation-token="
        + token.replace("=", "%3D"),
    )
    assert b"<Prefix>x/</Prefix>" in rest.body
    assert b"<Key>y%201</Key>" in rest.body
    assert b"<Key>empty</Key>" not in rest.body


async def test_one_bit_changes_wherever_the_range_begins(store: ObjectStore) -> None:
    store.faults.put([Fault(flip_byte_at=280_000)])
    whole = await ask(store)
    wrong = [at for at, (a, b) in enumerate(zip(whole.body, BODY, strict=True)) if a != b]
    assert wrong == [280_000]
    part = await ask(store, Range="bytes=279999-280001")
    assert part.body == BODY[279_999:280_000] + bytes([BODY[280_000] ^ 1]) + BODY[280_001:280_002]
    assert (await ask(store, Range="bytes=0-9")).body == BODY[:10]


async def test_a_range_may_be_ignored_or_misnamed(store: ObjectStore) -> None:
    store.faults.put([Fault(ignore_range=True)])
    reply = await ask(store, Range="bytes=5-9")
    assert (reply.status, reply.body) == (200, BODY)
    store.faults.put([Fault(wrong_content_range=True)])
    reply = await ask(store, Range="bytes=5-9")
    assert (reply.status, reply.body) == (206, BODY[5:10])
    assert reply.headers["Content-Range"] == f"bytes 6-10/{len(BODY)}"


async def test_an_object_is_replaced_between_two_gets(store: ObjectStore) -> None:
    store.faults.put([Fault(replace_after_gets=1)])
    assert (await ask(store, If_Match=ETAG)).status == 200
    assert (await ask(store, If_Match=ETAG)).status == 412
    new = await ask(store, Range="bytes=0-99")
    assert new.headers["ETag"] != ETAG
    assert all(a != b for a, b in zip(new.body, BODY[:100], strict=True)), "no byte is the same"
    assert (await ask(store, method="HEAD")).headers["ETag"] == new.headers["ETag"]
    listed = await ask(store, "/models?list-type=2")
    assert new.headers["ETag"].strip('"') in listed.body.decode()


async def test_waits_and_limits_take_their_time(store: ObjectStore) -> None:
    quick = await ask(store, Range="bytes=0-49999")
    store.faults.put([Fault(latency_ms=150)])
    assert (await ask(store, Range="bytes=0-9")).took_s >= 0.15
    store.faults.put([Fault(bytes_per_s=200_000)])
    slow = await ask(store, Range="bytes=0-49999")
    assert slow.body == quick.body == BODY[:50_000]
    assert slow.took_s >= 0.25


async def test_a_connection_may_be_closed_politely(store: ObjectStore) -> None:
    assert "Connection" not in (await ask(store)).headers
    store.faults.put([Fault(on="any", close_connection=True)])
    for target in (KEY, "/models?list-type=2", "/models/none"):
        assert (await ask(store, target)).headers["Connection"] == "close"


# ── the store's own doors ─────────────────────────────────────────────────────────────


async def post(store: ObjectStore, body: str, **headers: str) -> Reply:
    def send() -> Reply:
        line = http.client.HTTPConnection("127.0.0.1", store.port, timeout=10)
        line.request("POST", "/_faults", body=body, headers=headers)
        reply = line.getresponse()
        got = Reply(reply.status, dict(reply.headers.items()), reply.read())
        line.close()
        return got

    return await asyncio.to_thread(send)


async def test_faults_are_set_seen_and_cleared_at_run_time(store: ObjectStore) -> None:
    assert (await post(store, '{"status": 429, "key": "a/*"}')).status == 200
    assert json.loads((await ask(store, "/_faults")).body) == [{"status": 429, "key": "a/*"}]
    assert (await ask(store)).status == 429
    refused = await post(store, '{"no_such": 1}')
    assert (refused.status, b"no_such" in refused.body) == (400, True)
    assert (await ask(store)).status == 429, "what was in force stays"
    assert (await post(store, "[]")).status == 200
    assert (await ask(store)).status == 200


async def test_no_web_page_may_turn_the_knobs(store: ObjectStore) -> None:
    assert (await post(store, "[]", Origin="http://evil.example")).status == 403
    assert (await post(store, "[]", Host="evil.example")).status == 403
    assert (await ask(store, "/_stats", Host="evil.example")).status == 403


async def test_stats_tell_what_was_asked_and_sent(store: ObjectStore) -> None:
    await ask(store, Range="bytes=0-99")
    await ask(store, "/models?list-type=2")
    await ask(store, "/models/none")
    await ask(store)
    stats = json.loads((await ask(store, "/_stats")).body)
    assert stats == {
        "requests": 4,
        "operations": {"get": 3, "list": 1},
        "statuses": {"206": 1, "200": 2, "404": 1},
        "bytes_sent": {"models/a/w.bin": 100 + len(BODY)},
        "ranges": [
            {"key": "models/a/w.bin", "range": "bytes=0-99", "status": 206},
            {"key": "models/a/w.bin", "range": None, "status": 200},
        ],
    }


async def test_bytes_count_also_when_the_client_goes_away(store: ObjectStore) -> None:
    store.faults.put([Fault(bytes_per_s=400_000)])
    reader, writer = await asyncio.open_connection("127.0.0.1", store.port)
    writer.write(f"GET {KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(1000)
    writer.transport.abort()
    store.faults.put([])
    stats = json.loads((await ask(store, "/_stats")).body)
    assert 1000 <= stats["bytes_sent"]["models/a/w.bin"] < len(BODY)
