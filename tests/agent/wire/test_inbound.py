"""A newer coordinator does not break an older node, and an unusable message is not guessed at."""

import pytest
from pydantic import ValidationError

from poolhand.agent.wire.inbound import (
    MAX_NAME_CHARS,
    SHAPES,
    AttestationChallenge,
    Cancel,
    DesiredModels,
    InferenceRequest,
    LoadModel,
    PrefetchModel,
    RuntimeStatus,
    TrustStatus,
    Unknown,
    read,
)
from poolhand.agent.wire.types import DesiredModel, Mismatch, Sealed

NAMED = {
    "inference_request": "request_id",
    "cancel": "request_id",
    "attestation_challenge": "nonce",
    "load_model": "model_id",
    "prefetch_model": "model_id",
}


@pytest.mark.parametrize("kind", SHAPES)
def test_a_message_knows_its_own_word(kind: str) -> None:
    assert SHAPES[kind].model_fields["type"].default == kind


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("name", [None, "", 7, ["x"], "x" * (MAX_NAME_CHARS + 1)])
def test_a_name_that_is_echoed_is_neither_empty_nor_endless(kind: str, name: object) -> None:
    with pytest.raises(ValidationError):
        read(SHAPES[kind], {NAMED[kind]: name})


@pytest.mark.parametrize("kind", NAMED)
def test_the_longest_name_is_taken(kind: str) -> None:
    name = "x" * MAX_NAME_CHARS
    assert getattr(read(SHAPES[kind], {NAMED[kind]: name}), NAMED[kind]) == name


@pytest.mark.parametrize("kind", sorted(set(SHAPES) - set(NAMED)))
def test_a_message_without_a_name_may_be_all_empty(kind: str) -> None:
    shape = SHAPES[kind]
    fields = dict.fromkeys(shape.model_fields, None)
    assert read(shape, fields) == read(shape, {}) == shape.model_validate({})


def test_zero_values() -> None:
    assert read(RuntimeStatus, {}) == RuntimeStatus(verified=False, mismatches=())
    assert read(TrustStatus, {}) == TrustStatus(trust_level="", status="", reason="")
    assert read(PrefetchModel, {"model_id": "m"}) == PrefetchModel(model_id="m", priority=0)
    nonce = read(AttestationChallenge, {"nonce": "n", "timestamp": None})
    assert nonce == AttestationChallenge(nonce="n", timestamp="")


def test_a_mismatch_is_shown_as_far_as_it_was_told() -> None:
    heard = read(RuntimeStatus, {"mismatches": [{"component": "backend"}, None]})
    assert heard == RuntimeStatus(mismatches=(Mismatch(component="backend"),))


def test_desired_models_keep_their_order_and_lose_what_names_nothing() -> None:
    rows = [
        {"model_name": "b", "desired_build": "org/b", "previous_build": "org/a"},
        {"model_name": "x"},
        None,
        {"desired_build": "org/y"},
        {"model_name": "a", "desired_build": "org/a", "previous_build": None},
    ]
    heard = read(DesiredModels, {"models": rows})
    assert heard == DesiredModels(
        models=(
            DesiredModel(model_name="b", desired_build="org/b", previous_build="org/a"),
            DesiredModel(model_name="a", desired_build="org/a"),
        )
    )


def test_one_row_of_the_wrong_type_spoils_the_whole_statement() -> None:
    with pytest.raises(ValidationError):
        read(DesiredModels, {"models": [{"model_name": "a", "desired_build": 4}]})


def test_a_sealed_body_is_kept_and_extras_are_not() -> None:
    body = {"ephemeral_public_key": "k", "ciphertext": "c", "scheme": "box"}
    heard = read(InferenceRequest, {"request_id": "r", "encrypted_body": body, "has_plain_body": 1})
    assert heard == InferenceRequest(
        request_id="r", encrypted_body=Sealed(ephemeral_public_key="k", ciphertext="c")
    )


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        "x",
        3,
        [],
        {"ephemeral_public_key": "k"},
        {"ephemeral_public_key": 1, "ciphertext": ""},
    ],
)
def test_a_body_that_cannot_be_one_leaves_a_request_to_refuse(body: object) -> None:
    heard = read(InferenceRequest, {"request_id": "r", "encrypted_body": body})
    assert heard == InferenceRequest(request_id="r")


@pytest.mark.parametrize("body", [{"messages": ["swordfish"]}, "swordfish", ""])
def test_a_plain_body_is_noticed_and_forgotten(body: object) -> None:
    heard = read(InferenceRequest, {"request_id": "r", "body": body})
    assert isinstance(heard, InferenceRequest)
    assert heard.has_plain_body
    assert "swordfish" not in heard.model_dump_json()


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"model": "", "messages": None, "stream": False},
        {"model": "", "messages": [], "max_tokens": 0, "endpoint": ""},
    ],
)
def test_a_body_that_was_not_filled_in_is_none(body: object) -> None:
    sealed = {"ephemeral_public_key": "k", "ciphertext": "c"}
    heard = read(InferenceRequest, {"request_id": "r", "body": body, "encrypted_body": sealed})
    assert heard == InferenceRequest(
        request_id="r", encrypted_body=Sealed(ephemeral_public_key="k", ciphertext="c")
    )


@pytest.mark.parametrize("field", ["model", "messages", "stream", "prompt"])
def test_one_word_makes_a_plain_body(field: str) -> None:
    sealed = {"ephemeral_public_key": "k", "ciphertext": "c"}
    body = {"model": "", "messages": None, "stream": False, field: "swordfish"}
    heard = read(InferenceRequest, {"request_id": "r", "body": body, "encrypted_body": sealed})
    assert isinstance(heard, InferenceRequest)
    assert heard.has_plain_body


def test_a_request_shows_no_ciphertext() -> None:
    body = {"ephemeral_public_key": "k", "ciphertext": "c3dvcmRmaXNo"}
    heard = read(InferenceRequest, {"request_id": "r", "encrypted_body": body})
    assert "c3dvcmRmaXNo" not in repr(heard)
    assert "c3dvcmRmaXNo" not in str(heard)


def test_messages_are_values() -> None:
    assert Cancel(request_id="r") == Cancel(request_id="r")
    assert LoadModel(model_id="m") != PrefetchModel(model_id="m")
    assert Unknown(type="t", reason="w") == Unknown(type="t", reason="w")
