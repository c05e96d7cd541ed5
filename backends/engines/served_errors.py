"""What a server's refusal of one request is called here (pure)."""

from http import HTTPStatus

from ...config.errors import AgentError
from ...config.refusals import ContextExceeded, Overloaded, RequestRefused, RequestTooLarge
from .asked import BLIND
from .chat_http import Refusal
from .errors import EngineBrokeOff

_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_WRONG = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        # what mlx_lm's server answers to whatever it cannot do
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


def as_error(
    refusal: Refusal, *, engine: str, running: int, most: int, context_tokens: int | None
) -> AgentError:
    """The failure that a request ends with.

    Args:
        refusal: What the server answered.
        engine: Its name.
        running: Answers under way.
        most: How many there may be.
        context_tokens: The longest request it takes, if that is known.
    """
    if refusal.is_too_long:
        context = refusal.context_tokens or context_tokens
        if refusal.prompt_tokens is not None and context is not None:
            return ContextExceeded(prompt_tokens=refusal.prompt_tokens, context_tokens=context)
        return RequestTooLarge()
    if refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return RequestTooLarge()
    if refusal.sees_nothing:
        return RequestRefused(reason=f"content parts must {BLIND}")
    if refusal.status in _WRONG:
        return RequestRefused(reason="the engine does not take it in this form")
    if refusal.status in _BUSY:
        return Overloaded(running=running, most=most)
    return EngineBrokeOff(engine=engine, reason=f"it answered with status {refusal.status}")
