"""The node as one value, and what the coordinator is told of it.

A :class:`Snapshot` is everything the node knows of itself at one moment. Register, heartbeat
and the answer to a challenge are functions of it, and so is the owner's status. What was not
measured is left out, here and nowhere else.
"""

from collections.abc import Callable, Mapping
from dataclasses import field

from pydantic import SecretStr

from ...backends.engines.base import Load
from ...backends.hosts.base import HostFacts, HostSample
from ...backends.stores.base import Stock
from ...config.frozen import frozen
from ...config.settings import Settings
from ..wire.extensions import VERSION
from ..wire.inbound import AttestationChallenge
from ..wire.outbound import AttestationResponse, Heartbeat, Register
from ..wire.types import (
    BackendCapacity,
    CpuCores,
    DrainState,
    Extensions,
    Hardware,
    ModelInfo,
    PoolState,
    PrivacyCapabilities,
    SlotCapacity,
    SlotWord,
    Stats,
    SystemMetrics,
)
from .admission import GIB, Holding, largest_weights_bytes, room_bytes
from .drains import Drain
from .pool import Pool
from .requests import Entry, RequestState, busy_of
from .slots import COMING, HOLDS_MEMORY, SlotState, Stay
from .standing import NOTHING_SEEN, Seen
from .stays import holdings_of
from .will import WILLING, Will


@frozen
class Identity:
    """Who this process is.

    Attributes:
        version: ``MAJOR.MINOR.PATCH`` of this package.
        public_key: Base64 of the key that requests are sealed for.
        machine_id: A random value made once for this machine; it chooses among pools.
        privacy: What was found true of this process.
        sign: Signs a challenge's nonce and timestamp with a software key.
        token: Ties the node to an account.
    """

    version: str
    public_key: str
    machine_id: str
    privacy: PrivacyCapabilities
    sign: Callable[[str, str], str] = field(repr=False)
    token: SecretStr | None = field(default=None, repr=False)


@frozen
class Snapshot:
    """The node at one moment; times are the node's own, in seconds.

    Attributes:
        will: What the node itself says to loads.
        catalog: Weight hashes by id, as the coordinator's own catalog lists them, empty where it
            pins none; ``None`` if it was not read.
    """

    now_s: float
    identity: Identity
    settings: Settings
    pool: Pool
    facts: HostFacts
    sample: HostSample
    stays: tuple[Stay, ...]
    requests: tuple[Entry, ...]
    stats: Stats
    stocks: Mapping[str, Stock]
    loads: Mapping[str, Load]
    is_draining: bool
    epoch: int = 0
    pinned: frozenset[str] = frozenset()
    line: Seen = NOTHING_SEEN
    drain: Drain | None = None
    awaited: frozenset[str] = frozenset()
    lacks: Mapping[str, str] = field(default_factory=dict[str, str])
    will: Will = WILLING
    catalog: Mapping[str, str] | None = None

    @property
    def busy(self) -> frozenset[str]:
        """The models that are answering."""
        return busy_of(self.requests)

    @property
    def ready(self) -> tuple[Stay, ...]:
        """The residents that answer, the latest used first."""
        here = [s for s in self.stays if s.state in {SlotState.READY, SlotState.DRAINING}]
        return tuple(
            sorted(here, key=lambda s: (s.model in self.busy, s.last_used_s), reverse=True)
        )

    def answers(self, model: str) -> bool:
        """Whether the model is in memory and stays."""
        return any(s.model == model and s.state is SlotState.READY for s in self.stays)

    @property
    def memory_gb(self) -> int | None:
        """Whole GiB of the memory in which weights live, rounded down."""
        total_bytes = self.facts.memory_total_bytes
        return None if total_bytes is None else total_bytes // GIB

    @property
    def free_for_load_bytes(self) -> int | None:
        """The largest weights that could be loaded now; ``None`` if it cannot be told."""
        room, total_bytes = self.room_bytes, self.sample.memory_total_bytes
        if room is None or total_bytes is None:
            return None
        return largest_weights_bytes(room, total_bytes)

    @property
    def room_bytes(self) -> int | None:
        """What a new model could take with every idle resident gone; ``None`` likewise."""
        return room_bytes(
            total_bytes=self.sample.memory_total_bytes,
            available_bytes=self.sample.memory_available_bytes,
            reserve_bytes=reserve_bytes(self.settings),
            holdings=self._holdings,
            slots=self._slots,
        )

    @property
    def has_slot(self) -> bool:
        """Whether a slot could be had for a load, whatever the memory."""
        return sum(not each.is_evictable for each in self._holdings) < self._slots

    @property
    def _holdings(self) -> list[Holding]:
        return holdings_of(self.stays, self.busy | self.pinned | self.will.kept)

    @property
    def _slots(self) -> int:
        """A load that is on its way has its slot promised, long before it holds it."""
        if self.is_draining or not self.will.takes_loads:
            return 0
        coming = [s for s in self.stays if s.is_load and s.state in COMING - HOLDS_MEMORY]
        return self.settings.slots.max_model_slots - len(coming)


def reserve_bytes(settings: Settings) -> int:
    """Memory that is never promised to a model."""
    return int(settings.memory.reserve_gib * GIB)


def register(node: Snapshot) -> Register:
    """Who we are and what we offer."""
    wire = node.settings.wire
    return Register(
        backend=wire.backend_label,
        version=wire.version_label or node.identity.version,
        hardware=_hardware(node),
        models=models(node),
        public_key=node.identity.public_key,
        privacy_capabilities=node.identity.privacy,
        decode_tps=_fastest([load.decode_tps for load in node.loads.values()]),
        prefill_tps=_fastest([load.prefill_tps for load in node.loads.values()]),
        private_only=True if node.settings.coordinator.private_only else None,
        auth_token=node.identity.token,
        extensions=Extensions(pools=VERSION),
        pool=_pool(node),
    )


def models(node: Snapshot) -> tuple[ModelInfo, ...]:
    """What we offer: builds of the pool, on disk or not; others only if the operator says so.

    A size that is not known yet goes out as 0, the wire's word for unknown; an update follows
    once the build is here.
    """
    sighted = {entry.id for entry in node.settings.models if entry.serving.images}
    return tuple(
        _model(model, node.stocks.get(model), has_eyes=model in sighted)
        for model in node.pool.advertised
    )


def heartbeat(node: Snapshot) -> Heartbeat:
    """How we are now."""
    running = any(e.state is RequestState.RUNNING for e in node.requests)
    ready = node.ready
    return Heartbeat(
        status="serving" if running else "idle",
        warm_models=tuple(stay.model for stay in ready),
        active_model=ready[0].model if ready else None,
        stats=node.stats,
        system_metrics=SystemMetrics(
            memory_pressure=node.sample.memory_used_ratio,
            cpu_usage=node.sample.cpu_usage_ratio,
            thermal_state=node.sample.thermal_state,
        ),
        backend_capacity=_capacity(node),
        pool=_pool(node),
        drain=_drain(node),
    )


def attestation(node: Snapshot, challenge: AttestationChallenge) -> AttestationResponse:
    """The answer to a challenge: measured facts, and the hashes of what is loaded."""
    builds = {stay.model: stay.build for stay in node.ready if stay.build is not None}
    hashes = {model: build.weight_hash for model, build in builds.items() if build.is_here}
    facts = node.facts
    return AttestationResponse(
        nonce=challenge.nonce,
        signature=node.identity.sign(challenge.nonce, challenge.timestamp),
        public_key=node.identity.public_key,
        sip_enabled=facts.sip_enabled,
        secure_boot_enabled=facts.secure_boot_enabled,
        rdma_disabled=facts.rdma_disabled,
        model_hashes=hashes or None,
        active_model_hash=next(iter(hashes.values()), None),
    )


def _pool(node: Snapshot) -> PoolState:
    pool = node.pool
    return PoolState(assigned=pool.assigned, scope=pool.scope, epoch=node.epoch, source=pool.source)


def _drain(node: Snapshot) -> DrainState | None:
    if node.drain is None:
        return None
    return DrainState(reason=node.drain.reason, sign=node.drain.sign or None)


def _hardware(node: Snapshot) -> Hardware:
    facts, cores = node.facts, node.facts.cpu_cores
    available_bytes = node.sample.memory_available_bytes
    known = None
    if cores.total is not None:
        performance = cores.total if cores.performance is None else cores.performance
        known = CpuCores(
            total=cores.total, performance=performance, efficiency=cores.efficiency or 0
        )
    return Hardware(
        machine_model=facts.machine_model or "",
        chip_name=facts.chip_name or "",
        chip_family=facts.chip_family,
        chip_tier=facts.chip_tier or "",
        memory_gb=node.memory_gb or 0,
        memory_available_gb=None if available_bytes is None else _gib(available_bytes),
        cpu_cores=known,
        gpu_cores=facts.gpu_cores,
        memory_bandwidth_gbs=facts.memory_bandwidth_gbs,
    )


def _model(model: str, stock: Stock | None, *, has_eyes: bool) -> ModelInfo:
    build = stock.build if stock else None
    kind = build.config.get("model_type") if build else None
    return ModelInfo(
        id=model,
        size_bytes=(stock.size_bytes if stock else None) or 0,
        model_type=kind if isinstance(kind, str) and kind else None,
        quantization=_quantization(build.config) if build else None,
        weight_hash=build.weight_hash if build else None,
        is_vision=True if has_eyes else None,
        template_render_ok=None if build is None or build.has_chat_template else False,
    )


def _quantization(config: Mapping[str, object]) -> str | None:
    """``4bit`` and the like, from the key that MLX builds carry."""
    quantization = config.get("quantization")
    bits = quantization.get("bits") if isinstance(quantization, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # parsed JSON
    return f"{bits}bit" if isinstance(bits, int) else None


def _capacity(node: Snapshot) -> BackendCapacity:
    loads = node.loads.values()
    free_bytes = node.free_for_load_bytes
    return BackendCapacity(
        slots=tuple(_slot(node, stay) for stay in node.stays if stay.state in HOLDS_MEMORY),
        gpu_memory_active_gb=_gib_sum([load.memory_active_bytes for load in loads]),
        gpu_memory_peak_gb=_gib_sum([load.memory_peak_bytes for load in loads]),
        gpu_memory_cache_gb=_gib_sum([load.memory_cache_bytes for load in loads]),
        total_memory_gb=None if node.memory_gb is None else float(node.memory_gb),
        free_for_load_gb=None if free_bytes is None else _gib(free_bytes),
    )


def _slot(node: Snapshot, stay: Stay) -> SlotCapacity:
    load = node.loads.get(stay.model, Load())
    mine = [entry for entry in node.requests if entry.model == stay.model]
    running = [e for e in mine if e.state in {RequestState.RUNNING, RequestState.ENDING}]
    is_closed = node.is_draining or not node.pool.serves(stay.model)
    most = node.settings.requests.max_concurrent
    return SlotCapacity(
        model=stay.model,
        state=_word(stay, is_closed=is_closed, is_running=bool(running)),
        num_running=len(running),
        num_waiting=len(mine) - len(running),
        max_concurrency=most if load.max_running is None else min(most, load.max_running),
        active_tokens=load.active_tokens,
        max_tokens_potential=sum(entry.max_tokens for entry in running),
        active_token_budget_used=load.budget_used_tokens,
        active_token_budget_max=load.budget_max_tokens,
        kv_bytes_per_token=load.kv_bytes_per_token,
        observed_decode_tps=load.decode_tps,
        observed_prefill_tps=load.prefill_tps,
        model_load_time_ms=None if stay.load_s is None else round(stay.load_s * 1000),
    )


def _word(stay: Stay, *, is_closed: bool, is_running: bool) -> SlotWord:
    """Nothing new is sent to a slot that is ``reloading``: right for one that comes or goes."""
    if stay.state is not SlotState.READY or is_closed:
        return "reloading"
    return "running" if is_running else "idle"


def _gib(size_bytes: int) -> float:
    return round(size_bytes / GIB, 3)


def _gib_sum(sizes_bytes: list[int | None]) -> float | None:
    known = [size for size in sizes_bytes if size is not None]
    return _gib(sum(known)) if known else None


def _fastest(rates: list[float | None]) -> float | None:
    return max((rate for rate in rates if rate is not None), default=None)
