"""OpenAI's dialect out; the official client's own types judge what is sent."""

from collections.abc import Mapping
from typing import Literal

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from poolhand.backends.engines.asked import BadRequest
from poolhand.backends.engines.base import Prompt
from poolhand.backends.engines.dialects import Call
from poolhand.backends.engines.dialects_openai import call, target
from poolhand.config.external import External

USER = {"role": "user", "content": "hello"}
JUDGE = TypeAdapter[object](CompletionCreateParamsStreaming)


def external(dialect: str = "openai", **more: object) -> External:
    return External.model_validate({"dialect": dialect, **more})


def made(
    body: Mapping[str, object] | None = None,
    where: External | None = None,
    *,
    endpoint: Literal["chat", "text"] = "chat",
) -> Call:
    asked = {**({"messages": [USER]} if endpoint == "chat" else {}), **(body or {})}
    return call(where or external(), "gpt-x", Prompt("r", endpoint, asked, 9))


def test_a_chat_as_it_is_sent() -> None:
    asked = made({"temperature": 0.5, "model": "org/public", "unknown": "x"})
    assert asked.target == "/v1/chat/completions"
    assert asked.headers == {}
    assert asked.body == {
        "messages": [USER],
        "temperature": 0.5,
        "model": "gpt-x",
        "max_completion_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    JUDGE.validate_python(asked.body, extra="forbid")


def test_tools_images_and_past_calls_are_passed_on() -> None:
    function = {"name": "f", "parameters": {"type": "object"}}
    past = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b"}}]},
        {"role": "assistant", "content": None, "tool_calls": [past], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
    ]
    tools = [{"type": "function", "function": function}]
    more = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False}
    asked = made({"messages": said, **more})
    JUDGE.validate_python(asked.body, extra="forbid")
    assert asked.body["messages"] == [
        *said[:2],
        {"role": "assistant", "content": None, "tool_calls": [past]},
        said[3],
    ], "a thought of an earlier turn is no field of the dialect"
    assert asked.body["tools"] == tools


def test_a_text_completion() -> None:
    asked = made({"prompt": ["Once"], "seed": 1}, endpoint="text")
    assert asked.target == "/v1/completions"
    assert (asked.body["prompt"], asked.body["max_tokens"], asked.body["seed"]) == ("Once", 9, 1)


@pytest.mark.parametrize("prompt", [None, "", [], ["a", "b"], [1], {"a": 1}])
def test_a_text_completion_has_one_prompt(prompt: object) -> None:
    with pytest.raises(BadRequest):
        made({"prompt": prompt}, endpoint="text")


@pytest.mark.parametrize(("name", "value"), [("n", 2), ("messages", 1), ("tools", [1])])
def test_what_cannot_be_had_is_refused(name: str, value: object) -> None:
    with pytest.raises(BadRequest):
        made({name: value})


def test_only_known_fields_go_out() -> None:
    common = {"messages", "model", "stream", "stream_options"}
    body: dict[str, object] = {
        "reasoning_parser": "x",
        "endpoint": "/v1/chat/completions",
        "logprobs": True,
        "user": "somebody",
        "temperature": None,
        "top_k": 3,
        "min_p": 0.1,
        "chat_template_kwargs": {},
    }
    assert set(made(body).body) == {*common, "max_completion_tokens"}
    elsewhere = made(body, external(base_url="https://h.example/v1")).body
    assert set(elsewhere) == {*common, "max_tokens", "top_k", "min_p", "chat_template_kwargs"}


def test_the_operator_drops_fields_and_bounds_answers() -> None:
    where = external(drop=["temperature", "seed"], max_output_tokens=5)
    asked = made({"temperature": 1, "seed": 1, "top_p": 0.5}, where).body
    assert {"temperature", "seed"}.isdisjoint(asked)
    assert (asked["top_p"], asked["max_completion_tokens"]) == (0.5, 5)


AZURE = "https://res.openai.azure.com"


@pytest.mark.parametrize(
    ("where", "goes_to", "limit"),
    [
        (external(), "/v1/chat/completions", "max_completion_tokens"),
        (external(length_field="max_tokens"), "/v1/chat/completions", "max_tokens"),
        (external(base_url="https://h.example"), "/chat/completions", "max_tokens"),
        (external(base_url="https://h.example/api/v1/"), "/api/v1/chat/completions", "max_tokens"),
        (
            external("azure", base_url=AZURE),
            "/openai/v1/chat/completions",
            "max_completion_tokens",
        ),
        (
            external("azure", base_url=f"{AZURE}/openai/v1/"),
            "/openai/v1/chat/completions",
            "max_completion_tokens",
        ),
        (
            external("azure", base_url=AZURE, api_version="2024-10-21"),
            "/openai/deployments/gpt-x/chat/completions?api-version=2024-10-21",
            "max_completion_tokens",
        ),
        (
            external("azure", base_url=f"{AZURE}/openai", api_version="2024-02-01"),
            "/openai/deployments/gpt-x/chat/completions?api-version=2024-02-01",
            "max_tokens",
        ),
    ],
)
def test_where_it_goes_and_what_bounds_it(where: External, goes_to: str, limit: str) -> None:
    asked = made(where=where)
    assert asked.target == goes_to
    assert asked.body[limit] == 9


def test_a_deployment_cannot_leave_its_path() -> None:
    where = external("azure", base_url=AZURE, api_version="2024-10-21")
    assert "/deployments/..%2Fx%3Fy/" in target(where, "../x?y", "/chat/completions")
    assert target(where, "d", "/models") == "/openai/models?api-version=2024-10-21"
