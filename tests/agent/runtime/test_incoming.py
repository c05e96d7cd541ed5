"""The short way for short texts says what the library's own connection says, however bytes come."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri
from websockets.utils import accept_key

from poolhand.agent.runtime.incoming import Incoming

MOST_BYTES = 500
PLAIN = Frame(Opcode.TEXT, b'{"type":"load_model","model_id":"m"}')


class Wire(asyncio.Transport):
    """Where a connection writes to; nobody reads there."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.pauses = self.resumes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.pauses += 1

    def resume_reading(self) -> None:
        self.resumes += 1

    def close(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True


def dialled(kind: type[ClientConnection]) -> tuple[ClientConnection, Wire, bytes]:
    """A connection that has said hello, its transport, and the answer that lets it stand."""
    protocol = ClientProtocol(parse_uri("ws://localhost/"), max_size=MOST_BYTES)
    line, transport = kind(protocol, ping_interval=None), Wire()
    line.connection_made(transport)
    request = protocol.connect()
    protocol.send_request(request)
    transport.write(b"".join(protocol.data_to_send()))
    accept = accept_key(request.headers["Sec-WebSocket-Key"])
    answer = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    return line, transport, answer.encode()


async def heard(
    kind: type[ClientConnection], wire: bytes, cuts: Sequence[int], *, most: int = 0
) -> tuple[list[bytes], int | None, int, int]:
    """What a connection makes of these bytes after its handshake, cut at these places.

    Up to ``most`` messages are read at once; 0: one after the other, as the library reads them.

    Returns:
        The messages, the code with which it ends, how long its own words are, and how often it
        had the socket wait.
    """
    line, transport, answer = dialled(kind)
    protocol = line.protocol
    data = answer + wire
    asked_bytes, places = len(transport.written), [0, *sorted(cut % len(data) for cut in cuts)]
    for begin, end in zip(places, [*places[1:], len(data)], strict=True):
        if begin < end:
            line.data_received(data[begin:end])
    messages: list[bytes] = []
    try:
        while len(line.recv_messages.frames):
            async with asyncio.timeout(0):  # the rest of a message in pieces never comes
                if most and isinstance(line, Incoming):
                    messages += await line.several(most)
                else:
                    messages.append(await line.recv(decode=False))
    except (TimeoutError, ConnectionClosed):
        pass
    words = len(transport.written) - asked_bytes
    end = protocol.close_sent.code if protocol.close_sent else None
    return messages, end, words, transport.pauses


def law(frames: Sequence[Frame], cuts: Sequence[int], *, mask: bool = False) -> list[bytes]:
    wire = b"".join(frame.serialize(mask=mask) for frame in frames)
    ours = asyncio.run(heard(Incoming, wire, cuts))
    theirs = asyncio.run(heard(ClientConnection, wire, cuts))
    assert ours[:3] == theirs[:3]
    for most in (1, 3, 64):
        several = asyncio.run(heard(Incoming, wire, cuts, most=most))
        assert several[:3] == theirs[:3]
    return ours[0]


FRAMES = st.one_of(
    st.just(PLAIN),
    st.builds(Frame, st.just(Opcode.TEXT), st.binary(max_size=300), st.booleans()),
    st.builds(Frame, st.just(Opcode.BINARY), st.binary(max_size=MOST_BYTES + 9), st.booleans()),
    st.builds(Frame, st.just(Opcode.CONT), st.binary(max_size=300), st.booleans()),
    st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
    st.just(Frame(Opcode.CLOSE, Close(1012, "later").serialize())),
)


@given(
    frames=st.lists(FRAMES, max_size=8),
    cuts=st.lists(st.integers(0, 4000), max_size=6),
    mask=st.sampled_from([False, False, False, True]),
)
@settings(max_examples=150, deadline=None)
def test_it_hears_what_the_library_hears(
    frames: list[Frame], cuts: list[int], *, mask: bool
) -> None:
    law(frames, cuts, mask=mask)


@pytest.mark.parametrize("cut", range(120, 200))
def test_a_text_that_comes_with_the_handshake_is_heard_wherever_it_is_cut(cut: int) -> None:
    assert law([PLAIN, PLAIN], [cut, cut + 3]) == [PLAIN.data, PLAIN.data]


def test_a_thousand_texts_at_once_are_heard_in_order() -> None:
    texts = [b"%d" % number for number in range(1000)]
    assert law([Frame(Opcode.TEXT, text) for text in texts], []) == texts


def test_pieces_are_put_together_around_a_ping() -> None:
    frames = [
        PLAIN,
        Frame(Opcode.TEXT, b"one ", fin=False),
        Frame(Opcode.PING, b"there?"),
        Frame(Opcode.CONT, b"two ", fin=False),
        Frame(Opcode.CONT, b"three"),
        PLAIN,
    ]
    assert law(frames, range(0, 400, 7)) == [PLAIN.data, b"one two three", PLAIN.data]


def test_a_text_in_the_middle_of_another_ends_the_line() -> None:
    frames = [Frame(Opcode.TEXT, b"one ", fin=False), PLAIN]
    wire = b"".join(frame.serialize(mask=False) for frame in frames)
    assert asyncio.run(heard(Incoming, wire, []))[1] == 1002
    law(frames, [])


def test_who_sends_too_much_has_to_wait() -> None:
    wire = b"".join([PLAIN.serialize(mask=False)] * 40)
    assert asyncio.run(heard(Incoming, wire, []))[3] > 0


def test_an_answer_that_is_no_line_is_left_to_the_library() -> None:
    async def refused(kind: type[ClientConnection]) -> int | None:
        protocol = ClientProtocol(parse_uri("ws://localhost/"))
        line = kind(protocol, ping_interval=None)
        line.connection_made(Wire())
        protocol.send_request(protocol.connect())
        for part in (b"HTTP/1.1 503 Busy\r\nContent-", b"Length: 4\r\n\r", b"\nno", b"ne"):
            line.data_received(part)
        line.eof_received()
        return line.response.status_code if line.response else None

    assert asyncio.run(refused(Incoming)) == asyncio.run(refused(ClientConnection)) == 503


async def test_several_are_no_more_than_asked_for_and_let_the_socket_go_on() -> None:
    line, wire, answer = dialled(Incoming)
    assert isinstance(line, Incoming)
    line.data_received(answer)
    line.data_received(PLAIN.serialize(mask=False) * 40)
    assert wire.pauses == 1
    sizes = [len(await line.several(16)) for _ in range(3)]
    assert sizes == [16, 16, 8]
    assert wire.resumes == 1
