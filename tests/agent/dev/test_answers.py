"""Chunks on their way to a client of OpenAI's API."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.dev.answers import (
    CHAT_ENDPOINT,
    TEXT_ENDPOINT,
    BodyUnusable,
    Json,
    client_chunk,
    has_content,
    provider_body,
    read_body,
    read_chunk,
    sse,
    usage_chunk,
    wants_usage,
    whole,
)


def chunk(finish: str | None = None, **delta: object) -> Json:
    return {
        "id": "r",
        "created": 5,
        "model": "org/build",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b'{"model":7}', b'{"model":""}', b"\xff"])
def test_a_body_that_names_no_model_is_none(raw: bytes) -> None:
    with pytest.raises(BodyUnusable, match="the body"):
        read_body(raw)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 99),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": None, "max_completion_tokens": None}, 99),
    ],
)
def test_a_provider_is_told_its_own_name_and_always_a_limit(limits: Json, expected: int) -> None:
    body: Json = {"model": "alias", "messages": [], **limits}
    out = json.loads(provider_body(body, build="b", endpoint=CHAT_ENDPOINT, max_tokens=99))
    assert (out["model"], out["max_tokens"]) == ("b", expected)
    assert "endpoint" not in out
    assert body["model"] == "alias"


def test_only_another_endpoint_than_chat_is_named() -> None:
    out = provider_body({"model": "a"}, build="b", endpoint=TEXT_ENDPOINT, max_tokens=1)
    assert json.loads(out)["endpoint"] == TEXT_ENDPOINT


def test_usage_is_wanted_only_in_so_many_words() -> None:
    assert wants_usage({"stream_options": {"include_usage": True}})
    others: list[object] = [{"include_usage": 1}, {}, None, [], "include_usage"]
    for options in others:
        assert not wants_usage({"stream_options": options})


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=4))
def test_a_chunk_is_read_with_and_without_its_prefix(fields: Json) -> None:
    bare = json.dumps(fields).encode()
    assert read_chunk(bare) == read_chunk(b"data: " + bare) == read_chunk(b"data:" + bare + b"\n\n")
    assert read_chunk(bare) == fields


def test_done_and_blanks_are_swallowed_and_nonsense_is_not() -> None:
    assert read_chunk(b"data: [DONE]") is None
    assert read_chunk(b" \n") is None
    for raw in (b"data: [1]", b"hello", b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            read_chunk(raw)


def test_a_role_alone_is_no_content() -> None:
    assert not has_content(chunk(role="assistant"))
    assert not has_content(chunk(content=""))
    assert not has_content({"choices": []})
    assert not has_content({"choices": "none"})
    assert has_content(chunk(content="x"))
    assert has_content(chunk(reasoning_content="x"))
    assert has_content(chunk(tool_calls=[{"index": 0}]))
    assert has_content(chunk(finish="stop"))
    assert has_content({"choices": [{"text": "x"}]})


def test_a_client_sees_the_name_it_asked_for_and_no_stray_usage() -> None:
    seen = client_chunk({**chunk(content="x"), "usage": {}}, asked="alias", endpoint=CHAT_ENDPOINT)
    assert seen is not None
    assert seen["model"] == "alias"
    assert "usage" not in seen
    assert client_chunk({"choices": [], "usage": {}}, asked="a", endpoint=CHAT_ENDPOINT) is None


def test_a_text_client_gets_text_from_either_form() -> None:
    for piece in (chunk(content="x"), {"choices": [{"index": 0, "text": "x"}]}):
        seen = client_chunk(piece, asked="a", endpoint=TEXT_ENDPOINT)
        assert seen is not None
        assert seen["object"] == "text_completion"
        assert seen["choices"] == [
            {"index": 0, "text": "x", "finish_reason": None, "logprobs": None}
        ]


def test_usage_has_a_total_and_its_reasoning() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "reasoning_tokens": 2}
    seen = usage_chunk(usage, last={"id": "r"})
    assert (seen["id"], seen["choices"]) == ("r", [])
    assert seen["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def _message(*chunks: Json) -> dict[str, Any]:
    answer = whole(chunks, {}, model="alias", endpoint=CHAT_ENDPOINT)
    return json.loads(json.dumps(answer))["choices"][0]


@given(st.lists(st.text(), max_size=8))
def test_the_whole_is_its_pieces_joined(words: list[str]) -> None:
    pieces = [chunk(content=word) for word in words]
    choice = whole(pieces, {}, model="alias", endpoint=CHAT_ENDPOINT)["choices"]
    assert isinstance(choice, list)
    assert (choice[0]["message"]["content"] or "") == "".join(words)
    texts: list[Json] = [{"choices": [{"index": 0, "text": word}]} for word in words]
    choice = whole(texts, {}, model="alias", endpoint=TEXT_ENDPOINT)["choices"]
    assert isinstance(choice, list)
    assert choice[0]["text"] == "".join(words)


def test_thoughts_and_words_grow_apart() -> None:
    choice = _message(
        chunk(role="assistant", reasoning_content="hm"),
        chunk(reasoning_content="m"),
        chunk(content="yes"),
        chunk(finish="length"),
    )
    assert choice["finish_reason"] == "length"
    assert choice["message"] == {"role": "assistant", "content": "yes", "reasoning_content": "hmm"}


def test_tool_calls_are_put_together_by_their_index() -> None:
    def call(index: int, **function: str) -> Json:
        named = {"id": f"c{index}", "type": "function"} if "name" in function else {}
        return chunk(tool_calls=[{"index": index, **named, "function": function}])

    choice = _message(
        call(0, name="look", arguments='{"a":'), call(0, arguments="1}"), call(1, name="go")
    )
    assert choice["message"]["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
        {"id": "c1", "type": "function", "function": {"name": "go"}},
    ]


def test_an_answer_without_a_chunk_is_still_an_answer() -> None:
    answer = whole([], {"prompt_tokens": 1}, model="alias", endpoint=CHAT_ENDPOINT)
    assert (answer["model"], answer["object"]) == ("alias", "chat.completion")
    assert _message()["message"] == {"role": "assistant", "content": None}


@given(st.text())
def test_an_event_is_one_line_of_json(text: str) -> None:
    event = sse({"text": text})
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert b"\n" not in event[:-2]
    assert json.loads(event[6:])["text"] == text
