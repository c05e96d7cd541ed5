"""A message's events as pieces of an answer, and a native answer event by event."""

import json
from collections.abc import Mapping

import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from poolhand.backends.engines.base import (
    Delta,
    Finished,
    Native,
    Piece,
    Started,
    ToolCall,
    Usage,
)
from poolhand.backends.engines.chat_pieces import REASONS, AnswerBroken
from poolhand.backends.engines.dialects_events import Message

Event = Mapping[str, object]
JUDGE = TypeAdapter[object](RawMessageStreamEvent)


def start(**usage: int) -> Event:
    counts = {"input_tokens": 12, "output_tokens": 1, **usage}
    return {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": counts,
        },
    }


def opened(index: int, block: Event) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(index: int, delta: Event) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def closed(index: int) -> Event:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str = "end_turn", **usage: object) -> list[Event]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    counts = {"output_tokens": 7, **usage}
    return [
        {"type": "message_delta", "delta": delta, "usage": counts},
        {"type": "message_stop"},
    ]


PING: Event = {"type": "ping"}
TEXT: list[Event] = [
    opened(0, {"type": "text", "text": ""}),
    PING,
    more(0, {"type": "text_delta", "text": "Hel"}),
    more(0, {"type": "text_delta", "text": "lo"}),
    closed(0),
]
CALL: list[Event] = [
    opened(1, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}),
    more(1, {"type": "input_json_delta", "partial_json": ""}),
    more(1, {"type": "input_json_delta", "partial_json": '{"city": '}),
    more(1, {"type": "input_json_delta", "partial_json": '"Paris"}'}),
    closed(1),
]
THOUGHT: list[Event] = [
    opened(0, {"type": "thinking", "thinking": "", "signature": ""}),
    more(0, {"type": "thinking_delta", "thinking": "hm"}),
    more(0, {"type": "signature_delta", "signature": "abc"}),
    closed(0),
]


def heard(events: list[Event], *, public: str | None = None) -> list[Piece]:
    message = Message(public=public)
    pieces: list[Piece] = []
    for event in events:
        message.take(json.dumps(event))
        pieces += message.pieces()
    return [*pieces, *message.end()]


def test_the_events_of_these_tests_are_the_official_ones() -> None:
    for event in (start(), *TEXT, *CALL, *THOUGHT, *ending()):
        if event is not PING:
            JUDGE.validate_python(event)


def test_text() -> None:
    assert heard([start(), *TEXT, *ending()]) == [
        Started(12),
        Delta("Hel", tokens=1),
        Delta("lo", tokens=1),
        Delta(tokens=5),
        Finished("stop", Usage(12, 7)),
    ]


def test_what_came_together_is_one_delta() -> None:
    message = Message()
    for event in (start(), *TEXT, *CALL):
        message.take(json.dumps(event))
    started, delta = message.pieces()
    assert started == Started(12)
    assert delta == Delta("Hello", "", (ToolCall("toolu_1", "f", '{"city": "Paris"}'),), 4)


def test_a_character_that_comes_in_halves_is_said_whole() -> None:
    halves = [
        more(0, {"type": "text_delta", "text": "up \ud83d"}),
        more(0, {"type": "text_delta", "text": "\ude80"}),
    ]
    pieces = heard([start(), TEXT[0], *halves, closed(0), *ending()])
    assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == "up 🚀"


def test_a_call_and_a_thought() -> None:
    pieces = heard([start(), *THOUGHT, *CALL, *ending("tool_use")])
    assert Delta(reasoning="hm", tokens=1) in pieces
    assert Delta(tool_calls=(ToolCall("toolu_1", "f", '{"city": "Paris"}'),), tokens=2) in pieces
    assert pieces[-1] == Finished("tool_calls", Usage(12, 7))


def test_a_call_without_arguments_is_an_empty_object() -> None:
    pieces = heard([start(), CALL[0], CALL[-1], *ending("tool_use")])
    assert Delta(tool_calls=(ToolCall("toolu_1", "f", "{}"),), tokens=1) in pieces


def test_what_was_read_counts_in_all_its_parts() -> None:
    cached = {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 10}
    pieces = heard([start(**cached), *TEXT, *ending(output_tokens_details={"thinking_tokens": 3})])
    assert pieces[0] == Started(122)
    assert pieces[-1] == Finished("stop", Usage(122, 7, reasoning_tokens=3, cached_tokens=100))


@pytest.mark.parametrize(("reason", "expected"), REASONS.items())
def test_why_it_ended(reason: str, expected: str) -> None:
    (*_, end) = heard([start(), *TEXT, *ending(reason)])
    assert isinstance(end, Finished)
    assert end.reason == expected


def test_what_is_not_known_is_read_over() -> None:
    odd: list[Event] = [
        {"type": "news"},
        opened(3, {"type": "new_block"}),
        more(3, {"type": "new_delta", "text": "x"}),
        closed(3),
        {"type": "content_block_delta"},
    ]
    plain = heard([start(), *TEXT, *ending()])
    assert heard([start(), *odd, *TEXT, *ending()]) == plain


ERROR: Event = {"type": "error", "error": {"type": "overloaded_error", "message": "canary"}}


@pytest.mark.parametrize(
    "events",
    [
        [],
        [start(), *TEXT],
        [start(), *TEXT, ending()[0]],
        [start(), *TEXT, ending()[1]],
        [*TEXT, *ending()],
        [start(), *TEXT, ERROR, *ending()],
        [start(), *TEXT, {**ending()[0], "usage": {}}, ending()[1]],
    ],
)
def test_what_is_not_whole_is_a_failure(events: list[Event]) -> None:
    with pytest.raises(AnswerBroken) as broken:
        heard(events)
    assert "canary" not in str(broken.value)


@pytest.mark.parametrize("data", ["", "canary", "[1]", "null", "[" * 10_000])
def test_garbage_is_a_failure(data: str) -> None:
    with pytest.raises(AnswerBroken) as broken:
        Message().take(data)
    assert "canary" not in str(broken.value)


def test_a_native_answer_goes_through_under_the_public_name() -> None:
    events = [start(), *THOUGHT, *TEXT, *CALL, *ending("tool_use")]
    pieces = heard(events, public="org/public")
    passed = [json.loads(piece.data) for piece in pieces if isinstance(piece, Native)]
    assert [event["type"] for event in passed] == [
        event["type"] for event in events if event is not PING
    ]
    assert passed[0]["message"]["model"] == "org/public"
    assert passed[1:] == [event for event in events[1:] if event is not PING]
    for event in passed:
        JUDGE.validate_python(event)
    assert pieces[0] == Started(12)
    assert pieces[-1] == Finished("tool_calls", Usage(12, 7))
    assert not any(isinstance(piece, Delta) and piece.text for piece in pieces)


@pytest.mark.parametrize("public", [None, "org/public"])
def test_what_was_said_so_far_took_something(public: str | None) -> None:
    """Counted is only an answer that ends: of another one there is nothing but its words."""
    message, tokens = Message(public=public), 0
    for event in (start(output_tokens=0), *THOUGHT, *TEXT, *CALL[:-1]):
        message.take(json.dumps(event))
        pieces = [p for p in message.pieces() if isinstance(p, Delta | Native)]
        tokens += sum(piece.tokens for piece in pieces)
    assert tokens == (3 if public is None else 5), "a call is said when it is whole"
    for event in (CALL[-1], *ending(output_tokens=90)):
        message.take(json.dumps(event))
    pieces = [p for p in (*message.pieces(), *message.end()) if isinstance(p, Delta | Native)]
    assert tokens + sum(piece.tokens for piece in pieces) == 90


@given(st.lists(st.sampled_from([start(), *TEXT, *CALL, *THOUGHT, *ending()]), max_size=12))
def test_law_an_answer_is_whole_or_broken_whatever_the_order(events: list[Event]) -> None:
    try:
        pieces = heard(events)
    except AnswerBroken:
        return
    assert isinstance(pieces[-1], Finished)
    assert sum(isinstance(piece, Finished) for piece in pieces) == 1
    told = sum(piece.tokens for piece in pieces if isinstance(piece, Delta))
    assert told >= pieces[-1].usage.completion_tokens
