"""An answer that came in chunks, as the one object that a client gets who wants no stream.

Source:
    OpenAI's ``chat.completion`` and ``text_completion``.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias, cast

Plain: TypeAlias = "dict[str, object]"


class Whole:
    """Puts one answer together.

    Args:
        is_chat: Which of the two forms.
    """

    def __init__(self, *, is_chat: bool) -> None:
        self._is_chat = is_chat
        self._head: Plain = {}
        self._usage: object = None
        self._reason: object = None
        self._texts: dict[str, list[str]] = {}
        self._calls: list[Plain] = []

    def add(self, line: bytes) -> None:
        """Take one chunk in, as ``data: {…}``."""
        chunk = cast("Plain", json.loads(line.removeprefix(b"data: ")))
        self._head = self._head or chunk
        self._usage = chunk.get("usage") or self._usage
        for choice in _objects(chunk.get("choices")):
            self._reason = choice.get("finish_reason") or self._reason
            delta = choice.get("delta")
            said = cast("Plain", delta) if isinstance(delta, dict) else choice
            for name in ("text", "content", "reasoning_content"):
                text = said.get(name)
                if isinstance(text, str):
                    self._texts.setdefault(name, []).append(text)
            for call in _objects(said.get("tool_calls")):
                self._calls.append({key: call[key] for key in call if key != "index"})

    def made(self) -> Plain:
        """The whole."""
        choice: Plain = {"index": 0}
        if self._is_chat:
            choice["message"] = self._message()
        else:
            choice["text"] = "".join(self._texts.get("text", ()))
        choice |= {"logprobs": None, "finish_reason": self._reason}
        return {
            "id": self._head.get("id"),
            "object": "chat.completion" if self._is_chat else "text_completion",
            "created": self._head.get("created"),
            "model": self._head.get("model"),
            "choices": [choice],
            "usage": self._usage,
        }

    def _message(self) -> Mapping[str, object]:
        # an answer that is nothing but calls has no content, not an empty one
        content = "".join(self._texts.get("content", ()))
        message: Plain = {"role": "assistant", "content": content or (None if self._calls else "")}
        if "reasoning_content" in self._texts:
            message["reasoning_content"] = "".join(self._texts["reasoning_content"])
        if self._calls:
            message["tool_calls"] = self._calls
        return message


def _objects(value: object) -> Iterator[Plain]:
    rows = cast("list[object]", value) if isinstance(value, list) else []
    return (cast("Plain", row) for row in rows if isinstance(row, dict))
