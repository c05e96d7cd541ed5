"""How fast an engine answers: so many streams side by side, for so long.

Each stream asks anew as soon as its answer is whole, so that all of them run all the time. Tokens
are counted as the engine counts them, as they come out; the first token's wait is that of every
answer that was begun, prompts read beside running streams among them.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median

from ...backends.engines.base import Delta, Endpoint, Engine, Finished, Prompt
from ...config.frozen import frozen

WORDS = "Tell a long story about a lighthouse, the ships that pass it and the storm that comes."
MOST_TOKENS = 512
"""Of one answer; a stream asks again until its time is over."""


@frozen
class Level:
    """What so many streams got.

    Attributes:
        streams: How many ran side by side.
        duration_s: From the first request to the last token that was counted.
        tokens: That came out in this time, over all streams.
        answers: That were whole in this time.
        first_token_s: The wait for each answer's first token, in no order.
    """

    streams: int
    duration_s: float
    tokens: int
    answers: int
    first_token_s: tuple[float, ...]

    @property
    def tokens_per_s(self) -> float:
        """Over all streams."""
        return self.tokens / self.duration_s

    def told(self) -> Mapping[str, object]:
        """The level as plain values."""
        waits = self.first_token_s
        return {
            "streams": self.streams,
            "tokens_per_s": round(self.tokens_per_s, 2),
            "tokens_per_s_per_stream": round(self.tokens_per_s / self.streams, 2),
            "first_token_median_s": round(median(waits), 6) if waits else None,
            "first_token_worst_s": round(max(waits), 6) if waits else None,
            "answers": self.answers,
            "tokens": self.tokens,
            "duration_s": round(self.duration_s, 3),
        }


@dataclass(slots=True)
class _Count:
    """What all streams together have got so far."""

    tokens: int = 0
    answers: int = 0
    last_s: float = 0.0
    waits_s: list[float] = field(default_factory=list[float])


async def measure(
    engine: Engine, streams: int, duration_s: float, *, endpoint: Endpoint = "chat"
) -> Level:
    """Let streams run side by side.

    Args:
        engine: Started, and asked by nobody else.
        streams: How many, 1 or more; the engine has to take them all at once.
        duration_s: How long; answers that are not whole by then are given up. A stream that
            has not had its first token by then is waited for.
        endpoint: ``text`` for a model that has no chat template.

    Raises:
        AgentError: The engine refuses a request, or breaks off.
    """
    loop = asyncio.get_running_loop()
    began_s, count = loop.time(), _Count()
    try:
        async with asyncio.TaskGroup() as tasks:
            for nth in range(streams):
                name = f"bench-{nth}"
                tasks.create_task(_stream(engine, name, endpoint, began_s + duration_s, count))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    took_s = max(count.last_s - began_s, 1e-9)
    return Level(streams, took_s, count.tokens, count.answers, tuple(count.waits_s))


async def _stream(
    engine: Engine, name: str, endpoint: Endpoint, until_s: float, count: _Count
) -> None:
    loop = asyncio.get_running_loop()
    body = {"prompt": WORDS, "messages": [{"role": "user", "content": WORDS}], "temperature": 0}
    nth = 0
    while nth == 0 or loop.time() < until_s:
        nth += 1
        asked_s, has_begun = loop.time(), False
        prompt = Prompt(f"{name}-{nth}", endpoint, body, MOST_TOKENS)
        async with aclosing(engine.generate(prompt)) as pieces:
            async for piece in pieces:
                now_s = loop.time()
                if isinstance(piece, Delta) and piece.tokens:
                    count.tokens += piece.tokens
                    count.last_s = now_s
                    if not has_begun:
                        has_begun = True
                        count.waits_s.append(now_s - asked_s)
                elif isinstance(piece, Finished):
                    count.answers += 1
                if has_begun and now_s >= until_s:
                    break
