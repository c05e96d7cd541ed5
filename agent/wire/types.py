"""Structs that several messages share, with the field names of the wire.

Whatever goes out is a :class:`Strict` struct: integers are integers, floats are finite, and a
field that was not measured is ``None`` and is left out of the JSON. Whatever comes in is a
:class:`Tolerant` one: unknown fields are dropped, and ``null`` means the same as absent.

Source:
    The coordinator's decoder. It silently discards a whole message for one field of the
    wrong JSON type, so the types here are exact rather than convenient.
"""

from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MAX_INT = 2**63 - 1
"""The largest integer a coordinator can read: its integers have 64 bits and a sign."""

Count = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A whole number of something, never negative; never a bool and never ``64.0``."""

Amount = Annotated[float, Field(ge=0.0)]
"""A finite measure that cannot be negative: GiB, GB/s, tokens a second."""

Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
"""A share of a whole, 0 to 1."""

Text = Annotated[str, Field(min_length=1)]
"""Words that must say something."""

Thermal = Literal["nominal", "fair", "serious", "critical"]
"""How hot the machine is; ``critical`` is not routed any work."""

SlotWord = Literal["running", "idle", "idle_shutdown", "crashed", "reloading"]
"""What a slot does, in the coordinator's words; only the first two count as loaded."""


class Strict(BaseModel):
    """Base of what we send: frozen, exact types, finite numbers, no field of our own making.

    Validators are built at the first use: most messages are never said in the first second,
    and a start has to be quick.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,
    )


class Tolerant(BaseModel):
    """Base of what we are told: unknown fields are dropped, ``null`` is absent."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        fields = cast("dict[str, object]", data)
        return {name: value for name, value in fields.items() if value is not None}


class Sealed(BaseModel):
    """A NaCl box on the wire; the only struct that travels both ways.

    Attributes:
        ephemeral_public_key: Base64 of 32 bytes: the sender's one-time key in a request, this
            node's registered key in a chunk.
        ciphertext: Base64 of nonce (24 bytes), tag (16 bytes) and data. Not shown in a repr.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True
    )

    ephemeral_public_key: str
    ciphertext: str = Field(repr=False)


class CpuCores(Strict):
    """How many cores of which kind; a machine with one kind has only performance cores."""

    total: Count
    performance: Count
    efficiency: Count


class Hardware(Strict):
    """The machine as it registers.

    Attributes:
        chip_family: ``unknown`` for a chip that is not in our table.
        memory_gb: Whole GiB of the memory in which weights will live, rounded down.
        memory_available_gb: GiB of it that are free now.
        memory_bandwidth_gbs: GB/s of that memory.
    """

    machine_model: str
    chip_name: str
    chip_family: str
    chip_tier: str
    memory_gb: Count
    memory_available_gb: Amount | None = None
    cpu_cores: CpuCores | None = None
    gpu_cores: Count | None = None
    memory_bandwidth_gbs: Amount | None = None


class ModelInfo(Strict):
    """One model that this node offers, loaded or not.

    Attributes:
        weight_hash: Lower-case hex of the weights' aggregate sha256.
        is_vision: Whether images are really looked at.
        template_render_ok: ``False`` keeps tool requests away; ``None`` is no opinion.
    """

    id: Text
    size_bytes: Count
    model_type: Text | None = None
    quantization: Text | None = None
    weight_hash: Text | None = None
    is_vision: bool | None = None
    template_render_ok: bool | None = None


class PrivacyCapabilities(Strict):
    """What is so about the process that serves; never a claim that was not checked."""

    text_backend_inprocess: bool
    text_proxy_disabled: bool
    anti_debug_enabled: bool
    core_dumps_disabled: bool
    env_scrubbed: bool
    sip_enabled: bool | None = None
    hypervisor_active: bool | None = None


class Stats(Strict):
    """Counters since this process registered; the coordinator takes the differences."""

    requests_served: Count
    tokens_generated: Count
    cancellations_received: Count | None = None
    cancellations_before_output: Count | None = None
    cancellations_partial_complete: Count | None = None
    generation_errors_after_output: Count | None = None
    chunk_encryption_errors: Count | None = None
    stream_closed_without_terminal: Count | None = None
    cancel_during_model_load: Count | None = None
    usage_gaps: Count | None = None


class SystemMetrics(Strict):
    """How the machine feels; what it cannot measure is absent."""

    memory_pressure: Ratio | None = None
    cpu_usage: Ratio | None = None
    thermal_state: Thermal | None = None


class SlotCapacity(Strict):
    """One resident model and the room that is left in it.

    Attributes:
        max_concurrency: The node's own cap; the coordinator takes at most 24 of it.
        active_tokens: Prompt and generated tokens of running requests.
        max_tokens_potential: Sum of ``max_tokens`` of running requests.
        active_token_budget_used: Tokens reserved: prompts and the longest answers.
        active_token_budget_max: Most tokens the slot can hold; absent rather than guessed.
        queued_token_budget: Tokens reserved by waiting requests.
        observed_decode_tps: Moving average, tokens a second.
        observed_prefill_tps: Moving average, tokens a second.
        model_load_time_ms: The last load, in milliseconds.
    """

    model: Text
    state: SlotWord
    num_running: Count
    num_waiting: Count
    max_concurrency: Count | None = None
    active_tokens: Count | None = None
    max_tokens_potential: Count | None = None
    active_token_budget_used: Count | None = None
    active_token_budget_max: Count | None = None
    queued_token_budget: Count | None = None
    kv_bytes_per_token: Count | None = None
    observed_decode_tps: Amount | None = None
    observed_prefill_tps: Amount | None = None
    model_load_time_ms: Count | None = None


class BackendCapacity(Strict):
    """Every slot, and the memory around them; once sent, a model without a slot is cold.

    Attributes:
        total_memory_gb: GiB; equal to ``hardware.memory_gb``, or the two planners disagree.
        free_for_load_gb: Largest weights that could be loaded now, in GiB, idle residents
            counted as gone.
    """

    slots: tuple[SlotCapacity, ...]
    gpu_memory_active_gb: Amount | None = None
    gpu_memory_peak_gb: Amount | None = None
    gpu_memory_cache_gb: Amount | None = None
    total_memory_gb: Amount | None = None
    free_for_load_gb: Amount | None = None


class Usage(Strict):
    """What one request used, in tokens; it is what gets billed and paid."""

    prompt_tokens: Count
    completion_tokens: Count
    reasoning_tokens: Count | None = None


class Extensions(Strict):
    """Which additions to the protocol this node speaks, each with its version."""

    pools: Count


class PoolState(Strict):
    """The pool this node serves; an addition that a stock coordinator ignores.

    Attributes:
        assigned: The pool key; ``None`` while there is none.
        scope: Every key the assignment may still narrow to.
        epoch: Grows by one with each change.
        source: Who decided: configuration, the state file, a resident, a message, the hash.
    """

    assigned: Text | None = None
    scope: tuple[Text, ...] = ()
    epoch: Count
    source: Text


class DrainState(Strict):
    """Why this node takes nothing new; an addition that a stock coordinator ignores.

    Attributes:
        reason: ``leaving``, ``operator``, ``coordinator``, ``move``, ``hours`` or ``owner``.
        sign: Of an owner who needs the machine: ``input``, ``battery``, ``gpu`` or ``heat``.
    """

    reason: Text
    sign: Text | None = None


def _said_or_none(text: str | None) -> str | None:
    return text or None


class DesiredModel(Tolerant):
    """One alias and the build it should be served with.

    Attributes:
        previous_build: The build it replaces; ``None`` if there is none.
    """

    model_name: str = ""
    desired_build: str = ""
    previous_build: Annotated[str | None, AfterValidator(_said_or_none)] = None


class Mismatch(Tolerant):
    """One thing the coordinator expected to be otherwise."""

    component: str = ""
    expected: str = ""
    got: str = ""
