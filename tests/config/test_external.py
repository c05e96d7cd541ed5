"""A model elsewhere: where it may be, how a key is named, and what may stand beside it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.errors import ConfigInvalid
from poolhand.config.external import External, may_be_static
from poolhand.config.load import load
from poolhand.config.loopback import is_loopback
from poolhand.config.rules import Invalid
from poolhand.config.settings import ModelEntry


def external(**keys: object) -> External:
    return External.model_validate({"dialect": "openai", **keys})


def test_each_dialect_has_a_home_and_a_scheme() -> None:
    homes = {name: external(dialect=name) for name in ("openai", "anthropic")}
    assert homes["openai"].url == "https://api.openai.com/v1"
    assert homes["anthropic"].url == "https://api.anthropic.com"
    assert [one.shows_key_as for one in homes.values()] == ["bearer", "x-api-key"]
    azure = external(dialect="azure", base_url="https://r.openai.azure.com/")
    assert (azure.url, azure.shows_key_as) == ("https://r.openai.azure.com", "api-key")
    assert external(scheme="api-key").shows_key_as == "api-key"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h.example",
        "ftp://h.example",
        "https://",
        "https://user@h.example",
        "https://user:word@h.example",
        "https://h.example/v1?key=x",
        "https://h.example/v1?",
        "https://h.example/#x",
        "https://h.example:port",
        "https://h.example:0",
        "https://h.example/a b",
        "https://h.example\\@evil.example",
        "https://h.exämple",
        "http://h.example",
        "HTTP://h.example",
        "hTTp://127.0.0.1:1",
        "http://127.0.0.1:1",
    ],
)
def test_where_no_provider_is(url: str) -> None:
    with pytest.raises(Invalid):
        external(base_url=url)


def test_plain_http_stays_on_this_machine_and_needs_the_switch() -> None:
    for url in ("http://127.0.0.1:1/v1", "http://localhost:1", "http://[::1]:1"):
        assert external(base_url=url, allow_http_to_loopback=True).url == url
    assert external(base_url="HTTPS://h.example/V1").url == "https://h.example/V1"
    for url in ("http://10.0.0.1", "HTTP://10.0.0.1", "http://localhost.evil.example"):
        with pytest.raises(Invalid, match="allow_http_to_loopback"):
            external(base_url=url, allow_http_to_loopback=True)


def test_what_does_not_hang_together() -> None:
    with pytest.raises(Invalid, match="every Azure resource"):
        external(dialect="azure")
    with pytest.raises(Invalid, match="Azure's alone"):
        external(api_version="2024-10-21")
    with pytest.raises(Invalid, match="only one of"):
        external(key_file="/k", key_env="K")
    with pytest.raises(Invalid):
        external(key="sk-inline")


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: x", "X-Api-Key: x", "api-key: x", "Cookie: a=b", "Set-Cookie: a", "Host: h",
        "Connection: close", "Transfer-Encoding: chunked", "TE: x", "Upgrade: x", "Trailer: x",
        "Keep-Alive: 1", "Proxy-Authorization: x", "Proxy-Connection: x", "Content-Length: 1",
        "Content-Type: text/plain", "X-Auth-Token: x", "X-My-Secret: x", "Expect: 100-continue",
        "no colon", "bad name: x", "X: a\nY: b", "X: é", ": x",
    ],
)  # fmt: skip
def test_headers_that_are_not_the_operators(header: str) -> None:
    with pytest.raises(Invalid):
        external(headers=[header])


def test_headers_that_are() -> None:
    said = external(headers=["OpenAI-Organization: org-1", "X-Team:blue "])
    assert said.static_headers == (("openai-organization", "org-1"), ("x-team", "blue"))


@given(
    st.sampled_from(["authorization", "cookie", "api-key", "token"]), st.text("abc-", max_size=5)
)
def test_law_a_name_that_bears_a_secret_is_never_static(word: str, around: str) -> None:
    assert not may_be_static(around + word)
    assert not may_be_static(word + around)


def test_this_machine_is_known_by_its_very_name() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"]))
    assert not any(map(is_loopback, ["localhost.example", "10.0.0.1", "", "example"]))


# ── either here or elsewhere ──────────────────────────────────────────────────────────

HEAD = '[coordinator]\nurl = "ws://127.0.0.1:1"\n[[models]]\nid = "a"\n'
REF = 'ref = "file:///w"\n'
ELSEWHERE = '[models.external]\ndialect = "openai"\nkey_file = "openai.key"\n'


def read(folder: Path, text: str) -> ModelEntry:
    path = folder / "agent.toml"
    path.write_text(HEAD + text)
    return load(path, {}).settings.models[0]


def test_a_model_elsewhere_names_its_key_from_the_files_folder(tmp_path: Path) -> None:
    entry = read(tmp_path, ELSEWHERE)
    assert entry.external is not None
    assert entry.external.key_file == str(tmp_path / "openai.key")
    assert read(tmp_path, REF).external is None


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (REF + ELSEWHERE, ":5", "say either ref (weights here) or external (a provider), not both"),
        ("", ":3", "say either ref (weights here) or external (a provider), not neither"),
        ('engine = "mlx"\n' + ELSEWHERE, ":5", "engine is for models with a ref"),
        (ELSEWHERE + 'base_url = "http://h.example"\n', ":8", "https://"),
        (ELSEWHERE + 'dialekt = "openai"\n', ":8", "unknown key models[0].external.dialekt"),
        (ELSEWHERE + 'headers = ["Cookie: a"]\n', ":8", "'cookie' may not be set here"),
        (ELSEWHERE + 'key_env = "K"\n', ":7", "name only one of"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, text: str, place: str, words: str
) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        read(tmp_path, text)
    assert words in str(refused.value)
    assert f"agent.toml{place}" in str(refused.value)
