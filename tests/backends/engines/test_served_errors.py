"""What a server's refusals are called here."""

import pytest

from poolhand.backends.engines.chat_http import Refusal
from poolhand.backends.engines.errors import EngineBrokeOff
from poolhand.backends.engines.served_errors import as_error
from poolhand.config.errors import AgentError
from poolhand.config.refusals import ContextExceeded, Overloaded, RequestRefused, RequestTooLarge


def called(refusal: Refusal, context_tokens: int | None = None) -> AgentError:
    return as_error(refusal, engine="vllm", running=3, most=4, context_tokens=context_tokens)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestRefused),
        (404, RequestRefused),
        (415, RequestRefused),
        (422, RequestRefused),
        (413, RequestTooLarge),
        (429, Overloaded),
        (503, Overloaded),
        (401, EngineBrokeOff),
        (403, EngineBrokeOff),
        (307, EngineBrokeOff),
        (500, EngineBrokeOff),
        (502, EngineBrokeOff),
    ],
)
def test_a_status_has_a_name(status: int, kind: type[AgentError]) -> None:
    assert type(called(Refusal(status))) is kind


@pytest.mark.parametrize(
    ("prompt", "told", "known", "text"),
    [
        (9, 8, None, "prompt of 9 tokens exceeds the context length of 8"),
        (9, None, 8, "prompt of 9 tokens exceeds the context length of 8"),
        (9, 7, 8, "prompt of 9 tokens exceeds the context length of 7"),
    ],
)
def test_too_long_has_both_counts(
    prompt: int, told: int | None, known: int | None, text: str
) -> None:
    refusal = Refusal(400, is_too_long=True, prompt_tokens=prompt, context_tokens=told)
    error = called(refusal, known)
    assert isinstance(error, ContextExceeded)
    assert str(error) == text


@pytest.mark.parametrize(("prompt", "told"), [(None, 8), (9, None), (None, None)])
def test_or_it_is_too_large_without_any(prompt: int | None, told: int | None) -> None:
    refusal = Refusal(400, is_too_long=True, prompt_tokens=prompt, context_tokens=told)
    assert isinstance(called(refusal), RequestTooLarge)


def test_a_model_that_sees_nothing_is_no_fault_of_the_servers() -> None:
    error = called(Refusal(500, sees_nothing=True))
    assert isinstance(error, RequestRefused)
    assert "this model sees no images" in str(error)


def test_a_busy_server_is_the_queue_that_is_full() -> None:
    error = called(Refusal(429))
    assert error.request_text == "request rejected: queue full"
    assert "3 of 4" in str(error)
