"""Unread answers: larger pieces for slow readers, one end, and a bound over all."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.engines.answers import Answer, Answers
from poolhand.backends.engines.base import Delta, Finished, Started, ToolCall, Usage
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.engines.messages import Begun, Ended, Refused, Row, Tokens
from poolhand.config.refusals import ContextExceeded, RequestRefused


def made(limit_tokens: int = 10) -> tuple[Answers, list[bool]]:
    told: list[bool] = []
    return Answers(unread_limit_tokens=limit_tokens, listen=told.append), told


async def test_everything_unread_is_one_piece_and_the_end_comes_last() -> None:
    answers, _ = made()
    answer = answers.open()
    call = ToolCall("c", "f", "{}")
    answers.take(Begun(answer.number, 3))
    answers.take(Tokens((Row(answer.number, 1, "a", "r"), Row(99, 1, "for nobody"))))
    answers.take(Tokens((Row(answer.number, 2, "b", "", (call,)),)))
    answers.take(Tokens((Row(answer.number, 1),)))
    answers.take(Ended(answer.number, "stop", 3, 4, None))
    answers.take(Ended(answer.number, "length", 9, 9, None))
    assert await answer.piece() == Started(3)
    assert await answer.piece() == Delta("ab", "r", (call,), 4)
    assert await answer.piece() == Finished("stop", Usage(3, 4))
    assert answers.close(answer) is False


async def test_what_nobody_reads_is_kept_as_one_text() -> None:
    answers, told = made(limit_tokens=10_000)
    answer = answers.open()
    for at in range(5000):
        answers.take(Tokens((Row(answer.number, 1, f"{at} "),)))
    piece = await answer.piece()
    assert isinstance(piece, Delta)
    assert (piece.text.split(), piece.tokens) == ([str(at) for at in range(5000)], 5000)
    assert told == []


async def test_tokens_without_text_wait_for_text_or_the_end() -> None:
    answers, _ = made()
    answer = answers.open()
    answers.take(Tokens((Row(answer.number, 1),)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await answer.piece()
    answers.take(Ended(answer.number, "length", 3, 1, None))
    assert await answer.piece() == Delta(tokens=1)


async def test_errors_come_after_what_was_said() -> None:
    answers, _ = made()
    first, second, third = answers.open(), answers.open(), answers.open()
    answers.take(Tokens((Row(first.number, 1, "a"),)))
    answers.take(Refused(second.number, "context", "", 9, 8))
    answers.take(Refused(third.number, "bad_request", "n must be 1"))
    answers.fail(EngineDied(engine="e", exit_code=1))
    assert await first.piece() == Delta("a", tokens=1)
    with pytest.raises(EngineDied):
        await first.piece()
    with pytest.raises(ContextExceeded, match="9 tokens exceeds the context length of 8"):
        await second.piece()
    with pytest.raises(RequestRefused, match="n must be 1"):
        await third.piece()
    assert answers.open_count == 0


def test_an_answer_that_is_closed_early_would_have_gone_on() -> None:
    answers, _ = made()
    answer = answers.open()
    assert answers.open_count == 1
    assert answers.close(answer) is True
    assert answers.open_count == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.booleans()), max_size=30))
def test_the_child_is_listened_to_exactly_while_readers_keep_up(
    moves: list[tuple[int, int, bool]],
) -> None:
    answers, told = made(limit_tokens=10)
    each = [answers.open() for _ in range(3)]
    for which, tokens, reads in moves:
        if reads:
            each[which].drop()
        elif answers.is_listening:
            answers.take(Tokens((Row(each[which].number, tokens, "x"),)))
        unread = sum(answer.unread_tokens for answer in each)
        assert answers.is_listening or unread > 5
        assert not answers.is_listening or unread <= 10
        assert unread <= 10 + 6
    assert told == [turn % 2 == 1 for turn in range(len(told))], "told at each turn, once"
    for answer in each:
        answers.close(answer)
    assert answers.is_listening


# ── whoever takes at once ─────────────────────────────────────────────────────────────


async def test_what_is_taken_at_once_wakes_no_reader() -> None:
    answers, _ = made()
    taken: list[tuple[str, int]] = []
    can_take = [False]

    def take(text: str, tokens: int) -> bool:
        if can_take[0]:
            taken.append((text, tokens))
        return can_take[0]

    answer = answers.open(offer=take)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(answer.piece())
        await asyncio.sleep(0)
        can_take[0] = True
        answers.take(Tokens((Row(answer.number, 1, "a"),)))
        answers.take(Tokens((Row(answer.number, 2, "b"),)))
        await asyncio.sleep(0)
        assert not reading.done()
        assert taken == [("a", 1), ("b", 2)]
        can_take[0] = False
        answers.take(Tokens((Row(answer.number, 1, "c"),)))
        assert await reading == Delta("c", tokens=1)


async def test_what_is_not_words_alone_is_the_readers() -> None:
    call = ToolCall("c", "f", "{}")
    rows = [("", "thought", ()), ("a", "thought", ()), ("a", "", (call,)), ("", "", (call,))]
    for text, reasoning, calls in rows:
        answers, _ = made()
        answer = answers.open(offer=lambda text, _: pytest.fail(text))
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(answer.piece())
            await asyncio.sleep(0)
            answers.take(Tokens((Row(answer.number, 1, text, reasoning, calls),)))
            assert await reading == Delta(text, reasoning, calls, 1)


async def test_nobody_but_the_reader_is_told_the_end() -> None:
    answers, _ = made()
    taken: list[str] = []
    answer = answers.open(offer=lambda text, _: taken.append(text) is None)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(answer.piece())
        await asyncio.sleep(0)
        answers.take(Ended(answer.number, "stop", 3, 4, None))
        assert await reading == Finished("stop", Usage(3, 4))
    assert not taken


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 2)),
        st.tuples(st.just("turn"), st.integers(1, 3)),
        st.tuples(st.just("room"), st.integers(0, 1)),
    ),
    max_size=40,
)


async def read(answer: Answer, heard: list[Delta]) -> None:
    while not isinstance(piece := await answer.piece(), Finished):
        if isinstance(piece, Delta):
            heard.append(piece)


async def told(steps: list[tuple[str, int]]) -> tuple[str, int, list[Delta]]:
    """An answer whose deltas are taken at once now and then: what was said, and what was heard."""
    answers, _ = made(limit_tokens=5)
    heard: list[Delta] = []
    has_room, said, tokens = [True], "", 0
    answer = answers.open(
        offer=lambda text, tokens: has_room[0] and heard.append(Delta(text, tokens=tokens)) is None,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read(answer, heard))
        answers.take(Begun(answer.number, 3))
        for what, number in steps:
            if what == "say":
                text = f"{len(said)}," * number
                answers.take(Tokens((Row(answer.number, 1, text),)))
                said, tokens = said + text, tokens + 1
            elif what == "turn":
                for _ in range(number):
                    await asyncio.sleep(0)
            else:
                has_room[0] = bool(number)
        answers.take(Ended(answer.number, "stop", 3, tokens, None))
    assert answers.is_listening
    return said, tokens, heard


@given(steps=STEPS)
def test_every_word_comes_once_and_in_order_whoever_takes_it(
    steps: list[tuple[str, int]],
) -> None:
    said, tokens, heard = asyncio.run(told(steps))
    assert "".join(delta.text for delta in heard) == said
    assert sum(delta.tokens for delta in heard) == tokens
