"""What comes off a socket, plain and over TLS: the same bytes, ticks and ends."""

import _socket
import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolhand.backends.stores.exchange import Exchange
from poolhand.backends.stores.sockets import Pipe, Plain, Tls, connected, delay_s

TICK_S, PATIENCE_S = 0.05, 20.0
Speaker = Callable[[socket.socket], None]


class Ends:
    """Makes a pipe to somebody who speaks as he is told.

    Args:
        serves: How he speaks TLS; ``None``: plain.
        trusts: How the pipe does.
    """

    def __init__(self, serves: ssl.SSLContext | None, trusts: ssl.SSLContext | None) -> None:
        self._serves, self._trusts = serves, trusts

    def over(self, sock: _socket.socket, *, tick_s: float, limit_s: float) -> Pipe:
        """A pipe over a connection to :meth:`somebody`."""
        if self._trusts is None:
            return Plain(sock, tick_s=tick_s, limit_s=limit_s)
        return Tls(sock, self._trusts, "localhost", tick_s=tick_s, limit_s=limit_s)

    def somebody(self, speaker: Speaker) -> AbstractContextManager[int]:
        """A speaker's port; he is waited for at the end."""
        return listening(speaker, self._serves)

    @contextmanager
    def to(self, speaker: Speaker, *, limit_s: float = PATIENCE_S) -> Generator[Pipe]:
        """A pipe whose other end is the speaker's."""
        with (
            self.somebody(speaker) as port,
            contextlib.closing(connected("localhost", port, PATIENCE_S)) as sock,
        ):
            yield self.over(sock, tick_s=TICK_S, limit_s=limit_s)


@contextmanager
def listening(speaker: Speaker, serves: ssl.SSLContext | None = None) -> Generator[int]:
    """Somebody who speaks with the first who comes; gives his port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            sock.settimeout(PATIENCE_S)
            with sock, contextlib.suppress(OSError):
                if serves is None:
                    speaker(sock)
                else:
                    with serves.wrap_socket(sock, server_side=True) as sealed:
                        speaker(sealed)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.fixture(params=["plain", "TLS 1.2", "TLS 1.3"])
def ends(request: pytest.FixtureRequest, speaks_tls: ssl.SSLContext, ca_file: Path) -> Ends:
    if request.param == "plain":
        return Ends(None, None)
    version = ssl.TLSVersion.TLSv1_2 if request.param == "TLS 1.2" else ssl.TLSVersion.TLSv1_3
    speaks_tls.minimum_version = speaks_tls.maximum_version = version
    return Ends(speaks_tls, ssl.create_default_context(cafile=str(ca_file)))


def says(*pieces: bytes) -> Speaker:
    def speak(sock: socket.socket) -> None:
        for piece in pieces:
            sock.sendall(piece)

    return speak


def read(pipe: Pipe, sizes: Sequence[int], *, is_filled: bool = True) -> bytes:
    """Everything, into buffers of these sizes in turn."""
    got = bytearray()
    for size in itertools.cycle(sizes):
        view = memoryview(bytearray(size))
        count = pipe.fill(view, is_filled=is_filled)
        if count == 0:
            return bytes(got)
        got += view[: count or 0]
    raise AssertionError


@given(
    lengths=st.lists(st.integers(1, 60_000), min_size=1, max_size=6),
    sizes=st.lists(st.integers(1, 100_000).map(lambda n: n + 500), min_size=1, max_size=3),
    is_filled=st.booleans(),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_said_comes_once_and_in_order(
    ends: Ends, lengths: list[int], sizes: list[int], *, is_filled: bool
) -> None:
    said = [bytes([at % 251]) * length for at, length in enumerate(lengths)]
    with ends.to(says(*said)) as pipe:
        assert read(pipe, sizes, is_filled=is_filled) == b"".join(said)
        assert pipe.fill(memoryview(bytearray(9)), is_filled=is_filled) == 0  # and stays at its end


def test_what_is_more_than_is_taken_at_once(ends: Ends) -> None:
    said = bytes(range(256)) * 8192
    with ends.to(says(said)) as pipe:
        view = memoryview(bytearray(len(said)))
        done = 0
        while done < len(said):
            done += pipe.fill(view[done:], is_filled=True) or 0
        assert view == said


def test_silence_is_told_after_a_tick_and_ends_nothing(ends: Ends) -> None:
    goes_on = threading.Event()

    def speak(sock: socket.socket) -> None:
        _ = goes_on.wait(PATIENCE_S)
        sock.sendall(b"late")

    with ends.to(speak) as pipe:
        view = memoryview(bytearray(100))
        assert pipe.fill(view, is_filled=True) is None
        assert pipe.fill(view, is_filled=False) is None
        goes_on.set()
        assert read(pipe, [100]) == b"late"


def test_what_is_here_is_told_within_a_tick_though_the_buffer_is_longer(ends: Ends) -> None:
    stays = threading.Event()

    def speak(sock: socket.socket) -> None:
        sock.sendall(b"some")
        _ = stays.wait(PATIENCE_S)

    with ends.to(speak) as pipe:
        view, got = memoryview(bytearray(100)), b""
        while len(got) < 4:  # they may come apart
            count = pipe.fill(view, is_filled=True)
            got += view[: count or 0]
        assert got == b"some"
        stays.set()


def test_what_is_sent_arrives(ends: Ends) -> None:
    heard: list[bytes] = []

    def speak(sock: socket.socket) -> None:
        while len(b"".join(heard)) < 300_000:
            heard.append(sock.recv(65536))
        sock.sendall(b"thanks")

    with ends.to(speak) as pipe:
        pipe.send(b"a" * 300_000)
        assert read(pipe, [100]) == b"thanks"
    assert b"".join(heard) == b"a" * 300_000


def test_whoever_takes_nothing_is_not_waited_for(ends: Ends) -> None:
    done = threading.Event()
    with ends.to(lambda _: _wait(done), limit_s=0.1) as pipe:
        with pytest.raises(OSError, match="unavailable"):
            pipe.send(b"x" * 2**25)
        done.set()


def test_a_read_is_ended_from_another_thread(ends: Ends) -> None:
    done = threading.Event()
    with (
        ends.somebody(lambda _: _wait(done)) as port,
        contextlib.closing(connected("localhost", port, PATIENCE_S)) as sock,
    ):
        pipe = ends.over(sock, tick_s=PATIENCE_S, limit_s=PATIENCE_S)
        got: list[int | None] = []

        def take() -> None:
            with contextlib.suppress(ConnectionResetError):  # what it had not read is dropped
                got.append(pipe.fill(memoryview(bytearray(9)), is_filled=True))

        reader = threading.Thread(target=take)
        reader.start()
        sock.shutdown(socket.SHUT_RDWR)
        reader.join(PATIENCE_S / 2)
        is_ended = not reader.is_alive()
        done.set()
        reader.join(PATIENCE_S)
        assert is_ended
        assert got in ([0], [])


def _wait(done: threading.Event) -> None:
    _ = done.wait(PATIENCE_S)


# ── TLS alone ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def trusting(ca_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file))


def shaken(port: int, context: ssl.SSLContext, host: str = "localhost", limit_s: float = 9) -> None:
    """A pipe over TLS, and its end."""
    with contextlib.closing(connected("127.0.0.1", port, limit_s)) as sock:
        _ = Tls(sock, context, host, tick_s=TICK_S, limit_s=limit_s)


def test_whoever_is_not_trusted_is_told_so(speaks_tls: ssl.SSLContext) -> None:
    why: list[str] = []

    def serve(sock: socket.socket) -> None:
        try:
            with speaks_tls.wrap_socket(sock, server_side=True) as sealed:
                _ = sealed.recv(1)
        except OSError as error:
            why.append(str(error))

    with listening(serve) as port, pytest.raises(ssl.SSLCertVerificationError):
        shaken(port, ssl.create_default_context())
    assert "unknown ca" in why[0].lower()


def test_somebody_else_is_not_who_was_asked_for(
    speaks_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with (
        listening(lambda _: None, speaks_tls) as port,
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
    ):
        shaken(port, trusting, "elsewhere.example")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x01"])
def test_who_speaks_no_tls(trusting: ssl.SSLContext, said: bytes) -> None:
    def speak(sock: socket.socket) -> None:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        _ = sock.recv(9999)

    with listening(speak) as port, pytest.raises(ssl.SSLError):
        shaken(port, trusting)


def test_who_says_nothing_is_not_waited_for(trusting: ssl.SSLContext) -> None:
    done = threading.Event()
    with listening(lambda _: _wait(done)) as port:
        with pytest.raises(TimeoutError):
            shaken(port, trusting, limit_s=0.1)
        done.set()


def test_who_shakes_hands_by_single_bytes_is_not_waited_for(trusting: ssl.SSLContext) -> None:
    """A record of 16,000 bytes is announced, and drips."""
    done = threading.Event()

    def speak(sock: socket.socket) -> None:
        sock.sendall(b"\x16\x03\x03\x3e\x80")
        while not done.is_set():
            sock.sendall(b"\x02")
            time.sleep(0.01)

    with listening(speak) as port:
        with pytest.raises(TimeoutError):
            shaken(port, trusting, limit_s=0.3)
        done.set()


def test_who_leaves_without_a_word_has_ended_what_has_no_length(
    speaks_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    def speak(sock: socket.socket) -> None:
        _ = sock.recv(9999)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 40_000)
        socket.socket.shutdown(sock, socket.SHUT_WR)  # and nothing that says so in TLS

    with listening(speak, speaks_tls) as port:
        line = Exchange("localhost", port, trusting, stall_timeout_s=PATIENCE_S)
        assert line.ask("/", {"Host": "h"}).status == 200
        assert line.body(50_000, within_s=PATIENCE_S) == b"x" * 40_000
        assert line.is_over
        line.close()


def test_a_record_that_was_changed_on_its_way_ends_the_read(
    speaks_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    def speak(sock: socket.socket) -> None:
        _ = sock.recv(9)
        # what would be a record of data, and opens with no key
        socket.socket.sendall(sock, b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
        _ = sock.recv(9)

    with (
        listening(speak, speaks_tls) as port,
        contextlib.closing(connected("localhost", port, PATIENCE_S)) as sock,
    ):
        pipe = Tls(sock, trusting, "localhost", tick_s=PATIENCE_S, limit_s=PATIENCE_S)
        pipe.send(b"go")
        with pytest.raises(ssl.SSLError):
            _ = pipe.fill(memoryview(bytearray(99)), is_filled=True)


def test_how_far_it_is_was_seen_by_the_kernel_not_by_who_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def silent(sock: socket.socket) -> None:
        _ = sock.recv(1)

    with (
        listening(silent, None) as port,
        contextlib.closing(connected("localhost", port, PATIENCE_S)) as sock,
    ):
        if hasattr(_socket, "TCP_INFO"):
            assert 0 < delay_s(sock, 10.0) < 1.0, "the processor was busy with something else"
        assert delay_s(sock, 0.0) == 0.0
        monkeypatch.delattr(_socket, "TCP_INFO", raising=False)
        assert delay_s(sock, 10.0) == 10.0
