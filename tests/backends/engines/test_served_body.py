"""A request on its way to a server: what goes along, what is refused, what is left out."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.engines import served_body
from poolhand.backends.engines.base import Endpoint, Prompt
from poolhand.config.refusals import RequestRefused, RequestTooLarge

Json = dict[str, object]
SAID: list[Json] = [{"role": "user", "content": "Hi"}]
TOOL: Json = {"type": "function", "function": {"name": "f", "parameters": {}}}


def sent(
    body: dict[str, object], endpoint: Endpoint = "chat", max_tokens: int = 8
) -> dict[str, object]:
    raw = served_body.body(
        Prompt("r", endpoint, body, max_tokens),
        model="local",
        most_tokens=100,
        asks={"stream_options": {"include_usage": True}},
        renamed={"repetition_penalty": "repeat_penalty"},
    )
    return json.loads(raw)


def test_what_is_known_goes_along_under_the_servers_names() -> None:
    body: dict[str, object] = {
        "messages": SAID,
        "temperature": 0.5,
        "repetition_penalty": 1.1,
        "tools": [TOOL],
        "tool_choice": "required",
        "response_format": {"type": "json_object"},
        "seed": None,
    }
    assert sent(body) == {
        "model": "local",
        "messages": SAID,
        "max_tokens": 8,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "repeat_penalty": 1.1,
        "tools": [TOOL],
        "tool_choice": "required",
        "response_format": {"type": "json_object"},
    }


def test_what_is_not_known_stays_here() -> None:
    reaching: Json = {
        "id_slot": 0,
        "cache_prompt": True,
        "lora": [],
        "n_probs": 5,
        "logprobs": True,
        "model": "another",
        "stream": False,
        "max_tokens": 10**9,
        "stream_options": {},
        "kv_transfer_params": {},
        "return_token_ids": True,
        "grammar": "x",
        "n": 1,
    }
    assert sent({"messages": SAID, **reaching}) == sent({"messages": SAID})


def test_a_text_completion_has_its_prompt() -> None:
    assert sent({"prompt": "Once"}, "text")["prompt"] == "Once"
    assert served_body.target(Prompt("r", "text", {}, 1)) == "/v1/completions"
    assert served_body.target(Prompt("r", "chat", {}, 1)) == "/v1/chat/completions"


def test_an_answer_is_bounded_here_too() -> None:
    assert sent({"messages": SAID}, max_tokens=10**6)["max_tokens"] == 100


WRONG: list[Json] = [
    {},
    {"messages": []},
    {"messages": [{"role": "ghost", "content": "x"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
    {"messages": SAID, "temperature": math.nan},
    {"messages": SAID, "temperature": "warm"},
    {"messages": SAID, "n": 2},
    {"messages": SAID, "stop": [1]},
    {"messages": SAID, "tools": [{}]},
    {"messages": SAID, "tools": [{"function": {"name": "f", "parameters": [math.nan]}}]},
    {"messages": SAID, "tool_choice": 5},
    {"messages": SAID, "response_format": "json"},
    {"messages": SAID, "response_format": {"type": "xml"}},
    {"messages": SAID, "response_format": {"type": "json_schema", "json_schema": math.inf}},
    {"messages": SAID, "chat_template_kwargs": {"tools_in_user_message": True}},
    {"messages": [{"role": "user", "content": "\ud83d"}]},
]


@pytest.mark.parametrize("body", WRONG)
def test_what_is_wrong_is_refused_before_it_is_sent(body: dict[str, object]) -> None:
    with pytest.raises(RequestRefused):
        sent(body)


def test_another_endpoint_is_refused() -> None:
    with pytest.raises(RequestRefused, match="not served here"):
        served_body.target(Prompt("r", "messages", {"messages": SAID}, 1))


def test_too_much_is_refused() -> None:
    with pytest.raises(RequestTooLarge):
        sent({"prompt": "x" * (served_body.LIMIT_BYTES + 1)}, "text")


@given(
    st.dictionaries(
        st.sampled_from([*sorted(served_body.PASSED), "messages", "n", "prompt"]),
        st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.just(SAID),
    )
)
@settings(max_examples=150)
def test_every_body_is_sent_or_refused(body: dict[str, object]) -> None:
    try:
        told = sent(body)
    except RequestRefused:
        return
    assert told["stream"] is True
    assert told["model"] == "local"
