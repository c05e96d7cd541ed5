"""What the coordinator is told: measured, in the pool, and nothing else."""

from dataclasses import replace

from poolhand.agent.core.admission import GIB
from poolhand.agent.core.drains import Drain
from poolhand.agent.core.events import RequestKey
from poolhand.agent.core.pool import pool_of
from poolhand.agent.core.report import (
    Snapshot,
    attestation,
    heartbeat,
    models,
    register,
    reserve_bytes,
)
from poolhand.agent.core.requests import Entry, RequestState
from poolhand.agent.core.slots import SlotState, Stay
from poolhand.agent.wire.codec import encode
from poolhand.agent.wire.inbound import AttestationChallenge
from poolhand.agent.wire.types import DrainState, Stats
from poolhand.backends.engines.base import Load
from poolhand.backends.hosts.base import CpuCores, HostFacts, HostSample
from poolhand.backends.stores.base import ELSEWHERE, Build, Stock
from tests.journeys.world import FACTS, KEY, build, identity, sample, settings
from tests.wire.schema import faults

BARE = Snapshot(
    now_s=10.0,
    identity=identity(),
    settings=settings(),
    pool=pool_of(settings(), machine_id="m"),
    facts=HostFacts("generic"),
    sample=HostSample(),
    stays=(),
    requests=(),
    stats=Stats(requests_served=0, tokens_generated=0),
    stocks={},
    loads={},
    is_draining=False,
)

READY = Stay(
    "org/a",
    SlotState.READY,
    build=build("org/a"),
    needs_bytes=6 * GIB,
    holds_bytes=5 * GIB,
    load_s=8.2004,
    last_used_s=3.0,
)

FULL = replace(BARE, facts=FACTS, sample=sample(), stays=(READY,))


def entry(word: str, state: RequestState, model: str = "org/a") -> Entry:
    return Entry(RequestKey(1, word), state, 0.0, model, 64)


# ── register ──────────────────────────────────────────────────────────────────────────


def test_what_was_not_measured_is_left_out() -> None:
    who = register(BARE).model_dump(exclude_none=True)
    assert who["hardware"] == {
        "machine_model": "",
        "chip_name": "",
        "chip_family": "unknown",
        "chip_tier": "",
        "memory_gb": 0,
    }
    assert not {"decode_tps", "prefill_tps", "private_only"} & set(who)
    beat = heartbeat(BARE).model_dump(exclude_none=True)
    assert beat["system_metrics"] == {}
    assert beat["backend_capacity"] == {"slots": ()}
    answer = attestation(BARE, AttestationChallenge(nonce="n"))
    assert set(answer.model_dump(exclude_none=True)) == {
        "type",
        "nonce",
        "signature",
        "public_key",
    }


def test_a_machine_as_it_registers() -> None:
    odd = replace(FACTS, memory_total_bytes=64 * GIB - 1, cpu_cores=CpuCores(16, 12, 4))
    hardware = register(replace(FULL, facts=odd)).hardware
    assert (hardware.memory_gb, hardware.memory_available_gb) == (63, 60.0)
    assert hardware.cpu_cores is not None
    assert hardware.cpu_cores.model_dump() == {"total": 16, "performance": 12, "efficiency": 4}
    assert hardware.gpu_cores == 0


def test_cores_of_one_kind_are_performance_cores() -> None:
    cores = register(FULL).hardware.cpu_cores
    assert cores is not None
    assert (cores.performance, cores.efficiency) == (8, 0)


def test_rates_are_the_fastest_that_were_measured() -> None:
    loads = {"org/a": Load(decode_tps=60.0), "org/b": Load(decode_tps=61.5, prefill_tps=9.0)}
    who = register(replace(BARE, loads=loads))
    assert (who.decode_tps, who.prefill_tps) == (61.5, 9.0)


def test_labels_are_the_operators() -> None:
    who = register(BARE)
    assert (who.backend, who.version, who.public_key) == ("poolhand", "0.1.0", KEY)
    chosen = settings(
        wire={"backend_label": "other", "version_label": "9.9.9"},
        coordinator={"url": "ws://127.0.0.1:1", "private_only": True},
    )
    who = register(replace(BARE, settings=chosen))
    assert (who.backend, who.version, who.private_only) == ("other", "9.9.9", True)


def test_only_the_pool_is_offered_with_what_is_known_of_it() -> None:
    assert [model.model_dump(exclude_none=True) for model in models(BARE)] == [
        {"id": "org/a", "size_bytes": 0},
        {"id": "org/b", "size_bytes": 0},
    ]
    stocks = {
        "org/a": Stock("org/a", "here", 77, 77, build("org/a")),
        "org/b": Stock("org/b", "listed", 88),
        "org/c": Stock("org/c", "here", 99, 99, build("org/c")),
    }
    here, listed = models(replace(BARE, stocks=stocks))
    assert (here.size_bytes, here.model_type, here.quantization) == (77, "llama", "4bit")
    assert here.weight_hash == build("org/a").weight_hash
    assert here.template_render_ok is None, "no opinion where nothing was tried"
    assert (listed.size_bytes, listed.weight_hash) == (88, None)


def test_a_model_sees_images_if_the_operator_says_so() -> None:
    sighted = {"id": "org/a", "ref": "s3://models/a", "serving": {"images": True}}
    blind = {"id": "org/b", "ref": "s3://models/b", "serving": {"images": False}}
    chosen = settings(models=[sighted, blind], pools={"advertise": "all"})
    node = replace(BARE, settings=chosen, pool=pool_of(chosen, machine_id="m"))
    assert [model.is_vision for model in models(node)] == [True, None]


def test_a_build_without_a_template_says_so_and_odd_configs_say_nothing() -> None:
    plain = build("org/a")
    for config in ({}, {"model_type": 3, "quantization": 4}, {"quantization": {"bits": "x"}}):
        odd = Build(
            folder=plain.folder,
            size_bytes=1,
            weights_bytes=1,
            weight_hash="aa",
            verified_by="self",
            config=config,
            has_chat_template=False,
        )
        stocks = {"org/a": Stock("org/a", "here", 1, 1, odd)}
        model = models(replace(BARE, stocks=stocks))[0]
        assert (model.model_type, model.quantization) == (None, None)
        assert model.template_render_ok is False


# ── heartbeat ─────────────────────────────────────────────────────────────────────────


def test_an_idle_resident() -> None:
    beat = heartbeat(FULL)
    assert (beat.status, beat.active_model, beat.warm_models) == ("idle", "org/a", ("org/a",))
    assert beat.system_metrics is not None
    assert beat.system_metrics.memory_pressure == 0.1
    assert beat.system_metrics.cpu_usage == 0.2
    assert beat.backend_capacity is not None
    (slot,) = beat.backend_capacity.slots
    assert (slot.state, slot.num_running, slot.num_waiting) == ("idle", 0, 0)
    assert slot.model_load_time_ms == 8200
    assert slot.active_token_budget_max is None
    assert slot.max_tokens_potential == 0


def test_a_resident_that_answers() -> None:
    requests = (
        entry("1", RequestState.RUNNING),
        entry("2", RequestState.ENDING),
        entry("3", RequestState.WAITING),
        entry("4", RequestState.RUNNING, "org/b"),
        entry("5", RequestState.OPENING, ""),
    )
    load = Load(
        max_running=8,
        active_tokens=5,
        budget_used_tokens=6,
        budget_max_tokens=7,
        kv_bytes_per_token=9,
        decode_tps=1.5,
        memory_active_bytes=GIB,
    )
    beat = heartbeat(replace(FULL, requests=requests, loads={"org/a": load}))
    assert beat.status == "serving"
    assert beat.backend_capacity is not None
    (slot,) = beat.backend_capacity.slots
    assert (slot.state, slot.num_running, slot.num_waiting) == ("running", 2, 1)
    assert (slot.max_concurrency, slot.max_tokens_potential) == (8, 128)
    assert (slot.active_token_budget_used, slot.active_token_budget_max) == (6, 7)
    assert beat.backend_capacity.gpu_memory_active_gb == 1.0
    assert beat.backend_capacity.gpu_memory_peak_gb is None
    assert faults(encode(beat)) == []


def test_whoever_comes_goes_or_drains_gets_nothing_new() -> None:
    for state in (SlotState.LOADING, SlotState.DRAINING, SlotState.UNLOADING):
        beat = heartbeat(replace(FULL, stays=(replace(READY, state=state),)))
        assert beat.backend_capacity is not None
        assert [slot.state for slot in beat.backend_capacity.slots] == ["reloading"]
        assert beat.warm_models == (("org/a",) if state is SlotState.DRAINING else ())
    beat = heartbeat(replace(FULL, is_draining=True))
    assert beat.backend_capacity is not None
    assert beat.backend_capacity.slots[0].state == "reloading"
    assert beat.backend_capacity.free_for_load_gb == 0.0


def test_whoever_drains_says_why() -> None:
    assert heartbeat(FULL).drain is None
    owner = Drain("owner", 0.0, None, "keyboard or mouse used 2 s ago", "input")
    beat = heartbeat(replace(FULL, is_draining=True, drain=owner))
    assert beat.drain == DrainState(reason="owner", sign="input")
    assert b"keyboard" not in encode(beat).encode(), "a word of ours, and nothing more of him"
    hours = heartbeat(
        replace(FULL, is_draining=True, drain=replace(owner, reason="hours", sign=""))
    )
    assert hours.drain == DrainState(reason="hours")
    assert faults(encode(beat)) == faults(encode(hours)) == []


def test_a_download_is_no_slot() -> None:
    beat = heartbeat(replace(FULL, stays=(Stay("org/a"),)))
    assert beat.backend_capacity is not None
    assert beat.backend_capacity.slots == ()


def test_the_busy_come_first_and_then_the_latest_used() -> None:
    later = replace(READY, model="org/b", last_used_s=4.0)
    both = replace(FULL, stays=(READY, later))
    assert heartbeat(both).warm_models == ("org/b", "org/a")
    busy = replace(both, requests=(entry("1", RequestState.RUNNING),))
    assert heartbeat(busy).active_model == "org/a"


def test_room_for_a_load_counts_idle_residents_as_gone() -> None:
    idle, empty = FULL.free_for_load_bytes, replace(FULL, stays=()).free_for_load_bytes
    assert idle is not None
    assert empty is not None
    assert idle >= 50 * GIB
    busy = replace(FULL, requests=(entry("1", RequestState.RUNNING),))
    assert busy.free_for_load_bytes == 0
    waiting = replace(FULL, requests=(entry("1", RequestState.WAITING),))
    assert waiting.free_for_load_bytes == idle
    assert replace(FULL, sample=HostSample()).free_for_load_bytes is None


def test_a_load_on_its_way_has_its_slot_promised() -> None:
    coming = replace(FULL, stays=(Stay("org/a"),))
    assert coming.free_for_load_bytes == 0, "as a load would be refused now"
    ahead = replace(FULL, stays=(Stay("org/a", is_load=False),))
    assert ahead.free_for_load_bytes != 0


def test_both_planners_see_one_size() -> None:
    capacity = heartbeat(FULL).backend_capacity
    assert capacity is not None
    assert capacity.total_memory_gb == register(FULL).hardware.memory_gb == 64


def test_the_reserve_is_in_bytes() -> None:
    assert reserve_bytes(settings(memory={"reserve_gib": 1.5})) == 3 * GIB // 2


# ── challenge ─────────────────────────────────────────────────────────────────────────


def test_a_challenge_is_answered_with_facts() -> None:
    apple = replace(FACTS, sip_enabled=True, secure_boot_enabled=False, rdma_disabled=None)
    loading = Stay("org/b", SlotState.LOADING, build=build("org/b"))
    snapshot = replace(FULL, facts=apple, stays=(READY, loading))
    answer = attestation(snapshot, AttestationChallenge(nonce="abc", timestamp="t"))
    assert (answer.nonce, answer.public_key, answer.signature) == ("abc", KEY, "signed 3")
    assert (answer.sip_enabled, answer.secure_boot_enabled) == (True, False)
    assert answer.rdma_disabled is None
    assert answer.model_hashes == {"org/a": build("org/a").weight_hash}
    assert answer.active_model_hash == build("org/a").weight_hash
    assert faults(encode(answer)) == []


def test_nothing_is_hashed_of_a_model_elsewhere() -> None:
    snapshot = replace(FULL, stays=(replace(READY, build=ELSEWHERE),))
    answer = attestation(snapshot, AttestationChallenge(nonce="abc", timestamp="t"))
    assert (answer.model_hashes, answer.active_model_hash) == (None, None)


def test_the_token_shows_on_the_wire_alone() -> None:
    assert '"auth_token":"secret"' in encode(register(BARE))
    assert "secret" not in repr(BARE)
    assert "secret" not in repr(register(BARE))
