"""Which requests a fault strikes, how often, and what is refused as no fault at all."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from poolhand.agent.dev.faults import NO_FAULT, Fault, Faults, read_faults


def test_no_fault_is_no_fault() -> None:
    assert Faults().strike("get", "key") is NO_FAULT


def test_a_fault_strikes_what_its_glob_and_its_operation_name() -> None:
    faults = Faults([Fault(key="a/*.bin", status=503)])
    assert faults.strike("get", "a/x.bin").status == 503
    assert faults.strike("get", "b/x.bin") == NO_FAULT
    assert faults.strike("get", "A/x.bin") == NO_FAULT, "keys have a case"
    assert faults.strike("head", "a/x.bin") == NO_FAULT
    assert faults.strike("list", "a/x.bin") == NO_FAULT
    anywhere = Faults([Fault(on="any", status=500)])
    assert {anywhere.strike(on, "k").status for on in ("get", "head", "list")} == {500}


@settings(max_examples=50)
@given(every=st.integers(1, 5), first=st.none() | st.integers(1, 12), asked=st.integers(0, 20))
def test_every_kth_of_the_first_n_is_struck(every: int, first: int | None, asked: int) -> None:
    faults = Faults([Fault(status=503, every=every, first=first)])
    struck = [n for n in range(1, asked + 1) if faults.strike("get", "k").status]
    most = asked if first is None else min(first, asked)
    assert struck == list(range(every, most + 1, every))


def test_effects_of_several_faults_add_up_and_the_last_word_counts() -> None:
    faults = Faults([Fault(latency_ms=5, status=500), Fault(status=503), Fault(key="no")])
    hit = faults.strike("get", "k")
    assert (hit.latency_ms, hit.status) == (5, 503)


def test_an_object_is_replaced_after_so_many_gets_of_its_own() -> None:
    faults = Faults([Fault(key="a*", replace_after_gets=2)])
    seen: list[bool] = []
    for key in ("a1", "a1", "a2", "a1", "b"):
        seen.append(faults.is_replaced(key))
        faults.strike("get", key)
    assert seen == [False, False, False, True, False]
    faults.strike("head", "a2")
    assert not faults.is_replaced("a2"), "only GETs count"
    faults.put(faults.in_force)
    assert not faults.is_replaced("a1"), "putting faults begins anew"


def test_faults_are_read_from_json_one_or_many() -> None:
    one = {"key": "*.safetensors", "reset_after_bytes": 0}
    assert read_faults(json.dumps(one)) == [Fault(key="*.safetensors", reset_after_bytes=0)]
    assert read_faults(json.dumps([one, {}]).encode()) == [*read_faults(json.dumps(one)), Fault()]
    assert read_faults(" {}") == [Fault()]
    assert read_faults(b"[]") == []


@pytest.mark.parametrize(
    "text", ["", "1", "{", '{"typo": 1}', '{"every": 0}', '{"status": 200}', '{"latency_ms": -1}']
)
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        read_faults(text)
