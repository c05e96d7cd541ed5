"""What an answer looks like inside a sealed chunk: one server-sent-event line (pure).

The coordinator looks for the literal ``"finish_reason":"``, so the JSON is compact. The
shape is OpenAI's ``chat.completion.chunk`` or ``text_completion``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring

from ...backends.engines.base import Delta, Endpoint, FinishReason, Native, Usage

_AFTER_WORDS = '},"finish_reason":null}]}'

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(slots=True)
class Chunks:
    """Writes the chunks of one answer, in order.

    Attributes:
        request_id: Becomes the completion's id.
        model: The build that answers.
        endpoint: Which of the shapes; of ``messages`` only :meth:`native` is used.
        created_s: Wall-clock time of the answer's begin, in whole seconds.
    """

    request_id: str
    model: str
    endpoint: Endpoint
    created_s: int
    _has_role: bool = False
    _tools: int = 0
    _head: str = ""

    def __post_init__(self) -> None:
        """Write once what every chunk begins with."""
        whole = self._text([], {})
        self._head = f'data: {whole.removesuffix("[]}")}[{{"index":0,"delta":{{"content":'

    def delta(self, delta: Delta) -> bytes:
        """More of the answer."""
        if self.endpoint == "text":
            return self.words(delta.text)
        if self._has_role and delta.text and not (delta.reasoning or delta.tool_calls):
            return self.words(delta.text)
        fields: dict[str, object] = {}
        if not self._has_role:
            self._has_role = True
            fields["role"] = "assistant"
        if delta.reasoning:
            fields["reasoning_content"] = delta.reasoning
        if delta.text or not (delta.reasoning or delta.tool_calls):
            fields["content"] = delta.text
        if delta.tool_calls:
            fields["tool_calls"] = [
                {
                    "index": self._tools + index,
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for index, call in enumerate(delta.tool_calls)
            ]
            self._tools += len(delta.tool_calls)
        return self._line([{"index": 0, "delta": fields, "finish_reason": None}])

    def words(self, text: str) -> bytes:
        """More text, and nothing else, of an answer that has begun: nearly every chunk."""
        if self.endpoint == "text":
            return self._line([{"index": 0, "text": text, "finish_reason": None}])
        return f"{self._head}{encode_basestring(text)}{_AFTER_WORDS}".encode("utf-8", "replace")

    def native(self, event: Native) -> bytes:
        """An event that has its form already."""
        return f"data: {event.data}".encode("utf-8", "replace")

    def finish(self, reason: FinishReason) -> bytes:
        """The last words: why the answer ends."""
        said = {"text": ""} if self.endpoint == "text" else {"delta": self._role()}
        return self._line([{"index": 0, **said, "finish_reason": reason}])

    def usage(self, usage: Usage, *, tells_cache: bool = False) -> bytes:
        """What it took; a chunk without choices.

        Args:
            usage: As the engine counted it.
            tells_cache: Whether whoever asked may know how much of the prompt was known before.
        """
        counts: dict[str, object] = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }
        if usage.reasoning_tokens is not None:
            counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
        if tells_cache and usage.cached_tokens:
            counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
        return self._line([], usage=counts)

    def _role(self) -> dict[str, object]:
        """An answer without a word still has somebody who gave it."""
        return {} if self._has_role else {"role": "assistant", "content": ""}

    def _line(
        self, choices: list[dict[str, object]], usage: Mapping[str, object] | None = None
    ) -> bytes:
        more = {} if usage is None else {"usage": usage}
        return f"data: {self._text(choices, more)}".encode("utf-8", "replace")

    def _text(self, choices: list[dict[str, object]], more: Mapping[str, object]) -> str:
        is_chat = self.endpoint == "chat"
        chunk: dict[str, object] = {
            "id": self.request_id,
            "object": "chat.completion.chunk" if is_chat else "text_completion",
            "created": self.created_s,
            "model": self.model,
            "choices": choices,
            **more,
        }
        return _JSON.encode(chunk)
