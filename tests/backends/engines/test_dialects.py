"""What all dialects ask of a request; no text of it gets into a refusal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.engines.asked import BadRequest
from poolhand.backends.engines.chat_pieces import count
from poolhand.backends.engines.dialects import (
    Call,
    array,
    mapping,
    messages,
    rows,
    text,
    tools,
)

CANARY = "canary-4711"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "said",
    [None, [], CANARY, {CANARY: 1}, [CANARY], [{"role": CANARY}], [{"content": CANARY}], [None]],
)
def test_messages_have_a_form(said: object) -> None:
    with pytest.raises(BadRequest) as refused:
        messages({"messages": said})
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    "said",
    [
        CANARY,
        [CANARY],
        [{"type": CANARY}],
        [{"function": {"name": 1}}],
        [{"function": {"name": "f", "parameters": [CANARY]}}],
    ],
)
def test_tools_have_a_form(said: object) -> None:
    with pytest.raises(BadRequest) as refused:
        tools({"tools": said})
    assert CANARY not in str(refused.value)


def test_what_is_in_form_is_given_back() -> None:
    said = [{"role": "user", "content": "a"}]
    assert messages({"messages": said}) == said
    function = {"name": "f", "parameters": None}
    assert tools({"tools": [{"type": "function", "function": function}]}) == [function]
    assert tools({}) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", "\ud800"])
def test_what_is_no_json_is_not_sent(value: object) -> None:
    with pytest.raises(BadRequest):
        Call("/x", {}, {"a": value}).encoded()


def test_a_body_is_compact_utf_8_and_shown_nowhere() -> None:
    call = Call("/x", {}, {"a": f"é {CANARY}"})
    assert call.encoded() == f'{{"a":"é {CANARY}"}}'.encode()
    assert CANARY not in repr(call)


@given(JSON)
def test_law_whatever_stands_there_can_be_looked_at(value: object) -> None:
    assert all(isinstance(row, dict) for row in rows(value))
    assert isinstance(text(value), str)
    number = count(value)
    assert number is None or (number >= 0 and number == value)
    assert bool(mapping(value)) <= (mapping(value) is value)
    try:
        listed: object = array(value, "x")
        assert listed is value
    except BadRequest:
        assert type(value) is not list


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_law_a_body_is_json_or_refused(body: dict[str, object]) -> None:
    try:
        sent = Call("/x", {}, body).encoded()
    except BadRequest:
        return
    assert isinstance(json.loads(sent), dict)
