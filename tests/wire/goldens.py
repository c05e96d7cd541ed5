"""One message of each kind, as it looks on the wire; the frames beside it hold the bytes."""

from pathlib import Path

from pydantic import SecretStr

from poolhand.agent.wire.inbound import (
    AttestationChallenge,
    Cancel,
    DesiredModels,
    Inbound,
    InferenceRequest,
    LoadModel,
    PrefetchModel,
    RuntimeStatus,
    TrustStatus,
    Unknown,
)
from poolhand.agent.wire.later import CapacityProbe, DrainAck
from poolhand.agent.wire.outbound import (
    AttestationResponse,
    Heartbeat,
    InferenceAccepted,
    InferenceComplete,
    InferenceError,
    InferenceResponseChunk,
    LoadModelStatus,
    ModelsUpdate,
    Outbound,
    PrefetchModelStatus,
    Register,
)
from poolhand.agent.wire.types import (
    BackendCapacity,
    CpuCores,
    DesiredModel,
    Extensions,
    Hardware,
    Mismatch,
    ModelInfo,
    PoolState,
    PrivacyCapabilities,
    Sealed,
    SlotCapacity,
    Stats,
    SystemMetrics,
    Usage,
)

FRAMES = Path(__file__).parent / "frames"

KEY = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="
PEER = "WGmv9FBUlzLLqu1eXfmzCm2jHLDldCutWtShp2jxpns="
CIPHERTEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX964ne5h9GDT9G1tvzbkKL2nXtjY+WBHww9AucZhtZdIMJ3UkHg=="
HASH = "5477bbafb99a64a62d978cd19b30c27990eb0398dd7b1ecf9609828b62fab8e6"

HARDWARE = Hardware(
    machine_model="Mac16,5",
    chip_name="Apple M4 Max",
    chip_family="m4",
    chip_tier="max",
    memory_gb=64,
    memory_available_gb=41.5,
    cpu_cores=CpuCores(total=16, performance=12, efficiency=4),
    gpu_cores=40,
    memory_bandwidth_gbs=546.0,
)
MODEL = ModelInfo(
    id="org/model-4bit",
    size_bytes=12_884_901_888,
    model_type="llama",
    quantization="4bit",
    weight_hash=HASH,
    template_render_ok=True,
)
PRIVACY = PrivacyCapabilities(
    text_backend_inprocess=True,
    text_proxy_disabled=True,
    anti_debug_enabled=True,
    core_dumps_disabled=True,
    env_scrubbed=True,
)
POOL = PoolState(assigned="model", scope=("model",), epoch=7, source="persisted")
SLOT = SlotCapacity(
    model="org/model-4bit",
    state="running",
    num_running=1,
    num_waiting=0,
    max_concurrency=8,
    active_tokens=812,
    max_tokens_potential=1024,
    active_token_budget_used=1836,
    active_token_budget_max=131_072,
    queued_token_budget=0,
    kv_bytes_per_token=98_304,
    observed_decode_tps=58.7,
    model_load_time_ms=8200,
)

SENT: dict[str, Outbound] = {
    "out.register": Register(
        backend="poolhand",
        version="0.6.5",
        hardware=HARDWARE,
        models=(MODEL,),
        public_key=KEY,
        privacy_capabilities=PRIVACY,
        decode_tps=61.2,
        prefill_tps=812.0,
        private_only=False,
        auth_token=SecretStr("not-a-real-token"),
        extensions=Extensions(pools=1),
        pool=POOL,
    ),
    "out.register.least": Register(
        backend="poolhand",
        version="0.6.5",
        hardware=Hardware(
            machine_model="", chip_name="", chip_family="unknown", chip_tier="", memory_gb=8
        ),
        models=(),
        public_key=KEY,
        privacy_capabilities=PRIVACY.model_copy(update={"env_scrubbed": False}),
    ),
    "out.heartbeat": Heartbeat(
        status="serving",
        active_model="org/model-4bit",
        warm_models=("org/model-4bit",),
        stats=Stats(requests_served=12, tokens_generated=4031, cancellations_received=2),
        system_metrics=SystemMetrics(memory_pressure=0.42, cpu_usage=0.13, thermal_state="nominal"),
        backend_capacity=BackendCapacity(
            slots=(SLOT,),
            gpu_memory_active_gb=14.1,
            gpu_memory_peak_gb=15.0,
            gpu_memory_cache_gb=0.6,
            total_memory_gb=64.0,
            free_for_load_gb=37.5,
        ),
        pool=POOL,
    ),
    "out.heartbeat.idle": Heartbeat(
        status="idle", warm_models=(), stats=Stats(requests_served=0, tokens_generated=0)
    ),
    "out.inference_accepted": InferenceAccepted(request_id="7b1e"),
    "out.inference_response_chunk": InferenceResponseChunk(
        request_id="7b1e",
        encrypted_data=Sealed(ephemeral_public_key=KEY, ciphertext=CIPHERTEXT),
    ),
    "out.inference_complete": InferenceComplete(
        request_id="7b1e", usage=Usage(prompt_tokens=11, completion_tokens=42, reasoning_tokens=7)
    ),
    "out.inference_error": InferenceError(
        request_id="7b1e", error="request rejected: queue full", status_code=503
    ),
    "out.load_model_status.started": LoadModelStatus(model_id="org/model-4bit", status="started"),
    "out.load_model_status.failed": LoadModelStatus(
        model_id="org/other",
        status="failed",
        error="model 'org/other' not in advertised model list: outside assigned pool 'model'",
    ),
    "out.prefetch_model_status": PrefetchModelStatus(
        model_id="org/model-4bit",
        status="downloading",
        bytes_done=1_048_576,
        bytes_total=12_884_901_888,
    ),
    "out.models_update": ModelsUpdate(models=(MODEL,)),
    "out.attestation_response": AttestationResponse(
        nonce="2bHu51bbvK0=",
        signature="MEUC",
        public_key=KEY,
        sip_enabled=True,
        secure_boot_enabled=True,
        rdma_disabled=True,
        model_hashes={"org/model-4bit": HASH},
        active_model_hash=HASH,
    ),
    "out.attestation_response.linux": AttestationResponse(
        nonce="2bHu51bbvK0=", signature="MEUC", public_key=KEY, rdma_disabled=True
    ),
}
"""Frame name -> the message that encodes to it."""

HEARD: dict[str, Inbound] = {
    "in.inference_request": InferenceRequest(
        request_id="7b1e",
        encrypted_body=Sealed(ephemeral_public_key=PEER, ciphertext=CIPHERTEXT),
    ),
    "in.inference_request.later": InferenceRequest(
        request_id="7b1e",
        encrypted_body=Sealed(ephemeral_public_key=PEER, ciphertext=CIPHERTEXT),
    ),
    "in.inference_request.plain": InferenceRequest(request_id="7b1e", has_plain_body=True),
    "in.cancel": Cancel(request_id="7b1e"),
    "in.attestation_challenge": AttestationChallenge(
        nonce="2bHu51bbvK0=", timestamp="2026-06-21T06:40:57Z"
    ),
    "in.runtime_status": RuntimeStatus(
        verified=False,
        mismatches=(Mismatch(component="backend", expected="mlx-swift", got="poolhand"),),
    ),
    "in.runtime_status.null": RuntimeStatus(),
    "in.trust_status": TrustStatus(
        trust_level="none", status="untrusted", reason="SIP status not reported"
    ),
    "in.load_model": LoadModel(model_id="org/model-4bit"),
    "in.load_model.later": LoadModel(model_id="org/model-4bit"),
    "in.prefetch_model": PrefetchModel(model_id="org/model-4bit", priority=5),
    "in.prefetch_model.plain": PrefetchModel(model_id="org/model-4bit"),
    "in.desired_models": DesiredModels(
        models=(
            DesiredModel(
                model_name="model",
                desired_build="org/model-4bit",
                previous_build="org/model-8bit",
            ),
            DesiredModel(model_name="other", desired_build="org/other-4bit"),
        )
    ),
    "in.desired_models.empty": DesiredModels(),
    "in.desired_models.null": DesiredModels(),
    "in.provider_drain": Unknown(type="provider_drain", reason="unknown type"),
    "in.capacity_probe": CapacityProbe(
        quote_id="p-1",
        model="org/model-4bit",
        prompt_tokens_bucket=512,
        max_output_tokens=64,
        deadline_remaining_ms=4000,
    ),
    "in.provider_drain_ack": DrainAck(request_id="d-1"),
    "in.model_autopilot_control": Unknown(type="model_autopilot_control", reason="unknown type"),
}
"""Frame name -> what the decoder makes of it."""
