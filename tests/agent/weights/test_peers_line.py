"""One connection to one peer: nothing is believed without its MAC, nor waited for long."""

import contextlib
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from peers_world import KEY, NODE, Play, dialled, heard_ask, raw, scripted

from poolhand.agent.weights.peers_line import PeerFailed, PeerLine
from poolhand.agent.weights.peers_talk import PIECE_BYTES, Answer, Talk

DATA = bytes(range(256)) * 8192  # two pieces
SHA = raw(DATA)


def answer(line: socket.socket, talk: Talk, data: bytes, start: int, stop: int) -> None:
    """An answer as it should be."""
    line.sendall(talk.answer(Answer("here", stop)))
    for at in range(start, stop, PIECE_BYTES):
        piece = data[at : min(at + PIECE_BYTES, stop)]
        line.sendall(piece + talk.piece(at, raw(piece)))


def outcome(play: Play, *, wait_s: float = 10.0) -> tuple[str, bytes]:
    """What a read of all comes to: the state or the reason, and what the sink got."""
    got = bytearray()
    with scripted(play) as port, dialled(port, wait_s=wait_s) as line:
        buffer = memoryview(bytearray(PIECE_BYTES))
        try:
            told = line.read(SHA, 0, len(DATA), buffer, lambda view, _: got.extend(view))
        except PeerFailed as failed:
            return failed.reason, bytes(got)
        return told.state, bytes(got)


def test_all_of_it_comes() -> None:
    def play(line: socket.socket, talk: Talk) -> None:
        _, start, stop = heard_ask(line, talk)
        answer(line, talk, DATA, start, stop)
        _ = heard_ask(line, talk)

    assert outcome(play) == ("here", DATA)


def test_a_part_of_it_comes() -> None:
    def play(line: socket.socket, talk: Talk) -> None:
        _ = heard_ask(line, talk)
        answer(line, talk, DATA, 0, 1000)
        _ = heard_ask(line, talk)

    assert outcome(play) == ("here", DATA[:1000])


def test_a_changed_byte_is_not_handed_on() -> None:
    """Somebody on the way, who has not the key, has changed the second piece."""

    def play(line: socket.socket, talk: Talk) -> None:
        _, _, stop = heard_ask(line, talk)
        line.sendall(talk.answer(Answer("here", stop)))
        for at in (0, PIECE_BYTES):
            piece = DATA[at : at + PIECE_BYTES]
            sent = piece if at == 0 else b"\x55" + piece[1:]
            line.sendall(sent + talk.piece(at, raw(piece)))
        _ = heard_ask(line, talk)

    assert outcome(play) == ("untrue", DATA[:PIECE_BYTES])


def test_pieces_in_another_order_are_not_handed_on() -> None:
    def play(line: socket.socket, talk: Talk) -> None:
        _, _, stop = heard_ask(line, talk)
        line.sendall(talk.answer(Answer("here", stop)))
        for at in (PIECE_BYTES, 0):
            piece = DATA[at : at + PIECE_BYTES]
            line.sendall(piece + talk.piece(at, raw(piece)))
        _ = heard_ask(line, talk)

    assert outcome(play) == ("untrue", b"")


def test_a_peer_that_dies_in_the_middle_leaves_what_was_whole() -> None:
    def play(line: socket.socket, talk: Talk) -> None:
        _, _, stop = heard_ask(line, talk)
        line.sendall(talk.answer(Answer("here", stop)))
        piece = DATA[:PIECE_BYTES]
        line.sendall(piece + talk.piece(0, raw(piece)) + piece[:500])

    assert outcome(play) == ("gone", DATA[:PIECE_BYTES])


@pytest.mark.parametrize("stop", [0, len(DATA) + 1, 2**63])
def test_more_than_was_asked_for_is_not_read(stop: int) -> None:
    def play(line: socket.socket, talk: Talk) -> None:
        _ = heard_ask(line, talk)
        with contextlib.suppress(OSError):
            line.sendall(talk.answer(Answer("here", stop)))
            line.sendall(b"\x00" * 100_000)
        _ = heard_ask(line, talk)

    assert outcome(play) == ("untrue", b"")


def test_an_answer_without_a_mac_is_none() -> None:
    def play(line: socket.socket, talk: Talk) -> None:
        _ = heard_ask(line, talk)
        line.sendall(b"H" + b"\xff" * 200)
        _ = heard_ask(line, talk)

    assert outcome(play) == ("untrue", b"")


def test_silence_is_waited_for_no_longer_than_said() -> None:
    def play(line: socket.socket, talk: Talk) -> None:
        _ = heard_ask(line, talk)
        _ = heard_ask(line, talk)

    began_s = time.monotonic()
    assert outcome(play, wait_s=0.5) == ("slow", b"")
    assert time.monotonic() - began_s < 15


def test_drops_are_no_piece() -> None:
    """A byte now and then keeps a connection alive, and is worth nothing."""
    over = threading.Event()

    def play(line: socket.socket, talk: Talk) -> None:
        _, _, stop = heard_ask(line, talk)
        line.sendall(talk.answer(Answer("here", stop)))
        with contextlib.suppress(OSError):
            while not over.wait(0.05):
                line.sendall(b"\x00")

    began_s = time.monotonic()
    try:
        assert outcome(play, wait_s=0.6) == ("slow", b"")
        assert time.monotonic() - began_s < 15
    finally:
        over.set()


@contextmanager
def bare(said: bytes) -> Generator[int]:
    """A port where somebody says something at once, and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                held.append(listening.accept()[0])
                held[0].sendall(said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(20)
        for line in held:
            line.close()


def refused(port: int, *, wait_s: float = 5.0) -> str:
    """Why a line did not come to be."""
    with pytest.raises(PeerFailed) as failed:
        PeerLine(("127.0.0.1", port), KEY, wait_s=wait_s).close()
    return failed.value.reason


def test_another_server_is_no_peer() -> None:
    with bare(b"SSH-2.0-OpenSSH_9.2\r\n" + b" " * 100) as port:
        assert refused(port) == "untrue"


def test_a_server_that_says_nothing_is_slow() -> None:
    with bare(b"") as port:
        assert refused(port, wait_s=0.3) == "slow"


def test_nobody_there_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    assert refused(port) == "gone"


def test_a_peer_without_the_key_is_not_asked() -> None:
    """It takes whatever it hears for a proof, and cannot give one."""
    with scripted(lambda _line, _talk: None, key=b"x" * 32) as port:
        assert refused(port) == "untrue"


def test_what_waits_can_be_ended() -> None:
    def play(line: socket.socket, talk: Talk) -> None:
        _ = heard_ask(line, talk)
        _ = heard_ask(line, talk)

    with scripted(play) as port, dialled(port, wait_s=50.0) as line:
        assert line.node == NODE
        threading.Timer(0.1, line.interrupt).start()
        with pytest.raises(PeerFailed) as failed:
            _ = line.state(SHA)
        assert failed.value.reason == "gone"
