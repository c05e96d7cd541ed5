"""One answer as text: tokens in; what to show, reasoning and tool calls out.

It runs in the child and takes mlx-lm's detokenizer, its splitting of states and its tool
parser as they are; a character is shown when all its bytes are there, a stop word never.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from ...config.frozen import frozen
from .base import FinishReason, ToolCall
from .messages import Row
from .stops import Stops

_BROKEN = "\ufffd"


class Detokenizer(Protocol):
    """mlx-lm's ``StreamingDetokenizer``."""

    @property
    def last_segment(self) -> str:
        """Text that became readable since it was last asked."""
        ...

    def add_token(self, token: int) -> None:
        """Take one token."""
        ...

    def finalize(self) -> None:
        """Make the rest readable, whole or not."""
        ...


class Splitter(Protocol):
    """mlx-lm's ``TextStateMachine`` with the state of one answer in it."""

    def split(self, text: str) -> Sequence[tuple[str | None, str]]:
        """State and text, in order; the last one is where the answer stands now."""
        ...

    def flush(self) -> tuple[str | None, str]:
        """The state, and text that was held back as a possible marker."""
        ...


class ToolParser(Protocol):
    """One of mlx-lm's ``tool_parsers``."""

    def __call__(self, text: str, tools: Sequence[object], /) -> object:
        """One call or several; ``name`` and ``arguments`` each."""
        ...


@frozen
class Tools:
    """How a model calls tools: what reads a call, the mark before it, what may be called."""

    parser: ToolParser
    begin: str
    offered: tuple[Mapping[str, object], ...]


class AnswerText:
    """The text of one answer.

    Args:
        number: The answer.
        detokenizer: A fresh one.
        splitter: A fresh one.
        stop_words: See :class:`~.stops.Stops`; they are looked for in what is shown.
        tools: ``None``: the model calls none.
        is_reasoning: The prompt ends inside the model's reasoning.

    Attributes:
        tokens: Generated so far.
        reasoning_tokens: Of these, how many came while it reasoned.
    """

    def __init__(
        self,
        number: int,
        *,
        detokenizer: Detokenizer,
        splitter: Splitter,
        stop_words: Sequence[str],
        tools: Tools | None,
        is_reasoning: bool,
    ) -> None:
        self.number = number
        self.tokens = 0
        self.reasoning_tokens: int = 0
        self._detokenizer = detokenizer
        self._splitter = splitter
        self._stops = Stops(stop_words)
        self._tools = tools
        self._state: str | None = "reasoning" if is_reasoning else "normal"
        self._call_text = ""
        self._has_called = False

    @property
    def is_stopped(self) -> bool:
        """Whether a stop word ended it."""
        return self._stops.is_met

    def take(self, token: int, *, ends: FinishReason | None) -> Row:
        """One decode step of it.

        Args:
            token: The step's token.
            ends: Why it is the last one; ``stop``: it is a mark and no text.
        """
        self.tokens += 1
        self.reasoning_tokens += self._state == "reasoning"
        if ends != "stop":
            self._detokenizer.add_token(token)
        row = _Made()
        self._route(self._splitter.split(self._detokenizer.last_segment), row)
        if ends is not None:
            self._finish(row)
        return Row(self.number, 1, row.text, row.reasoning, tuple(row.calls))

    def reason(self, ends: FinishReason) -> FinishReason:
        """Why it ended, as the requester is told."""
        return "tool_calls" if self._has_called and ends == "stop" else ends

    def _finish(self, row: "_Made") -> None:
        self._route(self._splitter.split(self._last_words()), row)
        self._route([self._splitter.flush()], row)
        self._end_call(row)
        row.text += self._stops.rest()

    def _last_words(self) -> str:
        """What the detokenizer held back, less a character of which bytes are missing."""
        try:
            self._detokenizer.finalize()
        except KeyError:  # a mark of the model among the bytes held back
            return ""
        return self._detokenizer.last_segment.rstrip(_BROKEN)

    def _route(self, segments: Sequence[tuple[str | None, str]], row: "_Made") -> None:
        for state, text in segments:
            if self._state == "tool" and state != "tool":
                self._end_call(row)
            self._state = state
            if state == "tool":
                self._call_text += text
            elif state == "reasoning":
                row.reasoning += text
            elif state == "normal":
                row.text += self._stops.take(text)

    def _end_call(self, row: "_Made") -> None:
        """Read the call that is whole now; what is none is shown as it was said."""
        said, self._call_text = self._call_text, ""
        if not said or self._tools is None:
            return
        calls = _calls(self._tools, said)
        if calls:
            self._has_called = True
            row.calls.extend(calls)
        else:
            row.text += self._stops.take(self._tools.begin + said)


@dataclass(slots=True)
class _Made:
    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])


def _calls(tools: Tools, said: str) -> list[ToolCall]:
    """The calls in a text; none if any part of it is no call."""
    try:
        parsed = tools.parser(said, tools.offered)
        listed = cast("list[object]", parsed) if isinstance(parsed, list) else [parsed]
        return [_one(call) for call in listed]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, SyntaxError):
        return []


def _one(call: object) -> ToolCall:
    """One call.

    Raises:
        TypeError: It is none; and whatever else comes of taking it for one.
    """
    made = cast("Mapping[str, object]", call)
    name, given = made["name"], made.get("id")
    if not isinstance(name, str):
        raise TypeError
    text = json.dumps(made["arguments"], ensure_ascii=False)
    return ToolCall(str(given or f"call_{uuid.uuid4().hex[:24]}"), name, text)
