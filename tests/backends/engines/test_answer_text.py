"""Tokens into text, with small stand-ins for the library's detokenizer and splitter."""

import json
from collections.abc import Sequence

import pytest

from poolhand.backends.engines.answer_text import AnswerText, Tools
from poolhand.backends.engines.base import FinishReason
from poolhand.backends.engines.messages import Row


class Letters:
    """A token is a character; ``held`` comes with the last words."""

    def __init__(self, held: str = "", *, odd: bool = False) -> None:
        self._ready = ""
        self._held = held
        self._odd = odd

    @property
    def last_segment(self) -> str:
        ready, self._ready = self._ready, ""
        return ready

    def add_token(self, token: int) -> None:
        self._ready += chr(token)

    def finalize(self) -> None:
        if self._odd:
            raise KeyError
        self._ready += self._held


class Marks:
    """``(`` begins reasoning, ``[`` a tool call, ``)`` and ``]`` end them."""

    STATES = {"(": "reasoning", ")": "normal", "[": "tool", "]": "normal"}  # noqa: RUF012

    def __init__(self, state: str = "normal") -> None:
        self._state = state

    def split(self, text: str) -> Sequence[tuple[str | None, str]]:
        segments: list[tuple[str | None, str]] = []
        for letter in text:
            if letter in self.STATES:
                self._state = self.STATES[letter]
                segments.append((self._state, ""))
            else:
                segments.append((self._state, letter))
        return segments

    def flush(self) -> tuple[str | None, str]:
        return self._state, ""


def parse(text: str, _tools: Sequence[object]) -> object:
    return json.loads(text)


def said(
    text: str, *, ends: FinishReason = "stop", stop: Sequence[str] = (), held: str = ""
) -> tuple[list[Row], AnswerText]:
    answer = AnswerText(
        1,
        detokenizer=Letters(held),
        splitter=Marks(),
        stop_words=stop,
        tools=Tools(parse, "[", ()),
        is_reasoning=False,
    )
    rows = [answer.take(ord(letter), ends=None) for letter in text]
    return [*rows, answer.take(ord("$"), ends=ends)], answer


def shown(rows: list[Row]) -> str:
    return "".join(row.text for row in rows)


def test_each_step_is_one_token_and_the_stop_mark_is_no_text() -> None:
    rows, answer = said("ab")
    assert shown(rows) == "ab"
    assert [row.tokens for row in rows] == [1, 1, 1]
    assert answer.tokens == 3
    assert answer.reason("stop") == "stop"


def test_the_last_token_of_a_cut_answer_is_text() -> None:
    assert shown(said("ab", ends="length")[0]) == "ab$"


def test_reasoning_is_apart_and_counted() -> None:
    rows, answer = said("(why)so")
    assert "".join(row.reasoning for row in rows) == "why"
    assert shown(rows) == "so"
    assert answer.reasoning_tokens == 4


def test_a_call_is_read_when_it_is_whole() -> None:
    rows, answer = said('[{"name":"f","arguments":"x"}]')
    assert [(call.name, call.arguments) for row in rows for call in row.calls] == [("f", '"x"')]
    assert shown(rows) == ""
    assert answer.reason("stop") == "tool_calls"
    assert answer.reason("length") == "length"


def test_a_call_without_an_end_mark_is_read_at_the_end() -> None:
    rows, _ = said('[{"name":"f","arguments":1,"id":"mine"}')
    assert [call.id for call in rows[-1].calls] == ["mine"]


@pytest.mark.parametrize("text", ["oops", '{"name":1,"arguments":1}', '"text"', "{}", "7"])
def test_what_is_no_call_is_shown_as_it_was_said(text: str) -> None:
    rows, answer = said(f"[{text}")
    assert shown(rows) == f"[{text}"
    assert answer.reason("stop") == "stop"


def test_a_stop_word_ends_it() -> None:
    rows, answer = said("one two", stop=["e t"])
    assert shown(rows) == "on"
    assert answer.is_stopped


def test_the_beginning_of_a_stop_word_is_shown_at_the_end() -> None:
    rows, answer = said("one", stop=["ex"])
    assert shown(rows) == "one"
    assert not answer.is_stopped


def test_a_broken_character_is_never_shown() -> None:
    assert shown(said("a", held="b\ufffd")[0]) == "ab"
    odd = AnswerText(
        1,
        detokenizer=Letters(odd=True),
        splitter=Marks(),
        stop_words=(),
        tools=None,
        is_reasoning=True,
    )
    assert odd.take(ord("x"), ends="stop") == Row(1, 1)
    assert odd.reasoning_tokens == 1
