"""Which names are quoted, and which reasons are passed on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.words import harmless, quoted


@pytest.mark.parametrize("name", ["a", "org/tiny-a", "Org/Model-7B@4bit:x", "org/bloom", "x" * 256])
def test_a_plain_name_is_quoted(name: str) -> None:
    assert quoted(name) == f"'{name}'"


@pytest.mark.parametrize(
    "name",
    ["", "x" * 257, "-a", "a b", "a'b", "a\n", "Draining", "my-slot", "oom", "7b-OOM", "Panic"],
)
def test_what_could_be_taken_for_something_else_is_not(name: str) -> None:
    assert quoted(name) == "'…'"


@given(st.text())
def test_law_a_quoted_name_holds_no_second_quote_and_no_blank(name: str) -> None:
    inside = quoted(name)[1:-1]
    assert "'" not in inside
    assert not any(letter.isspace() for letter in inside)


def test_a_reason() -> None:
    assert harmless("top_p must be below 1") == "top_p must be below 1"
    for reason in ("PANIC: x", "a fatal error", "The operation couldn't be completed."):
        assert harmless(reason) == "not understood"
