"""A chat as a Messages request; the official client's own types judge what is sent."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, cast

import pytest
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from poolhand.backends.engines.asked import BadRequest
from poolhand.backends.engines.base import Prompt
from poolhand.backends.engines.dialects_anthropic import call
from poolhand.config.external import External

JUDGE = TypeAdapter[object](MessageCreateParamsStreaming)
HOME = External(dialect="anthropic")
CANARY = "canary-4711"

Json = Mapping[str, object]


def user(content: object) -> Json:
    return {"role": "user", "content": content}


def words(said: str) -> list[Json]:
    return [{"type": "text", "text": said}]


def asked(
    body: Json,
    *,
    where: External = HOME,
    endpoint: Literal["chat", "text", "messages"] = "chat",
) -> Json:
    made = call(where, "claude-x", Prompt("r", endpoint, body, 9))
    assert made.headers == {"anthropic-version": "2023-06-01"}
    return made.body


def judged(*said: Json, **more: object) -> Json:
    body = asked({"messages": list(said), **more})
    JUDGE.validate_python(body, extra="forbid")
    return body


def test_the_least() -> None:
    assert judged(user("hello")) == {
        "model": "claude-x",
        "max_tokens": 9,
        "stream": True,
        "messages": [{"role": "user", "content": words("hello")}],
    }


def test_what_stands_before_the_talk() -> None:
    body = judged(
        {"role": "system", "content": "be brief"},
        user("a"),
        {"role": "developer", "content": [{"type": "text", "text": "be kind"}]},
    )
    assert body["system"] == "be brief\nbe kind"
    assert body["messages"] == [{"role": "user", "content": words("a")}]
    assert "system" not in judged({"role": "system", "content": " "}, user("a"))


def test_calls_and_their_results() -> None:
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": f'{{"n":{n}}}'}}
        for n in (1, 2)
    ]
    body = judged(
        user("both"),
        {"role": "assistant", "content": "I look", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": words("two")},
        user("and?"),
    )
    assert body["messages"] == [
        {"role": "user", "content": words("both")},
        {
            "role": "assistant",
            "content": [
                *words("I look"),
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"n": 1}},
                {"type": "tool_use", "id": "c2", "name": "f", "input": {"n": 2}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": words("one")},
                {"type": "tool_result", "tool_use_id": "c2", "content": words("two")},
                *words("and?"),
            ],
        },
    ], "all results of one turn come in the turn that follows"


def test_tools_are_described() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    function = {"name": "f", "description": "it", "parameters": schema, "strict": True}
    tools = [{"type": "function", "function": one} for one in (function, {"name": "g"})]
    body = judged(user("a"), tools=tools)
    assert body["tools"] == [
        {"name": "f", "description": "it", "input_schema": schema},
        {"name": "g", "input_schema": {"type": "object"}},
    ]
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", True, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        (
            {"type": "function", "function": {"name": "f"}},
            False,
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_which_tool(choice: object, parallel: object, expected: Json | None) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    more = {"tool_choice": choice, "parallel_tool_calls": parallel}
    assert judged(user("a"), tools=tools, **more).get("tool_choice") == expected
    assert "tool_choice" not in judged(user("a"), **more), "without tools there is no choice"


@pytest.mark.parametrize(
    ("image", "source"),
    [
        (
            {"url": "data:image/png;base64,iVBO\nRw0K"},
            {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"},
        ),
        ({"url": "https://h.example/a.png"}, {"type": "url", "url": "https://h.example/a.png"}),
        ("https://h.example/a.png", {"type": "url", "url": "https://h.example/a.png"}),
    ],
)
def test_images(image: object, source: Json) -> None:
    body = judged(user([{"type": "image_url", "image_url": image}, *words("what?")]))
    content = [{"type": "image", "source": source}, *words("what?")]
    assert body["messages"] == [{"role": "user", "content": content}]


def test_how_the_next_word_is_drawn() -> None:
    assert asked({"messages": [user("a")], "temperature": 1.7})["temperature"] == 1
    both = asked({"messages": [user("a")], "temperature": 0.2, "top_p": 0.5})
    assert (both["temperature"], "top_p" in both) == (0.2, False)
    assert asked({"messages": [user("a")], "top_p": 0.5})["top_p"] == 0.5
    tuned = judged(user("a"), seed=1, presence_penalty=1, logit_bias={}, reasoning_effort="low")
    assert set(tuned) == {"model", "max_tokens", "stream", "messages"}


def test_stop_words_and_forms() -> None:
    schema = {"type": "object"}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = judged(user("a"), stop="END", response_format=form)
    assert body["stop_sequences"] == ["END"]
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert judged(user("a"), stop=["a", "b"])["stop_sequences"] == ["a", "b"]


WRONG: list[Json] = [
        {"messages": []},
        {"messages": [{"role": "system", "content": CANARY}]},
        {"messages": [user("")]},
        {"messages": [user(CANARY)], "n": 2},
        {"messages": [user(CANARY)], "stop": [" "]},
        {"messages": [user(CANARY)], "stop": 1},
        {"messages": [user(CANARY)], "temperature": CANARY},
        {"messages": [user(CANARY)], "temperature": float("nan")},
        {"messages": [user(CANARY)], "temperature": float("inf")},
        {"messages": [user(CANARY)], "response_format": {"type": "json_object"}},
        {"messages": [user(CANARY)], "tools": [{"function": {"name": "f"}}], "tool_choice": CANARY},
        {"messages": [user([{"type": "input_audio", "input_audio": CANARY}])]},
        {"messages": [user([{"type": "image_url", "image_url": {"url": f"http://{CANARY}"}}])]},
        {"messages": [user([{"type": "image_url"}])]},
        {"messages": [{"role": "tool", "content": CANARY}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f",
            "arguments": CANARY}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f",
            "arguments": "[]"}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG)
def test_what_cannot_be_had_is_refused_without_a_word_of_it(body: Json) -> None:
    with pytest.raises(BadRequest) as refused:
        asked(body)
    assert CANARY not in str(refused.value)


def test_a_native_request_goes_through_as_it_is() -> None:
    body: dict[str, object] = {
        "endpoint": "/v1/messages",
        "model": "org/public",
        "max_tokens": 99999,
        "stream": False,
        "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        "messages": [user("hello")],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "top_k": 3,
    }
    sent = asked(body, endpoint="messages")
    ours = {"model": "claude-x", "max_tokens": 9, "stream": True}
    kept = {name: body[name] for name in ("system", "messages", "thinking", "top_k")}
    assert sent == {**kept, **ours}
    with pytest.raises(BadRequest):
        asked({"messages": []}, endpoint="messages")
    with pytest.raises(BadRequest):
        asked({"prompt": "Once"}, endpoint="text")


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_the_url_may_end_before_or_after_the_version(end: str) -> None:
    where = External(dialect="anthropic", base_url=f"https://h.example/api{end}", drop=("stop",))
    made = call(where, "m", Prompt("r", "chat", {"messages": [user("a")]}, 9))
    assert made.target == "/api/v1/messages"


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "role": st.sampled_from(["system", "user", "assistant", "tool"]),
                "content": st.sampled_from(["", " ", "a", None, words("b")]),
                "tool_call_id": st.just("c"),
            }
        ),
        max_size=8,
    )
)
def test_law_sides_take_turns_and_none_is_silent(said: list[Json]) -> None:
    try:
        body = asked({"messages": said})
    except BadRequest:
        return
    JUDGE.validate_python(body, extra="forbid")
    turns = cast("list[Json]", body["messages"])
    roles = [turn["role"] for turn in turns]
    assert all(before != after for before, after in pairwise(roles))
    assert all(turn["content"] for turn in turns)
