"""The tree of errors, and their texts against a coordinator's table of words."""

import inspect
import re
from collections.abc import Iterator, Mapping
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.engines import errors as engines
from poolhand.backends.engines import hosted_errors as hosted
from poolhand.backends.stores import errors as stores
from poolhand.config import errors as config
from poolhand.config import refusals
from poolhand.config.errors import AgentError, ConfigInvalid, Retry
from poolhand.config.refusals import (
    InsufficientMemory,
    ModelNotInPool,
    NodeDraining,
    PlacementError,
    SlotsBusy,
)

HOMES: tuple[ModuleType, ...] = (config, refusals, stores, engines, hosted)

LOAD_CLASSES: tuple[tuple[str, str], ...] = (
    ("draining_exactly", r"^provider draining for update$"),
    ("draining", r"draining"),
    ("insufficient_memory", r"insufficient memory|insufficient kv|out of memory|\boom\b"),
    ("slot_cap", r"slot(?=.*(active|cap|cannot load))|(active|cap|cannot load).*slot"),
    ("model_not_found", r"not found|not in advertised|not in local|no such model"),
)
"""How a coordinator sorts ``load_model_status.error``, in lower case; the first match wins."""

CAPACITY = re.compile(
    r"token_budget_exhausted|token budget|kv cache headroom|kv headroom|insufficient kv|"
    r"context length|context window|insufficient memory|out of memory|draining|"
    r"request rejected|queue full|server busy|request timed out waiting for capacity|"
    r"not loaded|no model loaded|\boom\b|exceeds.*context|slot.*(active|cap)"
)
FAULT = re.compile(
    r"panic|fatal error|backend crash|internal error|the operation couldn't be completed"
)

CLASS_OF: Mapping[str, str] = {
    "model_not_in_pool": "model_not_found",
    "slots_busy": "slot_cap",
    "insufficient_memory": "insufficient_memory",
    "node_draining": "draining_exactly",
    "node_resting": "draining",
    "model_missing": "model_not_found",
    "weights_corrupt": "model_not_found",
    "weights_unsafe": "model_not_found",
}
"""The class of every leaf that must not be ``other``."""

STATUS_OF: Mapping[str, int] = {
    "request_unreadable": 400,
    "request_refused": 400,
    "request_cancelled": 499,
    "engine_missing": 500,
    "engine_start_failed": 500,
    "engine_timeout": 500,
    "engine_unreachable": 500,
    "engine_broke_off": 500,
    "engine_died": 500,
    "provider_broke": 500,
}
"""The status of every leaf that is not a free failover, 503."""


def family(base: type[AgentError]) -> Iterator[type[AgentError]]:
    for child in base.__subclasses__():
        yield from family(child)
        if "code" in vars(child) and child.__module__ in {home.__name__ for home in HOMES}:
            yield child


LEAVES = sorted(set(family(AgentError)), key=lambda leaf: leaf.code)
each_leaf = pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.code)


def made(leaf: type[AgentError], text: str = "org/tiny", number: int = 3) -> AgentError:
    """An error whose every fact is ``text`` or ``number``."""
    facts: dict[str, object] = {}
    for name, fact in inspect.signature(leaf).parameters.items():
        facts[name] = text if fact.annotation is str else number
        if name == "others":
            facts[name] = ()
    return leaf(**facts)


def class_of(text: str) -> str:
    low = text.lower()
    return next((name for name, words in LOAD_CLASSES if re.search(words, low)), "other")


@each_leaf
def test_every_error_is_complete(leaf: type[AgentError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", leaf.code)
    assert leaf.retry in Retry
    assert 400 <= leaf.status < 600
    assert leaf.remedy.endswith(".")
    (home,) = (home for home in HOMES if home.__name__ == leaf.__module__)
    assert re.search(rf"\* {leaf.__name__} +``{leaf.code}``", home.__doc__ or "")


def test_codes_are_unique_and_the_trees_name_no_ghosts() -> None:
    codes = [leaf.code for leaf in LEAVES]
    listed = [code for home in HOMES for code in re.findall(r" ``(\w+)``\n", home.__doc__ or "")]
    assert sorted(listed) == sorted(codes)
    assert len(codes) == len(set(codes))


@each_leaf
def test_a_failed_load_falls_into_its_class(leaf: type[AgentError]) -> None:
    assert class_of(made(leaf).load_text) == CLASS_OF.get(leaf.code, "other")


@each_leaf
def test_a_refused_request_costs_what_it_should(leaf: type[AgentError]) -> None:
    error = made(leaf)
    assert error.wire_status == STATUS_OF.get(leaf.code, 503)
    if error.wire_status == 503:
        assert CAPACITY.search(error.request_text.lower()), "a 503 without a capacity word"
    assert not FAULT.search(error.request_text.lower())


def test_the_texts_are_spelled_as_agreed() -> None:
    outside = ModelNotInPool(model="org/x", pool="p")
    assert outside.load_text == (
        "model 'org/x' not in advertised model list: outside assigned pool 'p'"
    )
    assert outside.request_text == "model 'org/x' not loaded: outside assigned pool"
    busy = SlotsBusy(model="org/x", slots=2)
    assert busy.load_text == "all 2 model slot(s) are active; cannot load 'org/x'"
    assert busy.request_text == "model 'org/x' not loaded: all 2 model slot(s) are active"
    full = InsufficientMemory(model="org/x", needs_bytes=3 * 2**30, free_bytes=2**29)
    assert full.load_text == full.request_text
    assert full.load_text == (
        "insufficient memory to load model 'org/x' (0.5 GiB free, needs 3.0 GiB)"
    )
    assert NodeDraining().load_text == "provider draining for update"
    resting = refusals.NodeResting(cause="keyboard or mouse used 2 s ago")
    assert resting.load_text == resting.request_text == "provider draining: resting"
    assert refusals.Overloaded(running=1, most=1).request_text == "request rejected: queue full"
    assert refusals.RequestCancelled().request_text == "request cancelled"
    returning = refusals.ModelCrashed(model="org/x", times=2, waits_s=4.0)
    assert returning.request_text == "model 'org/x' not loaded: it is on its way back"
    given_up = refusals.ModelCrashed(model="org/x", times=3, waits_s=None)
    assert given_up.request_text == "model 'org/x' not loaded: its engine ended 3 time(s)"
    starved = engines.EngineStartFailed(engine="e", kind="out_of_memory", reason="")
    assert class_of(starved.load_text) == "insufficient_memory"


@given(model=st.text() | st.sampled_from(["org/slot-cap", "a/OOM", "draining", "x/panic-7b"]))
@settings(max_examples=60)
def test_no_name_moves_a_failure_into_another_class(model: str) -> None:
    """The pool's refusal is permanent whatever the model is called."""
    outside = ModelNotInPool(model=model, pool=model)
    assert class_of(outside.load_text) == "model_not_found"
    for forbidden in ("slot", "insufficient memory", "not loaded"):
        assert forbidden not in outside.load_text.lower()
    for leaf in LEAVES:
        if issubclass(leaf, PlacementError | refusals.RequestError):
            error = made(leaf, model)
            assert not FAULT.search(error.request_text.lower()), leaf
            if issubclass(leaf, PlacementError):
                assert class_of(error.load_text) == CLASS_OF[leaf.code]


def test_a_name_that_is_only_a_name_is_quoted() -> None:
    for name in ("org/tiny-a", "mlx-community/Llama-3.2-1B@4bit", "bigscience/bloom-7b", "zoom"):
        assert f"'{name}'" in str(SlotsBusy(model=name, slots=1))


def test_a_reason_that_sounds_like_a_fault_is_not_passed_on() -> None:
    assert str(refusals.RequestRefused(reason="Fatal Error")) == "bad request: not understood"
    assert str(refusals.RequestUnreadable(reason="no nonce")) == "bad request: no nonce"


def test_an_invalid_config_names_its_place() -> None:
    at = ConfigInvalid(
        path="a.toml", line=3, column=7, problem="no", suggestion="yes?", others=("b",)
    )
    assert str(at) == "a.toml:3:7: no (yes?)"
    assert at.others == ("b",)
    assert str(ConfigInvalid(path="a.toml", line=None, problem="no")) == "a.toml: no"
