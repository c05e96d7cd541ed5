"""The scripted checkpoint's words: known answers, and no way into a script by accident."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from poolhand.agent.dev.checkpoint_vocabulary import (
    ALPHABET,
    CHAT_TEMPLATE,
    MARKS,
    SPECIAL,
    Vocabulary,
    build_vocabulary,
    expected_text,
    scripts,
)

TOKENS = 768
TO_TWENTY = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty"
)


def spelled(vocabulary: Vocabulary, token: int) -> bytes:
    text = next(text for text, number in vocabulary.ids.items() if number == token)
    if text in (*SPECIAL, *MARKS):
        return text.encode()
    return bytes(ALPHABET.index(letter) for letter in text)


def encode(vocabulary: Vocabulary, text: str) -> list[int]:
    """Byte-pair encoding by the book: the strongest merge first, from the left."""
    parts = [ALPHABET[byte] for byte in text.encode()]
    ranks = {pair: rank for rank, pair in enumerate(vocabulary.merges)}
    while True:
        ranked = [(ranks[p], at) for at, p in enumerate(pairwise(parts)) if p in ranks]
        if not ranked:
            return [vocabulary.ids[part] for part in parts]
        _, at = min(ranked)
        parts[at : at + 2] = ["".join(parts[at : at + 2])]


NANO = build_vocabulary("alpha", tokens=TOKENS)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            "<|say|>",
            f"Hello from alpha. Counting: {TO_TWENTY}!",
        ),
        ("<|loop|>", "Tick tock tick tock"),
        ("<|unicode|>", "na\u00efve costs \u20ac5 \U0001f600 done"),
        ("<|think|>", "<think>Let me think first</think>The answer is 42"),
        (
            "<|tool|>",
            '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        ),
    ],
)
def test_each_script_says_what_is_written_here(script: str, text: str) -> None:
    assert expected_text("alpha", script) == text


@pytest.mark.parametrize("entry", list(scripts("alpha")))
def test_following_the_successors_spells_the_script(entry: str) -> None:
    token, said = NANO.ids[entry], b""
    for _ in range(64):
        token = NANO.successors[token]
        if token == NANO.ids["<|im_end|>"]:
            break
        said += spelled(NANO, token)
    text = said.decode()
    if entry == "<|loop|>":
        assert text.startswith("Tick tock tick tock tick tock"), "it never ends"
    else:
        assert text == expected_text("alpha", entry)


def test_every_id_is_used_once_and_control_tokens_come_last() -> None:
    assert list(NANO.ids.values()) == list(range(TOKENS))
    assert list(NANO.ids)[-len(SPECIAL) - len(MARKS) :] == [*SPECIAL, *MARKS]
    assert len(set(ALPHABET)) == 256


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40) | st.sampled_from([" Counting", "Hello from alpha. one two", "Tick"]))
def test_no_text_leads_into_a_script(text: str) -> None:
    tokens = encode(NANO, text)
    assert b"".join(spelled(NANO, token) for token in tokens) == text.encode()
    inside = {token for token in tokens if token in NANO.successors}
    # single bytes are in the alphabet, whatever the scripts do with them
    assert all(len(spelled(NANO, token)) == 1 for token in inside)


@settings(max_examples=20, deadline=None)
@given(st.from_regex(r"\A[A-Za-z][A-Za-z0-9_-]{0,31}\Z"))
def test_a_model_of_any_name_has_one_successor_a_token(name: str) -> None:
    try:
        vocabulary = build_vocabulary(name, tokens=TOKENS)
    except ValueError:
        # the name is a script word already, such as "one"
        assert any(
            f" {name}" in steps[3:] or f" {name}" == " from" for steps in scripts(name).values()
        )
        return
    assert f" {name}" in expected_text(name)
    assert len(vocabulary.ids) == TOKENS


def test_a_vocabulary_that_is_too_small_says_by_how_much() -> None:
    with pytest.raises(ValueError, match="too small by"):
        build_vocabulary("alpha", tokens=280)


@pytest.mark.parametrize(
    ("marker", "entry"),
    [
        ("hi", "<|say|>"),
        ("[loop]", "<|loop|>"),
        ("[unicode] please", "<|unicode|>"),
        ("now [think]", "<|think|>"),
        ("[tool]", "<|tool|>"),
    ],
)
def test_the_last_message_chooses_the_script(marker: str, entry: str) -> None:
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        CHAT_TEMPLATE
    )
    parts = [{"type": "text", "text": marker}]
    for content in (marker, parts):
        messages = [{"role": "user", "content": "[loop]"}, {"role": "user", "content": content}]
        said = template.render(messages=messages, add_generation_prompt=True)
        assert said.endswith(f"{marker}<|im_end|>\n<|im_start|>assistant\n{entry}")
        assert not template.render(messages=messages).endswith(entry)
