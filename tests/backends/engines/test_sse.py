"""Server-sent events: the standard's examples, and laws for every way of cutting a stream."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.engines.sse import EventReader, ServerEvent, SseBroken

EXAMPLES: list[tuple[bytes, list[str | ServerEvent]]] = [
    (b"data: YHOO\ndata: +2\ndata: 10\n\n", [ServerEvent("YHOO\n+2\n10")]),
    (b": a comment\n\ndata: first\nid: 1\n\ndata:second\nid\n\n", ["first", "second"]),
    (b"data:  two blanks\n\n", [" two blanks"]),
    (b"data\n\ndata\ndata\n\ndata:", ["", "\n"]),
    (b"data:test\n\ndata: test\n\n", ["test", "test"]),
    (b"event: message_start\ndata: {}\n\n", [ServerEvent("{}", "message_start")]),
    (b"event: nothing\n\ndata: a\n\n", ["a"]),
    (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
    (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", ["a", "b", "c"]),
    (b"data: cut in the mid", []),
    (b"data: no blank line\n", []),
    (b"", []),
    ("data: naïve €5 🦙\n\n".encode(), ["naïve €5 🦙"]),
    (b"retry: 10\ndatum: x\ndata: [DONE]\n\n", ["[DONE]"]),
]


def events(stream: bytes, cuts: list[int] | None = None) -> list[ServerEvent]:
    reader = EventReader()
    found: list[ServerEvent] = []
    marks = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts or [])})
    for begin, end in itertools.pairwise(marks):
        found += reader.feed(stream[begin:end])
    return found


@pytest.mark.parametrize(("stream", "told"), EXAMPLES)
def test_the_examples_of_the_standard_and_ours(
    stream: bytes, told: list[str | ServerEvent]
) -> None:
    wanted = [ServerEvent(one) if isinstance(one, str) else one for one in told]
    assert events(stream) == wanted
    assert events(stream, list(range(len(stream)))) == wanted, "byte by byte"


@given(
    st.lists(st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]))),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 10_000)),
)
@settings(max_examples=150)
def test_what_was_written_is_read_however_it_is_cut(
    texts: list[str], line_end: bytes, cuts: list[int]
) -> None:
    stream = b"".join(
        b"".join(b"data: " + line.encode() + line_end for line in text.split("\n")) + line_end
        for text in texts
    )
    assert [event.data for event in events(stream, cuts)] == texts


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
@settings(max_examples=150)
def test_garbage_is_broken_or_read_the_same_however_it_is_cut(
    stream: bytes, cuts: list[int]
) -> None:
    def outcome(at: list[int]) -> list[ServerEvent] | str:
        try:
            return events(stream, at)
        except SseBroken as broken:
            return str(broken)

    assert outcome(cuts) == outcome([])


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 50, b"data: " + b"x" * 20 + b"\n"])
def test_an_event_without_an_end_is_given_up(piece: bytes) -> None:
    reader = EventReader(limit_bytes=100)

    def go_on() -> None:
        for _ in range(20):
            reader.feed(piece)

    with pytest.raises(SseBroken, match="too long"):
        go_on()


def test_many_events_in_one_breath_may_be_more_than_the_limit_of_one() -> None:
    reader = EventReader(limit_bytes=100)
    assert len(reader.feed(b"data: " + b"x" * 60 + b"\n\n")) == 1
    assert len(reader.feed((b"data: " + b"x" * 60 + b"\n\n") * 50)) == 50


def test_a_broken_stream_quotes_nothing_and_an_event_shows_no_text() -> None:
    with pytest.raises(SseBroken) as broken:
        EventReader().feed(b"data: canary \xff\n\n")
    assert not re.search("canary", str(broken.value))
    assert "canary" not in repr(ServerEvent("canary"))
