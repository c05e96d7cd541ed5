"""Where a provider's key comes from, and how it is shown to the provider alone."""

from pathlib import Path

import pytest

from poolhand.backends.engines.hosted_key import key_of, shown
from poolhand.config.errors import SecretUnusable
from poolhand.config.external import External
from poolhand.config.secrets import Secret

KEY = "sk-canary-8472"


def external(**keys: object) -> External:
    return External.model_validate({"dialect": "openai", **keys})


def key_file(folder: Path, text: str = KEY, mode: int = 0o600) -> str:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_from_each_source(tmp_path: Path) -> None:
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    path = key_file(tmp_path, f"{KEY}\n")
    sources: list[tuple[External, dict[str, str]]] = [
        (external(key_file=path), {}),
        (external(key_env="K"), {"K": KEY}),
        (external(key_credential="key"), credentials),
    ]
    for named, environ in sources:
        key = key_of(named, environ)
        assert key is not None
        assert key.reveal() == KEY
        assert KEY not in f"{key} {key!r} {named!r}"
    assert key_of(external(), {"OPENAI_API_KEY": KEY}) is None, "no key is guessed"


def test_what_is_named_and_not_there_is_a_failure(tmp_path: Path) -> None:
    for named in (
        external(key_file=str(tmp_path / "none")),
        external(key_env="K"),
        external(key_credential="k"),
        external(key_keychain="k"),
    ):
        with pytest.raises(SecretUnusable):
            key_of(named, {"PATH": "/nowhere"})


@pytest.mark.parametrize(("text", "mode"), [("", 0o600), ("a b", 0o600), (KEY, 0o644)])
def test_what_is_no_key_is_a_failure(tmp_path: Path, text: str, mode: int) -> None:
    with pytest.raises(SecretUnusable) as refused:
        key_of(external(key_file=key_file(tmp_path, text, mode)), {})
    assert KEY not in str(refused.value)


TOOL = """#!/bin/sh
test "$*" = "find-generic-password -s openai -w" || exit 44
echo {key}
"""


def test_a_keychain_is_asked_by_its_own_tool(tmp_path: Path) -> None:
    tool, environ = tmp_path / "security", {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    tool.write_text(TOOL.format(key=KEY))
    tool.chmod(0o700)
    key = key_of(external(key_keychain="openai"), environ)
    assert key is not None
    assert key.reveal() == KEY
    for name, there in (("other", environ), ("openai", {"PATH": "/nowhere"})):
        with pytest.raises(SecretUnusable):
            key_of(external(key_keychain=name), there)
    with pytest.raises(ValueError, match="pattern"):
        external(key_keychain="-w")


@pytest.mark.parametrize(
    ("named", "header"),
    [
        (external(), {"Authorization": f"Bearer {KEY}"}),
        (external(dialect="anthropic"), {"x-api-key": KEY}),
        (external(dialect="anthropic", scheme="bearer"), {"Authorization": f"Bearer {KEY}"}),
        (external(dialect="azure", base_url="https://r.example"), {"api-key": KEY}),
    ],
)
def test_how_it_is_shown(named: External, header: dict[str, str]) -> None:
    assert shown(named, Secret(KEY)) == header
    assert shown(named, None) == {}
