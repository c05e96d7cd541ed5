"""Heads of frames, held against the library that writes them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from poolhand.agent.wire.server_frames import (
    begins_pieces,
    ends_pieces,
    extent,
    is_plain,
    short_texts,
)


@given(size=st.sampled_from([0, 1, 125, 126, 127, 2**16 - 1, 2**16, 2**17]), mask=st.booleans())
@settings(max_examples=30)
def test_a_frame_ends_where_the_library_ends_it(size: int, *, mask: bool) -> None:
    wire = Frame(Opcode.TEXT, bytes(size)).serialize(mask=mask)
    data = b"before" + wire + b"after"
    found = extent(data, 6)
    assert found is not None
    begin, ends = found
    assert (ends - begin, ends) == (size, 6 + len(wire))
    assert is_plain(data, 6) is not mask


@pytest.mark.parametrize("size", [0, 126, 2**16])
def test_of_half_a_head_nothing_is_said(size: int) -> None:
    wire = Frame(Opcode.BINARY, bytes(size)).serialize(mask=False)
    head = len(wire) - size
    assert [extent(wire[:cut], 0) for cut in range(head)] == [None] * head
    assert extent(wire[:head], 0) == (head, len(wire))


@pytest.mark.parametrize(
    ("opcode", "is_last", "plain", "begins", "ends"),
    [
        (Opcode.TEXT, True, True, False, False),
        (Opcode.TEXT, False, False, True, False),
        (Opcode.BINARY, True, False, False, False),
        (Opcode.BINARY, False, False, True, False),
        (Opcode.CONT, False, False, False, False),
        (Opcode.CONT, True, False, False, True),
        (Opcode.PING, True, False, False, False),
        (Opcode.CLOSE, True, False, False, False),
    ],
)
def test_what_is_whole_and_what_comes_in_pieces(
    opcode: Opcode, *, is_last: bool, plain: bool, begins: bool, ends: bool
) -> None:
    wire = Frame(opcode, b"x", is_last).serialize(mask=False)
    assert (is_plain(wire, 0), begins_pieces(wire, 0), ends_pieces(wire, 0)) == (
        plain,
        begins,
        ends,
    )


def test_an_extension_is_not_plain() -> None:
    assert not is_plain(b"\xc1\x01x", 0)


SHORT = st.builds(Frame, st.just(Opcode.TEXT), st.binary(max_size=125))
OTHER = st.one_of(
    st.builds(Frame, st.sampled_from([Opcode.BINARY, Opcode.PING]), st.binary(max_size=9)),
    st.builds(Frame, st.just(Opcode.TEXT), st.binary(max_size=9), st.just(value=False)),
    st.builds(Frame, st.just(Opcode.TEXT), st.binary(min_size=126, max_size=140)),
)


@given(short=st.lists(SHORT, max_size=5), other=OTHER, cut=st.integers(0, 400))
@settings(max_examples=100)
def test_short_texts_are_taken_up_to_the_first_that_is_none(
    short: list[Frame], other: Frame, cut: int
) -> None:
    wires = [frame.serialize(mask=False) for frame in short]
    data = b"xx" + b"".join(wires)
    texts = [bytes(frame.data) for frame in short]
    assert short_texts(data + other.serialize(mask=False), 2) == (texts, len(data))
    whole, at = 0, 2
    for wire in wires:
        if at + len(wire) > 2 + cut:
            break
        whole, at = whole + 1, at + len(wire)
    assert short_texts(data[: 2 + cut], 2) == (texts[:whole], at)


def test_a_masked_one_is_not_a_servers() -> None:
    assert short_texts(Frame(Opcode.TEXT, b"x").serialize(mask=True), 0) == ([], 0)


def test_wherever_it_is_cut_only_whole_texts_are_taken() -> None:
    wires = [Frame(Opcode.TEXT, text).serialize(mask=False) for text in (b"one", b"", b"three")]
    data, ends = b"".join(wires), [5, 7, 14]
    for cut in range(len(data) + 1):
        whole = sum(end <= cut for end in ends)
        texts = [b"one", b"", b"three"][:whole]
        assert short_texts(data[:cut], 0) == (texts, [0, *ends][whole])
