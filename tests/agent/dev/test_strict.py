"""The coordinator's ear: one wrong field and the message was never sent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.dev.strict import (
    SHAPES,
    Dropped,
    Heard,
    Heartbeat,
    Register,
    decode,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("number", ["64.0", "1e3", '"64"', "true", "9223372036854775808"])
def test_an_integer_that_is_written_otherwise_discards_the_message(number: str) -> None:
    heard = decode(f'{{"type":"register","hardware":{{"memory_gb":{number}}}}}')
    assert isinstance(heard, Dropped)
    assert heard.type == "register"
    assert heard.reason.startswith("hardware.memory_gb: ")


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"type":"heartbeat","x":NaN}', "not JSON"),
        ("[" * 10_000, "not JSON"),
        ("[]", "not an object"),
        ("{}", "unknown type"),
        ('{"type":7}', "unknown type"),
        ('{"type":"provider_drain"}', "unknown type"),
        ('{"type":"heartbeat","status":1}', "status: string_type"),
        ('{"type":"heartbeat","stats":{"requests_served":1.5}}', "stats.requests_served: int_type"),
        (
            '{"type":"register","models":[{"id":"a"},{"size_bytes":"1"}]}',
            "models.1.size_bytes: int_type",
        ),
        ('{"type":"register","decode_tps":1e999}', "decode_tps: finite_number"),
        ('{"type":"attestation_response","sip_enabled":"yes"}', "sip_enabled: bool_type"),
        (
            '{"type":"attestation_response","model_hashes":{"private":1}}',
            "model_hashes: string_type",
        ),
        (
            '{"type":"inference_complete","usage":{"prompt_tokens":1.0}}',
            "usage.prompt_tokens: int_type",
        ),
    ],
)
def test_what_cannot_be_used_is_dropped_with_our_words(frame: str, reason: str) -> None:
    heard = decode(frame)
    assert isinstance(heard, Dropped)
    assert heard.reason == reason


@pytest.mark.parametrize("kind", SHAPES)
def test_every_kind_may_be_empty_null_or_strange(kind: str) -> None:
    bare = decode(json.dumps({"type": kind}))
    assert isinstance(bare, Heard)
    nulls = {name: None for name in SHAPES[kind].model_fields if name != "type"}
    strange = decode(json.dumps({"type": kind, **nulls, "x_extra": {"deep": [1.5]}}).encode())
    assert isinstance(strange, Heard)
    assert strange.frame == bare.frame
    assert "x_extra" in strange.fields
    assert repr(strange) == f"Heard({kind})"


def test_a_number_may_be_written_as_an_integer_where_a_real_is_due() -> None:
    heard = decode('{"type":"register","decode_tps":60,"hardware":{"memory_gb":64}}')
    assert isinstance(heard, Heard)
    assert isinstance(heard.frame, Register)
    assert (heard.frame.decode_tps, heard.frame.hardware.memory_gb) == (60.0, 64)


def test_absent_and_zero_stay_apart_where_it_matters() -> None:
    heard = decode('{"type":"heartbeat","backend_capacity":{}}')
    assert isinstance(heard, Heard)
    assert isinstance(heard.frame, Heartbeat)
    assert heard.frame.backend_capacity is not None
    assert heard.frame.backend_capacity.free_for_load_gb is None


@given(st.binary() | st.text(st.characters()))
def test_nothing_makes_it_raise(raw: str | bytes) -> None:
    assert isinstance(decode(raw), Dropped | Heard)


@given(st.sampled_from(sorted(SHAPES)), st.data())
def test_no_fields_make_it_raise(kind: str, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(SHAPES[kind].model_fields))
    fields = data.draw(st.dictionaries(names, JSON, max_size=4))
    heard = decode(json.dumps({**fields, "type": kind}))
    assert isinstance(heard, Dropped | Heard)


def _integers(shape: type) -> list[str]:
    return [
        name for name, info in getattr(shape, "model_fields", {}).items() if info.annotation is int
    ]


@pytest.mark.parametrize("kind", [kind for kind in SHAPES if _integers(SHAPES[kind])])
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_float_is_ever_an_integer(kind: str, number: float) -> None:
    for name in _integers(SHAPES[kind]):
        assert isinstance(decode(json.dumps({"type": kind, name: number})), Dropped)


def test_the_law_above_has_something_to_hold() -> None:
    assert {kind for kind in SHAPES if _integers(SHAPES[kind])} >= {"inference_error"}
