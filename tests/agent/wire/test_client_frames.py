"""Frames as the library writes them, byte for byte; and as a server reads them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from poolhand.agent.wire.client_frames import KEY_BYTES, text_frames

KEY = b"\x37\xfa\x21\x3d"


def read(wire: bytes) -> list[Frame]:
    """What a server makes of these bytes."""
    server = Protocol(SERVER, state=OPEN, max_size=None)
    server.receive_data(wire)
    assert server.parser_exc is None
    return [event for event in server.events_received() if isinstance(event, Frame)]


def test_the_masked_hello_of_the_standard() -> None:
    """Source: RFC 6455, section 5.7."""
    assert text_frames([b"Hello"], KEY).hex(" ") == "81 85 37 fa 21 3d 7f 9f 4d 51 58"


@given(texts=st.lists(st.text(max_size=300), max_size=8), data=st.data())
@settings(max_examples=80)
def test_a_server_reads_every_text_in_order(texts: list[str], data: st.DataObject) -> None:
    size = KEY_BYTES * len(texts)
    wire = text_frames(map(str.encode, texts), data.draw(st.binary(min_size=size, max_size=size)))
    frames = read(wire)
    assert [bytes(frame.data).decode() for frame in frames] == texts
    assert all(frame.opcode is Opcode.TEXT and frame.fin for frame in frames)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 2**16 - 1, 2**16, 2**20])
def test_each_way_of_writing_a_length(size: int) -> None:
    text = b"x" * size
    (frame,) = read(text_frames([text], KEY))
    assert frame.data == text
    # without a mask that is drawn anew, the library's own bytes
    plain = Frame(Opcode.TEXT, text).serialize(mask=False)
    unmasked = text_frames([text], bytes(KEY_BYTES))
    head = len(plain) - size
    assert unmasked[1] == plain[1] | 0x80
    assert (unmasked[:1], unmasked[2:head]) == (plain[:1], plain[2:head])
    assert unmasked[head + KEY_BYTES :] == plain[head:]


def test_each_frame_has_a_mask_of_its_own() -> None:
    one, two = bytes(range(4)), bytes(range(4, 8))
    apart = text_frames([b"a"], one) + text_frames([b"b"], two)
    assert text_frames([b"a", b"b"], one + two) == apart


def test_nothing_is_no_frame() -> None:
    assert text_frames([], b"") == b""
