"""The line against real sockets: how it opens, how it ends, and what it never does."""

import asyncio
import base64
import contextlib
import hashlib
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from runtime_world import Inbox, group
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from poolhand.agent.core.events import Event, Heard, LinkClosed, LinkOpened
from poolhand.agent.runtime.link import AT_ONCE, Link
from poolhand.agent.wire.inbound import InferenceRequest, LoadModel, Unknown
from poolhand.agent.wire.outbound import InferenceError, LoadModelStatus
from poolhand.config.errors import AuthRejected, LinkLost, LinkRefused
from poolhand.config.settings import Coordinator

Talk = Callable[[ServerConnection], Awaitable[None]]
STARTED = LoadModelStatus(model_id="m", status="started")


def port_of(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


def settings(
    port: int, scheme: str = "ws", ca_file: str | None = None, /, **more: float
) -> Coordinator:
    url = f"{scheme}://localhost:{port}/ws/provider"
    return Coordinator.model_validate(
        {"url": url, "dial_timeout_s": 5.0, "ca_file": ca_file, **more}
    )


@asynccontextmanager
async def world(inbox: Inbox, talk: Talk, **more: float) -> AsyncGenerator[tuple[Link, Server]]:
    """A coordinator that talks so, and a link that may dial it."""
    async with (
        serve(talk, "localhost", 0, max_size=None, close_timeout=1) as server,
        group() as tasks,
    ):
        yield link_to(inbox, tasks, settings(port_of(server), **more)), server


def link_to(inbox: Inbox, tasks: asyncio.TaskGroup, to: Coordinator) -> Link:
    return Link(to, tell=inbox.tell, hear=inbox.hear, tasks=tasks)


async def stand(connection: ServerConnection) -> None:
    await connection.wait_closed()


@pytest.mark.parametrize("code", [1000, 1001, 1012, 1013])
async def test_the_close_code_is_told(inbox: Inbox, code: int) -> None:
    async with world(inbox, lambda c: c.close(code, "words")) as (link, _):
        link.dial(7)
        closed = await inbox.first(LinkClosed)
    assert inbox.all[0] == LinkOpened(7)
    assert (closed.line, closed.close_code) == (7, code)
    assert isinstance(closed.error, LinkLost)
    assert "words" in str(closed.error)


async def test_a_close_for_policy_is_a_refusal(inbox: Inbox) -> None:
    async with world(inbox, lambda c: c.close(1008, "attestation unresponsive")) as (link, _):
        link.dial(1)
        closed = await inbox.first(LinkClosed)
    assert closed.close_code == 1008
    assert isinstance(closed.error, AuthRejected)


async def test_a_socket_dropped_without_a_word_is_1006(inbox: Inbox) -> None:
    async def drop(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with world(inbox, drop) as (link, _):
        link.dial(1)
        assert (await inbox.first(LinkClosed)).close_code == 1006


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, 1008, AuthRejected),
        (403, 1008, AuthRejected),
        (404, 1006, LinkRefused),
        (503, 1013, LinkRefused),
        (429, 1013, LinkRefused),
    ],
)
async def test_http_refusals(inbox: Inbox, status: int, code: int, error: type[Exception]) -> None:
    def refuse(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(HTTPStatus(status), "no")

    async with serve(stand, "localhost", 0, process_request=refuse) as server, group() as tasks:
        link_to(inbox, tasks, settings(port_of(server))).dial(3)
        closed = await inbox.first(LinkClosed)
    assert (closed.line, closed.close_code) == (3, code)
    assert isinstance(closed.error, error)
    assert not inbox.of(LinkOpened)


async def test_a_redirect_is_not_followed(inbox: Inbox) -> None:
    visits: list[str] = []

    async def other(connection: ServerConnection) -> None:
        visits.append("visited")

    async with serve(other, "localhost", 0) as elsewhere:
        place = f"ws://localhost:{port_of(elsewhere)}/"

        def redirect(connection: ServerConnection, _: Request) -> Response:
            answer = connection.respond(HTTPStatus.FOUND, "")
            answer.headers["Location"] = place
            return answer

        async with (
            serve(stand, "localhost", 0, process_request=redirect) as server,
            group() as tasks,
        ):
            link_to(inbox, tasks, settings(port_of(server))).dial(1)
            closed = await inbox.first(LinkClosed)
    assert isinstance(closed.error, LinkRefused)
    assert "302" in str(closed.error)
    assert not visits


async def test_nobody_listens(inbox: Inbox, unused_tcp_port: int) -> None:
    async with group() as tasks:
        link_to(inbox, tasks, settings(unused_tcp_port)).dial(1)
        closed = await inbox.first(LinkClosed)
    assert (closed.close_code, type(closed.error)) == (1006, LinkRefused)
    assert "[Errno" not in str(closed.error)


async def test_a_host_that_is_no_name_is_a_refusal(inbox: Inbox) -> None:
    to = Coordinator(url="wss://a..b/ws")
    async with group() as tasks:
        link_to(inbox, tasks, to).dial(1)
        assert isinstance((await inbox.first(LinkClosed)).error, LinkRefused)


async def test_a_server_that_says_nothing_is_given_up(inbox: Inbox) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.transport.abort()
        is_over.set()

    is_over = asyncio.Event()

    server = await asyncio.start_server(mute, "localhost", 0)
    port = server.sockets[0].getsockname()[1]
    async with group() as tasks:
        link_to(inbox, tasks, settings(port, dial_timeout_s=0.2)).dial(1)
        assert isinstance((await inbox.first(LinkClosed)).error, LinkRefused)
    await is_over.wait()
    server.close()


async def test_what_is_said_is_heard_in_order_and_nonsense_leaves_the_line_standing(
    inbox: Inbox,
) -> None:
    load = '{"type":"load_model","model_id":"m"}'

    async def talk(connection: ServerConnection) -> None:
        await connection.send(b"\xff\xfe{", text=True)
        await connection.send("{")
        await connection.send(load.encode())
        await connection.send(load.encode(), text=True)
        await connection.wait_closed()

    async with world(inbox, talk) as (link, _):
        link.dial(1)
        await inbox.first(Heard, 4)
    heard = [event.message for event in inbox.of(Heard)]
    assert [type(message) for message in heard] == [Unknown, Unknown, LoadModel, LoadModel]


async def test_a_thousand_texts_at_once_are_heard_in_order_and_others_have_turns(
    inbox: Inbox,
) -> None:
    async def talk(connection: ServerConnection) -> None:
        texts = [b'{"type":"load_model","model_id":"%d"}' % number for number in range(1000)]
        frames = [Frame(Opcode.TEXT, text).serialize(mask=False) for text in texts]
        connection.transport.write(b"".join(frames))
        await connection.wait_closed()

    turns, heard_in = [0], Counter[int]()

    async def take_turns() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    async def hear(events: Sequence[Event]) -> None:
        heard_in[turns[0]] += len(events)
        await inbox.hear(events)

    async with serve(talk, "localhost", 0) as server, group() as tasks:
        tasks.create_task(take_turns())
        to = settings(port_of(server))
        Link(to, tell=inbox.tell, hear=hear, tasks=tasks).dial(1)
        await inbox.first(Heard, 1000)
    heard = [event.message for event in inbox.of(Heard)]
    assert [one.model_id for one in heard if isinstance(one, LoadModel)] == [*map(str, range(1000))]
    assert max(heard_in.values()) <= AT_ONCE


async def test_a_frame_of_32_mib_is_heard_and_a_larger_one_ends_the_line(inbox: Inbox) -> None:
    most = 32 * 2**20
    sealed = '{"ephemeral_public_key":"","ciphertext":"%s"}'
    shell = '{"type":"inference_request","request_id":"r","encrypted_body":' + sealed + "}"
    frame = shell % ("A" * (most - len(shell) + 2))
    assert len(frame) == most

    async def talk(connection: ServerConnection) -> None:
        await connection.send(frame)
        await connection.recv()
        await connection.send(frame + " ")
        await connection.wait_closed()

    async with world(inbox, talk) as (link, _):
        link.dial(1)
        assert isinstance((await inbox.first(Heard)).message, InferenceRequest)
        link.send(1, STARTED)
        await inbox.first(LinkClosed)
    assert len(inbox.of(Heard)) == 1


async def test_nothing_is_compressed_nor_anyone_told_who_sends(inbox: Inbox) -> None:
    asked: list[Request] = []

    def look(connection: ServerConnection, request: Request) -> None:
        asked.append(request)

    async with serve(stand, "localhost", 0, process_request=look) as server, group() as tasks:
        link_to(inbox, tasks, settings(port_of(server))).dial(1)
        await inbox.first(LinkOpened)
    assert "Sec-WebSocket-Extensions" not in asked[0].headers
    assert "Authorization" not in asked[0].headers
    assert "Origin" not in asked[0].headers


async def test_no_proxy_by_accident(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    for name in (
        "ALL_PROXY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "https_proxy",
        "http_proxy",
        "all_proxy",
    ):
        monkeypatch.setenv(name, f"http://localhost:{unused_tcp_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with world(inbox, stand) as (link, _):
        link.dial(1)
        await inbox.first(LinkOpened)


# ── TLS ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(  # noqa: S603  # fixed words
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",  # noqa: S607
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.mark.parametrize("is_trusted", [False, True])
async def test_a_certificate_counts_only_if_somebody_vouches_for_it(
    inbox: Inbox, certificate: tuple[Path, Path], *, is_trusted: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    ca_file = str(certificate[0]) if is_trusted else None
    async with serve(stand, "localhost", 0, ssl=context) as server, group() as tasks:
        link_to(inbox, tasks, settings(port_of(server), "wss", ca_file)).dial(1)
        if is_trusted:
            await inbox.first(LinkOpened)
        else:
            closed = await inbox.first(LinkClosed)
            assert isinstance(closed.error, LinkRefused)
            assert "CERTIFICATE_VERIFY_FAILED" in str(closed.error)


@pytest.mark.parametrize("text", [None, "", "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_named(
    inbox: Inbox, unused_tcp_port: int, tmp_path: Path, text: str | None
) -> None:
    ca_file = tmp_path / "ca.pem"
    if text is not None:
        ca_file.write_text(text)
    async with group() as tasks:
        link_to(inbox, tasks, settings(unused_tcp_port, "wss", str(ca_file))).dial(1)
        closed = await inbox.first(LinkClosed)
        assert isinstance(closed.error, LinkRefused)
        assert f"coordinator.ca_file {ca_file} cannot be used" in str(closed.error)


# ── a peer that dies ──────────────────────────────────────────────────────────────────


class Proxy:
    """Forwards bytes both ways until it is told to freeze; it never closes anything."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._flows = asyncio.Event()
        self._flows.set()

    def freeze(self) -> None:
        self._flows.clear()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("localhost", self._port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_on(reader, back))
                tasks.create_task(self._pass_on(there, writer))
        finally:
            back.transport.abort()
            writer.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(2**16):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()


@pytest.mark.parametrize("is_sending", [False, True])
async def test_a_dead_socket_is_noticed_also_while_it_is_being_sent_to(
    inbox: Inbox, *, is_sending: bool
) -> None:
    async def listen(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    async with asyncio.TaskGroup() as forwarding:
        async with serve(
            listen, "localhost", 0, max_size=None, ping_interval=None, close_timeout=0.2
        ) as server:
            proxy = Proxy(port_of(server))
            front = await asyncio.start_server(
                lambda r, w: forwarding.create_task(proxy.meet(r, w)), "localhost", 0
            )
            async with group() as tasks:
                place = settings(
                    front.sockets[0].getsockname()[1], ping_interval_s=0.2, pong_timeout_s=0.5
                )
                link = link_to(inbox, tasks, place)
                link.dial(1)
                await inbox.first(LinkOpened)
                proxy.freeze()
                frozen_s = time.monotonic()
                if is_sending:
                    # more than all socket buffers on the way can hold
                    while await link.lanes(1).put_chunk(b"x" * 2**20):
                        pass
                closed = await inbox.first(LinkClosed)
                assert closed.close_code == 1006
                assert time.monotonic() - frozen_s < 3.0
        front.close()
        proxy._flows.set()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # let it end


# ── sending and hanging up ────────────────────────────────────────────────────────────


async def test_a_polite_end_sends_what_waits_and_says_goodbye(inbox: Inbox) -> None:
    frames: list[str | bytes] = []
    codes: list[int | None] = []

    async def listen(connection: ServerConnection) -> None:
        frames.extend([frame async for frame in connection])
        codes.append(connection.close_code)

    async with world(inbox, listen) as (link, _):
        link.dial(1)
        await inbox.first(LinkOpened)
        assert await link.lanes(1).put_chunk(b"chunk")
        link.send(1, InferenceError(request_id="r", error="e", status_code=503))
        link.send(1, STARTED)
        link.hang_up(1, is_polite=True)
        link.send(1, STARTED)
        assert (await inbox.first(LinkClosed)).close_code == 1000
    assert [str(frame)[:30] for frame in frames] == [
        '{"type":"load_model_status","m',
        "chunk",
        '{"type":"inference_error","req',
    ]
    assert codes == [1000]


async def test_a_reader_that_pauses_gets_every_frame_in_order(inbox: Inbox) -> None:
    heard: list[int] = []

    async def listen(connection: ServerConnection) -> None:
        async for frame in connection:
            heard.append(int(frame[:6]))
            if len(heard) == 20:
                await asyncio.sleep(0.1)  # the socket fills up, and frees itself again

    async with world(inbox, listen) as (link, _):
        link.dial(1)
        await inbox.first(LinkOpened)
        lanes = link.lanes(1)
        for at in range(400):
            assert await lanes.put_chunk(f"{at:06}".encode().ljust(2**16 if at % 3 else 20))
        assert link.traffic.chunks == 400
        link.hang_up(1, is_polite=True)
        assert (await inbox.first(LinkClosed)).close_code == 1000
        assert link.traffic.chunks == 400
    assert heard == list(range(400))


async def test_a_new_dial_leaves_a_polite_goodbye_alone(inbox: Inbox) -> None:
    codes: list[int | None] = []

    async def listen(connection: ServerConnection) -> None:
        await connection.wait_closed()
        codes.append(connection.close_code)

    async with world(inbox, listen) as (link, _):
        link.dial(1)
        await inbox.first(LinkOpened)
        link.hang_up(1, is_polite=True)
        link.dial(2)
        await inbox.first(LinkOpened, 2)
        assert (await inbox.first(LinkClosed)).line == 1
        assert codes == [1000]


async def test_a_dial_over_a_standing_line_drops_it(inbox: Inbox) -> None:
    async with world(inbox, stand) as (link, server):
        link.dial(1)
        await inbox.first(LinkOpened)
        link.dial(2)
        await inbox.first(LinkOpened, 2)
        assert (await inbox.first(LinkClosed)).line == 1
        assert len([one for one in server.connections if one.state.name == "OPEN"]) <= 1
        assert await link.lanes(1).put_chunk(b"late") is False
        link.send(1, STARTED)


@pytest.mark.parametrize("is_polite", [False, True])
async def test_a_dial_that_is_given_up_in_the_same_breath_is_told_as_ended(
    inbox: Inbox, *, is_polite: bool
) -> None:
    async with world(inbox, stand) as (link, _):
        link.dial(1)
        link.hang_up(1, is_polite=is_polite)
        link.hang_up(1, is_polite=is_polite)
        await inbox.first(LinkClosed)
    assert [type(event) for event in inbox.all] == [LinkClosed]


async def test_a_writer_that_waits_for_room_learns_that_the_line_is_gone(inbox: Inbox) -> None:
    hold = asyncio.Event()

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await hold.wait()

    async with world(inbox, deaf, pong_timeout_s=30.0) as (link, _):
        link.dial(1)
        await inbox.first(LinkOpened)

        async def flood() -> None:
            while await link.lanes(1).put_chunk(b"x" * 2**20):
                pass

        async with asyncio.TaskGroup() as tasks:
            flooding = tasks.create_task(flood())
            await asyncio.wait({flooding}, timeout=0.3)
            assert not flooding.done()
            link.hang_up(1, is_polite=False)
        hold.set()


async def test_a_peer_that_never_answers_the_goodbye_is_left(inbox: Inbox) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(
            line.split(b": ")[1]
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324
        accept = base64.b64encode(digest)
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            while await reader.read(2**16):
                pass
        writer.transport.abort()
        is_over.set()

    is_over = asyncio.Event()
    server = await asyncio.start_server(rude, "localhost", 0)
    async with group() as tasks:
        link = link_to(inbox, tasks, settings(server.sockets[0].getsockname()[1]))
        link.dial(1)
        await inbox.first(LinkOpened)
        begun_s = time.monotonic()
        link.hang_up(1, is_polite=True)
        assert (await inbox.first(LinkClosed)).line == 1
        assert 4.0 < time.monotonic() - begun_s < 7.0
    await is_over.wait()
    server.close()
