"""Exact going out, patient coming in."""

import math

import pytest
from pydantic import ValidationError

from poolhand.agent.wire.types import (
    MAX_INT,
    BackendCapacity,
    DesiredModel,
    Hardware,
    Mismatch,
    ModelInfo,
    Sealed,
    SlotCapacity,
    SystemMetrics,
    Usage,
)


@pytest.mark.parametrize("tokens", [True, 64.0, "64", -1, MAX_INT + 1, None])
def test_an_integer_is_an_integer(tokens: object) -> None:
    with pytest.raises(ValidationError):
        Usage.model_validate({"prompt_tokens": tokens, "completion_tokens": 0})


@pytest.mark.parametrize("tokens", [0, MAX_INT])
def test_every_integer_a_coordinator_can_read_is_taken(tokens: int) -> None:
    assert Usage(prompt_tokens=tokens, completion_tokens=0).prompt_tokens == tokens


@pytest.mark.parametrize("gib", [math.nan, math.inf, -math.inf, -0.5, "1.0", True])
def test_a_measure_is_finite_and_a_number(gib: object) -> None:
    with pytest.raises(ValidationError):
        BackendCapacity.model_validate({"slots": (), "total_memory_gb": gib})


@pytest.mark.parametrize("share", [math.nan, 1.01, -0.01])
def test_a_ratio_is_not_clamped_here(share: float) -> None:
    with pytest.raises(ValidationError):
        SystemMetrics(memory_pressure=share)


@pytest.mark.parametrize("thermal", ["hot", "", "NOMINAL"])
def test_thermal_words_are_closed(thermal: str) -> None:
    with pytest.raises(ValidationError):
        SystemMetrics.model_validate({"thermal_state": thermal})


def test_slot_words_are_closed() -> None:
    fields = {"model": "m", "num_running": 0, "num_waiting": 0}
    assert SlotCapacity.model_validate({**fields, "state": "idle"}).state == "idle"
    with pytest.raises(ValidationError):
        SlotCapacity.model_validate({**fields, "state": "ready"})


def test_a_field_of_our_own_making_is_refused() -> None:
    with pytest.raises(ValidationError):
        ModelInfo.model_validate({"id": "m", "size_bytes": 1, "colour": "red"})


def test_a_model_has_a_name() -> None:
    with pytest.raises(ValidationError):
        ModelInfo(id="", size_bytes=1)


def test_what_was_not_measured_is_absent() -> None:
    plain = Hardware(
        machine_model="", chip_name="", chip_family="unknown", chip_tier="", memory_gb=1
    )
    assert plain.gpu_cores is None
    assert SystemMetrics().model_dump(exclude_none=True) == {}


def test_a_struct_never_changes() -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=2)
    with pytest.raises(ValidationError):
        usage.prompt_tokens = 3  # type: ignore[misc]  # that it cannot be done is the point


def test_a_ciphertext_is_not_shown() -> None:
    assert "c2VjcmV0" not in repr(Sealed(ephemeral_public_key="k", ciphertext="c2VjcmV0"))


def test_a_refusal_does_not_show_what_it_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        Sealed.model_validate({"ephemeral_public_key": "k", "ciphertext": ["c2VjcmV0"]})
    assert "c2VjcmV0" not in str(caught.value)


def test_null_is_absent_and_unknown_is_dropped() -> None:
    fields = {"model_name": "a", "desired_build": None, "previous_build": "", "later": 1}
    desired = DesiredModel.model_validate(fields)
    assert desired == DesiredModel(model_name="a", desired_build="", previous_build=None)


def test_only_an_object_is_an_object() -> None:
    with pytest.raises(ValidationError):
        Mismatch.model_validate("component")
