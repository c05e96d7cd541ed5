"""The plaintext of a chunk, as OpenAI's clients know it."""

import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.runtime.chunks import Chunks
from poolhand.backends.engines.base import Delta, ToolCall, Usage


def chat() -> Chunks:
    return Chunks("id-1", "org/m", "chat", 1790000000)


def read(line: bytes) -> dict[str, Any]:
    assert line.startswith(b"data: ")
    return cast("dict[str, Any]", json.loads(line[6:]))


def test_the_first_delta_names_the_role_and_the_others_do_not() -> None:
    chunks = chat()
    first, second = read(chunks.delta(Delta("Hel"))), read(chunks.delta(Delta("lo")))
    assert first == {
        "id": "id-1",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "org/m",
        "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": None}
        ],
    }
    assert second["choices"][0]["delta"] == {"content": "lo"}


def test_the_end_is_written_as_a_coordinator_looks_for_it() -> None:
    assert b'"finish_reason":"stop"' in chat().finish("stop")


def test_an_empty_answer_still_has_a_role() -> None:
    assert read(chat().finish("length"))["choices"][0]["delta"] == {
        "role": "assistant",
        "content": "",
    }


def test_after_words_the_end_says_nothing_more() -> None:
    chunks = chat()
    chunks.delta(Delta("x"))
    assert read(chunks.finish("stop"))["choices"][0]["delta"] == {}


def test_reasoning_has_a_field_of_its_own() -> None:
    delta = read(chat().delta(Delta(reasoning="hm")))["choices"][0]["delta"]
    assert delta == {"role": "assistant", "reasoning_content": "hm"}


def test_tool_calls_are_counted_over_the_whole_answer() -> None:
    chunks = chat()
    call = ToolCall("c", "f", '{"a":1}')
    first = read(chunks.delta(Delta(tool_calls=(call, call))))["choices"][0]["delta"]
    later = read(chunks.delta(Delta(tool_calls=(call,))))["choices"][0]["delta"]
    assert [made["index"] for made in first["tool_calls"]] == [0, 1]
    assert later["tool_calls"] == [
        {
            "index": 2,
            "id": "c",
            "type": "function",
            "function": {"name": "f", "arguments": call.arguments},
        }
    ]
    assert "content" not in later


def test_usage_comes_without_choices() -> None:
    said = read(chat().usage(Usage(3, 4, 2)))
    assert said["choices"] == []
    assert said["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert "completion_tokens_details" not in read(chat().usage(Usage(3, 4)))["usage"]


def test_how_much_was_known_before_is_told_only_if_it_may_and_was() -> None:
    def told(cached_tokens: int | None, *, tells_cache: bool) -> object:
        usage = Usage(3, 4, cached_tokens=cached_tokens)
        said = read(chat().usage(usage, tells_cache=tells_cache))["usage"]
        return said.get("prompt_tokens_details")

    assert told(2, tells_cache=True) == {"cached_tokens": 2}
    assert told(2, tells_cache=False) is None
    assert told(0, tells_cache=True) is told(None, tells_cache=True) is None


def test_a_text_completion_has_its_own_shape() -> None:
    chunks = Chunks("id", "m", "text", 1)
    said, end = read(chunks.delta(Delta("a"))), read(chunks.finish("stop"))
    assert said["object"] == "text_completion"
    assert said["choices"] == [{"index": 0, "text": "a", "finish_reason": None}]
    assert end["choices"] == [{"index": 0, "text": "", "finish_reason": "stop"}]


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_any_text_becomes_one_line_of_utf8(text: str) -> None:
    line = chat().delta(Delta(text))
    assert b"\n" not in line
    said = read(line)["choices"][0]["delta"]["content"]
    assert said == text.encode("utf-8", "replace").decode()


@given(st.text(), st.text(min_size=1), st.text(min_size=1))
def test_words_are_written_as_the_encoder_would_write_them(
    request: str, model: str, text: str
) -> None:
    chunks = Chunks(request, model, "chat", 7)
    chunks.delta(Delta("first"))
    whole = {
        "id": request,
        "object": "chat.completion.chunk",
        "created": 7,
        "model": model,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }
    compact = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    assert chunks.delta(Delta(text)) == b"data: " + compact.encode("utf-8", "replace")
