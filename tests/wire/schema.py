"""A second opinion on what may be sent, written from the protocol and from nothing of ours.

``SCHEMA`` says of each message which fields it may have. ``!`` after a kind means required, a
list means a JSON array, ``{}`` a JSON object from text to text. A coordinator discards a whole
message for one wrong kind, so ``64.0`` is no int and ``true`` is no int.
"""

import json
import math
from collections.abc import Mapping
from typing import cast

MAX_INT64 = 2**63 - 1

Fields = Mapping[str, str]

STRUCTS: Mapping[str, Fields] = {
    "hardware": {
        "machine_model": "text!",
        "chip_name": "text!",
        "chip_family": "text!",
        "chip_tier": "text!",
        "memory_gb": "int!",
        "memory_available_gb": "float",
        "cpu_cores": "cpu_cores",
        "gpu_cores": "int",
        "memory_bandwidth_gbs": "float",
    },
    "cpu_cores": {"total": "int!", "performance": "int!", "efficiency": "int!"},
    "model": {
        "id": "text!",
        "size_bytes": "int!",
        "model_type": "text",
        "quantization": "text",
        "weight_hash": "text",
        "is_vision": "bool",
        "template_render_ok": "bool",
    },
    "privacy": {
        "text_backend_inprocess": "bool!",
        "text_proxy_disabled": "bool!",
        "anti_debug_enabled": "bool!",
        "core_dumps_disabled": "bool!",
        "env_scrubbed": "bool!",
        "sip_enabled": "bool",
        "hypervisor_active": "bool",
    },
    "extensions": {"pools": "int!"},
    "pool": {"assigned": "text", "scope": "[text]!", "epoch": "int!", "source": "text!"},
    "drain": {"reason": "text!", "sign": "text"},
    "stats": {
        "requests_served": "int!",
        "tokens_generated": "int!",
        "cancellations_received": "int",
        "cancellations_before_output": "int",
        "cancellations_partial_complete": "int",
        "generation_errors_after_output": "int",
        "chunk_encryption_errors": "int",
        "stream_closed_without_terminal": "int",
        "cancel_during_model_load": "int",
        "usage_gaps": "int",
    },
    "metrics": {
        "memory_pressure": "ratio",
        "cpu_usage": "ratio",
        "thermal_state": "nominal|fair|serious|critical",
    },
    "capacity": {
        "slots": "[slot]!",
        "gpu_memory_active_gb": "float",
        "gpu_memory_peak_gb": "float",
        "gpu_memory_cache_gb": "float",
        "total_memory_gb": "float",
        "free_for_load_gb": "float",
    },
    "slot": {
        "model": "text!",
        "state": "running|idle|idle_shutdown|crashed|reloading!",
        "num_running": "int!",
        "num_waiting": "int!",
        "max_concurrency": "int",
        "active_tokens": "int",
        "max_tokens_potential": "int",
        "active_token_budget_used": "int",
        "active_token_budget_max": "int",
        "queued_token_budget": "int",
        "kv_bytes_per_token": "int",
        "observed_decode_tps": "float",
        "observed_prefill_tps": "float",
        "model_load_time_ms": "int",
    },
    "sealed": {"ephemeral_public_key": "text!", "ciphertext": "text!"},
    "usage": {"prompt_tokens": "int!", "completion_tokens": "int!", "reasoning_tokens": "int"},
}

SCHEMA: Mapping[str, Fields] = {
    "register": {
        "backend": "text!",
        "version": "text!",
        "hardware": "hardware!",
        "models": "[model]!",
        "public_key": "text!",
        "encrypted_response_chunks": "true!",
        "privacy_capabilities": "privacy!",
        "template_hashes": "{}",
        "decode_tps": "float",
        "prefill_tps": "float",
        "private_only": "bool",
        "auth_token": "text",
        "extensions": "extensions",
        "pool": "pool",
    },
    "heartbeat": {
        "status": "idle|serving!",
        "active_model": "text or null!",
        "warm_models": "[text]!",
        "stats": "stats!",
        "system_metrics": "metrics",
        "backend_capacity": "capacity",
        "pool": "pool",
        "drain": "drain",
    },
    "inference_accepted": {"request_id": "text!"},
    "inference_response_chunk": {"request_id": "text!", "encrypted_data": "sealed!"},
    "inference_complete": {
        "request_id": "text!",
        "usage": "usage!",
        "se_signature": "text",
        "response_hash": "text",
    },
    "inference_error": {
        "request_id": "text!",
        "error": "text!",
        "status_code": "int!",
        "error_reason": "jinja_channel_tags|jinja_null_bridge|jinja_template|model_load",
    },
    "load_model_status": {
        "model_id": "text!",
        "status": "started|succeeded|failed!",
        "error": "text",
    },
    "prefetch_model_status": {
        "model_id": "text!",
        "status": "started|downloading|verified|failed!",
        "percent": "float",
        "rate_bytes_s": "int",
        "eta_s": "int",
        "bytes_done": "int",
        "bytes_total": "int",
        "error": "text",
    },
    "models_update": {"models": "[model]!"},
    "attestation_response": {
        "nonce": "text!",
        "signature": "text!",
        "public_key": "text!",
        "sip_enabled": "bool",
        "secure_boot_enabled": "bool",
        "rdma_disabled": "bool",
        "model_hashes": "{}",
        "active_model_hash": "text",
        "template_hashes": "{}",
    },
}

EXTENSIONS: Mapping[str, Fields] = {
    "assign_pool_status": {
        "pool": "text",
        "epoch": "int!",
        "status": "draining|applied|refused|failed!",
        "error": "text",
        "assigned": "text",
    },
    "unload_model_status": {
        "model_id": "text!",
        "status": "unloading|unloaded|refused!",
        "error": "text",
    },
    "cancel_load_status": {
        "model_id": "text!",
        "status": "cancelled|not_loading|refused!",
        "error": "text",
    },
    "drain_status": {"status": "draining|drained|undrained|refused!", "in_flight": "int!"},
    "capacity_quote": {
        "quote_id": "text!",
        "admissible_now": "bool!",
        "rejection_reason": "token_budget|kv_headroom|memory_cap|slot_state|capability|deadline",
        "available_token_budget": "int",
        "confidence": "low|high!",
    },
    "provider_drain": {"request_id": "text!"},
}


def faults(frame: str) -> list[str]:
    """What a coordinator would find wrong with ``frame``; empty if it takes it."""
    try:
        value = cast("object", json.loads(frame, object_pairs_hook=_once, parse_constant=_never))
    except ValueError as error:
        return [str(error)]
    if not isinstance(value, dict):
        return ["not an object"]
    message = cast("dict[str, object]", value)
    kind = message.pop("type", None)
    wanted = {**SCHEMA, **EXTENSIONS}
    if not isinstance(kind, str) or kind not in wanted:
        return [f"type {kind!r}"]
    return _struct(kind, message, wanted[kind])


def _never(word: str) -> object:
    msg = f"{word} is no JSON"
    raise ValueError(msg)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        msg = "a name is given twice"
        raise ValueError(msg)
    return fields


def _struct(place: str, fields: dict[str, object], wanted: Fields) -> list[str]:
    found = [f"{place}.{name}: unknown" for name in fields if name not in wanted]
    for name, kind in wanted.items():
        if name in fields:
            found += _kind(f"{place}.{name}", fields[name], kind.removesuffix("!"))
        elif kind.endswith("!"):
            found.append(f"{place}.{name}: missing")
    return found


def _kind(place: str, value: object, kind: str) -> list[str]:
    if kind == "{}":
        return [] if _is_text_map(value) else [f"{place}: not a map of texts"]
    if kind.startswith("["):
        if not isinstance(value, list):
            return [f"{place}: not a list"]
        rows = cast("list[object]", value)
        return [fault for row in rows for fault in _kind(place, row, kind[1:-1])]
    if kind in STRUCTS:
        if not isinstance(value, dict):
            return [f"{place}: not an object"]
        return _struct(place, cast("dict[str, object]", value), STRUCTS[kind])
    return [] if _fits(value, kind) else [f"{place}: {value!r} is no {kind}"]


def _fits(value: object, kind: str) -> bool:
    match kind:
        case "int":
            return type(value) is int and 0 <= value <= MAX_INT64
        case "float":
            return type(value) in {int, float} and math.isfinite(cast("float", value))
        case "ratio":
            return type(value) in {int, float} and 0.0 <= cast("float", value) <= 1.0
        case "bool":
            return type(value) is bool
        case "true":
            return value is True
        case "text":
            return isinstance(value, str)
        case "text or null":
            return value is None or isinstance(value, str)
        case _:
            return isinstance(value, str) and value in kind.split("|")


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(item, str) for item in cast("dict[object, object]", value).values()
    )
