"""The node as it is now, as metrics: read when somebody asks, and kept nowhere.

What was not measured is not there: a gauge that is missing says more than one that is zero.
"""

from collections.abc import Iterable, Mapping

from ...config.frozen import frozen
from ..core.node import Node
from ..core.report import Snapshot, reserve_bytes
from ..core.requests import RequestState
from ..core.session import State
from ..core.slots import SlotState
from ..core.status import reasons
from .exposition import Series, by_name
from .families import LOOKED_UP

Gauges = Mapping[str, Series]


@frozen
class Process:
    """What the node cannot know of its process; ``None`` is not known.

    Attributes:
        ack_age_s: Since the coordinator last answered a ping.
        outbox: Frames that wait to be sent.
        chunks: Pieces of answers that were sent since the start.
        peers: What the process that answers peers has counted; ``None``: there is none.
    """

    version: str
    uptime_s: float
    ack_age_s: float | None = None
    outbox: int | None = None
    chunks: int | None = None
    resident_bytes: int | None = None
    peers: Mapping[str, int] | None = None


def gauges(node: Node, process: Process, now_s: float) -> Iterable[Series]:
    """Every family that has a value now."""
    snapshot = node.snapshot(now_s)
    of = by_name(LOOKED_UP)
    _process(of, process, snapshot)
    _line(of, node, snapshot)
    _models(of, snapshot)
    for reason, count in node.loads.refusals.by_reason.items():
        of["rejected_loads_total"].put(count, reason)
    of["pool_epoch"].put(node.choice.assignment.epoch)
    of["owner_active"].put(node.rest.verdict.is_owners)
    of["config_rejected"].put(node.rejected is not None)
    _disk(of, node)
    _peers(of, process.peers)
    _machine(of, snapshot)
    return of.values()


def _process(of: Gauges, process: Process, snapshot: Snapshot) -> None:
    of["build_info"].put(1, process.version, snapshot.settings.wire.backend_label)
    of["uptime_seconds"].put(process.uptime_s)
    of["outbox_depth"].put(process.outbox)
    of["stream_chunks_total"].put(process.chunks)
    of["process_resident_bytes"].put(process.resident_bytes)
    of["last_ack_age_seconds"].put(process.ack_age_s)


def _line(of: Gauges, node: Node, snapshot: Snapshot) -> None:
    of["serving"].put(not reasons(node, snapshot))
    for state in State:
        of["connection_state"].put(node.session.state is state, state.value)
    for drain in node.loads.drains.all():
        of["draining"].put(1, drain.reason)
    states = [entry.state for entry in snapshot.requests]
    for state in RequestState:
        of["requests_in_flight"].put(states.count(state), state.value)


def _models(of: Gauges, snapshot: Snapshot) -> None:
    states = [stay.state for stay in snapshot.stays]
    for state in SlotState:
        of["slots"].put(states.count(state), state.value)
    of["slots_max"].put(snapshot.settings.slots.max_model_slots)
    for stay in snapshot.stays:
        if stay.state in {SlotState.READY, SlotState.DRAINING}:
            of["slot_loaded_bytes"].put(stay.holds_bytes, stay.model)
        if stay.state is SlotState.DOWNLOADING and (told := stay.progress) is not None:
            of["download_done_bytes"].put(told.bytes_done, stay.model)
            of["download_whole_bytes"].put(told.bytes_total, stay.model)
            of["download_left_seconds"].put(told.eta_s, stay.model)
    for model, load in snapshot.loads.items():
        of["decode_tokens_per_second"].put(load.decode_tps, model)
        of["generated_tokens_total"].put(load.generated_tokens, model)


def _disk(of: Gauges, node: Node) -> None:
    survey = node.machine.survey
    if survey is not None:
        of["cache_bytes"].put(survey.used_bytes)
        of["cache_quota_bytes"].put(survey.quota_bytes)
        of["disk_free_bytes"].put(survey.free_bytes)
        of["disk_reserve_bytes"].put(survey.reserve_bytes)
        of["damaged_builds"].put(len(survey.damaged))


def _peers(of: Gauges, counts: Mapping[str, int] | None) -> None:
    if counts is not None:
        of["peers_connections"].put(counts["connections"])
        for name in ("sent_bytes", "asks", "refused", "turned_away"):
            of[f"peers_{name}_total"].put(counts[name])


def _machine(of: Gauges, snapshot: Snapshot) -> None:
    sample = snapshot.sample
    of["memory_total_bytes"].put(sample.memory_total_bytes)
    of["memory_available_bytes"].put(sample.memory_available_bytes)
    of["memory_reserve_bytes"].put(reserve_bytes(snapshot.settings))
    of["memory_pressure"].put(sample.memory_used_ratio)
    of["cpu_usage"].put(sample.cpu_usage_ratio)
    for gpu in sample.gpus:
        total, free, name = gpu.memory_total_bytes, gpu.memory_available_bytes, str(gpu.index)
        if total is not None and free is not None:
            of["gpu_memory_used_bytes"].put(total - free, name)
        of["gpu_usage"].put(gpu.usage_ratio, name)
        of["gpu_temperature_celsius"].put(gpu.temperature_c, name)
