"""Keys as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.keys import NoSuchKey, key_of
from poolhand.config.lines import KeyPath
from poolhand.config.problems import dotted, leaves
from poolhand.config.settings import Settings

MODELS = ["org/a", "b.c:1"]


@pytest.mark.parametrize("at", [at for at, _ in leaves(Settings)], ids=dotted)
def test_every_key_is_found_by_its_name(at: tuple[str, ...]) -> None:
    found = key_of(dotted(at))
    assert found.at == at
    assert found.field is not None or at == ("models",)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("slots", ("slots",)),
        ("stores.s3", ("stores", "s3")),
        ("models[1].ref", ("models", 1, "ref")),
        ("models[org/a].pinned", ("models", 0, "pinned")),
        ("models[b.c:1].serving.gpus", ("models", 1, "serving", "gpus")),
        ("models[0]", ("models", 0)),
    ],
)
def test_tables_and_models(text: str, at: KeyPath) -> None:
    assert key_of(text, MODELS).at == at


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slots.max_model_slot", "did you mean slots.max_model_slots?"),
        ("max_model_slots", "did you mean slots.max_model_slots?"),
        ("models[org/b].ref", "did you mean org/a?"),
        ("models[7].ref", ""),
        ("slots[0]", ""),
        ("slots.max_model_slots.x", ""),
        ("slots.", ""),
        ("", ""),
    ],
)
def test_what_is_no_key(text: str, words: str) -> None:
    with pytest.raises(NoSuchKey) as caught:
        key_of(text, MODELS)
    assert words in str(caught.value)


@given(st.text(max_size=20))
def test_law_any_text_is_a_key_or_told_to_be_none(text: str) -> None:
    try:
        found = key_of(text, MODELS)
    except NoSuchKey:
        return
    assert dotted(found.at).split("[")[0] == text.split("[", maxsplit=1)[0]
