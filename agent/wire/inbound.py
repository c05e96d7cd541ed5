"""What the coordinator says; tolerant, because a newer coordinator must not break an older node.

Unknown fields are dropped, ``null`` and absent mean empty, and a message that cannot be used
is an :class:`Unknown`. Two rules are ours: a name that has to be echoed is neither empty nor
endless, and a request whose id can be read is always a request, so that it can be refused.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import AfterValidator, BeforeValidator, Field

from ...config.frozen import frozen
from .extensions import Command
from .later import Later
from .types import MAX_INT, DesiredModel, Mismatch, Sealed, Tolerant

MAX_NAME_CHARS = 1024
"""Longest id, nonce or timestamp we take: it is echoed, so it has to fit into any reply."""

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
"""An id that something depends on: neither empty nor endless."""


def _rows(value: object) -> object:
    """A JSON list as a tuple, its ``null`` entries left out."""
    if not isinstance(value, list):
        return value
    return tuple(row for row in cast("list[object]", value) if row is not None)


def _usable(models: tuple[DesiredModel, ...]) -> tuple[DesiredModel, ...]:
    return tuple(model for model in models if model.model_name and model.desired_build)


class InferenceRequest(Tolerant):
    """Answer one sealed prompt.

    Attributes:
        encrypted_body: The sealed request; ``None`` if none came, or none that could be one.
        has_plain_body: Whether a body came in the clear: it is refused, and never kept.
    """

    type: Literal["inference_request"] = "inference_request"
    request_id: Name
    encrypted_body: Sealed | None = None
    has_plain_body: bool = False


class Cancel(Tolerant):
    """Stop one request. Also sent after every finished one, so an unknown id is normal."""

    type: Literal["cancel"] = "cancel"
    request_id: Name


class AttestationChallenge(Tolerant):
    """Show that you are still there; the answer is due within 30 seconds."""

    type: Literal["attestation_challenge"] = "attestation_challenge"
    nonce: Name
    timestamp: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""


class RuntimeStatus(Tolerant):
    """What the coordinator thinks of our runtime; only sent when it objects."""

    type: Literal["runtime_status"] = "runtime_status"
    verified: bool = False
    mismatches: Annotated[tuple[Mismatch, ...], BeforeValidator(_rows)] = ()


class TrustStatus(Tolerant):
    """How far the coordinator trusts this node; ``untrusted`` means no work on this socket."""

    type: Literal["trust_status"] = "trust_status"
    trust_level: str = ""
    status: str = ""
    reason: str = ""


class LoadModel(Tolerant):
    """Load a model ahead of its first request."""

    type: Literal["load_model"] = "load_model"
    model_id: Name


class PrefetchModel(Tolerant):
    """Bring a model to disk, and do not load it.

    Attributes:
        priority: Higher comes first.
    """

    type: Literal["prefetch_model"] = "prefetch_model"
    model_id: Name
    priority: Annotated[int, Field(ge=-MAX_INT - 1, le=MAX_INT)] = 0


class DesiredModels(Tolerant):
    """Everything that is wanted here now; an empty list means that nothing is.

    Attributes:
        models: In the order sent; entries that name no alias or no build are left out.
    """

    type: Literal["desired_models"] = "desired_models"
    models: Annotated[
        tuple[DesiredModel, ...], BeforeValidator(_rows), AfterValidator(_usable)
    ] = ()


@frozen
class Unknown:
    """A message this version does not know, or could not read.

    Attributes:
        type: Its type, if that is a plain word; empty otherwise.
        reason: Why it is of no use; our words only, never a part of the frame.
    """

    type: str
    reason: str


Known: TypeAlias = (
    InferenceRequest
    | Cancel
    | AttestationChallenge
    | RuntimeStatus
    | TrustStatus
    | LoadModel
    | PrefetchModel
    | DesiredModels
)
"""Every message this version acts on."""

Inbound: TypeAlias = Known | Command | Later | Unknown
"""Whatever a frame may turn out to be."""

SHAPES: Mapping[str, type[Known]] = MappingProxyType(
    {
        "inference_request": InferenceRequest,
        "cancel": Cancel,
        "attestation_challenge": AttestationChallenge,
        "runtime_status": RuntimeStatus,
        "trust_status": TrustStatus,
        "load_model": LoadModel,
        "prefetch_model": PrefetchModel,
        "desired_models": DesiredModels,
    }
)
"""The word on the wire, and the message it stands for."""


def read(shape: type[Known], fields: Mapping[str, object]) -> Known:
    """Make a message of a frame's fields.

    Raises:
        pydantic.ValidationError: A field that is needed is missing or of the wrong type.
    """
    if shape is not InferenceRequest:
        return shape.model_validate(fields)
    return InferenceRequest.model_validate(
        {
            "request_id": fields.get("request_id"),
            "encrypted_body": _sealed(fields.get("encrypted_body")),
            "has_plain_body": _is_said(fields.get("body")),
        }
    )


def _is_said(body: object) -> bool:
    """Whether there is anything in a plain body.

    Newer coordinators write an all-zero one (``{"model":"","messages":null,"stream":false}``)
    beside every sealed body: it is a field that was not filled in.
    """
    if isinstance(body, dict):
        return any(cast("dict[str, object]", body).values())
    return body is not None


def _sealed(value: object) -> Sealed | None:
    """The sealed body, if there is anything that could be one; opening it tells the rest."""
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, object]", value)
    key, ciphertext = fields.get("ephemeral_public_key"), fields.get("ciphertext")
    if not isinstance(key, str) or not isinstance(ciphertext, str):
        return None
    return Sealed(ephemeral_public_key=key, ciphertext=ciphertext)
