"""What a provider's refusal means: whose fault it is, and whether another try may help (pure).

A request that is wrong is the client's; an account that is closed is the operator's; a provider
that is busy is nobody's. Nothing of the provider's text is passed on.

Source:
    The official clients' rules for another try: 408, 409, 429 and 5xx, unless
    ``x-should-retry`` says otherwise; Anthropic's and OpenAI's pages on errors.
"""

from ...config.errors import AgentError
from ...config.frozen import frozen
from ...config.refusals import ContextExceeded, RequestRefused, RequestTooLarge
from .asked import BLIND
from .chat_http import Refusal
from .hosted_errors import ProviderBusy, ProviderRefused

RETRIES = 2
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
"""Source: the official clients' defaults."""

_AGAIN = frozenset({408, 409, 429})
_STRIKES = frozenset({401, 403, 429})
_WRONG = frozenset({400, 413, 422})
_FILTERS = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_ACCOUNT = frozenset({"model", "model_not_found", "DeploymentNotFound", "api-version"})
FIELDS = frozenset(
    {
        "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop",
        "seed", "tools", "tool_choice", "parallel_tool_calls", "response_format", "logit_bias",
        "presence_penalty", "frequency_penalty", "reasoning_effort", "verbosity", "prompt",
        "stream_options",
    }
)  # fmt: skip
"""Names that a client may read; whatever else a provider names stays here."""


@frozen
class Verdict:
    """What a refusal means.

    Attributes:
        error: What the request ends with, if there is no other try.
        may_retry: Whether another try may help.
        is_strike: Whether it is held against the account's standing with the provider.
        retry_after_s: When the provider wants to be asked again; ``None``: it did not say.
    """

    error: AgentError
    may_retry: bool
    is_strike: bool
    retry_after_s: float | None


def verdict(refusal: Refusal, *, host: str) -> Verdict:
    """Judge a refusal.

    Args:
        refusal: Of any status but 200.
        host: For messages.
    """
    status, after_s = refusal.status, refusal.retry_after_s
    if refusal.is_unpaid:
        error = ProviderRefused(host=host, reason="the account has nothing left")
        return Verdict(error, may_retry=False, is_strike=True, retry_after_s=None)
    if refusal.sees_nothing:
        error = RequestRefused(reason=f"content parts must {BLIND}")
        return Verdict(error, may_retry=False, is_strike=False, retry_after_s=None)
    may_retry = status in _AGAIN or status >= 500  # noqa: PLR2004 - the server's own faults
    if refusal.should_retry is not None:
        may_retry = refusal.should_retry
    return Verdict(_error(refusal, host), may_retry, status in _STRIKES, after_s)


def wait_s(nth: int, retry_after_s: float | None, chance: float) -> float | None:
    """How long to wait before another try.

    Args:
        nth: 0 after the first try.
        retry_after_s: What the provider asks for, if it does.
        chance: In [0, 1); up to a quarter of the wait is taken off by it.

    Returns:
        Seconds; ``None`` if there is no other try, or it would come too late for anybody.
    """
    if nth >= RETRIES:
        return None
    if retry_after_s is not None:
        return retry_after_s if retry_after_s <= LONGEST_WAIT_S else None
    return min(FIRST_WAIT_S * 2**nth, LONGEST_WAIT_S) * (1 - 0.25 * chance)


def _error(refusal: Refusal, host: str) -> AgentError:
    status = refusal.status
    if refusal.is_too_long:
        prompt, context = refusal.prompt_tokens, refusal.context_tokens
        if prompt is None or context is None:
            return RequestTooLarge()
        return ContextExceeded(prompt_tokens=prompt, context_tokens=context)
    if status in _WRONG and not refusal.kinds & _ACCOUNT:
        return _wrong(refusal)
    if status in _AGAIN or status >= 500:  # noqa: PLR2004 - the server's own faults
        reason = f"it answers {status}"
        return ProviderBusy(host=host, reason=reason, retry_after_s=refusal.retry_after_s)
    if status < 400:  # noqa: PLR2004 - another place, which nobody has judged
        return ProviderRefused(host=host, reason="it redirects, which is not followed")
    return ProviderRefused(host=host, reason=f"it answers {status}")


def _wrong(refusal: Refusal) -> AgentError:
    if refusal.status == 413:  # noqa: PLR2004 - content too large
        return RequestTooLarge()
    if refusal.kinds & _FILTERS:
        return RequestRefused(reason="a filter of the provider's stopped it")
    named = sorted(kind.split("[")[0].split(".")[0] for kind in refusal.kinds)
    field = next((name for name in named if name in FIELDS), None)
    words = f"it does not take this {field}" if field else "it takes the request for wrong"
    return RequestRefused(reason=f"the provider refuses: {words}")
