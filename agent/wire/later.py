"""Messages of later coordinators than the one this node was made for.

Whoever sends one of them knows its answer, which is all that is ever sent: nothing here goes to
a coordinator that did not ask for it, or of which its operator has not said that it knows it.

Source: the public coordinator's message inventory of September 2026.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from .types import MAX_INT, Count, Strict, Text, Tolerant

MOST_BARRIER_CHARS = 64

Id = Annotated[str, Field(min_length=1, max_length=1024)]
Some = Annotated[int, Field(ge=0, le=MAX_INT)]

Reason = Literal[
    "token_budget", "kv_headroom", "memory_cap", "slot_state", "capability", "deadline"
]
"""Why a request could not be taken now; of the protocol's closed list, those that happen here."""


class CapacityProbe(Tolerant):
    """Could a request of this shape be taken now? It tells nothing of the request itself.

    Attributes:
        quote_id: Random; it comes back in the quote.
        model: A build's id.
        prompt_tokens_bucket: The prompt, rounded up to a multiple of 512 tokens.
        max_output_tokens: The longest answer.
        requires_vision: Whether the prompt has images.
        deadline_remaining_ms: How long the first token may take.
    """

    type: Literal["capacity_probe"] = "capacity_probe"
    quote_id: Id
    model: Id
    prompt_tokens_bucket: Some = 0
    max_output_tokens: Some = 0
    requires_vision: bool = False
    deadline_remaining_ms: Annotated[int, Field(ge=-MAX_INT, le=MAX_INT)] | None = None


class DrainAck(Tolerant):
    """Whatever was sent before our barrier has arrived, and nothing new follows it."""

    type: Literal["provider_drain_ack"] = "provider_drain_ack"
    request_id: Id


Later: TypeAlias = CapacityProbe | DrainAck

LATER: Mapping[str, type[Later]] = MappingProxyType(
    {"capacity_probe": CapacityProbe, "provider_drain_ack": DrainAck}
)
"""The word on the wire, and the message it stands for."""


class CapacityQuote(Strict):
    """The answer to a probe; only what was measured, so without quantiles of the first token.

    Attributes:
        rejection_reason: Set exactly if the request could not be taken.
        available_token_budget: Tokens that the model's memory has left; ``None`` if unknown.
        confidence: ``low``: the coordinator goes by its own figures where ours are missing.
    """

    type: Literal["capacity_quote"] = "capacity_quote"
    quote_id: Text
    admissible_now: bool
    rejection_reason: Reason | None = None
    available_token_budget: Count | None = None
    confidence: Literal["low"] = "low"


class ProviderDrain(Strict):
    """A barrier: this node takes nothing new, and wants to know when all of it is settled."""

    type: Literal["provider_drain"] = "provider_drain"
    request_id: Annotated[str, Field(min_length=1, max_length=MOST_BARRIER_CHARS)]


LaterAnswer: TypeAlias = CapacityQuote | ProviderDrain
