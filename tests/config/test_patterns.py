"""Expressions that are compiled late: they find what those of the library find."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.patterns import pattern


@given(st.sampled_from([r"a+(b)?", r"[^a]", r"(?P<x>\d+)-", r""]), st.text("ab1-", max_size=6))
def test_what_is_found_is_what_the_library_finds(written: str, text: str) -> None:
    ours, theirs = pattern(written), re.compile(written)
    for one, other in (
        (ours.search(text), theirs.search(text)),
        (ours.match(text), theirs.match(text)),
    ):
        assert (one and one.group()) == (other and other.group())
    assert ours.sub("-", text) == theirs.sub("-", text)
    assert (ours.fullmatch(text) is None) == (theirs.fullmatch(text) is None)
    assert ours.findall(text) == theirs.findall(text)


def test_bytes_and_flags_are_heard() -> None:
    assert pattern(rb"a\xff").fullmatch(b"a\xff") is not None
    assert pattern("a", re.IGNORECASE).fullmatch("A") is not None


def test_what_is_no_expression_is_told_when_it_is_asked() -> None:
    wrong = pattern("(")
    with pytest.raises(re.error, match="missing"):
        _ = wrong.search("a")


def test_a_method_that_there_is_not_is_missed() -> None:
    with pytest.raises(AttributeError):
        _ = pattern("a").found  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportAttributeAccessIssue]  # the point


def test_nothing_is_compiled_before_it_is_asked() -> None:
    program = """
import re
from poolhand.config.patterns import pattern
made, compiled = re.compile, []
re.compile = lambda text, flags=0: compiled.append(text) or made(text, flags)
one = pattern("a(b)")
print(compiled)
print(one.search("ab")[1], one.fullmatch("ab") is not None, compiled)
"""
    ended = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines() == ["[]", "b True ['a(b)']"]
