"""A provider's frames, read as unforgivingly as a coordinator in Go reads them.

One field of the wrong JSON type discards the whole message, and nobody is told: ``64.0`` or
``"64"`` where an integer is due makes a provider that is connected and does not exist.
``null`` and absent mean the zero value, and fields nobody knows are ignored. These shapes are
written from the coordinator's side on purpose: were they the node's own, a mistake in those
would agree with itself.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import Field, ValidationError
from pydantic_core import from_json

from ...config.frozen import frozen
from ..wire.types import MAX_INT, Tolerant

Int = Annotated[int, Field(ge=-MAX_INT - 1, le=MAX_INT)]
"""A 64-bit integer that was written as one."""

Real = Annotated[float, Field(allow_inf_nan=False)]
"""A finite number; an integer will do."""


Hashes = Annotated[dict[str, str], Field(default_factory=dict)]
"""Digests by name."""


class CpuCores(Tolerant):
    """How many cores of which kind."""

    total: Int = 0
    performance: Int = 0
    efficiency: Int = 0


class Hardware(Tolerant):
    """The machine, as it registers."""

    machine_model: str = ""
    chip_name: str = ""
    chip_family: str = ""
    chip_tier: str = ""
    memory_gb: Int = 0
    memory_available_gb: Real = 0.0
    cpu_cores: CpuCores = CpuCores.model_construct()
    gpu_cores: Int = 0
    memory_bandwidth_gbs: Real = 0.0


class Model(Tolerant):
    """One model on offer."""

    id: str = ""
    size_bytes: Int = 0
    model_type: str = ""
    quantization: str = ""
    weight_hash: str = ""
    is_vision: bool = False
    template_render_ok: bool | None = None


Models = Annotated[list[Model], Field(default_factory=list)]
"""What is on offer."""


class Privacy(Tolerant):
    """Claims about the serving process."""

    text_backend_inprocess: bool = False
    text_proxy_disabled: bool = False
    python_runtime_locked: bool = False
    dangerous_modules_blocked: bool = False
    sip_enabled: bool = False
    anti_debug_enabled: bool = False
    core_dumps_disabled: bool = False
    env_scrubbed: bool = False
    hypervisor_active: bool = False


class Register(Tolerant):
    """Who speaks, and what it offers."""

    type: Literal["register"] = "register"
    hardware: Hardware = Hardware.model_construct()
    models: Models
    backend: str = ""
    version: str = ""
    public_key: str = ""
    encrypted_response_chunks: bool = False
    privacy_capabilities: Privacy = Privacy.model_construct()
    template_hashes: Hashes
    decode_tps: Real = 0.0
    prefill_tps: Real = 0.0
    auth_token: str = Field(default="", repr=False)
    private_only: bool = False


class Stats(Tolerant):
    """Counters since the provider registered."""

    requests_served: Int = 0
    tokens_generated: Int = 0
    cancellations_received: Int = 0
    cancellations_before_output: Int = 0
    cancellations_partial_complete: Int = 0
    generation_errors_after_output: Int = 0
    chunk_encryption_errors: Int = 0
    stream_closed_without_terminal: Int = 0
    cancel_during_model_load: Int = 0
    usage_gaps: Int = 0


class SystemMetrics(Tolerant):
    """How the machine feels."""

    memory_pressure: Real = 0.0
    cpu_usage: Real = 0.0
    thermal_state: str = ""


class Slot(Tolerant):
    """One model's room."""

    model: str = ""
    state: str = ""
    num_running: Int = 0
    num_waiting: Int = 0
    max_concurrency: Int = 0
    active_tokens: Int = 0
    max_tokens_potential: Int = 0
    active_token_budget_used: Int = 0
    active_token_budget_max: Int = 0
    queued_token_budget: Int = 0
    kv_bytes_per_token: Int = 0
    observed_decode_tps: Real = 0.0
    observed_prefill_tps: Real = 0.0
    model_load_time_ms: Int = 0


class Capacity(Tolerant):
    """Every slot, and the memory around them."""

    slots: Annotated[list[Slot], Field(default_factory=list)]
    gpu_memory_active_gb: Real = 0.0
    gpu_memory_peak_gb: Real = 0.0
    gpu_memory_cache_gb: Real = 0.0
    total_memory_gb: Real = 0.0
    free_for_load_gb: Real | None = None


class Heartbeat(Tolerant):
    """How things are now."""

    type: Literal["heartbeat"] = "heartbeat"
    status: str = ""
    active_model: str | None = None
    warm_models: Annotated[list[str], Field(default_factory=list)]
    stats: Stats = Stats.model_construct()
    system_metrics: SystemMetrics = SystemMetrics.model_construct()
    backend_capacity: Capacity | None = None


class Box(Tolerant):
    """A sealed chunk."""

    ephemeral_public_key: str = ""
    ciphertext: str = Field(default="", repr=False)


class Usage(Tolerant):
    """What one request used, in tokens."""

    prompt_tokens: Int = 0
    completion_tokens: Int = 0
    reasoning_tokens: Int = 0


class Accepted(Tolerant):
    """A request is taken; its answer may need a load first."""

    type: Literal["inference_accepted"] = "inference_accepted"
    request_id: str = ""


class Chunk(Tolerant):
    """A sealed piece of an answer; with ``data``, one in the clear, which is a breach."""

    type: Literal["inference_response_chunk"] = "inference_response_chunk"
    request_id: str = ""
    encrypted_data: Box | None = None
    data: str = Field(default="", repr=False)


class Complete(Tolerant):
    """An answer is whole."""

    type: Literal["inference_complete"] = "inference_complete"
    request_id: str = ""
    usage: Usage = Usage.model_construct()


class Failed(Tolerant):
    """A request ended without an answer, or in the midst of one."""

    type: Literal["inference_error"] = "inference_error"
    request_id: str = ""
    error: str = ""
    status_code: Int = 0
    error_reason: str = ""


class LoadStatus(Tolerant):
    """How a load goes."""

    type: Literal["load_model_status"] = "load_model_status"
    model_id: str = ""
    status: str = ""
    error: str = ""


class PrefetchStatus(Tolerant):
    """How a download goes."""

    type: Literal["prefetch_model_status"] = "prefetch_model_status"
    model_id: str = ""
    status: str = ""
    bytes_done: Int = 0
    bytes_total: Int = 0
    error: str = ""


class ModelsUpdate(Tolerant):
    """Models that came or changed."""

    type: Literal["models_update"] = "models_update"
    models: Models


class ChallengeAnswer(Tolerant):
    """The answer to a challenge; a fact that was not reported is ``None``."""

    type: Literal["attestation_response"] = "attestation_response"
    nonce: str = ""
    signature: str = ""
    public_key: str = ""
    sip_enabled: bool | None = None
    secure_boot_enabled: bool | None = None
    rdma_disabled: bool | None = None
    model_hashes: Hashes
    active_model_hash: str = ""
    template_hashes: Hashes


Frame: TypeAlias = (
    Register
    | Heartbeat
    | Accepted
    | Chunk
    | Complete
    | Failed
    | LoadStatus
    | PrefetchStatus
    | ModelsUpdate
    | ChallengeAnswer
)
"""Every message a provider may send."""

SHAPES: Mapping[str, type[Frame]] = MappingProxyType(
    {
        "register": Register,
        "heartbeat": Heartbeat,
        "inference_accepted": Accepted,
        "inference_response_chunk": Chunk,
        "inference_complete": Complete,
        "inference_error": Failed,
        "load_model_status": LoadStatus,
        "prefetch_model_status": PrefetchStatus,
        "models_update": ModelsUpdate,
        "attestation_response": ChallengeAnswer,
    }
)
"""The word on the wire, and the message it stands for."""


@frozen
class Heard:
    """A frame that could be read.

    Attributes:
        frame: What the coordinator understands of it.
        fields: All of it, also what the coordinator ignores. Not shown in a repr.
    """

    frame: Frame
    fields: dict[str, object]

    def __repr__(self) -> str:
        """The kind of frame, and nothing of what it bears."""
        return f"Heard({self.frame.type})"


@frozen
class Dropped:
    """A frame that nobody will ever hear of again.

    Attributes:
        type: Its type if that is one we know, else empty.
        reason: Our words only, never a part of the frame.
    """

    type: str
    reason: str


def decode(raw: str | bytes) -> Heard | Dropped:
    """Read one frame; never raises.

    Args:
        raw: One JSON object, as text or as binary.
    """
    try:
        data = raw.encode() if isinstance(raw, str) else raw
        value: object = from_json(data, allow_inf_nan=False)
    except ValueError:
        return Dropped(type="", reason="not JSON")
    if not isinstance(value, dict):
        return Dropped(type="", reason="not an object")
    fields = cast("dict[str, object]", value)
    kind = fields.get("type")
    shape = SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        return Dropped(type="", reason="unknown type")
    try:
        return Heard(frame=shape.model_validate(fields), fields=fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # places are field names and positions, except in a map, whose keys are the provider's
        steps = [str(step) for step in first["loc"]]
        place = steps[0] if steps[0].endswith("_hashes") else ".".join(steps)
        return Dropped(type=str(kind), reason=f"{place}: {first['type']}")
