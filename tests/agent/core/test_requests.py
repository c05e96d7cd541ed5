"""The ledger: each accepted request ends exactly once."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.events import GenerationEnded
from poolhand.agent.core.request_key import LOCAL, RequestKey
from poolhand.agent.core.requests import Entry, Ledger, RequestState, busy_of, failure
from poolhand.agent.wire.outbound import InferenceComplete, InferenceError
from poolhand.backends.engines.base import Usage
from poolhand.backends.engines.errors import EngineDied
from poolhand.config.refusals import Overloaded, RequestUnreadable

KEY = RequestKey(1, "r")
USAGE = Usage(5, 7, 2)
DEAD = EngineDied(engine="mlx", exit_code=1)


def ledger(state: RequestState = RequestState.RUNNING) -> Ledger:
    book = Ledger()
    book.heard(KEY, 1.0)
    if state is not RequestState.OPENING:
        book.move(KEY, state, model="org/a", max_tokens=9)
    return book


def test_a_request_is_taken_in_once() -> None:
    book = Ledger()
    assert book.heard(KEY, 1.0)
    assert not book.heard(KEY, 2.0)
    assert book.heard(RequestKey(2, "r"), 2.0), "ids mean nothing beyond their line"
    assert len(book) == 2
    assert book.entry(KEY) == Entry(KEY, RequestState.OPENING, 1.0)


def test_what_is_known_of_it_stays() -> None:
    book = ledger()
    assert book.move(KEY, RequestState.ENDING).model == "org/a"
    assert book.entries() == (Entry(KEY, RequestState.ENDING, 1.0, "org/a", 9),)
    assert book.of("org/a", RequestState.ENDING) == list(book.entries())
    assert book.of("org/a", RequestState.RUNNING) == []


@pytest.mark.parametrize("state", list(RequestState))
def test_only_an_answer_keeps_a_model_busy(state: RequestState) -> None:
    is_answering = state in {RequestState.RUNNING, RequestState.ENDING}
    assert ledger(state).busy() == (frozenset({"org/a"}) if is_answering else frozenset())
    assert busy_of(ledger(state).entries()) == ledger(state).busy()


def test_a_whole_answer_is_billed() -> None:
    book = ledger()
    message = book.end(GenerationEnded(KEY, "complete", USAGE, has_output=True))
    assert isinstance(message, InferenceComplete)
    assert message.usage.model_dump() == {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "reasoning_tokens": 2,
    }
    stats = book.stats()
    assert (stats.requests_served, stats.tokens_generated) == (1, 7)
    assert stats.generation_errors_after_output == 0
    assert len(book) == 0


@pytest.mark.parametrize("state", list(RequestState))
def test_an_answer_ends_only_if_it_ran_and_only_once(state: RequestState) -> None:
    book, ended = ledger(state), GenerationEnded(KEY, "complete", USAGE)
    is_answering = state in {RequestState.RUNNING, RequestState.ENDING}
    assert (book.end(ended) is not None) == is_answering
    assert book.end(ended) is None
    assert book.stats().requests_served == int(is_answering)


@pytest.mark.parametrize(
    ("ended", "status", "counted"),
    [
        (GenerationEnded(KEY, "cancelled"), 499, "cancellations_before_output"),
        (GenerationEnded(KEY, "cancelled", USAGE), 499, "cancellations_before_output"),
        (
            GenerationEnded(KEY, "cancelled", USAGE, has_output=True),
            None,
            "cancellations_partial_complete",
        ),
        (
            GenerationEnded(KEY, "failed", USAGE, has_output=True, error=DEAD),
            500,
            "generation_errors_after_output",
        ),
        (GenerationEnded(KEY, "failed", error=DEAD), 500, ""),
        (GenerationEnded(KEY, "failed", USAGE), 503, ""),
    ],
)
def test_how_an_answer_may_end(ended: GenerationEnded, status: int | None, counted: str) -> None:
    book = ledger()
    message = book.end(ended)
    if status is None:
        assert isinstance(message, InferenceComplete)
    else:
        assert isinstance(message, InferenceError)
        assert message.status_code == status
    counts = book.stats().model_dump(exclude={"tokens_generated"})
    assert [name for name, count in counts.items() if count] == ([counted] if counted else [])


def test_a_refusal_says_what_clients_may_read() -> None:
    book = ledger(RequestState.OPENING)
    message = book.refuse(KEY, Overloaded(running=3, most=3))
    assert message == failure(KEY, Overloaded(running=3, most=3))
    assert isinstance(message, InferenceError)
    assert (message.status_code, message.error) == (503, "request rejected: queue full")
    assert failure(KEY, RequestUnreadable(reason="no JSON")).status_code == 400
    assert len(book) == 0


def test_counters_start_at_zero_and_grow() -> None:
    book = Ledger()
    assert set(book.stats().model_dump().values()) == {0}
    book.count("usage_gaps", line=1)
    book.count("usage_gaps", 2, line=7)
    book.count("usage_gaps", 5, line=LOCAL)
    assert book.stats().usage_gaps == 3
    assert book.local_stats().usage_gaps == 5, "no coordinator is told of what is not its own"


def test_requests_of_a_dead_line_are_dropped_without_a_word() -> None:
    book = ledger()
    book.forget([KEY, RequestKey(9, "unknown")])
    assert len(book) == 0


outcomes: list[Literal["complete", "cancelled", "failed"]] = ["complete", "cancelled", "failed"]


@given(
    deeds=st.lists(
        st.tuples(
            st.sampled_from(["hear", "move", "refuse", "end", "forget"]),
            st.integers(0, 3),
            st.sampled_from([s for s in RequestState if s is not RequestState.OPENING]),
            st.sampled_from(["org/a", "org/b"]),
        ),
        max_size=40,
    )
)
def test_who_answers_and_who_opens_is_always_known(
    deeds: list[tuple[str, int, RequestState, str]],
) -> None:
    book = Ledger()
    for deed, number, state, model in deeds:
        key = RequestKey(number % 2, f"r{number}")
        match deed:
            case "hear":
                book.heard(key, 1.0)
            case "move" if book.entry(key) is not None:
                book.move(key, state, model=model)
            case "refuse":
                book.refuse(key, DEAD)
            case "end":
                book.end(GenerationEnded(key, "complete", USAGE, has_output=True))
            case _:
                book.forget([key])
        assert book.busy() == busy_of(book.entries())
        assert book.is_opening == any(e.state is RequestState.OPENING for e in book.entries())


@given(
    story=st.lists(st.tuples(st.sampled_from(["hear", "end", "refuse"]), st.integers(0, 2))),
    outcome=st.sampled_from(outcomes),
    usage=st.none() | st.just(USAGE),
    has_output=st.booleans(),
)
def test_one_terminal_message_for_each(
    story: list[tuple[str, int]],
    outcome: Literal["complete", "cancelled", "failed"],
    usage: Usage | None,
    *,
    has_output: bool,
) -> None:
    book, heard, ended = Ledger(), 0, 0
    for verb, number in story:
        key = RequestKey(1, str(number))
        if verb == "hear" and book.heard(key, 0.0):
            heard += 1
            book.move(key, RequestState.RUNNING, model="org/a")
        elif verb == "end":
            event = GenerationEnded(key, outcome, usage, has_output=has_output)
            ended += book.end(event) is not None
        elif verb == "refuse" and book.entry(key) is not None:
            book.refuse(key, DEAD)
            ended += 1
        assert heard - ended == len(book)
