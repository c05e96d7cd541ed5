"""Could a request of this shape be taken now? Judged as the request itself would be."""

from ...backends.engines.base import Load
from ..wire.later import CapacityProbe, CapacityQuote, Reason
from . import report
from .blockers import COLD_PADDING
from .measured import Measurements


def quote(node: report.Snapshot, probe: CapacityProbe, measured: Measurements) -> CapacityQuote:
    """Answer a probe.

    Args:
        node: The node now.
        probe: The shape that is asked about.
        measured: What loads took: a model that is not loaded may come too late.
    """
    load = node.loads.get(probe.model, Load())
    free = None
    if load.budget_max_tokens is not None and load.budget_used_tokens is not None:
        free = max(0, load.budget_max_tokens - load.budget_used_tokens)
    why = _why_not(node, probe, measured, load)
    return CapacityQuote(
        quote_id=probe.quote_id,
        admissible_now=why is None,
        rejection_reason=why,
        available_token_budget=free,
    )


def _why_not(
    node: report.Snapshot, probe: CapacityProbe, measured: Measurements, load: Load
) -> Reason | None:
    full = len(node.requests) >= node.settings.requests.max_concurrent
    if node.is_draining or full or not node.pool.serves(probe.model):
        return "slot_state"
    if probe.requires_vision:
        return "capability"
    if not node.answers(probe.model):
        return _cold(node, probe, measured)
    tokens = probe.prompt_tokens_bucket + probe.max_output_tokens
    most, used = load.budget_max_tokens, load.budget_used_tokens or 0
    if most is not None and tokens > most:
        return "kv_headroom"
    if most is not None and used + tokens > most:
        return "token_budget"
    is_crowded = load.max_running is not None and load.running + load.waiting >= load.max_running
    return "token_budget" if is_crowded else None


def _cold(node: report.Snapshot, probe: CapacityProbe, measured: Measurements) -> Reason | None:
    stock = node.stocks.get(probe.model)
    free_bytes = node.free_for_load_bytes
    size_bytes = stock.size_bytes if stock is not None else None
    if free_bytes is None or free_bytes == 0 or size_bytes is None:
        return "slot_state"
    if size_bytes * COLD_PADDING > free_bytes:
        return "memory_cap"
    missing_bytes = size_bytes - (stock.here_bytes or 0) if stock is not None else 0
    ready_s = measured.ready_in_s(probe.model, missing_bytes)
    left_ms = probe.deadline_remaining_ms
    if left_ms is not None and (ready_s is None or ready_s * 1000.0 > left_ms):
        return "deadline"
    return None
