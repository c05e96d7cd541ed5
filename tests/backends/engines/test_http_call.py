"""One HTTP call: what is sent, what is read, and how it ends."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from poolhand.backends.engines.http_call import (
    CutOff,
    Peer,
    Silent,
    TooMuch,
    Unreachable,
    call,
)

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]
Serve = Callable[[object], AbstractAsyncContextManager[Peer]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def saying(*parts: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()

    return talk


async def whole(peer: Peer, limit_bytes: int = 1000, **options: float) -> tuple[int, bytes]:
    async with call(peer, "GET", "/x", **options) as answer:  # type: ignore[arg-type]
        return answer.status, await answer.whole(limit_bytes=limit_bytes)


@pytest.mark.parametrize(
    "parts",
    [
        (OK + b"Content-Length: 5\r\n\r\nhello",),
        (OK, b"Content-Length: 5\r\n\r\nhel", b"lo"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",),
        (b"HTTP/1.0 200 OK\r\n\r\nhello",),
    ],
)
async def test_an_answer_is_read_whole(serve: Serve, parts: tuple[bytes, ...]) -> None:
    async with serve(saying(*parts)) as peer:
        assert await whole(peer) == (200, b"hello")


async def test_what_is_asked_is_what_arrives(serve: Serve) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2))
        writer.write(OK + b"Content-Length: 0\r\n\r\n")

    async with serve(talk) as peer:
        keyed = Peer(peer.url, {"Authorization": "Bearer k"}, peer.socket_path)
        asked = call(keyed, "POST", "/v1/x?a=1", body=b"{}", headers={"X-Model": "m"})
        async with asked as answer:
            assert await answer.whole(limit_bytes=10) == b""
    head, _, body = heard[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/x?a=1 HTTP/1.1"
    assert {"Host: localhost", "Authorization: Bearer k", "X-Model: m"} < set(lines)
    assert {"Content-Length: 2", "Content-Type: application/json", "Connection: close"} < set(lines)
    assert body == b"{}"


def test_a_key_is_in_no_repr() -> None:
    assert "canary" not in repr(Peer("http://x", {"Authorization": "canary"}))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        b"garbage\r\n\r\n",
        OK + b"Content-Length: 9\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n",
        OK + b"X: " + b"y" * 2**17 + b"\r\n\r\n",
    ],
)
async def test_what_is_cut_or_no_http_is_no_answer(serve: Serve, said: bytes) -> None:
    async with serve(saying(said)) as peer:
        with pytest.raises(CutOff):
            await whole(peer)


async def test_what_came_before_a_cut_is_heard(serve: Serve) -> None:
    said = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2"
    heard: list[bytes] = []

    async def listen(peer: Peer) -> None:
        async with call(peer, "GET", "/") as answer:
            async for block in answer.blocks():
                heard.append(block)  # noqa: PERF401 - kept when the generator raises

    async with serve(saying(said)) as peer:
        with pytest.raises(CutOff):
            await listen(peer)
    assert heard == [b"hello"]


async def test_chunks_that_came_together_are_one_block(serve: Serve) -> None:
    said = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500 + b"0\r\n\r\n"
    async with serve(saying(said)) as peer, call(peer, "GET", "/") as answer:
        blocks = [block async for block in answer.blocks()]
    assert b"".join(blocks) == b"x" * 500
    assert len(blocks) < 10


async def test_too_much_is_not_read(serve: Serve) -> None:
    async with serve(saying(OK + b"Content-Length: 2000\r\n\r\n" + b"x" * 2000)) as peer:
        with pytest.raises(TooMuch):
            await whole(peer)
        assert await whole(peer, 2000) == (200, b"x" * 2000)


async def test_a_refusal_to_a_body_that_was_not_read_still_counts(serve: Serve) -> None:
    said = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"

    async with serve(saying(said)) as peer, call(peer, "POST", "/", body=b"x" * 2**18) as answer:
        assert answer.status == 413


async def test_silence_has_a_limit(serve: Serve) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 5\r\n\r\nh")
        await reader.read()
        while await reader.read():
            pass

    async with serve(talk) as peer:
        with pytest.raises(Silent, match=r"within 0\.05 s"):
            await whole(peer, silence_s=0.05)


async def test_leaving_the_block_hangs_up(serve: Serve) -> None:
    hung_up = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await reader.read()
        hung_up.set()

    async with serve(talk) as peer:
        async with call(peer, "GET", "/") as answer:
            assert await anext(answer.blocks()) == b"x"
        async with asyncio.timeout(20):
            await hung_up.wait()


async def test_nobody_at_the_other_end_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await whole(Peer("http://localhost", socket_path="/nowhere/at/all"))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = int(bound.getsockname()[1])
        with pytest.raises(Unreachable):
            await whole(Peer(f"http://127.0.0.1:{port}"))


async def test_a_header_is_sent_once_however_its_name_is_written(serve: Serve) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK + b"Content-Length: 2\r\n\r\nhi")

    async with serve(talk) as peer:
        named = Peer(peer.url, {"user-agent": "mine"}, peer.socket_path)
        assert await whole(named) == (200, b"hi")
    assert heard[0].lower().count(b"user-agent:") == 1
    assert b"Accept-Encoding: identity\r\n" in heard[0]


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"X-More: of the same\r\n"]
)
async def test_a_head_without_end_is_not_waited_for(serve: Serve, interim: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not interim.startswith(b"HTTP"):
            writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(interim)
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serve(talk) as peer, asyncio.timeout(20):
        with pytest.raises(Silent):
            async with call(peer, "GET", "/", silence_s=0.2):
                pass


async def test_a_beginning_is_what_comes_in_time(serve: Serve) -> None:
    said = b"HTTP/1.1 400 No\r\nContent-Length: 5\r\n\r\nhel"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await reader.read()

    async with serve(talk) as peer, call(peer, "GET", "/") as answer:
        assert await answer.beginning(limit_bytes=2, within_s=20) == b"he"
    async with serve(talk) as peer, call(peer, "GET", "/") as answer:
        assert await answer.beginning(limit_bytes=9, within_s=0.2) == b"hel"
    async with serve(saying(said)) as peer, call(peer, "GET", "/") as answer:
        assert await answer.beginning(limit_bytes=9, within_s=20) == b"hel"


async def test_tcp_and_a_fixed_address_are_ways_too(serve: Serve) -> None:
    heard: list[bytes] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK + b"Content-Length: 2\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    assert await whole(Peer(f"http://127.0.0.1:{port}")) == (200, b"hi")
    named = Peer(f"http://engine.invalid:{port}", address="127.0.0.1")
    assert await whole(named) == (200, b"hi")
    assert f"Host: engine.invalid:{port}".encode() in heard[1]
    server.close()


async def test_a_server_that_speaks_no_tls_is_not_trusted() -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    with pytest.raises(Unreachable):
        await whole(Peer(f"https://127.0.0.1:{port}"))
    server.close()


async def test_all_lines_to_a_peer_can_be_cut_at_once(serve: Serve) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 5\r\n\r\nh")
        await reader.read()

    async with serve(talk) as peer:
        async with call(peer, "GET", "/") as first, call(peer, "GET", "/") as second:
            peer.lines.cut()
            for answer in (first, second):
                with pytest.raises(CutOff):
                    await answer.whole(limit_bytes=10)
        peer.lines.cut()
