"""Settings as people and programs read them."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.problems import dotted, leaves
from poolhand.config.settings import Settings
from poolhand.config.told import flat, key_text, masked, toml

CANARY = "tok-canary-5f0c"


def test_every_key_is_told() -> None:
    chosen = Settings.model_validate(
        {
            "coordinator": {"url": "ws://127.0.0.1:1"},
            "models": [{"id": "a", "ref": "file:///a", "aliases": ["x"]}],
        }
    )
    told = flat(chosen)
    assert {dotted(at) for at, _ in leaves(Settings)} - set(told) == {"models"}
    assert told["models[0].aliases"] == ["x"]
    assert told["coordinator.url"] == "ws://127.0.0.1:1"
    assert told["cache.dir"] is None
    assert json.loads(json.dumps(told)) == told
    assert flat(chosen.model_copy(update={"models": ()}))["models"] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"https://u:{CANARY}@host/p", "https://***@host/p"),
        (f"https://host/p?X-Sig={CANARY}&b=1#f", "https://host/p?X-Sig=***&b=***#f"),
        (f"see ftp://{CANARY}@h and more", "see ftp://***@h and more"),
        ("s3://bucket/a=b", "s3://bucket/a=b"),
        ("org/a@v1", "org/a@v1"),
    ],
)
def test_what_may_be_a_secret_in_a_url_is_masked(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert masked((text, {"x": text})) == [expected, {"x": expected}]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
plain = st.recursive(
    texts | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(plain)
def test_law_toml_reads_what_was_told(value: object) -> None:
    text = toml(value)
    assert "\n" not in text
    assert tomllib.loads(f"v = {text}") == {"v": value}


@given(texts)
def test_law_any_key_can_be_written(name: str) -> None:
    assert tomllib.loads(f"{key_text(name)} = 1") == {name: 1}


@given(texts.filter(lambda text: len(text) > 1 and not set(text) & set("/@# \t\r\n")))
def test_law_a_user_s_part_is_never_told(secret: str) -> None:
    if any(letter.isspace() for letter in secret):
        return
    told = str(masked(f"https://\N{SNOWMAN}{secret}\N{SNOWMAN}@h/"))
    assert told == "https://***@h/"
