"""Recorded frames, byte for byte, in both directions."""

import json

import pytest

from poolhand.agent.wire.codec import decode, encode
from poolhand.agent.wire.inbound import SHAPES
from tests.wire.goldens import FRAMES, HEARD, SENT
from tests.wire.schema import SCHEMA, faults

RECORDED = {path.stem: path.read_bytes() for path in sorted(FRAMES.glob("*.json"))}


def test_every_recorded_frame_is_held_by_a_test() -> None:
    assert set(RECORDED) == {*SENT, *HEARD}


def test_every_type_is_recorded() -> None:
    kinds = {name.split(".")[1] for name in RECORDED}
    assert kinds >= {*SCHEMA, *SHAPES}


@pytest.mark.parametrize("name", SENT)
def test_what_we_send_is_what_was_recorded(name: str) -> None:
    assert encode(SENT[name]).encode() == RECORDED[name]


@pytest.mark.parametrize("name", SENT)
def test_a_coordinator_takes_what_we_send(name: str) -> None:
    assert faults(RECORDED[name].decode()) == []


@pytest.mark.parametrize("name", HEARD)
def test_what_was_recorded_is_understood_as_text_and_as_bytes(name: str) -> None:
    assert decode(RECORDED[name]) == HEARD[name]
    assert decode(RECORDED[name].decode()) == HEARD[name]


@pytest.mark.parametrize(
    ("name", "good", "bad", "fault"),
    [
        ("out.register", '"memory_gb":64', '"memory_gb":64.0', "memory_gb: 64.0 is no int"),
        ("out.register", '"memory_gb":64', '"memory_gb":true', "memory_gb: True is no int"),
        ("out.register", '"memory_gb":64', '"memory_gb":"64"', "memory_gb: '64' is no int"),
        ("out.register", '"decode_tps":61.2', '"decode_tps":NaN', "NaN is no JSON"),
        ("out.register", '"env_scrubbed":true', '"env_scrubbed":1', "env_scrubbed: 1 is no bool"),
        ("out.register", '"public_key"', '"publicKey"', "publicKey: unknown"),
        ("out.heartbeat", '"active_model":"org/model-4bit"', '"x":1', "active_model: missing"),
        ("out.heartbeat", '"slots":[', '"slots":[3,', "slots: not an object"),
        ("out.heartbeat", '"pool":{', '"pool":{"epoch":1,', "given twice"),
        ("out.attestation_response", '{"org/model-4bit":"', '{"a":1,"b":"', "not a map"),
        ("out.inference_error", '"status_code":503', '"status_code":503.0', "is no int"),
    ],
)
def test_the_schema_finds_what_a_coordinator_would_drop(
    name: str, good: str, bad: str, fault: str
) -> None:
    frame = RECORDED[name].decode()
    assert good in frame
    assert any(fault in found for found in faults(frame.replace(good, bad, 1)))


def test_heartbeat_says_null_and_nothing_else_does() -> None:
    said = json.loads(RECORDED["out.heartbeat.idle"])
    assert said["active_model"] is None
    assert [name for name in SENT if b"null" in RECORDED[name]] == ["out.heartbeat.idle"]
