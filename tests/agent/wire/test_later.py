"""Messages of later coordinators, as frames."""

import json

import pytest

from poolhand.agent.wire.codec import decode, encode
from poolhand.agent.wire.inbound import Unknown
from poolhand.agent.wire.later import CapacityProbe, CapacityQuote, DrainAck, ProviderDrain
from tests.wire.schema import EXTENSIONS, faults


def test_a_probe_tells_a_shape_and_may_tell_more_one_day() -> None:
    frame = {
        "type": "capacity_probe", "quote_id": "q", "model": "org/a", "prompt_tokens_bucket": 512,
        "max_output_tokens": 64, "deadline_remaining_ms": 4000, "later": [1],
    }  # fmt: skip
    assert decode(json.dumps(frame)) == CapacityProbe(
        quote_id="q",
        model="org/a",
        prompt_tokens_bucket=512,
        max_output_tokens=64,
        deadline_remaining_ms=4000,
    )


def test_an_acknowledgement_names_its_barrier() -> None:
    frame = {"type": "provider_drain_ack", "request_id": "b"}
    assert decode(json.dumps(frame)) == DrainAck(request_id="b")


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "capacity_probe", "model": "org/a"},
        {"type": "capacity_probe", "quote_id": "q", "model": "org/a", "max_output_tokens": -1},
        {"type": "capacity_probe", "quote_id": "q", "model": "", "max_output_tokens": 1},
        {"type": "provider_drain_ack"},
        {"type": "provider_drain_ack", "request_id": 7},
    ],
)
def test_what_cannot_be_meant_is_dropped(frame: dict[str, object]) -> None:
    assert isinstance(decode(json.dumps(frame)), Unknown)


def test_answers_are_compact_and_name_nothing_that_was_not_measured() -> None:
    quote = CapacityQuote(quote_id="q", admissible_now=True)
    assert encode(quote) == (
        '{"type":"capacity_quote","quote_id":"q","admissible_now":true,"confidence":"low"}'
    )
    barrier = ProviderDrain(request_id="b")
    assert encode(barrier) == '{"type":"provider_drain","request_id":"b"}'
    full = CapacityQuote(
        quote_id="q", admissible_now=False, rejection_reason="deadline", available_token_budget=0
    )
    for answer in (quote, full, barrier):
        assert faults(encode(answer)) == []
        assert set(type(answer).model_fields) - {"type"} == set(EXTENSIONS[answer.type])
