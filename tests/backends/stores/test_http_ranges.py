"""One answer over HTTP: redirects, who sees the authorization, what is read and what is kept."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from aiohttp import web
from stand_ins import Shelf, standing

from poolhand.backends.stores.addresses import Guard, named
from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    StoreUnsafe,
    WeightsChanged,
    WeightsError,
)
from poolhand.backends.stores.http_ranges import Answer, HttpClient, refusal

AUTH = {"authorization": "Bearer s3cret"}
Listening = Callable[
    [Callable[[str], bytes], ssl.SSLContext | None], AbstractAsyncContextManager[str]
]


async def answer(shelf: Shelf, request: web.BaseRequest) -> web.StreamResponse:
    """Redirects ``/to?where``; sends so many bytes from ``/bytes/N``; tells what it was sent."""
    match request.path.split("/")[1:]:
        case ["to"]:
            return web.Response(status=302, headers={"Location": request.query_string})
        case ["hops", left] if int(left):
            return web.Response(status=307, headers={"Location": f"/hops/{int(left) - 1}"})
        case ["bytes", count]:
            return web.Response(body=b"x" * int(count))
        case ["form"]:
            return web.Response(text=await request.text(), status=200)
        case _:
            return web.json_response({name.lower(): said for name, said in request.headers.items()})


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    async with standing(answer) as shelf:
        yield shelf


@pytest.fixture
def pauses() -> list[float]:
    return []


class Asker:
    """A client and the two origins that it may see."""

    def __init__(self, shelf: Shelf, pauses: list[float]) -> None:
        guard = Guard("s", [named(shelf.url), named(shelf.onward)])
        self.client = HttpClient("s", guard, pause=pauses.append)
        self._url = shelf.url

    async def __call__(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        most_bytes: int = 10_000,
        form: bytes | None = None,
    ) -> Answer:
        url = path if path.startswith("http") else f"{self._url}{path}"
        return await asyncio.to_thread(
            self.client.ask,
            url,
            headers=headers or {},
            auth=AUTH,
            most_bytes=most_bytes,
            form=form,
        )


@pytest.fixture
def ask(shelf: Shelf, pauses: list[float]) -> Iterator[Asker]:
    asker = Asker(shelf, pauses)
    yield asker
    asker.client.close()
    asker.client.close()


async def test_the_authorization_stays_with_its_origin(shelf: Shelf, ask: Asker) -> None:
    own = await ask("/echo", headers={"X-More": "1"})
    assert json.loads(own.body)["authorization"] == "Bearer s3cret"
    assert own.is_home
    beside = await ask("/to?/echo", headers={"X-More": "1"})
    assert json.loads(beside.body)["authorization"] == "Bearer s3cret"
    other = await ask(f"/to?{shelf.onward}/echo", headers={"X-More": "1"})
    told = json.loads(other.body)
    assert "authorization" not in told
    assert told["x-more"] == "1"
    assert told["accept-encoding"] == "identity"
    assert (other.is_home, other.url) == (False, f"{shelf.onward}/echo")
    back = await ask(f"/to?{shelf.onward}/to?{shelf.url}/echo")
    assert back.is_home, "it came home again"


async def test_redirects_have_an_end(shelf: Shelf, ask: Asker) -> None:
    assert (await ask("/hops/3")).status == 200
    with pytest.raises(StoreUnreachable, match="more than 3 times"):
        await ask("/hops/4")


@pytest.mark.parametrize(
    "where",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "http://127.0.0.1:1/",
        "https://[::1]/",
        "https://0x7f000001/",
        "file:///etc/passwd",
        "ftp://a.example/",
        "//10.0.0.1/x",
        "http://user:word@a.example/",
    ],
)
async def test_a_redirect_into_the_house_is_not_followed(ask: Asker, where: str) -> None:
    with pytest.raises(StoreUnsafe):
        await ask(f"/to?{where}")


async def test_a_body_has_a_bound(ask: Asker) -> None:
    assert len((await ask("/bytes/100", most_bytes=100)).body) == 100
    with pytest.raises(StoreUnreachable, match="more than 99 bytes"):
        await ask("/bytes/100", most_bytes=99)
    assert (await ask("/bytes/5000000", most_bytes=0)).body == b""


async def test_a_busy_store_gets_one_more_chance(
    shelf: Shelf, ask: Asker, pauses: list[float]
) -> None:
    shelf.statuses = [503]
    assert (await ask("/echo")).status == 200
    shelf.statuses = [429, 500]
    assert (await ask("/echo")).status == 500
    assert pauses == [0.0, 0.0], "what the store asked for"


async def test_a_form_is_sent_once_and_stays_where_it_is(shelf: Shelf, ask: Asker) -> None:
    assert (await ask("/form", form=b"a=1")).body == b"a=1"
    shelf.statuses = [503]
    assert (await ask("/form", form=b"a=1")).status == 503
    assert (await ask("/to?/form", form=b"a=1")).status == 302
    assert len([seen for seen in shelf.seen if seen.startswith("POST")]) == 3


async def test_a_line_is_used_again_and_its_death_is_no_failure(shelf: Shelf) -> None:
    peers: set[object] = set()

    async def tell(_: Shelf, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        response = web.Response(body=b"ok")
        if request.path == "/last":
            asyncio.get_running_loop().call_later(0.01, request.transport.abort)
        return response

    async with standing(tell) as other:
        client = HttpClient("s", Guard("s", [named(other.url)]))
        for path in ("/a", "/b", "/last"):
            await asyncio.to_thread(client.ask, f"{other.url}{path}", most_bytes=9)
        assert len(peers) == 1
        await asyncio.to_thread(client.ask, f"{other.url}/a", most_bytes=9)
        client.close()


async def test_no_answer_and_no_sense() -> None:
    async with standing(answer) as gone:
        url, client = gone.url, HttpClient("s", Guard("s", [named(gone.url)]))
    with pytest.raises(StoreUnreachable, match="no connection"):
        await asyncio.to_thread(client.ask, url)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"nonsense\r\n\r\n", "no sensible answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "no sensible answer"),
        (b"", "no sensible answer|no connection"),
    ],
)
async def test_a_broken_answer(listening: Listening, raw: bytes, why: str) -> None:
    async with listening(lambda _: raw, None) as url:
        client = HttpClient("s", Guard("s", [named(url)]))
        with pytest.raises(StoreUnreachable, match=why):
            await asyncio.to_thread(client.ask, url, most_bytes=100)


async def test_a_certificate_that_nobody_vouches_for(
    listening: Listening, speaks_tls: ssl.SSLContext, ca_file: Path
) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with listening(lambda _: said, speaks_tls) as numeric:
        url = numeric.replace("127.0.0.1", "localhost")
        guard = Guard("s", [named(url)], lambda _host, _port: ["127.0.0.1"])
        with pytest.raises(StoreUnreachable, match="certificate is not trusted"):
            await asyncio.to_thread(HttpClient("s", guard).ask, url)
        trusting = HttpClient("s", guard, ca_file=str(ca_file))
        assert (await asyncio.to_thread(trusting.ask, url, most_bytes=9)).body == b"ok"
        trusting.close()


@pytest.mark.parametrize(
    ("status", "file", "kind"),
    [
        (404, "", ModelMissing),
        (410, "a", WeightsChanged),
        (404, "a", WeightsChanged),
        (412, "a", WeightsChanged),
        (416, "a", WeightsChanged),
        (401, "", StoreDenied),
        (403, "a", StoreDenied),
        (429, "", StoreUnreachable),
        (500, "a", StoreUnreachable),
        (418, "", StoreUnreachable),
    ],
)
def test_what_a_status_means(status: int, file: str, kind: type[WeightsError]) -> None:
    got = Answer(status, {"retry-after": "7"}, b"s3cret", "https://a/?s3cret", is_home=True)
    error = refusal(got, store="s", model="m", file=file, denied="not for you")
    assert type(error) is kind
    assert "s3cret" not in f"{error} {got!r}"
    assert ("7 s of patience" in str(error)) == (status in {429, 500})
    assert ("not for you" in str(error)) == (status in {401, 403})


@pytest.mark.parametrize(("left", "is_told"), [(0, True), (3, False)])
def test_how_long_the_hub_wants_to_be_left_alone(left: int, *, is_told: bool) -> None:
    told = {"ratelimit": f'"api";r={left};t=55', "ratelimit-policy": '"fixed window";"api";q=500'}
    error = refusal(Answer(429, told, b"", "https://a/", is_home=True), store="s", model="m")
    assert ("55 s of patience" in str(error)) == is_told


@pytest.mark.parametrize("length", ["Content-Length: 100000\r\n", ""])
async def test_an_answer_that_drips_is_given_up(length: str) -> None:
    """Twice, as anything that goes wrong on the way."""
    left: asyncio.Queue[bytes] = asyncio.Queue()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode())
        leaving = asyncio.ensure_future(reader.read())
        while not (await asyncio.wait([leaving], timeout=0.05))[0]:
            writer.write(b"{")
        writer.close()
        left.put_nowait(leaving.result())

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server, asyncio.timeout(20):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = HttpClient("s", Guard("s", [named(url)]), whole_timeout_s=0.3)
        with pytest.raises(StoreUnreachable):
            _ = await asyncio.to_thread(client.ask, url, most_bytes=10_000)
        assert [await left.get(), await left.get()] == [b"", b""]
