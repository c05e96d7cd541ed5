"""One GET over one socket: what is taken for an answer, and what is not."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.stores.exchange import Exchange, Garbled, Head

HEADERS = {"host": "h", "range": "bytes=0-4"}


@contextmanager
def answering(
    *pieces: bytes,
    stays: bool = False,
    stall_timeout_s: float = 10.0,
    heard: list[bytes] | None = None,
) -> Generator[Exchange]:
    """A line to somebody who says these pieces, one write each, whatever is asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    gone = threading.Event()

    def say() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = sock.recv(65536)
            if heard is not None:
                heard.append(request)
            for piece in pieces:
                sock.sendall(piece)
            if stays:
                _ = gone.wait(20)

    speaker = threading.Thread(target=say)
    speaker.start()
    line = Exchange("127.0.0.1", listener.getsockname()[1], None, stall_timeout_s=stall_timeout_s)
    try:
        yield line
    finally:
        line.close()
        gone.set()
        speaker.join()
        listener.close()


def read(line: Exchange, piece_bytes: int = 1000) -> bytes:
    """A whole body, piece by piece."""
    got, view = bytearray(), memoryview(bytearray(piece_bytes))
    while count := line.take(view):
        got += view[:count]
    assert line.is_over
    return bytes(got)


def asked(*pieces: bytes) -> tuple[Head, bytes, bool]:
    """Head, body, and whether the line may be used again."""
    with answering(*pieces) as line:
        head = line.ask("/a", HEADERS)
        return head, read(line), line.is_usable


def test_a_request_is_sent_as_it_was_said() -> None:
    heard: list[bytes] = []
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", heard=heard) as line:
        _ = line.ask("/a%20b?c=d", HEADERS)
    assert heard == [b"GET /a%20b?c=d HTTP/1.1\r\nhost: h\r\nrange: bytes=0-4\r\n\r\n"]


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/a b", {}),
        ("/a\r\nx: y", {}),
        ("/a\x00", {}),
        ("/a", {"x": "y\r\nz: w"}),
        ("/a", {"x": "y\nz: w"}),
        ("/a", {"x\n": "y"}),
        ("/a", {"x": "\x00"}),
    ],
)
def test_what_would_be_two_requests_is_none(target: str, headers: dict[str, str]) -> None:
    with answering(b"") as line, pytest.raises(ValueError, match="/a"):
        _ = line.ask(target, headers)


ANSWERS: dict[str, tuple[bytes, bytes, bool]] = {
    "a length": (b"HTTP/1.1 206 P\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
    "nothing": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", b"x", True),
    "bare line ends": (b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", b"x", True),
    "closing": (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\nx", b"x", False),
    "to the end": (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello", False),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x", False),
    "old and kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
        b"x",
        True,
    ),
    "said twice, the same": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"x",
        True,
    ),
    "announced": (
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
        ),
        b"x",
        True,
    ),
    "in pieces": (
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
            b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n"
        ),
        b"hello",
        True,
    ),
    "no content": (b"HTTP/1.1 204 No\r\n\r\n", b"", True),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("piece_bytes", [1, 3, 1000])
def test_what_is_an_answer(name: str, piece_bytes: int) -> None:
    said, body, is_usable = ANSWERS[name]
    with answering(said) as line:
        head = line.ask("/a", HEADERS)
        assert read(line, piece_bytes) == body
        assert line.is_usable is is_usable or head.status == 204


@pytest.mark.parametrize("name", ANSWERS)
def test_however_it_was_cut_on_its_way(name: str) -> None:
    said, body, _ = ANSWERS[name]
    assert asked(*(said[i : i + 1] for i in range(len(said))))[1] == body


HEAD = b"HTTP/1.1 200 OK\r\n"
GARBLED: dict[str, bytes] = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH\r\n\r\n",
    "an older one": b"HTTP/0.9 200 OK\r\n\r\n",
    "a newer one": b"HTTP/2 200\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status in words": b"HTTP/1.1 abc OK\r\n\r\n",
    "a head that ends": HEAD + b"Content-Length: 5",
    "no colon": HEAD + b"Content-Length 5\r\n\r\nhello",
    "a space before the colon": HEAD + b"Content-Length : 5\r\n\r\nhello",
    "a folded line": HEAD + b"ETag: a\r\n b\r\n\r\n",
    "a NUL": HEAD + b"ETag: a\x00b\r\n\r\n",
    "a lonely CR": HEAD + b"ETag: a\rContent-Length: 5\r\n\r\nhello",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a length below nothing": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "a length with a sign": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "a length in other digits": HEAD + "Content-Length: \u00b2\r\n\r\nhello".encode("latin-1"),
    "a length beyond all": HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "a length and pieces": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a head without end": HEAD + b"a: " + b"x" * 200_000,
    "ever announced": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    "a short body": HEAD + b"Content-Length: 5\r\n\r\nhell",
    "pieces without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "a short piece": HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello",
    "a long piece": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
    "a piece of no number": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a piece beyond all": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    "trailers without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 1000,
    "a line without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000,
}


@pytest.mark.parametrize("name", GARBLED)
def test_what_is_none(name: str) -> None:
    with pytest.raises((Garbled, ConnectionError)):
        _ = asked(GARBLED[name])


def test_fields_are_found_by_any_spelling_and_joined() -> None:
    head, _, _ = asked(
        HEAD + b'eTaG:   "a"\t \r\nX-A: 1\r\nx-a: 2\r\nEmpty:\r\nContent-Length: 0\r\n\r\n'
    )
    assert head.fields == {"etag": '"a"', "x-a": "1, 2", "empty": "", "content-length": "0"}
    assert (head.status, head.length) == (200, 0)


def test_a_value_of_spaces_takes_no_time() -> None:
    """A pattern that tries every space in every way would take minutes."""
    head, _, _ = asked(HEAD + b"a:" + b" " * 60_000 + b"x\r\nContent-Length: 0\r\n\r\n")
    assert head.fields["a"] == "x"


def test_a_line_can_be_used_again_and_what_was_not_asked_for_is_forgotten() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def say() -> None:
        sock, _ = listener.accept()
        with sock:
            for body in (b"first", b"again"):
                heard.append(sock.recv(65536))
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body + b"EVIL")

    speaker = threading.Thread(target=say)
    speaker.start()
    line = Exchange("127.0.0.1", listener.getsockname()[1], None, stall_timeout_s=10)
    assert line.ask("/a", HEADERS).length == 5
    assert read(line) == b"first"
    assert line.ask("/b", HEADERS).length == 5
    assert read(line) == b"again"
    assert [said.split(b" ")[1] for said in heard] == [b"/a", b"/b"]
    line.close()
    speaker.join()
    listener.close()


def test_nothing_for_too_long() -> None:
    said = HEAD + b"Content-Length: 5\r\n\r\nhel"
    with answering(said, stays=True, stall_timeout_s=0.2) as line:
        _ = line.ask("/a", HEADERS)
        view = memoryview(bytearray(5))
        assert line.take(view) == 3, "what came is not lost"
        with pytest.raises(TimeoutError):
            _ = line.take(view)
        assert not line.is_usable or not line.is_over


def test_no_head_for_too_long() -> None:
    with answering(stays=True, stall_timeout_s=0.2) as line, pytest.raises(TimeoutError):
        _ = line.ask("/a", HEADERS)


def test_a_head_that_drips_is_no_progress() -> None:
    """Each byte comes well within the time-out, and the head never does."""
    listener = socket.create_server(("127.0.0.1", 0))
    gone = threading.Event()

    def drip() -> None:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(ConnectionError):
            while not gone.wait(0.02):
                sock.sendall(b"x")

    speaker = threading.Thread(target=drip)
    speaker.start()
    line = Exchange("127.0.0.1", listener.getsockname()[1], None, stall_timeout_s=0.3)
    with pytest.raises(TimeoutError):
        _ = line.ask("/a", HEADERS)
    line.close()
    gone.set()
    speaker.join()
    listener.close()


def test_nobody_takes_the_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Exchange("127.0.0.1", listener.getsockname()[1], None, stall_timeout_s=0.2)
        with pytest.raises(OSError, match="unavailable"):
            _ = line.ask("/a", {"x": "y" * 2**25})
        line.close()


def test_a_drip_is_no_progress() -> None:
    said = HEAD + b"Content-Length: 500\r\n\r\n"
    with answering(said, *[b"x"] * 20, stays=True, stall_timeout_s=0.05) as line:
        _ = line.ask("/a", HEADERS)
        with pytest.raises(TimeoutError):
            _ = line.body(500, within_s=0.0)


def test_a_read_in_another_thread_can_be_ended() -> None:
    with answering(HEAD + b"Content-Length: 5\r\n\r\n", stays=True) as line:
        _ = line.ask("/a", HEADERS)
        ended: list[BaseException] = []

        def wait() -> None:
            try:
                _ = line.take(memoryview(bytearray(5)))
            except (OSError, Garbled) as error:
                ended.append(error)

        reader = threading.Thread(target=wait)
        reader.start()
        line.interrupt()
        reader.join(20)
        assert not reader.is_alive()
        assert len(ended) == 1
        line.close()
        line.interrupt()  # of a closed one: nothing


def test_a_body_is_read_no_further_than_asked() -> None:
    with answering(HEAD + b"Content-Length: 9\r\n\r\nlong body") as line:
        _ = line.ask("/a", HEADERS)
        assert line.body(4, within_s=10) == b"long"
        assert not line.is_over


@settings(max_examples=40)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40_000), max_size=4),
    piece_bytes=st.integers(1, 50_000),
)
def test_pieces_are_put_together(pieces: Sequence[bytes], piece_bytes: int) -> None:
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    said = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join([*chunks, b"0\r\n\r\n"])
    with answering(said) as line:
        _ = line.ask("/a", HEADERS)
        assert read(line, max(piece_bytes, len(said) // 200)) == b"".join(pieces)


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_no_bytes_are_more_than_garbled(noise: bytes) -> None:
    """Whatever a store says, it is an answer, garbled, or a broken line."""
    with answering(b"HTTP/1.1 200 OK\r\n" + noise) as line:
        try:
            head = line.ask("/a", HEADERS)
            body = line.body(1000, within_s=10)
        except (Garbled, OSError):
            return
        assert head.length is None or len(body) <= head.length


def test_nobody_listens_at_any_address_of_a_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(ConnectionRefusedError):
            _ = Exchange(host, port, None, stall_timeout_s=1.0)


def test_a_host_is_reached_at_whichever_address_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # not at ::1, where there is one
        line = Exchange("localhost", listener.getsockname()[1], None, stall_timeout_s=1.0)
        accepted, _ = listener.accept()
        line.close()
        assert accepted.recv(1) == b""
        accepted.close()


def test_plain_lines_do_without_the_librarys_sockets() -> None:
    program = """
import sys
was_here = "socket" in sys.modules
from poolhand.config.postponed import import_later
import_later()
import poolhand.agent.weights.fetcher
print(was_here or "socket" not in sys.modules)
"""
    ended = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "True"
