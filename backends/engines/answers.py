"""Answers under way: what a child said and nobody has read yet.

A reader that is slow gets larger pieces, not more of them. When all readers together are too
far behind, the child is no longer listened to, so that it stops decoding; it is listened to
again when half of that is read.
"""

import asyncio
from collections.abc import Callable
from itertools import count

from ...config.errors import AgentError
from ...config.refusals import ContextExceeded, RequestRefused
from .base import Delta, Finished, Offer, Piece, Started, ToolCall, Usage
from .messages import Begun, Ended, Refused, Row, Tokens

_LOOSE_PIECES = 1024


class Answer:
    """One answer: what came, in order, until it is read.

    Attributes:
        number: What the child calls it.
        offer: Takes words at once, if it can: then the reader, which waits, sleeps on.
        unread_tokens: Tokens that came and were not read.
        is_open: More may come.
    """

    def __init__(self, number: int, *, offer: Offer | None, among: "Answers") -> None:
        self.number = number
        self.offer = offer
        self.unread_tokens = 0
        self.is_open = True
        self._among = among
        self._started: Started | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self._end: Finished | AgentError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def begin(self, started: Started) -> None:
        """The prompt is understood."""
        self._started = started
        self.wake()

    def add(self, row: Row) -> None:
        """Take what the child said; what nobody takes at once is put to what is unread."""
        is_awaited = self._waiter is not None
        if is_awaited and self._is_taken(row):
            return
        self.unread_tokens += row.tokens
        self._among.keeps(row.tokens)
        if row.text:
            self._text.append(row.text)
            if len(self._text) > _LOOSE_PIECES:
                # one long text takes a tenth of what its pieces take
                self._text[:] = ["".join(self._text)]
        if row.reasoning:
            self._reasoning.append(row.reasoning)
        if row.calls:
            self._calls.extend(row.calls)
        if is_awaited and self._has_words:
            self.wake()

    def _is_taken(self, row: Row) -> bool:
        """Whether all that is unread, and this, is words, and somebody took them at once."""
        if self.offer is None or not self.is_open:
            return False
        if row.reasoning or row.calls or self._reasoning or self._calls:
            return False
        is_behind = self._text or self.unread_tokens
        text = "".join((*self._text, row.text)) if is_behind else row.text
        if not text or not self.offer(text, self.unread_tokens + row.tokens):
            return False
        if is_behind:
            self.drop()
        return True

    def end(self, how: Finished | AgentError) -> None:
        """Nothing more will come; only the first end counts."""
        if self.is_open:
            self.is_open = False
            self._end = how
            self.wake()

    def wake(self) -> None:
        """Have the reader look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def piece(self) -> Piece:
        """The next piece, everything unread in one.

        Raises:
            AgentError: The answer broke off here.
        """
        while (ready := self._take()) is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return ready

    @property
    def _has_words(self) -> bool:
        return bool(self._text or self._reasoning or self._calls)

    def _take(self) -> Piece | None:
        if self._started is not None:
            started, self._started = self._started, None
            return started
        if self._end is not None:
            if self.unread_tokens or self._has_words:
                return self._delta()
            if isinstance(self._end, AgentError):
                raise self._end
            return self._end
        return self._delta() if self._has_words else None

    def _delta(self) -> Delta:
        text, reasoning = "".join(self._text), "".join(self._reasoning)
        delta = Delta(text, reasoning, tuple(self._calls), self.unread_tokens)
        self.drop()
        return delta

    def drop(self) -> None:
        """Count everything as read."""
        tokens, self.unread_tokens = self.unread_tokens, 0
        self._text.clear()
        self._reasoning.clear()
        self._calls.clear()
        self._among.read(tokens)


class Answers:
    """All answers of one engine.

    Args:
        unread_limit_tokens: How far all readers together may be behind.
        listen: Called with whether more may come from the child.
    """

    def __init__(self, *, unread_limit_tokens: int, listen: Callable[[bool], None]) -> None:
        self._limit_tokens = unread_limit_tokens
        self._listen = listen
        self._numbers = count(1)
        self._answers: dict[int, Answer] = {}
        self._unread_tokens = 0
        self.is_listening = True

    @property
    def open_count(self) -> int:
        """Answers of which more may come."""
        return sum(answer.is_open for answer in self._answers.values())

    def open(self, *, offer: Offer | None = None) -> Answer:
        """A new answer, under a number that was never used.

        Args:
            offer: See :attr:`Answer.offer`.
        """
        answer = Answer(next(self._numbers), offer=offer, among=self)
        self._answers[answer.number] = answer
        return answer

    def close(self, answer: Answer) -> bool:
        """Forget an answer.

        Returns:
            Whether more would have come.
        """
        del self._answers[answer.number]
        answer.drop()
        return answer.is_open

    def take(self, message: Begun | Tokens | Ended | Refused) -> None:
        """Give what the child said to whom it is for; what is for nobody any more is dropped."""
        if isinstance(message, Tokens):
            for row in message.rows:
                if answer := self._answers.get(row.answer):
                    answer.add(row)
            self._pace()
        elif answer := self._answers.get(message.answer):
            match message:
                case Begun():
                    answer.begin(Started(message.prompt_tokens))
                case Ended():
                    answer.end(_finished(message))
                case Refused():
                    answer.end(_refusal(message))

    def fail(self, error: AgentError) -> None:
        """End every open answer with this error."""
        for answer in self._answers.values():
            answer.end(error)

    def keeps(self, tokens: int) -> None:
        """So many tokens more are unread."""
        self._unread_tokens += tokens

    def read(self, tokens: int) -> None:
        """So many tokens were read."""
        self._unread_tokens -= tokens
        self._pace()

    def _pace(self) -> None:
        if self.is_listening and self._unread_tokens > self._limit_tokens:
            self.is_listening = False
            self._listen(False)  # noqa: FBT003 - a callback's only argument
        elif not self.is_listening and self._unread_tokens <= self._limit_tokens // 2:
            self.is_listening = True
            self._listen(True)  # noqa: FBT003 - a callback's only argument


def _finished(message: Ended) -> Finished:
    usage = Usage(message.prompt_tokens, message.completion_tokens, message.reasoning_tokens)
    return Finished(message.reason, usage)


def _refusal(message: Refused) -> AgentError:
    if message.kind == "context":
        return ContextExceeded(
            prompt_tokens=message.prompt_tokens, context_tokens=message.context_tokens
        )
    return RequestRefused(reason=message.reason)
