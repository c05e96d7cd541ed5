"""Additions to the protocol, as frames."""

import json

import pytest

from poolhand.agent.wire.codec import decode, encode
from poolhand.agent.wire.extensions import (
    COMMANDS,
    Answer,
    AssignPool,
    AssignPoolStatus,
    CancelLoadStatus,
    Drain,
    DrainStatus,
    UnloadModelStatus,
    read_command,
)
from poolhand.agent.wire.inbound import Unknown
from tests.wire.schema import EXTENSIONS, faults


def frame(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields})


def test_a_pool_may_be_assigned_with_everything_or_with_little() -> None:
    full = frame(
        "assign_pool", pool="x", epoch=7, models=["a"], preload="a",
        expires_at="2027-01-01T00:00:00Z", later="unknown",
    )  # fmt: skip
    assert decode(full) == AssignPool(
        pool="x", epoch=7, models=("a",), preload="a", expires_at="2027-01-01T00:00:00Z"
    )
    assert decode(frame("assign_pool", pool=None, epoch=0)) == AssignPool(epoch=0)


def test_the_older_name_is_understood() -> None:
    heard = decode(frame("assign_model", model_id="a", epoch=3))
    assert heard == AssignPool(pool="a", preload="a", epoch=3)
    assert read_command("something_else", {}) is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"epoch": -1}, {"epoch": 1.0}, {"epoch": 2**63}, {"epoch": "1"}, {"epoch": 1, "pool": ""},
     {"epoch": 1, "models": "a"}, {"epoch": 1, "models": [""]},
     {"epoch": 1, "models": ["a"] * 1025}],
)  # fmt: skip
def test_what_cannot_be_meant_is_dropped(fields: dict[str, object]) -> None:
    assert isinstance(decode(frame("assign_pool", **fields)), Unknown)


@pytest.mark.parametrize("kind", ["unload_model", "cancel_load"])
def test_a_model_has_to_be_named(kind: str) -> None:
    assert decode(frame(kind, model_id="a")) == COMMANDS[kind].model_validate({"model_id": "a"})
    assert isinstance(decode(frame(kind)), Unknown)


@pytest.mark.parametrize("deadline_s", [0, 1.5, None])
def test_a_drain_may_have_a_deadline(deadline_s: float | None) -> None:
    assert decode(frame("drain", deadline_s=deadline_s)) == Drain(deadline_s=deadline_s)
    assert isinstance(decode(frame("drain", deadline_s=-1)), Unknown)


ANSWERS: list[Answer] = [
    AssignPoolStatus(pool="x", epoch=1, status="applied", assigned="x"),
    UnloadModelStatus(model_id="a", status="refused", error="busy"),
    CancelLoadStatus(model_id="a", status="cancelled"),
    DrainStatus(status="drained", in_flight=0),
]


def test_every_answer_is_one_that_a_coordinator_takes() -> None:
    for answer in ANSWERS:
        assert isinstance(
            answer, AssignPoolStatus | UnloadModelStatus | CancelLoadStatus | DrainStatus
        )
        assert faults(encode(answer)) == []
        assert set(type(answer).model_fields) - {"type"} == set(EXTENSIONS[answer.type])
