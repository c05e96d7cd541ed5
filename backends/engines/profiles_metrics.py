"""A server's own figures, read from the text that Prometheus reads (pure).

The names of all servers are known side by side: whichever server answers, it says only its own.

Source:
    Prometheus' text exposition format 0.0.4; the metric names of vLLM 0.33.0, SGLang 0.5.23 and
    llama.cpp's server.
"""

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ...config.frozen import frozen

_SAMPLE = re.compile(
    r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?[ \t]+(\S+)"
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_MOST = 2.0**53


@frozen
class Sample:
    """One line: a value, and the labels that tell it from others of its name."""

    value: float
    labels: Mapping[str, str]


@frozen
class Gauges:
    """What a server says of itself; ``None`` where it says nothing.

    Attributes:
        running: Requests that get tokens now.
        waiting: Requests that wait inside it.
        budget_max_tokens: Tokens that its KV cache holds at most.
        budget_used_tokens: Those in use.
        generated_tokens: Since it started.
        decode_tps: Tokens a second of one stream, as it averages them itself.
        prefill_tps: Prompt tokens a second, as it averages them itself.
    """

    running: int | None = None
    waiting: int | None = None
    budget_max_tokens: int | None = None
    budget_used_tokens: int | None = None
    generated_tokens: int | None = None
    decode_tps: float | None = None
    prefill_tps: float | None = None


_SUMS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "running": (
            "vllm:num_requests_running",
            "sglang:num_running_reqs",
            "llamacpp:requests_processing",
        ),
        "waiting": (
            "vllm:num_requests_waiting",
            "sglang:num_queue_reqs",
            "llamacpp:requests_deferred",
        ),
        "used": ("sglang:num_used_tokens",),
        "max": ("sglang:max_total_num_tokens",),
        "generated": (
            "vllm:generation_tokens_total",
            "sglang:generation_tokens_total",
            "llamacpp:tokens_predicted_total",
        ),
    }
)
"""Added up over a server's own parts, such as data-parallel ranks."""

_RATIOS = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")
"""0 to 1, whatever their names say; the fullest part counts."""


def read(text: str) -> Gauges:
    """The figures in a server's metrics; what is odd in them is left out."""
    samples = parse(text)
    sums = {name: _sum(samples, names) for name, names in _SUMS.items()}
    ratio = max((one.value for name in _RATIOS for one in samples.get(name, ())), default=None)
    ratio = None if ratio is None else min(max(ratio, 0.0), 1.0)
    most = sums["max"] or _vllm_tokens(samples)
    used = sums["used"]
    if used is None and most is not None and ratio is not None:
        used = round(most * ratio)
    return Gauges(
        running=sums["running"],
        waiting=sums["waiting"],
        budget_max_tokens=most,
        budget_used_tokens=used,
        generated_tokens=sums["generated"],
        decode_tps=_speed(samples, "llamacpp:predicted_tokens_seconds"),
        prefill_tps=_speed(samples, "llamacpp:prompt_tokens_seconds"),
    )


def parse(text: str) -> dict[str, list[Sample]]:
    """All samples by name; lines that are none are read over, and so are NaN and infinities."""
    samples: dict[str, list[Sample]] = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            labels: dict[str, str] = dict(_LABEL.findall(match[2] or ""))
            samples.setdefault(match[1], []).append(Sample(value, labels))
    return samples


def _sum(samples: Mapping[str, Sequence[Sample]], names: Sequence[str]) -> int | None:
    for name in names:
        if found := samples.get(name):
            total = sum(one.value for one in found)
            return round(total) if 0 <= total <= _MOST else None
    return None


def _vllm_tokens(samples: Mapping[str, Sequence[Sample]]) -> int | None:
    """What vLLM's cache holds: it tells by labels."""
    total = 0
    for one in samples.get("vllm:cache_config_info", ()):
        tokens = _whole(one.labels.get("kv_cache_size_tokens"))
        if tokens is None:
            blocks = _whole(one.labels.get("num_gpu_blocks"))
            size = _whole(one.labels.get("block_size"))
            if blocks is None or size is None:
                return None
            tokens = blocks * size
        total += tokens
    return total or None


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text) else None


def _speed(samples: Mapping[str, Sequence[Sample]], name: str) -> float | None:
    found = samples.get(name)
    return found[0].value if found and found[0].value > 0 else None
