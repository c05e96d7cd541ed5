"""Frames: what goes in comes out, however it is cut; garbage is one error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.engines.base import ToolCall
from poolhand.backends.engines.frames import (
    FROM_CHILD_BYTES,
    TO_CHILD_BYTES,
    Decoder,
    FrameBroken,
    FrameTooLong,
    encode,
    from_child,
    to_child,
)
from poolhand.backends.engines.messages import (
    AskStats,
    Begun,
    Cancel,
    Ended,
    FromChild,
    Generate,
    Hello,
    LoadFailed,
    LoadModel,
    ModelLoaded,
    Progress,
    Quit,
    Refused,
    Row,
    Stats,
    Take,
    Tick,
    ToChild,
    Tokens,
    Unload,
    Unloaded,
)

numbers = st.integers(0, 2**53)
some = st.none() | numbers
rates = st.none() | st.floats(0, 1e6)
texts = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(texts, json_values, max_size=4)

questions: st.SearchStrategy[ToChild] = st.one_of(
    st.builds(LoadModel, texts, some, numbers, numbers, numbers),
    st.builds(Take, st.tuples(texts, texts), st.lists(texts, max_size=3).map(tuple)),
    st.builds(Generate, numbers, st.sampled_from(["chat", "text"]), bodies, numbers),
    st.builds(Cancel, numbers),
    st.sampled_from([AskStats(), Unload(), Quit()]),
)
calls = st.lists(st.builds(ToolCall, texts, texts, texts), max_size=2).map(tuple)
rows = st.lists(st.builds(Row, numbers, numbers, texts, texts, calls), max_size=4).map(tuple)
answers: st.SearchStrategy[FromChild] = st.one_of(
    st.builds(Hello, texts, texts),
    st.builds(Progress, numbers, numbers),
    st.builds(ModelLoaded, some, some),
    st.builds(LoadFailed, st.sampled_from(["bad_model", "out_of_memory"]), texts),
    st.builds(Begun, numbers, numbers),
    st.builds(Tokens, rows),
    st.builds(
        Ended, numbers, st.sampled_from(["stop", "length", "tool_calls"]), numbers, numbers, some
    ),
    st.builds(
        Refused, numbers, st.sampled_from(["bad_request", "context"]), texts, numbers, numbers
    ),
    st.builds(Stats, *[numbers] * 5, some, rates, rates, some, some, some),
    st.sampled_from([Tick(), Unloaded()]),
)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(questions, max_size=5), st.lists(numbers, max_size=8))
def test_questions_come_out_as_they_went_in(said: list[ToChild], cuts: list[int]) -> None:
    decoder = Decoder[ToChild](to_child, limit_bytes=TO_CHILD_BYTES)
    data = b"".join(encode(message) for message in said)
    heard = [message for piece in pieces_of(data, cuts) for message in decoder.feed(piece)]
    assert heard == said
    assert [type(message) for message in heard] == [type(message) for message in said]


@given(st.lists(answers, max_size=5), st.lists(numbers, max_size=8))
def test_answers_come_out_as_they_went_in(said: list[FromChild], cuts: list[int]) -> None:
    decoder = Decoder[FromChild](from_child, limit_bytes=FROM_CHILD_BYTES)
    data = b"".join(encode(message) for message in said)
    heard = [message for piece in pieces_of(data, cuts) for message in decoder.feed(piece)]
    assert heard == said


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for_and_never_kept(data: bytes) -> None:
    decoder = Decoder[FromChild](from_child, limit_bytes=64)
    try:
        heard = decoder.feed(data)
    except FrameBroken:
        with pytest.raises(FrameBroken):
            decoder.feed(b"")
    else:
        assert sum(len(encode(message)) for message in heard) <= len(data) + 64


@given(st.lists(json_values, max_size=6))
def test_a_document_is_a_message_or_an_error(document: list[object]) -> None:
    for parse in (to_child, from_child):
        try:
            message = parse(document)
        except FrameBroken:
            continue
        assert document[0] == message.TAG


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"nonsense",
        b"[]",
        b'["tok",[[1,-1,"","",[]]]]',
        b'["tok",[[1,1,"","",[["id"]]]]]',
        b'["tok",7]',
        b'["end",1,"because",1,1,null]',
        b'["error",1,"other","",0,0]',
        b'["load_failed","other",""]',
        b'["stats",1]',
        b'["stats",1,1,1,1,1,null,NaN,null,null,null,null]',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_message_breaks_the_stream(text: bytes) -> None:
    decoder = Decoder[FromChild](from_child, limit_bytes=FROM_CHILD_BYTES)
    with pytest.raises(FrameBroken) as broken:
        decoder.feed(len(text).to_bytes(4, "little") + text)
    assert "because" not in str(broken.value)
    with pytest.raises(FrameBroken):
        decoder.feed(encode(Tick()))


def test_a_long_frame_is_refused_by_its_length_alone() -> None:
    decoder = Decoder[FromChild](from_child, limit_bytes=100)
    with pytest.raises(FrameBroken, match="101 bytes"):
        decoder.feed((101).to_bytes(4, "little"))


def test_what_cannot_be_said_is_refused() -> None:
    with pytest.raises(FrameTooLong):
        encode(Hello("x" * 100, ""), limit_bytes=50)
    for odd in ({1, 2}, float("nan"), object()):
        with pytest.raises(FrameBroken):
            encode(Generate(1, "chat", {"odd": odd}, 1))


def test_no_text_of_a_request_or_an_answer_is_in_a_repr() -> None:
    told = [
        Generate(1, "chat", {"secret": "secret"}, 1),
        Tokens((Row(1, 1, "secret", "secret", (ToolCall("c", "f", "secret"),)),)),
    ]
    assert "secret" not in repr(told)


def test_a_frame_is_a_length_and_an_array() -> None:
    frame = encode(Begun(7, 12))
    assert frame == b'\x10\x00\x00\x00["started",7,12]'
