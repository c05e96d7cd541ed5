"""Whose fault a refusal is, whether to try again, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.engines.chat_http import Refusal
from poolhand.backends.engines.hosted_errors import ProviderBusy, ProviderRefused
from poolhand.backends.engines.hosted_refusals import (
    FIELDS,
    LONGEST_WAIT_S,
    RETRIES,
    verdict,
    wait_s,
)
from poolhand.config.errors import AgentError
from poolhand.config.refusals import ContextExceeded, RequestRefused, RequestTooLarge


@pytest.mark.parametrize(
    ("status", "kind", "may_retry", "is_strike"),
    [
        (302, ProviderRefused, False, False),
        (400, RequestRefused, False, False),
        (401, ProviderRefused, False, True),
        (403, ProviderRefused, False, True),
        (404, ProviderRefused, False, False),
        (408, ProviderBusy, True, False),
        (409, ProviderBusy, True, False),
        (413, RequestTooLarge, False, False),
        (422, RequestRefused, False, False),
        (429, ProviderBusy, True, True),
        (500, ProviderBusy, True, False),
        (529, ProviderBusy, True, False),
    ],
)
def test_by_status(
    status: int, kind: type[AgentError], *, may_retry: bool, is_strike: bool
) -> None:
    judged = verdict(Refusal(status), host="h.example")
    assert isinstance(judged.error, kind)
    assert (judged.may_retry, judged.is_strike) == (may_retry, is_strike)


def test_the_providers_own_word_on_another_try_wins() -> None:
    assert not verdict(Refusal(500, should_retry=False), host="h").may_retry
    assert verdict(Refusal(400, should_retry=True), host="h").may_retry


def test_an_account_with_nothing_left_is_the_operators_business() -> None:
    judged = verdict(Refusal(429, 3.0, is_unpaid=True), host="h")
    assert isinstance(judged.error, ProviderRefused)
    assert (judged.may_retry, judged.is_strike) == (False, True)


def test_a_model_that_is_not_known_is_no_wrong_request() -> None:
    judged = verdict(Refusal(400, kinds=frozenset({"model_not_found"})), host="h")
    assert isinstance(judged.error, ProviderRefused)


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_picture_for_a_model_that_sees_nothing_is_the_senders_mistake(status: int) -> None:
    judged = verdict(Refusal(status, sees_nothing=True), host="h")
    assert isinstance(judged.error, RequestRefused)
    assert "this model sees no images" in str(judged.error)
    assert (judged.may_retry, judged.is_strike) == (False, False), "asked once, held against nobody"


def test_too_long_is_said_in_numbers_if_there_are_any() -> None:
    long = Refusal(400, is_too_long=True, prompt_tokens=9, context_tokens=8)
    assert isinstance(verdict(long, host="h").error, ContextExceeded)
    unknown = verdict(Refusal(400, is_too_long=True), host="h").error
    assert isinstance(unknown, RequestTooLarge)


@pytest.mark.parametrize(
    ("param", "words"),
    [("temperature", "this temperature"), ("messages[3].content", "this messages")],
)
def test_a_field_is_named_and_nothing_else(param: str, words: str) -> None:
    error = verdict(Refusal(400, kinds=frozenset({param, "None"})), host="h").error
    assert words in str(error)


@given(st.integers(300, 599), st.frozensets(st.text(min_size=1, max_size=12), max_size=3))
def test_law_no_word_of_a_provider_is_passed_on(status: int, kinds: frozenset[str]) -> None:
    plain = str(verdict(Refusal(status), host="h").error)
    told = str(verdict(Refusal(status, kinds=kinds - FIELDS), host="h").error)
    assert told == plain


def test_when_the_next_try_is() -> None:
    assert [wait_s(nth, None, 0.0) for nth in range(3)] == [0.5, 1.0, None]
    assert wait_s(0, None, 0.99) == pytest.approx(0.376, abs=0.001)
    assert wait_s(0, 3.0, 0.5) == 3.0
    assert wait_s(0, LONGEST_WAIT_S + 1, 0.5) is None, "somebody else is quicker"


@given(st.integers(0, 9), st.none() | st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_law_waits_are_bounded(nth: int, asked_s: float | None, chance: float) -> None:
    wait = wait_s(nth, asked_s, chance)
    assert wait is None or 0 <= wait <= LONGEST_WAIT_S
    assert wait is None or nth < RETRIES
