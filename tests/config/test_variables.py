"""The environment's rule, read on its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.variables import read, variable


def test_the_rule() -> None:
    assert variable(("stores", "s3", "ca_file")) == "POOLHAND_STORES__S3__CA_FILE"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("POOLHAND_COORDINATOR__URL", "7", "7"),
        ("POOLHAND_COORDINATOR__TOKEN_ENV", "true", "true"),
        ("POOLHAND_POOLS__ASSIGNED", "[1]", "[1]"),
        ("POOLHAND_LOG__LEVEL", "debug", "debug"),
        ("POOLHAND_SLOTS__MAX_MODEL_SLOTS", "7", 7),
        ("POOLHAND_COORDINATOR__PRIVATE_ONLY", "true", True),
        ("POOLHAND_REQUESTS__DRAIN_S", "0.5", 0.5),
        ("POOLHAND_POOLS__ALLOWED", '["a"]', ["a"]),
        ("POOLHAND_MODELS", '[{id = "a"}]', [{"id": "a"}]),
    ],
)
def test_text_stands_as_it_is_and_all_else_as_toml(name: str, text: str, value: object) -> None:
    found = read({name: text, "HOME": "/", "POOLHAND_UNRELATED": "x"})
    assert list(found.values.values()) == [value]
    assert list(found.variables.values()) == [name]
    assert found.problems == []


def test_two_close_names_do_not_hide_one_another() -> None:
    found = read({"POOLHAND_LOGLEVEL": "x", "POOLHAND_MODELS__0__ID": "x"})
    assert [problem.place.split()[-1] for problem in found.problems] == [
        "POOLHAND_LOGLEVEL",
        "POOLHAND_MODELS__0__ID",
    ]


def test_a_key_without_its_table_is_not_passed_over() -> None:
    found = read({"POOLHAND_MAX_MODEL_SLOTS": "2", "POOLHAND_PORT": "tcp://10.0.0.1:80"})
    assert found.values == {}
    assert [(one.place, one.suggestion) for one in found.problems] == [
        (
            "environment variable POOLHAND_MAX_MODEL_SLOTS",
            "did you mean POOLHAND_SLOTS__MAX_MODEL_SLOTS?",
        )
    ]


def test_a_second_line_is_no_way_to_a_second_key() -> None:
    found = read({"POOLHAND_SLOTS__MAX_MODEL_SLOTS": "1\nslots = 3"})
    assert found.values == {}
    assert [problem.words[:16] for problem in found.problems] == ["is no TOML value"]


@given(st.text())
def test_law_one_variable_never_sets_two_keys(text: str) -> None:
    found = read({"POOLHAND_SLOTS__MAX_MODEL_SLOTS": text})
    assert len(found.values) + len(found.problems) == bool(text)
    assert set(found.values) <= {("slots", "max_model_slots")}
