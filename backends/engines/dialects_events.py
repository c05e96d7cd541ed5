"""Anthropic's dialect, the way back: events of a message become pieces of an answer (pure).

For a request in Anthropic's own form the events go through one by one, under the model's public
name; what they took is read from them all the same. The provider counts an answer when it ends:
until then each delta with something in it stands for one token, which is the least that it is.

Source:
    Anthropic API reference, "Streaming Messages": event flow, content block deltas, errors, and
    that new kinds of events may come: what is not known is read over.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from .asked import mapping
from .base import Delta, Finished, FinishReason, Native, Piece, Started, ToolCall, Usage
from .chat_pieces import REASONS, AnswerBroken, Uncounted, broken_off, count
from .dialects import Json, taken, text

_SPOKEN: Mapping[str, str] = MappingProxyType(
    {
        "text_delta": "text",
        "thinking_delta": "thinking",
        "input_json_delta": "partial_json",
    }
)
"""What says something, and where."""

_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
"""What was read is told in three parts, which OpenAI's dialect counts as one."""


class Message:
    """One message: events in, pieces out; see :class:`.chat_pieces.Reader`.

    Args:
        public: The model's name here, for a native answer; ``None``: give pieces of a chat.
    """

    reads_whole = has_all = False
    """Its last event says that it has all."""

    def __init__(self, *, public: str | None = None) -> None:
        self._public = public
        self._pieces: list[Piece] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self._open: dict[int, tuple[str, str, list[str]]] = {}
        self._counts: dict[str, int] = {}
        self._spoken_tokens = self._told_tokens = 0
        self._is_counted = False
        self._thinking_tokens: int | None = None
        self._reason: FinishReason | None = None
        self.is_over = False

    def take(self, data: str) -> None:
        """Take one event's data in.

        Raises:
            AnswerBroken: It is no event, or the provider says that it failed.
        """
        event = _parsed(data)
        kind = event.get("type")
        if kind == "error":
            raise broken_off(event.get("error"))
        if kind == "message_start":
            self._count(mapping(mapping(event.get("message")).get("usage")))
            self._pieces.append(Started(self._prompt_tokens))
        elif kind == "message_delta":
            reason = text(mapping(event.get("delta")).get("stop_reason"))
            self._reason = REASONS.get(reason, "stop") if reason else self._reason
            self._count(mapping(event.get("usage")))
            self._is_counted |= count(mapping(event.get("usage")).get("output_tokens")) is not None
        elif kind == "message_stop":
            for nth in sorted(self._open):
                self._close(nth)
            self.is_over = True
        elif kind == "content_block_delta":
            delta = mapping(event.get("delta"))
            where = _SPOKEN.get(text(delta.get("type")))
            self._spoken_tokens += where is not None and bool(text(delta.get(where)))
        if self._public is None:
            self._said(event)
        elif kind != "ping":
            self._pieces.append(Native(_passed(event, self._public), self._new_tokens()))

    def pieces(self) -> list[Piece]:
        """What came since the last call, everything that was said in one delta."""
        said, self._pieces = self._pieces, []
        words, thoughts = taken(self._text), taken(self._reasoning)
        if words or thoughts or self._calls:
            said.append(Delta(words, thoughts, tuple(self._calls), self._new_tokens()))
            self._calls.clear()
        return said

    def end(self) -> list[Piece]:
        """The last pieces, :class:`~.base.Finished` at their end.

        Raises:
            AnswerBroken: The message has no end, or nothing was counted.
        """
        prompt, answer = self._prompt_tokens, self._counts.get("output_tokens")
        if not self.is_over or self._reason is None:
            problem = "the message ended without a stop reason"
            raise AnswerBroken(problem)
        if prompt is None or answer is None or not self._is_counted:
            raise Uncounted
        said = self.pieces()
        if tokens := self._new_tokens():
            said.append(Delta(tokens=tokens))
        cached = self._counts.get("cache_read_input_tokens") or None
        return [*said, Finished(self._reason, Usage(prompt, answer, self._thinking_tokens, cached))]

    # ── what is said ──────────────────────────────────────────────────────────────────

    def _said(self, event: Json) -> None:
        nth = count(event.get("index")) or 0
        match event.get("type"):
            case "content_block_start":
                self._begin(nth, mapping(event.get("content_block")))
            case "content_block_delta":
                self._more(nth, mapping(event.get("delta")))
            case "content_block_stop" if nth in self._open:
                self._close(nth)
            case _:
                pass

    def _close(self, nth: int) -> None:
        name_id, name, arguments = self._open.pop(nth)
        self._calls.append(ToolCall(name_id, name, taken(arguments) or "{}"))

    def _begin(self, nth: int, block: Json) -> None:
        match block.get("type"):
            case "tool_use":
                given = mapping(block.get("input"))
                whole = [json.dumps(given, ensure_ascii=False)] if given else []
                self._open[nth] = (text(block.get("id")), text(block.get("name")), whole)
            case "text":
                self._text.append(text(block.get("text")))
            case _:
                pass

    def _more(self, nth: int, delta: Json) -> None:
        match delta.get("type"):
            case "text_delta":
                self._text.append(text(delta.get("text")))
            case "thinking_delta":
                self._reasoning.append(text(delta.get("thinking")))
            case "input_json_delta" if nth in self._open:
                self._open[nth][2].append(text(delta.get("partial_json")))
            case _:
                pass

    # ── what it took ──────────────────────────────────────────────────────────────────

    @property
    def _prompt_tokens(self) -> int | None:
        if "input_tokens" not in self._counts:
            return None
        return sum(self._counts.get(name, 0) for name in _INPUT)

    def _count(self, usage: Json) -> None:
        """Take what is told: the counts of one message grow, and the last one holds."""
        for name in (*_INPUT, "output_tokens"):
            told = count(usage.get(name))
            if told is not None:
                self._counts[name] = told
        thought = count(mapping(usage.get("output_tokens_details")).get("thinking_tokens"))
        self._thinking_tokens = self._thinking_tokens if thought is None else thought

    def _new_tokens(self) -> int:
        told = self._told_tokens
        counted = max(self._counts.get("output_tokens", 0), self._spoken_tokens)
        self._told_tokens = max(told, counted)
        return self._told_tokens - told


def _parsed(data: str) -> Json:
    try:
        value = cast("object", json.loads(data))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        problem = "an event is no JSON object"
        raise AnswerBroken(problem)
    return cast("Json", value)


def _passed(event: Json, public: str) -> str:
    """The event on one line, under the public name."""
    if event.get("type") == "message_start":
        event = {**event, "message": {**mapping(event.get("message")), "model": public}}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
