"""Chunks to one object: whatever was cut, it is put together again."""

import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.control.whole import Whole
from poolhand.agent.runtime.chunks import Chunks
from poolhand.backends.engines.base import Delta, Endpoint, ToolCall, Usage

USAGE = Usage(2, 3)


def made(endpoint: Endpoint, *deltas: Delta) -> dict[str, Any]:
    chunks = Chunks("chatcmpl-1", "org/a", endpoint, 7)
    whole = Whole(is_chat=endpoint == "chat")
    for delta in deltas:
        whole.add(chunks.delta(delta))
    whole.add(chunks.finish("stop"))
    whole.add(chunks.usage(USAGE))
    return cast("dict[str, Any]", json.loads(json.dumps(whole.made())))


@given(st.lists(st.text(max_size=8), max_size=8))
def test_law_nothing_of_a_text_is_lost_whatever_is_in_it(words: list[str]) -> None:
    deltas = [Delta(word, tokens=1) for word in words]
    clean = "".join(words).encode("utf-8", "replace").decode()
    assert made("chat", *deltas)["choices"][0]["message"]["content"] == clean
    assert made("text", *deltas)["choices"][0]["text"] == clean


def test_an_empty_answer_is_one_too() -> None:
    answer = made("chat")
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert (answer["id"], answer["created"], answer["model"]) == ("chatcmpl-1", 7, "org/a")
    assert answer["usage"]["total_tokens"] == 5
    assert Whole(is_chat=False).made()["choices"]


def test_thoughts_and_calls_have_places_of_their_own() -> None:
    first, second = (ToolCall(name, "look", "{}") for name in ("call_1", "call_2"))
    answer = made(
        "chat",
        Delta(reasoning="hm"),
        Delta(reasoning=" so"),
        Delta("Look: ", tool_calls=(first,)),
        Delta(tool_calls=(second,)),
    )
    message = answer["choices"][0]["message"]
    assert message["content"] == "Look: "
    assert message["reasoning_content"] == "hm so"
    assert [call["id"] for call in message["tool_calls"]] == ["call_1", "call_2"]
    assert all("index" not in call for call in message["tool_calls"])
