"""What a coordinator makes of a failure's words: the class of a load, the status of a request.

A coordinator has nothing but one sentence to go by, so the words in it decide whether a load
is asked for again in half a minute or in two, and whether a client sees a full house or a
broken one. Both readings are pure; whoever writes such a sentence can hold it against them.

Source:
    The coordinator's classifier of ``load_model_status.error`` and its admission taxonomy,
    compared in lower case, first match wins.
"""

import re
from enum import StrEnum
from http import HTTPStatus

from ...config.frozen import frozen

DRAINING_TEXT = "provider draining for update"
"""The only text that is compared as a whole, letter for letter."""

CAPACITY_RETRY_S = 2
"""What a client is told to wait when there is no room, in seconds."""

CLIENT_CLOSED_REQUEST = 499
"""A request that its own client gave up; no status of the standard library's table."""

_OOM = re.compile(r"\boom\b")
_MEMORY_WORDS = ("insufficient memory", "insufficient kv", "out of memory")
_MISSING_WORDS = ("not found", "not in advertised", "not in local", "no such model")
_SLOT_WORDS = ("active", "cap", "cannot load")
_FAULT_WORDS = (
    "panic",
    "fatal error",
    "backend crash",
    "internal error",
    "the operation couldn't be completed",
)
_CAPACITY_WORDS = (
    "token_budget_exhausted",
    "token budget",
    "kv cache headroom",
    "kv headroom",
    "insufficient kv",
    "context length",
    "context window",
    "insufficient memory",
    "out of memory",
    "draining",
    "request rejected",
    "queue full",
    "server busy",
    "request timed out waiting for capacity",
    "not loaded",
    "no model loaded",
)


class LoadClass(StrEnum):
    """What a coordinator takes a failed load for."""

    DRAINING_FOR_UPDATE = "draining_for_update"
    """Back off, and keep the clients that wait."""

    DRAINING = "draining"
    INSUFFICIENT_MEMORY = "insufficient_memory"
    SLOT_CAP = "slot_cap"

    MODEL_NOT_FOUND = "model_not_found"
    """Permanent: asked again only after two minutes."""

    OTHER = "other"

    @property
    def back_off_s(self) -> int:
        """How long the load is not planned again on this provider, in seconds."""
        return 120 if self is LoadClass.MODEL_NOT_FOUND else 30

    @property
    def keeps_queue(self) -> bool:
        """Whether clients that wait for the model go on waiting, if nobody else can serve."""
        return self in {LoadClass.DRAINING_FOR_UPDATE, LoadClass.OTHER}


def classify_load(error: str) -> LoadClass:
    """The class of a failed load, by the words of its error."""
    if error == DRAINING_TEXT:
        return LoadClass.DRAINING_FOR_UPDATE
    text = error.lower()
    if "draining" in text:
        return LoadClass.DRAINING
    if _has_any(text, _MEMORY_WORDS) or _OOM.search(text):
        return LoadClass.INSUFFICIENT_MEMORY
    if "slot" in text and _has_any(text, _SLOT_WORDS):
        return LoadClass.SLOT_CAP
    if _has_any(text, _MISSING_WORDS):
        return LoadClass.MODEL_NOT_FOUND
    return LoadClass.OTHER


def is_capacity(error: str) -> bool:
    """Whether a request's error speaks of missing room rather than of a fault."""
    text = error.lower()
    if _has_any(text, _FAULT_WORDS):
        return False
    return (
        _has_any(text, _CAPACITY_WORDS)
        or _OOM.search(text) is not None
        or ("exceeds" in text and "context" in text)
        or ("slot" in text and ("active" in text or "cap" in text))
    )


def is_hopeless(error: str) -> bool:
    """Whether every provider would refuse: the request is too long for the model itself."""
    text = error.lower()
    return (
        "context length" in text
        or "context window" in text
        or ("exceeds" in text and "context" in text)
    )


@frozen
class ClientError:
    """What the client sees of a failure.

    Attributes:
        status: The HTTP status.
        retry_after_s: What ``Retry-After`` says, in seconds; ``None`` for no such header.
        kind: OpenAI's ``error.type``.
    """

    status: int
    retry_after_s: int | None
    kind: str


def client_error(status_code: int, error: str) -> ClientError:
    """Map an ``inference_error`` to what the client sees.

    Args:
        status_code: As the provider sent it; what is no HTTP error counts as 502.
        error: The provider's text.
    """
    if status_code == CLIENT_CLOSED_REQUEST:
        return ClientError(CLIENT_CLOSED_REQUEST, None, "request_cancelled")
    if status_code == HTTPStatus.TOO_MANY_REQUESTS or is_capacity(error):
        return ClientError(HTTPStatus.TOO_MANY_REQUESTS, CAPACITY_RETRY_S, "rate_limit_error")
    if not HTTPStatus.BAD_REQUEST <= status_code <= 599:  # noqa: PLR2004 - the end of HTTP's errors
        return ClientError(HTTPStatus.BAD_GATEWAY, None, "server_error")
    if status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return ClientError(status_code, None, "invalid_request_error")
    return ClientError(status_code, None, "server_error")


def _has_any(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)
