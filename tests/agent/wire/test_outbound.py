"""What we say is exact, and what is secret shows on the wire alone."""

import json

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from poolhand.agent.wire.codec import encode
from poolhand.agent.wire.outbound import (
    AttestationResponse,
    Heartbeat,
    InferenceAccepted,
    InferenceComplete,
    InferenceError,
    LoadModelStatus,
    PrefetchModelStatus,
    Register,
)
from poolhand.agent.wire.types import Stats, Usage
from tests.wire.goldens import SENT
from tests.wire.schema import SCHEMA, STRUCTS

STATS = Stats(requests_served=0, tokens_generated=0)


def register(**changes: object) -> Register:
    fields = {name: getattr(SENT["out.register"], name) for name in Register.model_fields}
    return Register.model_validate({**fields, **changes})


@pytest.mark.parametrize("message", SENT.values(), ids=list(SENT))
def test_the_type_comes_first(message: BaseModel) -> None:
    assert next(iter(json.loads(message.model_dump_json()))) == "type"


def test_the_second_opinion_knows_the_same_fields() -> None:
    for message in SENT.values():
        fields = set(type(message).model_fields) - {"type"}
        assert fields == set(SCHEMA[message.type])
    heartbeat = SENT["out.heartbeat"]
    assert isinstance(heartbeat, Heartbeat)
    assert set(Stats.model_fields) == set(STRUCTS["stats"])


def test_a_token_is_plain_on_the_wire_and_hidden_elsewhere() -> None:
    message = register(auth_token=SecretStr("swordfish"))
    assert '"auth_token":"swordfish"' in encode(message)
    for shown in (repr(message), str(message), f"{message}", repr(message.model_dump())):
        assert "swordfish" not in shown


def test_a_token_does_not_show_in_a_refusal() -> None:
    with pytest.raises(ValidationError) as caught:
        register(auth_token=SecretStr("swordfish"), version="1")
    assert "swordfish" not in str(caught.value)


def test_without_a_token_there_is_no_field() -> None:
    assert "auth_token" not in encode(register(auth_token=None))


@pytest.mark.parametrize("version", ["", "1.2", "v1.2.3", "1.2.3.dev0", "1.2.3\n", "1.2.x"])
def test_a_version_has_three_numbers(version: str) -> None:
    with pytest.raises(ValidationError):
        register(version=version)


@pytest.mark.parametrize("claim", [False, 0, "true", None])
def test_chunks_are_always_sealed(claim: object) -> None:
    with pytest.raises(ValidationError):
        register(encrypted_response_chunks=claim)


def test_nothing_of_apples_attestation_can_be_sent() -> None:
    for field in ("attestation", "apns_device_token", "apns_environment", "python_hash"):
        with pytest.raises(ValidationError):
            register(**{field: "x"})


def test_a_heartbeat_clears_the_active_model() -> None:
    idle = Heartbeat(status="idle", warm_models=(), stats=STATS)
    said = json.loads(encode(idle))
    assert said.pop("active_model", "absent") is None
    assert set(said) == {"type", "status", "warm_models", "stats"}


@pytest.mark.parametrize("status", ["draining", "", "IDLE"])
def test_a_heartbeat_uses_words_that_have_an_effect(status: str) -> None:
    with pytest.raises(ValidationError):
        Heartbeat.model_validate({"status": status, "warm_models": (), "stats": STATS})


@pytest.mark.parametrize("status", [200, 399, 600, 503.0, True])
def test_an_error_has_the_status_of_an_error(status: object) -> None:
    with pytest.raises(ValidationError):
        InferenceError.model_validate({"request_id": "r", "error": "e", "status_code": status})


def test_an_error_reason_is_one_of_four() -> None:
    fields = {"request_id": "r", "error": "e", "status_code": 500}
    said = InferenceError.model_validate({**fields, "error_reason": "model_load"})
    assert '"error_reason":"model_load"' in encode(said)
    with pytest.raises(ValidationError):
        InferenceError.model_validate({**fields, "error_reason": "bad luck"})


@pytest.mark.parametrize("shape", [LoadModelStatus, PrefetchModelStatus])
def test_load_words_are_closed(shape: type[LoadModelStatus | PrefetchModelStatus]) -> None:
    with pytest.raises(ValidationError):
        shape.model_validate({"model_id": "m", "status": "done"})


def test_zero_and_false_are_said() -> None:
    complete = InferenceComplete(
        request_id="r", usage=Usage(prompt_tokens=0, completion_tokens=0), response_hash="ab"
    )
    assert json.loads(encode(complete))["usage"] == {"prompt_tokens": 0, "completion_tokens": 0}
    said = AttestationResponse(nonce="n", signature="s", public_key="k", sip_enabled=False)
    assert json.loads(encode(said))["sip_enabled"] is False


@pytest.mark.parametrize("name", ["", "\ud800", None, 3])
def test_a_name_can_be_written(name: object) -> None:
    with pytest.raises(ValidationError):
        InferenceAccepted.model_validate({"request_id": name})
