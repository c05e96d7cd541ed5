"""What an OpenAI-compatible server says, chunk by chunk, as pieces of an answer (pure).

Chunks that came together become one delta, so that a slow reader gets larger deltas and not
more of them. Tokens are counted as the server counts them, where it says so with each chunk;
where it does not, a chunk with something in it stands for one token, and what its usage says
at the end makes up the rest.

Source:
    OpenAI's ``chat.completion.chunk`` and ``text_completion``; ``continuous_usage_stats`` of
    vLLM and SGLang; ``timings_per_token`` and ``return_progress`` of llama.cpp's server. How
    tool calls are numbered elsewhere: Google's endpoint for OpenAI's clients numbers none, or
    all of them 0, and so does Ollama.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, cast

from .asked import mapping
from .base import Delta, Finished, FinishReason, Piece, Started, ToolCall, Usage, whole
from .dialects import Json, taken, text

DONE = "[DONE]"

REASONS: Mapping[str, FinishReason] = MappingProxyType(
    {
        "stop": "stop",
        "eos": "stop",
        "eos_token": "stop",
        "end_turn": "stop",
        "stop_sequence": "stop",
        "pause_turn": "stop",
        "length": "length",
        "max_tokens": "length",
        "model_length": "length",
        "model_context_window_exceeded": "length",
        "tool_calls": "tool_calls",
        "tool_use": "tool_calls",
        "function_call": "tool_calls",
        "content_filter": "content_filter",
        "refusal": "content_filter",
    }
)
"""Why an answer ends: in the words of OpenAI, Anthropic, Mistral, and of servers of open models
(TGI's ``eos_token``, Together's ``eos``)."""

MOST_TOKENS = 2**31 - 1
"""What is told beyond is no count."""

_BUSY = frozenset(
    {"overloaded_error", "rate_limit_error", "rate_limit_exceeded", "429", "503", "529"}
)
"""How servers say in a stream's midst what others say by a status."""


class AnswerBroken(ValueError):
    """The answer is not whole, or no answer; the text is closed words.

    Attributes:
        is_busy: The server says that it has too much to do.
        status: The status that it names for its error, 400 to 499; ``None`` if it names none.
    """

    def __init__(self, problem: str, *, is_busy: bool = False, status: int | None = None) -> None:
        self.is_busy = is_busy
        self.status = status
        super().__init__(problem)


class Uncounted(AnswerBroken):
    """The answer is whole, and nobody said what it took."""

    def __init__(self) -> None:
        super().__init__("the server did not say how many tokens it took")


def broken_off(error: object) -> AnswerBroken:
    """What a server's error amid its answer is called; none of its words is kept."""
    fields = mapping(error)
    is_busy = any(str(fields.get(name)) in _BUSY for name in ("type", "code"))
    code = count(fields.get("code"))
    status = code if code in range(400, 500) else None
    return AnswerBroken("the server broke off with an error", is_busy=is_busy, status=status)


@dataclass(slots=True)
class _Call:
    """A tool call that comes in parts."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])

    def is_over(self, call_id: str, name: str, *, is_numbered: bool) -> bool:
        """Whether a part under its number, or under none, begins another call."""
        if call_id and self.id:
            # some servers give each part an id of its own, but name the function once
            return call_id != self.id and bool(name or not is_numbered)
        if not name or not self.name:
            return False
        return name != self.name or _is_whole("".join(self.arguments))


class Reader(Protocol):
    """Reads one answer, whatever its dialect: events in, pieces out.

    Attributes:
        is_over: The stream has said its last word; what comes after it is not read.
        has_all: Nothing is missing any more; what may still come makes no difference.
        reads_whole: An answer in one piece, and no stream, is read like an event.
    """

    is_over: bool
    reads_whole: bool

    @property
    def has_all(self) -> bool:
        """See above."""
        ...

    def take(self, data: str) -> None:
        """Take one event's data in.

        Raises:
            AnswerBroken: It is none of the dialect, or the server says that it failed.
        """
        ...

    def pieces(self) -> list[Piece]:
        """What came since the last call."""
        ...

    def end(self) -> list[Piece]:
        """The last pieces, :class:`~.base.Finished` at their end.

        Raises:
            AnswerBroken: The answer is not whole, or nothing was counted.
        """
        ...


class Transcript:
    """One answer in OpenAI's dialect: chunks in, pieces out."""

    is_over = False
    reads_whole = True

    def __init__(self) -> None:
        self._is_started = False
        self._has_spoken = False
        self._has_said = False
        self._prompt_tokens: int | None = None
        self._cached_tokens: int | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[_Call] = []
        self._numbered: dict[int, _Call] = {}
        self._counted_tokens = 0
        self._told_tokens = 0
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None

    @property
    def has_all(self) -> bool:
        """Whether it is known why the answer ended, and what it took."""
        return None not in (self._usage, self._reason)

    def take(self, data: str) -> None:
        """Take one event's data in.

        Raises:
            AnswerBroken: It is no chunk, or the server says that it failed.
        """
        if data.strip() == DONE:
            self.is_over = True
            return
        try:
            chunk: object = json.loads(data)
        except (ValueError, RecursionError):
            problem = "a chunk is no JSON"
            raise AnswerBroken(problem) from None
        if not isinstance(chunk, dict):
            problem = "a chunk is no JSON object"
            raise AnswerBroken(problem)
        said = cast("Json", chunk)
        # vLLM's older versions and LMDeploy do not wrap what is wrong
        if error := said if said.get("object") == "error" else said.get("error"):
            raise broken_off(error)
        choices = said.get("choices")
        is_counted = self._count(said)
        for choice in cast("list[object]", choices) if isinstance(choices, list) else []:
            # of other answers than the one nobody has asked
            if isinstance(choice, dict) and cast("Json", choice).get("index") in (None, 0):
                self._choice(cast("Json", choice), is_counted=is_counted)
        # its count alone is the last it says; some keep the line open after that
        self.is_over = not choices and self.has_all

    def pieces(self) -> list[Piece]:
        """What came since the last call, in at most two pieces."""
        said: list[Piece] = []
        if not self._is_started and (self._has_spoken or self._prompt_tokens is not None):
            self._is_started = True
            said.append(Started(self._prompt_tokens))
        words, reasoning = taken(self._text), taken(self._reasoning)
        if words or reasoning:
            said.append(Delta(words, reasoning, (), self._new_tokens()))
        return said

    def end(self) -> list[Piece]:
        """The last pieces, :class:`~.base.Finished` at their end.

        Raises:
            AnswerBroken: No reason was given for the end, or nothing was counted.
        """
        if self._reason is None:
            problem = "the stream ended without a finish reason"
            raise AnswerBroken(problem)
        if self._usage is None or (self._has_said and not self._usage.completion_tokens):
            raise Uncounted
        said = self.pieces()
        if not self._is_started:
            self._is_started = True
            said.append(Started(self._usage.prompt_tokens))
        self._counted_tokens = max(self._counted_tokens, self._usage.completion_tokens)
        calls, tokens = self._whole_calls(), self._new_tokens()
        if calls or tokens:
            said.append(Delta("", "", calls, tokens))
        return [*said, Finished(self._reason, self._usage)]

    def _choice(self, choice: Json, *, is_counted: bool) -> None:
        delta, message = choice.get("delta"), choice.get("message")
        if not isinstance(delta, dict) and not self._has_said:
            # after words that came one by one, it would say them all again
            delta = message
        said = cast("Json", delta) if isinstance(delta, dict) else choice
        words, reasoning = _said(said.get("content"))
        words = words or text(choice.get("text")) or text(said.get("refusal"))
        reasoning += text(said.get("reasoning_content")) or text(said.get("reasoning"))
        calls, only = said.get("tool_calls"), said.get("function_call")
        parts = cast("list[object]", calls) if isinstance(calls, list) else []
        parts = parts or ([{"index": 0, "function": only}] if isinstance(only, dict) else [])
        for part in parts:
            if isinstance(part, dict):
                self._call_part(cast("Json", part))
        self._has_spoken = True
        if words or reasoning or parts:
            self._text.append(words)
            self._reasoning.append(reasoning)
            self._counted_tokens += not is_counted
            self._has_said = True
        reason = choice.get("finish_reason")
        if reason not in (None, ""):
            if not isinstance(reason, str) or reason.lower() not in REASONS:
                problem = "the server gave the answer up"
                raise AnswerBroken(problem)
            self._reason = REASONS[reason.lower()]

    def _call_part(self, part: Json) -> None:
        number, call_id = part.get("index"), text(part.get("id"))
        function = mapping(part.get("function"))
        name, arguments = text(function.get("name")), function.get("arguments")
        latest = self._calls[-1] if self._calls else None
        call = self._numbered.get(number) if isinstance(number, int) else latest
        if call is None or call.is_over(call_id, name, is_numbered=isinstance(number, int)):
            call = _Call()
            self._calls.append(call)
        if isinstance(number, int):
            self._numbered[number] = call
        call.id, call.name = call.id or call_id, call.name or name
        is_object = isinstance(arguments, dict)
        call.arguments.append(json.dumps(arguments) if is_object else text(arguments))

    def _whole_calls(self) -> tuple[ToolCall, ...]:
        if not all(call.name for call in self._calls):
            problem = "a tool call names no function"
            raise AnswerBroken(problem)
        return tuple(
            ToolCall(call.id or f"call_{nth}", call.name, taken(call.arguments) or "{}")
            for nth, call in enumerate(self._calls)
        )

    def _count(self, chunk: Json) -> bool:
        """Read whatever the server counts; whether that includes the answer's tokens so far."""
        prompt, answered, cached, reasoning = _usage(chunk)
        self._cached_tokens = cached or self._cached_tokens
        if prompt is not None:
            self._prompt_tokens = prompt
        if answered is None:
            return False
        self._counted_tokens = max(self._counted_tokens, answered)
        if isinstance(chunk.get("usage"), dict) and prompt is not None:
            self._usage = Usage(prompt, answered, reasoning, self._cached_tokens)
        return True

    def _new_tokens(self) -> int:
        new, self._told_tokens = self._counted_tokens - self._told_tokens, self._counted_tokens
        return new


def _usage(chunk: Json) -> tuple[int | None, int | None, int | None, int | None]:
    """Tokens of the prompt, of the answer so far, found in a cache, and thought."""
    usage, timings = chunk.get("usage"), chunk.get("timings")
    if isinstance(usage, dict):
        counts = cast("Json", usage)
        return (
            count(counts.get("prompt_tokens")),
            count(counts.get("completion_tokens")),
            _inner(counts, "prompt_tokens_details", "cached_tokens"),
            _inner(counts, "completion_tokens_details", "reasoning_tokens"),
        )
    progress = chunk.get("prompt_progress")
    if isinstance(progress, dict):
        # while a prompt is read, the timings know only of what was read so far
        steps = cast("Json", progress)
        return count(steps.get("total")), None, count(steps.get("cache")), None
    if isinstance(timings, dict):
        times = cast("Json", timings)
        read, cached = count(times.get("prompt_n")), count(times.get("cache_n"))
        prompt = None if read is None else read + (cached or 0)
        return prompt, count(times.get("predicted_n")), cached, None
    return None, None, None, None


def _inner(counts: Json, outer: str, name: str) -> int | None:
    return count(mapping(counts.get(outer)).get(name))


def count(value: object) -> int | None:
    """A number of tokens; ``None`` if it is none that makes sense."""
    number = whole(value)
    return number if number is not None and 0 <= number <= MOST_TOKENS else None


def _said(content: object) -> tuple[str, str]:
    """Text and thoughts of a delta's content, which is a text, or parts of both kinds."""
    if not isinstance(content, list):
        return text(content), ""
    texts, thoughts = list[str](), list[str]()
    for part in cast("list[object]", content):
        match part:
            case {"type": "text", "text": str(words)}:
                texts.append(words)
            case {"type": "thinking"}:
                thoughts.append(_said(cast("Json", part).get("thinking"))[0])
            case _:
                pass
    return "".join(texts), "".join(thoughts)


def _is_whole(arguments: str) -> bool:
    """Whether a call's arguments need no more to be JSON."""
    try:
        json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return True
