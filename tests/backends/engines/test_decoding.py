"""The child's loop against a speaker with no model in it, over a real socket."""

import socket
import threading
import time
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.engines.answer_text import AnswerText
from poolhand.backends.engines.asked import Asked, Sampling
from poolhand.backends.engines.decoding import Inserted, Loop, Memory, Step
from poolhand.backends.engines.frames import FROM_CHILD_BYTES, Decoder, encode, from_child
from poolhand.backends.engines.messages import (
    AskStats,
    Begun,
    Cancel,
    Ended,
    FromChild,
    Generate,
    Quit,
    Refused,
    Stats,
    Tick,
    ToChild,
    Tokens,
    Unload,
    Unloaded,
)
from poolhand.backends.engines.pace import Pace
from poolhand.backends.engines.pipe import Pipe


class Plain:
    """A detokenizer and a splitter in one: every token is the letter x."""

    def __init__(self) -> None:
        self._ready = ""

    @property
    def last_segment(self) -> str:
        ready, self._ready = self._ready, ""
        return ready

    def add_token(self, token: int) -> None:
        self._ready += "x"

    def finalize(self) -> None:
        pass

    def split(self, text: str) -> Sequence[tuple[str | None, str]]:
        return [("normal", text)]

    def flush(self) -> tuple[str | None, str]:
        return "normal", ""


class Counting:
    """Says x until the length is reached."""

    def __init__(self) -> None:
        self.context_tokens: int | None = 20
        self.sampling = Sampling()
        self.has_thinking = False
        self.kv_bytes_per_token: int | None = None
        self.pace = Pace()
        self.rows: dict[int, int] = {}
        self.most_rows = 0
        self.steps = 0
        self.rests = 0
        self.is_dropped = False
        self.takes_s = 0.0

    def tokens(self, asked: Asked) -> list[int]:
        return [0] * len(asked.prompt)

    def answer(self, number: int, asked: Asked, tokens: list[int]) -> AnswerText:
        plain = Plain()
        return AnswerText(
            number,
            detokenizer=plain,
            splitter=plain,
            stop_words=asked.stop_words,
            tools=None,
            is_reasoning=False,
        )

    def insert(self, tokens: list[int], *, max_tokens: int, sampling: Sampling) -> Inserted:
        number = max(self.rows, default=self.steps * 100) + 1
        self.rows[number] = max_tokens
        self.most_rows = max(self.most_rows, len(self.rows))
        return Inserted(number, 0)

    def step(self) -> list[Step]:
        self.steps += 1
        time.sleep(self.takes_s)
        made: list[Step] = []
        for row in list(self.rows):
            self.rows[row] -= 1
            made.append(Step(row, 7, None if self.rows[row] else "length"))
            if not self.rows[row]:
                del self.rows[row]
        return made

    def remove(self, rows: list[int]) -> None:
        for row in rows:
            del self.rows[row]

    def rest(self) -> None:
        self.rests += 1

    def drop(self) -> None:
        self.is_dropped = True


def generate(
    number: int, prompt: str = "four", most: int = 3, beat_s: float = 0.0, **body: object
) -> Generate:
    return Generate(number, "text", {"prompt": prompt, **body}, most, beat_s)


class Talk:
    """A loop in a thread of its own, as a child is a process of its own."""

    def __init__(self, *, max_running: int = 2, context_tokens: int | None = 20) -> None:
        self.line, theirs = socket.socketpair()
        self.line.settimeout(10)
        self.speaker = Counting()
        self.speaker.context_tokens = context_tokens
        self._pipe = Pipe(theirs)
        self._loop = Loop(
            self._pipe, self.speaker, max_running=max_running, memory=lambda: Memory(1, 2, 3)
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run()
        self._pipe.drain(5)

    def end(self, *said: ToChild) -> list[FromChild]:
        """Say this, then listen until the loop leaves."""
        self.line.sendall(b"".join(encode(message) for message in said))
        heard = self.listen()
        self.close()
        return heard

    def listen(self) -> list[FromChild]:
        decoder = Decoder[FromChild](from_child, limit_bytes=FROM_CHILD_BYTES)
        blocks = iter(lambda: self.line.recv(2**16), b"")
        return [message for block in blocks for message in decoder.feed(block)]

    def close(self) -> None:
        self.line.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        assert self.speaker.is_dropped


def ends(heard: list[FromChild]) -> list[Ended]:
    return [message for message in heard if isinstance(message, Ended)]


def until(talk: Talk, kind: type[FromChild], *, times: int = 1) -> list[FromChild]:
    decoder = Decoder[FromChild](from_child, limit_bytes=FROM_CHILD_BYTES)
    heard: list[FromChild] = []
    while sum(isinstance(message, kind) for message in heard) < times:
        heard += decoder.feed(talk.line.recv(2**16))
    return heard


def test_an_answer_is_begun_said_and_ended_in_this_order() -> None:
    talk = Talk()
    talk.line.sendall(encode(generate(1)))
    heard = until(talk, Ended)
    kinds = [type(message) for message in heard if not isinstance(message, Stats | Tick)]
    assert kinds == [Begun, Tokens, Tokens, Tokens, Ended]
    assert ends(heard) == [Ended(1, "length", 4, 3, None)]
    assert talk.end(Unload(), Quit())[-1] == Unloaded()
    assert talk.speaker.rests == 1


def test_more_than_may_run_wait_in_order() -> None:
    talk = Talk(max_running=2)
    talk.line.sendall(b"".join(encode(generate(number)) for number in range(1, 6)))
    heard = until(talk, Ended, times=5)
    assert [end.answer for end in ends(heard)] == [1, 2, 3, 4, 5]
    assert talk.speaker.most_rows == 2
    figures = [message for message in heard if isinstance(message, Stats)]
    assert max(told.running for told in figures) == 2
    assert max(told.waiting for told in figures) >= 1
    # two rows of four and three tokens
    assert max(told.budget_used_tokens for told in figures) == 2 * 7
    talk.end(Quit())


def test_a_stop_word_ends_a_row_before_its_length() -> None:
    talk = Talk()
    talk.line.sendall(encode(generate(1, most=9, stop="xxx")))
    assert ends(until(talk, Ended)) == [Ended(1, "stop", 4, 3, None)]
    assert talk.speaker.rows == {}
    talk.end(Quit())


def test_the_context_bounds_the_answer_or_refuses_the_prompt() -> None:
    talk = Talk(context_tokens=10)
    talk.line.sendall(encode(generate(1, most=100)) + encode(generate(2, prompt="x" * 10)))
    heard = until(talk, Ended)
    assert Refused(2, "context", "", 10, 10) in heard
    assert ends(heard) == [Ended(1, "length", 4, 6, None)]
    talk.end(Quit())


def test_a_bad_body_is_refused_in_closed_words() -> None:
    talk = Talk()
    talk.line.sendall(encode(generate(1, n=2)))
    assert Refused(1, "bad_request", "n must be 1") in until(talk, Refused)
    talk.end(Quit())


def test_a_cancel_forgets_what_runs_and_what_waits() -> None:
    talk = Talk(max_running=1, context_tokens=None)
    endless = [generate(number, most=10**9) for number in (1, 2)]
    talk.line.sendall(b"".join(encode(message) for message in endless))
    until(talk, Tokens)
    talk.line.sendall(
        encode(Cancel(2)) + encode(Cancel(1)) + encode(Cancel(7)) + encode(AskStats())
    )
    decoder = Decoder[FromChild](from_child, limit_bytes=FROM_CHILD_BYTES)
    talk.line.sendall(encode(Quit()))
    heard = [
        message
        for block in iter(lambda: talk.line.recv(2**16), b"")
        for message in decoder.feed(block)
    ]
    talk.close()
    assert ends(heard) == []
    assert talk.speaker.rows == {}


def test_a_reader_that_stops_stops_the_decoding_and_a_cancel_is_still_heard() -> None:
    talk = Talk(context_tokens=None)
    talk.line.sendall(encode(generate(1, most=10**9)))
    steps = -1
    while steps != talk.speaker.steps:
        steps = talk.speaker.steps
        threading.Event().wait(0.1)
    assert 0 < steps < 10**6
    talk.line.sendall(encode(Cancel(1)))
    until_s = time.monotonic() + 5
    while talk.speaker.rows and time.monotonic() < until_s:
        threading.Event().wait(0.01)
    assert talk.speaker.rows == {}
    talk.close()


def test_the_loop_leaves_when_the_engine_is_gone() -> None:
    talk = Talk(context_tokens=None)
    talk.line.sendall(encode(generate(1, most=10**9)))
    until(talk, Tokens)
    talk.close()


# ── beats ─────────────────────────────────────────────────────────────────────────────


def rows_of(heard: list[FromChild], answer: int) -> list[tuple[int, str]]:
    rows = [row for message in heard if isinstance(message, Tokens) for row in message.rows]
    return [(row.tokens, row.text) for row in rows if row.answer == answer]


def test_the_first_words_and_the_end_wait_for_no_beat() -> None:
    talk = Talk()
    talk.line.sendall(encode(generate(1, most=6, beat_s=3600.0)))
    heard = until(talk, Ended)
    assert rows_of(heard, 1) == [(1, "x"), (5, "xxxxx")]
    talk.end(Quit())


def test_what_comes_in_one_beat_is_said_once_in_the_next() -> None:
    talk = Talk(context_tokens=None)
    talk.speaker.takes_s = 0.001
    begun_s = time.monotonic()
    talk.line.sendall(encode(generate(1, most=200, beat_s=0.05)))
    heard = until(talk, Ended)
    beats = int((time.monotonic() - begun_s) / 0.05) + 1
    rows = rows_of(heard, 1)
    assert 3 <= len(rows) <= beats + 2
    assert sum(tokens for tokens, _ in rows) == 200 == sum(len(text) for _, text in rows)
    talk.end(Quit())


def test_what_is_kept_is_said_before_a_prompt_is_read() -> None:
    talk = Talk(context_tokens=None)
    talk.speaker.takes_s = 0.001
    talk.line.sendall(encode(generate(1, most=10**9, beat_s=3600.0)))
    until(talk, Tokens)
    while talk.speaker.steps < 5:
        threading.Event().wait(0.001)
    talk.line.sendall(encode(generate(2, most=10**9, beat_s=3600.0)))
    heard = until(talk, Tokens)
    talk.close()
    tokens, text = rows_of(heard, 1)[0]
    assert tokens == len(text) >= 4


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.0005, 3600.0]),
)
def test_each_answer_ends_at_most_once_and_never_after_nothing(
    plan: list[tuple[int, bool]], beat_s: float
) -> None:
    talk = Talk()
    said: list[ToChild] = []
    for number, (most, cancels) in enumerate(plan):
        said.append(generate(number, most=most, beat_s=beat_s))
        if cancels:
            said.append(Cancel(number))
    kept = sum(not cancels for _, cancels in plan)
    talk.line.sendall(b"".join(encode(message) for message in said))
    heard = until(talk, Ended, times=kept) if kept else []
    heard += talk.end(Quit())
    told = [end.answer for end in ends(heard)]
    assert len(told) == len(set(told))
    assert {number for number, (_, cancels) in enumerate(plan) if not cancels} <= set(told)
    for end in ends(heard):
        rows = [row for m in heard if isinstance(m, Tokens) for row in m.rows]
        assert sum(row.tokens for row in rows if row.answer == end.answer) == end.completion_tokens
