"""The way to the coordinator, with real sockets, real certificates and wrong clocks."""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from poolhand.agent.cli.checks_line import ABOUT, look
from poolhand.agent.cli.checks_told import Finding
from tests.certificates import certified

from .checks_world import by_id, ground, verdicts


def url(text: str, more: str = "") -> str:
    return f'[coordinator]\nurl = "{text}"\n{more}'


async def stand(connection: ServerConnection) -> None:
    await connection.wait_closed()


@asynccontextmanager
async def coordinator(pair: tuple[Path, Path] | None = None) -> AsyncGenerator[int]:
    """Whoever opens lines; its port."""
    context = None
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
    async with serve(stand, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@contextmanager
def answering(status: int, ahead_s: float = 0.0) -> Generator[int]:
    """A web server that is no coordinator, with a clock of its own; its port."""

    class Answerer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Date", formatdate(time.time() + ahead_s, usegmt=True))
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815  # its name there

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answerer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


async def looked(folder: Path, text: str, **environ: str) -> list[Finding]:
    here = ground(folder, text, environ=environ)
    return await asyncio.to_thread(lambda: list(look(here)))


async def test_a_line_in_clear_text_on_this_machine(tmp_path: Path) -> None:
    async with coordinator() as port:
        found = await looked(tmp_path, url(f"ws://127.0.0.1:{port}"))
    assert verdicts(found) == {**dict.fromkeys(ABOUT, "ok"), "line.tls": "skipped"}


async def test_a_certificate_of_ones_own(tmp_path: Path) -> None:
    pair = certified(tmp_path)
    async with coordinator(pair) as port:
        trusting = url(f"wss://localhost:{port}", f'ca_file = "{pair[0]}"\n')
        found = await looked(tmp_path / "w", trusting)
        assert verdicts(found) == dict.fromkeys(ABOUT, "ok")
        assert "valid for" in by_id(found)["line.tls"].cause
        assert str(pair[0]) in by_id(found)["line.tls"].cause

        found = await looked(tmp_path / "w", url(f"wss://localhost:{port}"))
        assert verdicts(found)["line.tls"] == "fail"
        assert verdicts(found)["line.upgrade"] == "skipped"
        assert "ca_file" in by_id(found)["line.tls"].remedy

        named = trusting.replace("localhost", "127.0.0.1")
        found = await looked(tmp_path / "w", named)
        assert verdicts(found)["line.tls"] == "fail"
        assert "the name" in by_id(found)["line.tls"].remedy


@pytest.mark.parametrize(
    ("from_days", "to_days", "verdict", "words"),
    [(-9, -1, "fail", "renewed"), (1, 9, "fail", "not valid yet"), (-1, 3, "warn", "renewed")],
)
async def test_the_dates_of_a_certificate(
    tmp_path: Path, from_days: float, to_days: float, verdict: str, words: str
) -> None:
    pair = certified(tmp_path, from_days=from_days, to_days=to_days)
    async with coordinator(pair) as port:
        text = url(f"wss://localhost:{port}", f'ca_file = "{pair[0]}"\n')
        found = by_id(await looked(tmp_path / "w", text))["line.tls"]
    assert found.verdict == verdict
    assert words in found.remedy


async def test_no_tls_behind_wss_and_no_such_authority(tmp_path: Path) -> None:
    async with coordinator() as port:
        found = await looked(tmp_path, url(f"wss://localhost:{port}"))
        assert by_id(found)["line.tls"].verdict == "fail"
        assert "no TLS with" in by_id(found)["line.tls"].cause
        text = url(f"wss://localhost:{port}", 'ca_file = "/nowhere.pem"\n')
        found = await looked(tmp_path, text)
        assert "coordinator.ca_file /nowhere.pem" in by_id(found)["line.tls"].cause


async def test_a_name_without_an_address(tmp_path: Path) -> None:
    found = await looked(tmp_path, url("wss://nobody.invalid"))
    assert verdicts(found) == {
        "line.proxy": "ok",
        "line.dns": "fail",
        "line.tcp": "skipped",
        "line.tls": "skipped",
        "line.upgrade": "skipped",
        "clock.skew": "skipped",
    }


async def test_nobody_at_the_port(tmp_path: Path, unused_tcp_port: int) -> None:
    found = await looked(tmp_path, url(f"ws://127.0.0.1:{unused_tcp_port}"))
    assert verdicts(found)["line.tcp"] == "fail"
    assert "refused" in by_id(found)["line.tcp"].cause


async def test_somebody_who_wants_no_line(tmp_path: Path) -> None:
    with answering(403) as port:
        found = by_id(await looked(tmp_path, url(f"ws://127.0.0.1:{port}")))
    assert found["line.upgrade"].verdict == "fail"
    assert "403" in found["line.upgrade"].cause
    assert found["clock.skew"].verdict == "ok", "it told the time all the same"


@pytest.mark.parametrize(
    ("ahead_s", "verdict"), [(-3600.0, "fail"), (3600.0, "fail"), (60.0, "warn"), (0.0, "ok")]
)
async def test_a_clock_that_is_wrong(tmp_path: Path, ahead_s: float, verdict: str) -> None:
    with answering(404, ahead_s) as port:
        found = by_id(await looked(tmp_path, url(f"ws://127.0.0.1:{port}")))["clock.skew"]
    assert found.verdict == verdict
    if ahead_s:
        assert ("behind" if ahead_s > 0 else "ahead of") in found.cause


async def test_a_store_tells_the_time_if_the_coordinator_does_not(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    model = '[[models]]\nid = "org/a"\nref = "s3://models/a"\n'
    with answering(403, 3600.0) as port:
        endpoint = f'[stores.s3]\nendpoint = "http://127.0.0.1:{port}"\n'
        text = url(f"ws://127.0.0.1:{unused_tcp_port}", model + endpoint)
        found = by_id(await looked(tmp_path, text))["clock.skew"]
    assert found.verdict == "fail"
    assert "the store's" in found.cause


async def test_a_proxy_that_the_line_goes_around(tmp_path: Path) -> None:
    proxy = "http://user:canary-pass@proxy:3128"
    found = await looked(tmp_path, url("wss://nobody.invalid"), HTTPS_PROXY=proxy)
    assert by_id(found)["line.proxy"].verdict == "warn"
    assert "HTTPS_PROXY" in by_id(found)["line.proxy"].cause
    assert "canary-pass" not in repr(found)
    found = await looked(tmp_path, url("ws://127.0.0.1:1"), https_proxy=proxy)
    assert by_id(found)["line.proxy"].verdict == "ok"
