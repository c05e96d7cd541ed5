"""An engine that repeats what it is told, for tests of other rooms; never chosen by itself."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import cast

from ...config.refusals import RequestRefused
from .base import NOT_SERVED, Delta, Finished, Load, Loaded, Piece, Prompt, Started, Usage
from .errors import EngineError, EngineNotRunning


class EchoEngine:
    """Repeat the last message word by word, one word a token.

    Args:
        model: For messages.
        pause_s: Seconds between two tokens; zero still yields to the loop.
    """

    name = "echo"

    def __init__(self, *, model: str = "echo", pause_s: float = 0.0) -> None:
        self.model = model
        self._pause_s = pause_s
        self._is_running = False
        self._answers = 0
        self._generated_tokens = 0

    async def start(self) -> Loaded:
        """Be ready at once: there is nothing to load."""
        self._is_running = True
        return Loaded(0.0, None, None)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield the words, at most ``max_tokens`` of them."""
        self._check()
        if prompt.endpoint == "messages":
            raise RequestRefused(reason=NOT_SERVED)
        words = _last_text(prompt).split()
        said = words[: prompt.max_tokens]
        self._answers += 1
        try:
            yield Started(len(words))
            for place, word in enumerate(said):
                await asyncio.sleep(self._pause_s)
                self._check()
                self._generated_tokens += 1
                yield Delta(word if place == 0 else f" {word}", "", (), 1)
            usage = Usage(len(words), len(said))
            yield Finished("stop" if said == words else "length", usage)
        finally:
            self._answers -= 1

    def load(self) -> Load:
        """Answers under way."""
        return Load(running=self._answers, generated_tokens=self._generated_tokens)

    async def died(self) -> EngineError:
        """Wait for ever: there is nothing that could die."""
        await asyncio.Event().wait()
        return EngineNotRunning(engine=self.name)

    async def stop(self) -> None:
        """Refuse further prompts; running answers break off at their next word."""
        self._is_running = False

    def _check(self) -> None:
        if not self._is_running:
            raise EngineNotRunning(engine=self.name)


def _last_text(prompt: Prompt) -> str:
    """The text to repeat.

    Raises:
        RequestRefused: There is none.
    """
    said = prompt.body.get("prompt")
    if prompt.endpoint == "chat":
        messages = prompt.body.get("messages")
        last = cast("list[object]", messages)[-1] if isinstance(messages, list) and messages else 0
        said = cast("Mapping[str, object]", last).get("content") if isinstance(last, dict) else 0
    if not isinstance(said, str):
        raise RequestRefused(reason="no text to repeat")
    return said
