"""The child's one loop: hear, take in, decode a step, tell; no thread, no lock.

Between two steps it listens, so a cancel and a new request are heard within one step. While
what it said is not taken, it decodes nothing.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from ...config.frozen import frozen
from .answer_text import AnswerText
from .asked import Asked, BadRequest, Sampling, TooLong, read
from .messages import (
    AskStats,
    Begun,
    Cancel,
    Ended,
    Generate,
    LoadModel,
    Quit,
    Refused,
    Row,
    Stats,
    Take,
    Tick,
    ToChild,
    Tokens,
    Unload,
    Unloaded,
)
from .pace import Pace
from .pipe import Pipe

TICK_S = 2.0
BACKLOG_BYTES = 2**16
"""Unsent bytes above which nothing is decoded."""


@frozen
class Step:
    """One token of one row."""

    row: int
    token: int
    ends: Literal["stop", "length"] | None


@frozen
class Inserted:
    """A row that is to be answered.

    Attributes:
        row: Its number.
        known_tokens: So many of its prompt's tokens need not be read again.
    """

    row: int
    known_tokens: int


@frozen
class Memory:
    """What the engine's library says it holds, in bytes."""

    active_bytes: int
    peak_bytes: int
    cache_bytes: int


class Speaker(Protocol):
    """A model in memory, and the batch of rows it decodes; ``mlx_model.py`` has the one there is.

    Attributes:
        context_tokens: Most tokens of prompt and answer; ``None`` if nobody says.
        sampling: What its makers advise.
        has_thinking: Whether it reasons before it answers.
        kv_bytes_per_token: Measured; ``None`` where a token has no fixed cost.
        pace: How fast it was when it was tried; goes on from there.
    """

    context_tokens: int | None
    sampling: Sampling
    has_thinking: bool
    kv_bytes_per_token: int | None
    pace: Pace

    def tokens(self, asked: Asked) -> list[int]:
        """The prompt as the model reads it.

        Raises:
            BadRequest: The model's template does not take these messages.
            TooLong: It does not fit, by so much that it is not read to its end.
        """
        ...

    def answer(self, number: int, asked: Asked, tokens: list[int]) -> AnswerText:
        """The text of an answer to this prompt, still empty."""
        ...

    def insert(self, tokens: list[int], *, max_tokens: int, sampling: Sampling) -> Inserted:
        """Begin to answer."""
        ...

    def step(self) -> list[Step]:
        """Read on in prompts and decode one token of each row that is through."""
        ...

    def remove(self, rows: list[int]) -> None:
        """Forget these rows."""
        ...

    def rest(self) -> None:
        """Nothing runs: give back what is kept for reuse."""
        ...

    def drop(self) -> None:
        """Give the memory back; nothing can be asked of it any more."""
        ...


@dataclass(slots=True)
class _Row:
    """A request from its prompt to its end."""

    text: AnswerText
    tokens: list[int]
    max_tokens: int
    sampling: Sampling
    beat_s: float
    inserted_s: float = 0.0
    known_tokens: int = 0
    kept: Row | None = None
    _speaks_s: float = 0.0

    @property
    def prompt_tokens(self) -> int:
        return len(self.tokens)

    def due(self, made: Row, now_s: float, *, is_last: bool) -> Row | None:
        """What is to be said; after the first words, what comes in the same beat is kept."""
        row = made if self.kept is None else _joined(self.kept, made)
        if now_s < self._speaks_s and not is_last:
            self.kept = row
            return None
        self.kept = None
        if self.beat_s and (self._speaks_s or row.text or row.reasoning or row.calls):
            self._speaks_s = (now_s // self.beat_s + 1) * self.beat_s
        return row


def _joined(first: Row, then: Row) -> Row:
    return Row(
        first.answer,
        first.tokens + then.tokens,
        first.text + then.text,
        first.reasoning + then.reasoning,
        first.calls + then.calls,
    )


class Loop:
    """Answers what the engine asks until it is told to leave or the line is gone.

    Args:
        pipe: To the engine.
        model: Loaded.
        max_running: Rows decoded side by side; the others wait in order.
        memory: What the library holds now.
    """

    def __init__(
        self,
        pipe: Pipe,
        model: Speaker,
        *,
        max_running: int,
        memory: Callable[[], Memory],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipe = pipe
        self._model = model
        self._max_running = max_running
        self._memory = memory
        self._clock = clock
        self._waiting: deque[_Row] = deque()
        self._running: dict[int, _Row] = {}
        self._generated_tokens = 0
        self._pace = model.pace
        self._tick_s = clock()
        self._is_leaving = False
        self._has_news = True

    def run(self) -> None:
        """Turn until it is over; the model is dropped when this returns."""
        try:
            while not (self._is_leaving or self._pipe.is_closed):
                self._turn()
        finally:
            self._model.drop()

    def _turn(self) -> None:
        may_step = self._has_work and self._pipe.backlog_bytes < BACKLOG_BYTES
        if not may_step:
            self._pace.pause()
        wait_s = 0.0 if may_step else max(0.0, self._tick_s - self._clock())
        for message in self._pipe.exchange(wait_s):
            self._take(message)
        if may_step and not self._is_leaving:
            self._admit()
            self._step()
        if self._clock() >= self._tick_s:
            self._tick_s = self._clock() + TICK_S
            self._pipe.say(Tick())
            self._has_news = True
        if self._has_news:
            self._has_news = False
            self._pipe.say(self._stats())

    @property
    def _has_work(self) -> bool:
        return bool(self._running or self._waiting)

    def _take(self, message: ToChild) -> None:
        match message:
            case Generate():
                self._begin(message)
            case Cancel():
                self._forget(message.answer)
            case AskStats():
                self._has_news = True
            case Unload():
                for row in [*self._running.values(), *self._waiting]:
                    self._forget(row.text.number)
                self._pipe.say(Unloaded())
                self._is_leaving = True
            case Quit():
                self._is_leaving = True
            case LoadModel() | Take():
                pass  # one model a process

    def _begin(self, message: Generate) -> None:
        try:
            asked = read(message.endpoint, message.body, defaults=self._model.sampling)
            tokens = self._model.tokens(asked)
        except BadRequest as bad:
            self._pipe.say(Refused(message.answer, "bad_request", str(bad)))
            return
        except TooLong as long:
            context = self._model.context_tokens or 0
            self._pipe.say(Refused(message.answer, "context", "", long.tokens, context))
            return
        context, max_tokens = self._model.context_tokens, message.max_tokens
        if context is not None:
            if len(tokens) >= context:
                self._pipe.say(Refused(message.answer, "context", "", len(tokens), context))
                return
            max_tokens = min(max_tokens, context - len(tokens))
        text = self._model.answer(message.answer, asked, tokens)
        self._waiting.append(_Row(text, tokens, max_tokens, asked.sampling, message.beat_s))
        self._pipe.say(Begun(message.answer, len(tokens)))
        self._has_news = True

    def _forget(self, answer: int) -> None:
        for number, row in self._running.items():
            if row.text.number == answer:
                self._model.remove([number])
                self._end_row(number)
                return
        for row in self._waiting:
            if row.text.number == answer:
                self._waiting.remove(row)
                self._has_news = True
                return

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._max_running:
            self._say_kept()  # to read a prompt takes longer than a beat
            row = self._waiting.popleft()
            begun = self._model.insert(row.tokens, max_tokens=row.max_tokens, sampling=row.sampling)
            row.inserted_s, row.known_tokens = self._clock(), begun.known_tokens
            self._running[begun.row] = row
            self._has_news = True

    def _say_kept(self) -> None:
        kept = [row.kept for row in self._running.values() if row.kept is not None]
        if kept:
            self._pipe.say(Tokens(tuple(kept)))
        for row in self._running.values():
            row.kept = None

    def _step(self) -> None:
        steps = [step for step in self._model.step() if step.row in self._running]
        if not steps:
            return
        now_s = self._clock()
        self._pace.stepped(now_s)
        self._generated_tokens += len(steps)
        rows: list[Row] = []
        ends: list[Ended] = []
        for step in steps:
            row = self._running[step.row]
            if row.text.tokens == 0:
                read_tokens = row.prompt_tokens - row.known_tokens
                self._pace.prefilled(read_tokens, now_s - row.inserted_s)
            made = row.text.take(step.token, ends=step.ends)
            if (end := self._ended(step, row)) is not None:
                ends.append(end)
            if (said := row.due(made, now_s, is_last=end is not None)) is not None:
                rows.append(said)
        if rows:
            self._pipe.say(Tokens(tuple(rows)), *ends)

    def _ended(self, step: Step, row: _Row) -> Ended | None:
        if row.text.is_stopped and step.ends is None:
            self._model.remove([step.row])
        elif step.ends is None:
            return None
        self._end_row(step.row)
        return Ended(
            row.text.number,
            row.text.reason("stop" if row.text.is_stopped else step.ends or "stop"),
            row.prompt_tokens,
            row.text.tokens,
            row.text.reasoning_tokens if self._model.has_thinking else None,
        )

    def _end_row(self, number: int) -> None:
        del self._running[number]
        self._has_news = True
        if not self._running:
            self._model.rest()

    def _stats(self) -> Stats:
        rows, held = self._running.values(), self._memory()
        longest = max((row.prompt_tokens + row.max_tokens for row in rows), default=0)
        return Stats(
            running=len(rows),
            waiting=len(self._waiting),
            active_tokens=sum(row.prompt_tokens + row.text.tokens for row in rows),
            # a batch is padded to its longest row
            budget_used_tokens=len(rows) * longest,
            generated_tokens=self._generated_tokens,
            kv_bytes_per_token=self._model.kv_bytes_per_token,
            decode_tps=self._pace.decode_tps,
            prefill_tps=self._pace.prefill_tps,
            memory_active_bytes=held.active_bytes,
            memory_peak_bytes=held.peak_bytes,
            memory_cache_bytes=held.cache_bytes,
        )
