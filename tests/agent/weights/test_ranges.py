"""One ranged GET: every answer is held against what was asked for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from weights_origin import Fault, Origin, OriginStore, Reply, always, at_first

from poolhand.agent.weights.ranges import CredentialsStale, Hiccup, RangeReader, Span
from poolhand.backends.stores.base import FileLocation, HttpLocation, RemoteFile
from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    WeightsChanged,
    WeightsError,
)

DATA = bytes(range(256)) * 40
NOW, LATER = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:40 GMT"


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin({"f": DATA}) as serving:
        yield serving


@pytest.fixture
def reader() -> Iterator[RangeReader]:
    made = RangeReader(
        model="m", store="s", stall_timeout_s=0.5, buffer=memoryview(bytearray(1000))
    )
    yield made
    made.close()


def ignore(_view: memoryview, _offset: int) -> None:
    """Take bytes and do nothing with them."""


def span(origin: Origin, start: int = 100, stop: int = 5000) -> Span:
    return Span("f", start, stop, len(DATA), origin.etag("f"))


def where(origin: Origin) -> HttpLocation:
    location = OriginStore(origin.port).location(RemoteFile("f", len(DATA), None, "f"))
    assert isinstance(location, HttpLocation)
    return location


def read(reader: RangeReader, origin: Origin, wanted: Span | None = None) -> bytes:
    got = bytearray()
    begin = (wanted or span(origin)).start

    def sink(view: memoryview, offset: int) -> None:
        assert offset == begin + len(got)
        got.extend(view)

    reader.read(where(origin), wanted or span(origin), sink)
    return bytes(got)


def test_a_range(origin: Origin, reader: RangeReader) -> None:
    assert read(reader, origin) == DATA[100:5000]
    assert origin.ranges == [("f", "bytes=100-4999")]


def test_a_whole_file_needs_no_range(origin: Origin, reader: RangeReader) -> None:
    assert read(reader, origin, span(origin, 0, len(DATA))) == DATA
    assert origin.ranges == [("f", "")]


def test_without_a_version_none_is_insisted_on(origin: Origin, reader: RangeReader) -> None:
    origin.etags = False
    assert read(reader, origin, Span("f", 0, 10, len(DATA), None)) == DATA[:10]


@pytest.mark.parametrize("form", ["", "{}", "W/{}"], ids=["none", "right", "weak"])
def test_a_tag_that_is_written_otherwise_is_no_change(
    origin: Origin, reader: RangeReader, form: str
) -> None:
    for tag in (origin.etag("f"), origin.etag("f").strip('"')):
        origin.fault = always(Reply(headers={"ETag": form.format(tag)}))
        assert read(reader, origin) == DATA[100:5000]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(close=True),
        Reply(is_chunked=True),
        Reply(status=200),
        Reply(headers={"Content-Encoding": "Identity"}),
        Reply(headers={"Content-Encoding": "aws-chunked, identity"}),
    ],
)
def test_odd_but_right(origin: Origin, reader: RangeReader, reply: Reply) -> None:
    origin.fault = always(reply)
    assert [read(reader, origin) for _ in range(3)] == [DATA[100:5000]] * 3


def test_a_dead_idle_connection_costs_nothing(origin: Origin, reader: RangeReader) -> None:
    origin.fault = at_first(Reply(drop=True))
    _ = read(reader, origin)
    with pytest.raises(Hiccup) as caught:
        _ = read(reader, origin)
    assert caught.value.is_free
    assert read(reader, origin) == DATA[100:5000]


def test_nobody_there(origin: Origin, reader: RangeReader) -> None:
    nowhere = HttpLocation("127.0.0.1", 1, is_tls=False, target="/", headers={})
    with pytest.raises(Hiccup) as caught:
        reader.read(nowhere, span(origin), ignore)
    assert not caught.value.is_free


@pytest.mark.parametrize(
    ("reply", "wait_s"),
    [
        (Reply(status=503), None),
        (Reply(status=429, headers={"Retry-After": "3"}), 3.0),
        (Reply(status=500, headers={"Retry-After": LATER}), None),
        (Reply(status=500, headers={"Retry-After": LATER, "Date": NOW}), 40.0),
        (Reply(status=503, headers={"Retry-After": NOW, "Date": LATER}), 0.0),
        (Reply(status=503, headers={"Retry-After": "soon", "Date": NOW}), None),
        (Reply(status=509), None),
        (Reply(status=520), None),
        (Reply(status=599), None),
        (Reply(status=400, body=b"<Code>RequestTimeout</Code>"), None),
        (Reply(cut_bytes=0), None),
        (Reply(cut_bytes=2500), None),
        (Reply(cut_bytes=1500, stall_s=1.0), None),
        (Reply(is_chunked=True, cut_bytes=700), None),
    ],
)
def test_what_may_be_tried_again(
    origin: Origin, reader: RangeReader, reply: Reply, wait_s: float | None
) -> None:
    origin.fault = at_first(reply)
    with pytest.raises(Hiccup) as caught:
        _ = read(reader, origin)
    assert (caught.value.wait_s, caught.value.is_free) == (wait_s, False)
    assert read(reader, origin) == DATA[100:5000], "the next read has a connection of its own"


def test_a_refusal_leaves_its_connection(origin: Origin, reader: RangeReader) -> None:
    """Some stores count requests by connection: a new one would be refused again."""
    origin.fault = at_first(Reply(status=429, body=b"<Code>SlowDown</Code>"))
    with pytest.raises(Hiccup):
        _ = read(reader, origin)
    assert read(reader, origin) == DATA[100:5000]
    assert len(origin.callers) == 1
    origin.fault = always(Reply(status=503, body=b"x" * 9000))
    for _ in range(2):
        with pytest.raises(Hiccup):
            _ = read(reader, origin)
    assert len(origin.callers) == 2, "what is too long to be read is left, and its connection too"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredToken", "expired"),
        ("ExpiredTokenException", "expired"),
        ("RequestExpired", "expired"),
        ("TokenRefreshRequired", "renewed"),
        ("InvalidToken", "session token"),
        ("InvalidTokenId", "session token"),
        ("InvalidAccessKeyId", "does not know the access key"),
        ("RequestTimeTooSkewed", "clock"),
    ],
)
@pytest.mark.parametrize("status", [400, 403])
def test_stale_credentials(
    origin: Origin, reader: RangeReader, code: str, words: str, status: int
) -> None:
    """What it means if it is said again is told in its own words."""
    origin.fault = always(Reply(status=status, body=f"<Code>{code}</Code>".encode()))
    with pytest.raises(CredentialsStale, match=words):
        _ = read(reader, origin)


@pytest.mark.parametrize("status", [301, 307])
def test_a_bucket_elsewhere(origin: Origin, reader: RangeReader, status: int) -> None:
    origin.fault = always(Reply(status=status, headers={"x-amz-bucket-region": "eu-west-1"}))
    with pytest.raises(CredentialsStale) as caught:
        _ = read(reader, origin)
    assert (caught.value.region, caught.value.date) == ("eu-west-1", None)


@pytest.mark.parametrize("status", [401, 403])
def test_an_address_that_has_ended(origin: Origin, reader: RangeReader, status: int) -> None:
    body = b"<Code>AccessDenied</Code><Message>Request has expired</Message>"
    origin.fault = always(Reply(status=status, body=body))
    signed = replace(where(origin), is_fleeting=True)
    with pytest.raises(CredentialsStale, match=f"answers {status} AccessDenied"):
        reader.read(signed, span(origin), ignore)


FINAL: dict[str, tuple[Fault, type[WeightsError]]] = {
    "403": (always(Reply(status=403)), StoreDenied),
    "401": (always(Reply(status=401)), StoreDenied),
    "404": (always(Reply(status=404)), ModelMissing),
    "412": (always(Reply(status=412)), WeightsChanged),
    "416": (always(Reply(status=416)), WeightsChanged),
    "307": (always(Reply(status=307, headers={"Location": "/"})), StoreUnreachable),
    "501": (always(Reply(status=501)), StoreUnreachable),
    "418": (always(Reply(status=418)), StoreUnreachable),
    "204": (always(Reply(status=204, body=b"")), StoreUnreachable),
    "the whole for a part": (always(Reply(ignores_range=True)), StoreUnreachable),
    "another version": (always(Reply(headers={"ETag": '"other"'})), WeightsChanged),
    "another range": (
        always(Reply(headers={"Content-Range": f"bytes 0-4899/{len(DATA)}"})),
        StoreUnreachable,
    ),
    "another total": (
        always(Reply(headers={"Content-Range": "bytes 100-4999/6000"})),
        WeightsChanged,
    ),
    "a range in words": (
        always(Reply(headers={"Content-Range": "some"})),
        StoreUnreachable,
    ),
    "another length": (always(Reply(body=DATA[100:4000])), StoreUnreachable),
    "more chunks than asked": (always(Reply(is_chunked=True, body=DATA)), StoreUnreachable),
    "compressed": (always(Reply(headers={"Content-Encoding": "br"})), StoreUnreachable),
    "compressed, too": (
        always(Reply(headers={"Content-Encoding": "aws-chunked, gzip"})),
        StoreUnreachable,
    ),
}


@pytest.mark.parametrize(("fault", "kind"), FINAL.values(), ids=FINAL.keys())
def test_what_may_not(
    origin: Origin, reader: RangeReader, fault: Fault, kind: type[WeightsError]
) -> None:
    origin.fault = fault
    with pytest.raises(kind):
        _ = read(reader, origin)


def test_a_whole_file_of_another_length_changed(origin: Origin, reader: RangeReader) -> None:
    origin.fault = always(Reply(body=DATA + b"!"))
    with pytest.raises(WeightsChanged):
        _ = read(reader, origin, span(origin, 0, len(DATA)))


def test_what_the_sink_raises_comes_through(origin: Origin, reader: RangeReader) -> None:
    def full(_view: memoryview, _offset: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        reader.read(where(origin), span(origin), full)
    assert read(reader, origin) == DATA[100:5000]


def test_an_interrupted_read_ends_at_once(origin: Origin, reader: RangeReader) -> None:
    origin.fault = always(Reply(cut_bytes=1500, stall_s=1.0))

    def sink(_view: memoryview, _offset: int) -> None:
        reader.interrupt()

    with pytest.raises(Hiccup):
        reader.read(where(origin), span(origin), sink)
    reader.interrupt()  # nothing runs: nothing happens


def test_a_file_on_this_machine(reader: RangeReader, tmp_path: Path) -> None:
    path = tmp_path / "f"
    _ = path.write_bytes(DATA)
    got = bytearray()
    wanted = Span("f", 5, 3000, len(DATA), '"any"')
    reader.read(FileLocation(str(path)), wanted, lambda view, _: got.extend(view))
    assert bytes(got) == DATA[5:3000]
    with pytest.raises(WeightsChanged):
        reader.read(FileLocation(str(path)), Span("f", 0, 10**6, 10**6, None), ignore)
    with pytest.raises(ModelMissing):
        reader.read(FileLocation(str(path) + "?"), wanted, ignore)
