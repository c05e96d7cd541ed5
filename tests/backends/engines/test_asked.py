"""Bodies: what is asked for, or closed words about what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.engines.asked import Asked, BadRequest, Sampling, advised, read

HELLO = [{"role": "user", "content": "hello"}]


def chat(**body: object) -> Asked:
    return read("chat", {"messages": HELLO, **body}, defaults=Sampling())


def test_a_seed_with_a_point_is_one() -> None:
    asked = read("chat", {"messages": HELLO, "seed": 7.0}, defaults=Sampling())
    assert asked.sampling.seed == 7


def test_a_plain_chat_asks_for_the_defaults() -> None:
    asked = chat()
    assert asked.sampling == Sampling()
    assert asked.messages == ({"role": "user", "content": "hello"},)
    assert asked.stop_words == ()
    assert asked.tools == ()


def test_what_is_said_wins_over_what_is_advised() -> None:
    defaults = Sampling(temperature=0.6, top_p=0.95, top_k=20)
    asked = read("chat", {"messages": HELLO, "temperature": 0, "seed": -1}, defaults=defaults)
    assert asked.sampling == Sampling(temperature=0, top_p=0.95, top_k=20, seed=2**63 - 1)


def test_a_top_p_of_zero_is_the_likeliest_token() -> None:
    assert chat(top_p=0).sampling == Sampling(temperature=0.0)


def test_messages_are_made_plain_for_the_template() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = chat(
        messages=[
            {"role": "developer", "content": parts},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "7"},
        ]
    )
    first, second, third = asked.messages
    assert first == {"role": "system", "content": "ab"}
    assert second["content"] == ""
    assert second["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    ]
    assert third["tool_call_id"] == "c"


def test_tools_may_be_offered_and_forbidden() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert chat(tools=tools).tools == tuple(tools)
    assert chat(tools=tools, tool_choice="none").tools == ()


def test_a_text_completion_has_one_prompt() -> None:
    for prompt in ("once", ["once"]):
        assert read("text", {"prompt": prompt}, defaults=Sampling()).prompt == "once"
    for wrong in ("", [], ["a", "b"], [1, 2], None, 7):
        with pytest.raises(BadRequest):
            read("text", {"prompt": wrong}, defaults=Sampling())


def test_stop_words_are_one_or_several() -> None:
    assert chat(stop="a").stop_words == ("a",)
    assert chat(stop=["a", "", "b"]).stop_words == ("a", "b")


EMPTY: dict[str, object] = {}
WRONG: list[tuple[dict[str, object], str]] = [
    ({"messages": []}, "messages must not be empty"),
    ({"messages": "hi"}, "messages must be an array"),
    ({"messages": ["hi"]}, "each message must be an object"),
    ({"messages": [{"role": "boss", "content": ""}]}, "each message must have a known role"),
    ({"messages": [{"role": "user", "content": 7}]}, "content must be text or parts"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "content parts must be text: this model sees no images",
    ),
    (
        {"messages": [{"role": "assistant", "tool_calls": [EMPTY]}]},
        "each tool call must name a function",
    ),
    (
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": "{"}}],
                }
            ]
        },
        "arguments of a tool call must be JSON",
    ),
    ({"n": 2}, "n must be 1"),
    ({"response_format": {"type": "json_object"}}, "response_format must be text"),
    ({"tool_choice": "required"}, "tool_choice must be auto or none"),
    ({"tools": [EMPTY]}, "each tool must name a function"),
    ({"tools": EMPTY}, "tools must be an array"),
    ({"temperature": "hot"}, "temperature must be a number"),
    ({"temperature": True}, "temperature must be a number"),
    ({"temperature": -1}, "temperature must be from 0 to 100"),
    ({"top_p": float("nan")}, "top_p must be from 0 to 1"),
    ({"seed": 1.5}, "seed must be an integer"),
    ({"stop": 7}, "stop must be text or texts"),
    ({"stop": [7]}, "stop must be text or texts"),
    ({"stop": ["x"] * 17}, "stop must name at most 16 texts"),
    ({"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs must have"),
    ({"chat_template_kwargs": 7}, "chat_template_kwargs must have"),
]


@pytest.mark.parametrize(("body", "words"), WRONG)
def test_a_wrong_form_is_named(body: dict[str, object], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        chat(**body)


@given(
    st.dictionaries(
        st.sampled_from(["messages", "stop", "tools", "temperature", "top_k", "seed", "n"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.just("secret"),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["role", "content", "function"]), inner)
            ),
            max_leaves=6,
        ),
    )
)
def test_any_body_is_read_or_refused_and_none_of_it_is_repeated(body: dict[str, object]) -> None:
    try:
        asked = chat(**body)
    except BadRequest as bad:
        said = str(bad)
    else:
        said = repr(asked)
    assert "secret" not in said


def test_the_makers_advice_is_taken_where_it_makes_sense() -> None:
    assert advised({"temperature": 0.7, "top_k": 20, "eos_token_id": 3}) == Sampling(
        temperature=0.7, top_k=20
    )
    assert advised({"do_sample": False, "temperature": 0.7}) == Sampling(temperature=0.0)
    assert advised({"temperature": "hot"}) == Sampling()


def test_template_options_pass() -> None:
    assert chat(chat_template_kwargs={"enable_thinking": False}).options == {
        "enable_thinking": False
    }
