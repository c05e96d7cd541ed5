"""The coordinator's reading of failure words: its table, and what holds for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.dev.classes import (
    DRAINING_TEXT,
    LoadClass,
    classify_load,
    client_error,
    is_capacity,
    is_hopeless,
)
from poolhand.config.refusals import InsufficientMemory, ModelNotInPool, NodeDraining, SlotsBusy


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("provider draining for update", LoadClass.DRAINING_FOR_UPDATE),
        ("Provider draining for update", LoadClass.DRAINING),
        ("provider draining for update ", LoadClass.DRAINING),
        ("insufficient memory to load model 'x'", LoadClass.INSUFFICIENT_MEMORY),
        ("Insufficient KV", LoadClass.INSUFFICIENT_MEMORY),
        ("model load failed: out of memory", LoadClass.INSUFFICIENT_MEMORY),
        ("killed: OOM", LoadClass.INSUFFICIENT_MEMORY),
        ("no room in the waiting room", LoadClass.OTHER),
        ("all 1 model slot(s) are active; cannot load 'x'", LoadClass.SLOT_CAP),
        ("slot cap reached", LoadClass.SLOT_CAP),
        ("slot is odd", LoadClass.OTHER),
        ("model 'x' not found in local store", LoadClass.MODEL_NOT_FOUND),
        ("model 'x' not in advertised model list", LoadClass.MODEL_NOT_FOUND),
        ("not in local", LoadClass.MODEL_NOT_FOUND),
        ("no such model", LoadClass.MODEL_NOT_FOUND),
        ("provider is shutting down", LoadClass.OTHER),
        ("", LoadClass.OTHER),
        # the first match wins
        ("not found: draining", LoadClass.DRAINING),
        ("slot active: out of memory", LoadClass.INSUFFICIENT_MEMORY),
        ("no such model; cannot load into slot", LoadClass.SLOT_CAP),
    ],
)
def test_the_words_of_a_failed_load_choose_its_class(error: str, expected: LoadClass) -> None:
    assert classify_load(error) is expected


def test_the_nodes_own_sentences_fall_where_they_should() -> None:
    sentences = {
        NodeDraining(): LoadClass.DRAINING_FOR_UPDATE,
        SlotsBusy(model="m", slots=1): LoadClass.SLOT_CAP,
        ModelNotInPool(model="m", pool="p"): LoadClass.MODEL_NOT_FOUND,
        InsufficientMemory(model="m", needs_bytes=2, free_bytes=1): LoadClass.INSUFFICIENT_MEMORY,
    }
    assert {error: classify_load(error.load_text) for error in sentences} == sentences


def test_only_a_missing_model_waits_longer_and_only_some_keep_their_queue() -> None:
    assert {each for each in LoadClass if each.back_off_s == 120} == {LoadClass.MODEL_NOT_FOUND}
    assert {each for each in LoadClass if each.keeps_queue} == {
        LoadClass.DRAINING_FOR_UPDATE,
        LoadClass.OTHER,
    }


WORDS = st.sampled_from(
    ["draining", "slot", "active", "cap", "not found", "oom", "out of memory", "model", "room"]
)


@given(st.lists(WORDS))
def test_letter_case_matters_for_one_text_only(words: list[str]) -> None:
    assert classify_load(" ".join(words)) is classify_load(" ".join(words).upper())
    assert classify_load(DRAINING_TEXT) is not classify_load(DRAINING_TEXT.upper())


@pytest.mark.parametrize(
    ("code", "error", "status"),
    [
        (500, "engine died", 500),
        (500, "model load failed: bad_model", 500),
        (503, "insufficient memory", 429),
        (503, "request rejected: queue full", 429),
        (503, "provider draining for update", 429),
        (503, "model 'x' not loaded: outside assigned pool", 429),
        (503, "no words we know", 503),
        (429, "queue full", 429),
        (499, "request cancelled", 499),
        (400, "prompt exceeds context window of the model", 429),
        (400, "bad request: no messages", 400),
        (404, "model missing", 404),
        (503, "fatal error: out of memory", 503),
        (0, "", 502),
        (200, "fine", 502),
        (600, "odd", 502),
    ],
)
def test_a_request_that_failed_is_mapped_for_the_client(code: int, error: str, status: int) -> None:
    seen = client_error(code, error)
    assert seen.status == status
    assert (seen.retry_after_s == 2) == (status == 429)


@given(st.integers(), st.text())
def test_the_client_always_sees_an_error(code: int, error: str) -> None:
    assert 400 <= client_error(code, error).status <= 599


@pytest.mark.parametrize("fault", ["panic", "fatal error", "backend crash", "internal error"])
@given(st.text())
def test_a_fault_word_outweighs_all_capacity_words(fault: str, rest: str) -> None:
    assert not is_capacity(f"queue full {fault} {rest}")
    assert is_capacity("queue full")


def test_a_request_too_long_for_the_model_is_hopeless_and_a_full_queue_is_not() -> None:
    assert is_hopeless("prompt exceeds the CONTEXT length")
    assert is_hopeless("40 tokens exceeds context")
    assert not is_hopeless("request rejected: queue full")
    assert is_capacity("every slot is at its cap")
    assert is_capacity("OOM")
    assert not is_capacity("bloom")
