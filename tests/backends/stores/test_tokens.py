"""Tokens: where they are read, what they may hold, and that a failure never shows one."""

from pathlib import Path

import pytest

from poolhand.backends.stores.errors import StoreDenied
from poolhand.backends.stores.tokens import MOST_TOKEN_BYTES, basic, bearer, first, from_file


def test_the_first_variable_that_says_anything_wins() -> None:
    environ = {"A": " ", "B": " b ", "C": "c"}
    assert first(environ, ("A", "B", "C")) == "b"
    assert first(environ, ("A", "X")) == ""


def test_a_token_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert from_file(path, store="s", is_needed=False) == ""
    with pytest.raises(StoreDenied, match="cannot be read"):
        from_file(path, store="s", is_needed=True)
    path.write_text("\n")
    with pytest.raises(StoreDenied, match="is empty"):
        from_file(path, store="s", is_needed=True)
    path.write_text(" t0ken\n")
    assert from_file(path, store="s", is_needed=True) == "t0ken"
    path.write_bytes(b"\xff")
    assert from_file(path, store="s", is_needed=False) == ""
    path.write_bytes(b"x" * (MOST_TOKEN_BYTES + 1))
    assert len(from_file(path, store="s", is_needed=True)) == MOST_TOKEN_BYTES


def test_headers() -> None:
    assert bearer("", store="s") == {}
    assert bearer("t0ken", store="s") == {"authorization": "Bearer t0ken"}
    assert basic("$oauthtoken", "k3y") == {"authorization": "Basic JG9hdXRodG9rZW46azN5"}


@pytest.mark.parametrize("token", ["t0\r\nx-evil: 1", "t0 ken", "t\u00f6ken", "t0\x00"])
def test_a_token_cannot_bring_a_header_of_its_own(token: str) -> None:
    with pytest.raises(StoreDenied) as caught:
        bearer(token, store="s")
    assert token not in str(caught.value)
