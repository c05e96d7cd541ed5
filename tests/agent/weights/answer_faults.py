"""Answers that are wrong: those that a fetch mends, and those that end it by a name."""

from weights_origin import Fault, Reply, always

from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    WeightsChanged,
    WeightsCorrupt,
    WeightsError,
)


def once(reply: Reply, *, every: int = 0) -> Fault:
    return lambda number, _path, _range: (
        reply if (number % every == 1 if every else number == 1) else None
    )


MENDED = {
    "a short body": once(Reply(cut_bytes=1000), every=2),
    "reset after some bytes": once(Reply(cut_bytes=1000, resets=True), every=2),
    "reset before the first byte": once(Reply(cut_bytes=0, resets=True), every=2),
    "500 now and then": once(Reply(status=500), every=3),
    "503 now and then": once(Reply(status=503), every=3),
    "429 with Retry-After": once(Reply(status=429, headers={"Retry-After": "0"})),
    "SlowDown under another status": once(
        Reply(status=400, body=b"<Error><Code>SlowDown</Code></Error>")
    ),
    "a connection that dies while idle": always(Reply(drop=True)),
    "Connection: close after each answer": always(Reply(close=True)),
    "a chunked answer": always(Reply(is_chunked=True)),
    "a stall": once(Reply(cut_bytes=500, stall_s=2.0)),
    "credentials that expired": once(
        Reply(status=403, body=b"<Error><Code>ExpiredToken</Code></Error>")
    ),
    "a clock that is wrong": once(
        Reply(
            status=403,
            headers={"Date": "Sun, 06 Nov 2033 08:49:37 GMT"},
            body=b"<Error><Code>RequestTimeTooSkewed</Code></Error>",
        )
    ),
    "a bucket in another region": once(
        Reply(status=301, headers={"x-amz-bucket-region": "eu-west-1"})
    ),
    "one byte flipped on the way": once(Reply(flip=True)),
}


LASTING: dict[str, tuple[Fault, type[WeightsError]]] = {
    "403": (always(Reply(status=403)), StoreDenied),
    "credentials that stay expired": (
        always(Reply(status=403, body=b"<Error><Code>ExpiredToken</Code></Error>")),
        StoreDenied,
    ),
    "a clock that stays wrong": (
        always(Reply(status=403, body=b"<Error><Code>RequestTimeTooSkewed</Code></Error>")),
        StoreDenied,
    ),
    "another region each time": (
        always(Reply(status=307, headers={"x-amz-bucket-region": "eu-west-1"})),
        StoreDenied,
    ),
    "404": (always(Reply(status=404)), ModelMissing),
    "412": (always(Reply(status=412)), WeightsChanged),
    "416": (always(Reply(status=416)), WeightsChanged),
    "301": (always(Reply(status=301, headers={"Location": "/"})), StoreUnreachable),
    "another version": (always(Reply(headers={"ETag": '"x"'})), WeightsChanged),
    "Range ignored": (always(Reply(ignores_range=True)), StoreUnreachable),
    "gzip": (always(Reply(headers={"Content-Encoding": "gzip"})), StoreUnreachable),
    "a wrong Content-Range": (
        lambda _n, _p, asked: Reply(headers={"Content-Range": "bytes 1-5/9"}) if asked else None,
        StoreUnreachable,
    ),
    "another total": (
        lambda _n, _p, asked: (
            Reply(headers={"Content-Range": f"{asked.replace('=', ' ')}/9"}) if asked else None
        ),
        WeightsChanged,
    ),
    "another length than asked for": (
        lambda _n, _p, asked: Reply(body=b"x" * 9) if asked else None,
        StoreUnreachable,
    ),
    "no Content-Range": (
        lambda _n, _p, asked: Reply(headers={"Content-Range": ""}) if asked else None,
        StoreUnreachable,
    ),
    "a byte flipped each time": (always(Reply(flip=True)), WeightsCorrupt),
}
