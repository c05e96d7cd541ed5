"""What we say; strict, because a coordinator drops a malformed message without a word.

A field that is ``None`` is left out of the JSON, with one exception:
``heartbeat.active_model`` is always written, because ``null`` there says that no model is
active. Fields of Apple's attestation and push services have no place here: this node has
nothing true to put into them.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import (
    Field,
    SecretStr,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_serializer,
)

from .extensions import Answer
from .later import LaterAnswer
from .types import (
    Amount,
    BackendCapacity,
    Count,
    DrainState,
    Extensions,
    Hardware,
    ModelInfo,
    PoolState,
    PrivacyCapabilities,
    Sealed,
    Stats,
    Strict,
    SystemMetrics,
    Text,
    Usage,
)

Version = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
"""``MAJOR.MINOR.PATCH``; a coordinator compares it with its floors."""

HttpStatus = Annotated[int, Field(ge=400, le=599)]
"""How a request failed, in HTTP's numbers."""

ErrorReason = Literal["jinja_channel_tags", "jinja_null_bridge", "jinja_template", "model_load"]
"""The closed set of reasons a coordinator counts."""


class Register(Strict):
    """Who we are and what we offer; the first message on a socket, once.

    Attributes:
        models: What may really be served here, loaded or not.
        public_key: Base64 of the node's X25519 key; every chunk names the same string.
        template_hashes: Only for a coordinator that pins them.
        decode_tps: Measured tokens a second of one stream.
        prefill_tps: Measured prompt tokens a second of one stream.
        auth_token: Ties the node to an account; hidden in every repr, plain on the wire.
    """

    type: Literal["register"] = "register"
    backend: Text
    version: Version
    hardware: Hardware
    models: tuple[ModelInfo, ...]
    public_key: Text
    encrypted_response_chunks: Literal[True] = True
    privacy_capabilities: PrivacyCapabilities
    template_hashes: dict[str, str] | None = None
    decode_tps: Amount | None = None
    prefill_tps: Amount | None = None
    private_only: bool | None = None
    auth_token: SecretStr | None = None
    extensions: Extensions | None = None
    pool: PoolState | None = None

    @field_serializer("auth_token", when_used="json-unless-none")
    def _in_the_clear(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Heartbeat(Strict):
    """How things are now.

    Attributes:
        warm_models: The resident models; replaces what was said before.
        active_model: The current model; ``None`` clears it.
        backend_capacity: Absent clears what the coordinator knew.
        drain: Why nothing new is taken; absent while something is.
    """

    type: Literal["heartbeat"] = "heartbeat"
    status: Literal["idle", "serving"]
    warm_models: tuple[Text, ...]
    stats: Stats
    system_metrics: SystemMetrics | None = None
    backend_capacity: BackendCapacity | None = None
    pool: PoolState | None = None
    drain: DrainState | None = None
    active_model: Text | None = None

    @model_serializer(mode="wrap")
    def _active_model_is_always_said(
        self, plain: SerializerFunctionWrapHandler
    ) -> dict[str, object]:
        return {**plain(self), "active_model": self.active_model}


class InferenceAccepted(Strict):
    """The request is admitted; more patience, please."""

    type: Literal["inference_accepted"] = "inference_accepted"
    request_id: Text


class InferenceResponseChunk(Strict):
    """A sealed piece of an answer. On the hot path :func:`.codec.encode_chunk` writes it."""

    type: Literal["inference_response_chunk"] = "inference_response_chunk"
    request_id: Text
    encrypted_data: Sealed


class InferenceComplete(Strict):
    """The answer is whole, or was cancelled after its first tokens; nothing comes after it."""

    type: Literal["inference_complete"] = "inference_complete"
    request_id: Text
    usage: Usage
    se_signature: Text | None = None
    response_hash: Text | None = None


class InferenceError(Strict):
    """The request failed; nothing comes after it.

    Attributes:
        error: A closed sentence: it travels to clients, so it names no prompt, path or host.
    """

    type: Literal["inference_error"] = "inference_error"
    request_id: Text
    error: Text
    status_code: HttpStatus
    error_reason: ErrorReason | None = None


class LoadModelStatus(Strict):
    """How a load goes.

    Attributes:
        error: With ``failed``: the sentence whose words choose what the coordinator does next.
    """

    type: Literal["load_model_status"] = "load_model_status"
    model_id: Text
    status: Literal["started", "succeeded", "failed"]
    error: Text | None = None


class PrefetchModelStatus(Strict):
    """How a download goes; nobody acts on it.

    Attributes:
        percent: Of ``bytes_total``; this and what follows only for a coordinator that has used
            an extension on the same line.
        rate_bytes_s: As measured.
        eta_s: Seconds until the last byte, by that rate.
    """

    type: Literal["prefetch_model_status"] = "prefetch_model_status"
    model_id: Text
    status: Literal["started", "downloading", "verified", "failed"]
    bytes_done: Count | None = None
    bytes_total: Count | None = None
    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    rate_bytes_s: Count | None = None
    eta_s: Count | None = None
    error: Text | None = None


class ModelsUpdate(Strict):
    """Models that came or changed; it takes none back."""

    type: Literal["models_update"] = "models_update"
    models: tuple[ModelInfo, ...]


class AttestationResponse(Strict):
    """The answer to a challenge: measured facts, or their absence.

    Attributes:
        nonce: Exactly as it came.
        signature: Not empty; by a software key, and therefore no proof of anything.
        public_key: Exactly as registered.
        sip_enabled: What ``csrutil`` says; ``None`` on anything but a Mac.
        secure_boot_enabled: ``None`` unless it was measured: ``False`` ends all trust.
        rdma_disabled: ``None`` only if it cannot be measured.
        model_hashes: Weight hashes of the models that are loaded now, by id.
    """

    type: Literal["attestation_response"] = "attestation_response"
    nonce: Text
    signature: Text
    public_key: Text
    sip_enabled: bool | None = None
    secure_boot_enabled: bool | None = None
    rdma_disabled: bool | None = None
    model_hashes: dict[str, str] | None = None
    active_model_hash: Text | None = None
    template_hashes: dict[str, str] | None = None


Outbound: TypeAlias = (
    Register
    | Heartbeat
    | InferenceAccepted
    | InferenceResponseChunk
    | InferenceComplete
    | InferenceError
    | LoadModelStatus
    | PrefetchModelStatus
    | ModelsUpdate
    | AttestationResponse
    | Answer
    | LaterAnswer
)
"""Everything this version may send."""
