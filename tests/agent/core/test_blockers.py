"""What keeps a request from this machine, by a coordinator's own gates."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core import events as happened
from poolhand.agent.core import report
from poolhand.agent.core.admission import GIB
from poolhand.agent.core.blockers import CHALLENGE_FRESH_S, blockers
from poolhand.agent.core.breakers import Pause
from poolhand.agent.core.drains import Drain
from poolhand.agent.core.events import RequestKey
from poolhand.agent.core.pool import pool_of
from poolhand.agent.core.report import Snapshot
from poolhand.agent.core.requests import Entry, RequestState
from poolhand.agent.core.slots import SlotState, Stay
from poolhand.agent.core.standing import Seen
from poolhand.agent.wire.inbound import RuntimeStatus, TrustStatus
from poolhand.agent.wire.outbound import InferenceError
from poolhand.agent.wire.types import PrivacyCapabilities, Stats
from poolhand.backends.engines.base import Load, Loaded
from poolhand.backends.engines.errors import EngineStartFailed
from poolhand.backends.hosts.base import HostSample
from poolhand.backends.stores.base import Stock
from poolhand.config.settings import Settings
from tests.journeys.world import FACTS, World, build, identity, said, sample, settings

A = "org/a"
BAD = EngineStartFailed(engine="mlx", kind="bad_model", reason="odd")
READY = Stay(A, SlotState.READY, build=build(A), needs_bytes=6 * GIB, holds_bytes=5 * GIB)
SAFE = PrivacyCapabilities(
    text_backend_inprocess=True,
    text_proxy_disabled=True,
    anti_debug_enabled=True,
    core_dumps_disabled=True,
    env_scrubbed=True,
)
PRIVATE = {"url": "ws://127.0.0.1:8080", "private_only": True}


def chosen(**tables: object) -> Settings:
    return settings(wire={"backend_label": "mlx-swift"}, **tables)


def good(chosen: Settings, *stays: Stay) -> Snapshot:
    """A node that passes every gate: each test closes one."""
    return Snapshot(
        now_s=1000.0,
        identity=replace(identity(), privacy=SAFE),
        settings=chosen,
        pool=pool_of(chosen, machine_id="m"),
        facts=replace(FACTS, sip_enabled=True),
        sample=sample(),
        stays=stays,
        requests=(),
        stats=Stats(requests_served=0, tokens_generated=0),
        stocks={A: Stock(A, "here", 4 * GIB, 4 * GIB, build(A))},
        loads={},
        is_draining=False,
        line=Seen(is_online=True, trust=TrustStatus(trust_level="hardware"), challenged_s=900.0),
    )


GOOD = good(chosen(), READY)


def codes(node: Snapshot, model: str = A) -> list[str]:
    return [each.code for each in blockers(node, model)]


@pytest.mark.parametrize("stays", [(READY,), ()], ids=["warm", "cold"])
def test_a_request_that_would_come_has_nothing_in_its_way(stays: tuple[Stay, ...]) -> None:
    assert blockers(replace(GOOD, stays=stays), A) == ()


# ── the line ──────────────────────────────────────────────────────────────────────────


def test_without_a_line_nothing_comes() -> None:
    assert codes(replace(GOOD, line=replace(GOOD.line, is_online=False))) == ["line_down"]


def test_what_the_coordinator_says_of_us_is_in_the_way() -> None:
    bad = replace(GOOD.line, trust=TrustStatus(trust_level="hardware", status="untrusted"))
    (found,) = blockers(replace(GOOD, line=bad), A)
    assert (found.code, found.is_certain) == ("untrusted", True)
    assert codes(replace(GOOD, line=replace(GOOD.line, runtime=RuntimeStatus()))) == [
        "runtime_mismatch"
    ]


# ── the offer ─────────────────────────────────────────────────────────────────────────


def test_the_first_reason_why_a_model_is_not_offered() -> None:
    assert codes(GOOD, "org/x") == ["not_offered"]
    assert codes(GOOD, "org/c") == ["outside_pool"]
    assert blockers(GOOD, "org/c")[0].remedy == "Change pools.assigned."
    free = replace(GOOD, settings=chosen(pools={}))
    assert blockers(free, "org/c")[0].remedy == "Say `poolhand pool set org/c`."
    narrow = good(chosen(pools={"assigned": "tiny", "allowed": ["org/a"]}), READY)
    assert codes(narrow, "org/b") == ["not_allowed"]
    open_to_all = good(chosen(pools={"assigned": "tiny", "enforce": False}), READY)
    assert codes(open_to_all, "org/c") == ["not_advertised"]


def test_a_dedicated_family_is_advertised_alone() -> None:
    def offering(*ids: str) -> Snapshot:
        models = [{"id": each, "aliases": ["tiny"], "ref": "s3://models/a"} for each in ids]
        return good(chosen(models=models))

    assert codes(offering("org/gemma-4-it", "org/gemma-4-x"), "org/gemma-4-it") == []
    (found,) = blockers(offering("org/gemma-4-it", "org/b"), "org/gemma-4-it")
    assert (found.code, found.is_certain) == ("family_mixed", False)


# ── trust, by a stock coordinator's defaults ──────────────────────────────────────────


@pytest.mark.parametrize(
    ("node", "code"),
    [
        (replace(GOOD, line=replace(GOOD.line, trust=None)), "trust_level"),
        (replace(GOOD, settings=settings()), "backend_label"),
        (replace(GOOD, facts=FACTS), "sip_unproven"),
        (replace(GOOD, facts=replace(FACTS, sip_enabled=False)), "sip_unproven"),
        (replace(GOOD, line=replace(GOOD.line, challenged_s=None)), "challenge_stale"),
        (replace(GOOD, now_s=901.0 + CHALLENGE_FRESH_S), "challenge_stale"),
        (replace(GOOD, identity=identity()), "privacy"),
    ],
)
def test_a_default_gate_is_in_the_way_until_work_has_come(node: Snapshot, code: str) -> None:
    (found,) = blockers(node, A)
    assert (found.code, found.is_certain) == (code, False)
    worked = replace(node, line=replace(node.line, has_sent_work=True))
    assert blockers(worked, A) == (), "whoever sent work has no such gate"


# ── this node's own will ──────────────────────────────────────────────────────────────


def test_a_node_that_drains_says_who_wants_it() -> None:
    drain = Drain("operator", 1.0, None, "its operator had it drained")
    (found,) = blockers(replace(GOOD, is_draining=True, drain=drain), A)
    assert found.code == "draining_operator"
    assert "undrain" in found.remedy


def test_what_else_keeps_everything_away() -> None:
    assert codes(good(chosen(coordinator=PRIVATE), READY)) == ["private_only"]
    assert codes(replace(GOOD, sample=replace(GOOD.sample, thermal_state="critical"))) == [
        "too_hot"
    ]
    asked = Entry(RequestKey(1, "r"), RequestState.RUNNING, 0.0, A, 8)
    full = good(chosen(requests={"max_concurrent": 1}), READY)
    assert codes(replace(full, requests=(asked,))) == ["requests_full", "slot_full"]


# ── room ──────────────────────────────────────────────────────────────────────────────


def test_a_warm_model_may_be_full() -> None:
    asked = Entry(RequestKey(1, "r"), RequestState.RUNNING, 0.0, A, 8)
    busy = replace(GOOD, requests=(asked,))
    assert codes(replace(busy, loads={A: Load(running=1, max_running=1)})) == ["slot_full"]
    taken = Load(running=1, max_running=8, budget_used_tokens=100, budget_max_tokens=100)
    assert codes(replace(busy, loads={A: taken})) == ["tokens_full"]
    assert codes(replace(GOOD, stays=(replace(READY, state=SlotState.LOADING),))) == [
        "slot_reloading"
    ]


def test_a_cold_model_may_have_no_room() -> None:
    cold = replace(GOOD, stays=())
    assert codes(replace(cold, sample=HostSample())) == ["memory_unread"]
    big = {A: Stock(A, "here", 31 * GIB, 31 * GIB, None)}
    assert codes(replace(cold, sample=sample(20 * GIB), stocks=big)) == ["memory_short"]
    full = good(chosen(memory={"reserve_gib": 60}))
    (found,) = blockers(full, A)
    assert (found.code, found.remedy) == ("memory_short", "Free memory, or offer a smaller build.")
    assert found.words.endswith("0.0 GiB are free beside memory.reserve_gib = 60")
    half = {A: Stock(A, "here", 33 * GIB, 33 * GIB, None)}
    (found,) = blockers(replace(cold, stocks=half), A)
    assert (found.code, found.is_certain) == ("memory_half", False)


def test_a_model_whose_engine_is_not_installed_cannot_come_and_one_that_answers_has_one() -> None:
    lacking = replace(GOOD, stays=(), stocks={}, lacks={A: "pip install it"})
    (found,) = blockers(lacking, A)
    assert (found.code, found.remedy, found.is_certain) == (
        "engine_missing",
        "pip install it",
        True,
    )
    assert codes(replace(lacking, lacks={"org/b": "pip install it"})) == []
    assert codes(replace(lacking, stays=(READY,))) == []


def test_another_model_may_hold_the_slot() -> None:
    other = replace(READY, model="org/b")
    asked = Entry(RequestKey(1, "r"), RequestState.RUNNING, 0.0, "org/b", 8)
    assert codes(replace(GOOD, stays=(other,))) == [], "it is idle, and makes way"
    (found,) = blockers(replace(GOOD, stays=(other,), requests=(asked,)), A)
    assert found.code == "slots_busy"
    assert "org/b" in found.words
    assert codes(replace(GOOD, stays=(other,), pinned=frozenset({"org/b"}))) == ["slots_busy"]


def test_a_model_on_its_way_is_not_in_its_own_way() -> None:
    for state in (SlotState.DOWNLOADING, SlotState.VERIFYING, SlotState.STAGED):
        (found,) = blockers(replace(GOOD, stays=(replace(READY, state=state),)), A)
        assert (found.code, found.remedy) == ("on_its_way", "Wait."), state


def test_who_drains_does_not_say_that_every_slot_is_busy() -> None:
    resting = replace(
        GOOD, stays=(), drain=Drain("hours", 0.0, None, "it is closed"), is_draining=True
    )
    assert codes(resting) == ["draining_hours"]


def test_what_the_coordinators_catalog_says_of_the_model() -> None:
    ours = build(A).weight_hash
    assert codes(replace(GOOD, catalog={A: ours})) == []
    assert codes(replace(GOOD, catalog={A: ""})) == [], "it pins none"
    assert codes(replace(GOOD, catalog={A: "f" * 64})) == ["hash_differs"]
    assert codes(replace(GOOD, catalog={A: "f" * 64}, stocks={})) == [], "nobody knows ours yet"
    assert codes(replace(GOOD, catalog={})) == ["not_in_catalog"]


def test_what_went_wrong_is_held_against_a_model_or_against_the_whole_node() -> None:
    def after(*pauses: Pause) -> list[str]:
        return codes(replace(GOOD, line=replace(GOOD.line, pauses=pauses)))

    assert after(Pause(A, 1001.0, "why")) == ["model_paused"]
    assert after(Pause("", 1001.0, "why")) == ["node_paused"]
    assert after(Pause("org/b", 1001.0, "why"), Pause(A, 1000.0, "over")) == []


def test_what_any_coordinator_minds_stands_before_what_a_stock_one_does() -> None:
    private = good(chosen(coordinator=PRIVATE), READY)
    told = codes(replace(private, facts=FACTS, line=replace(private.line, trust=None)))
    assert told == ["private_only", "trust_level", "sip_unproven"]


def cold_world(**slots: object) -> World:
    """``org/a`` is in memory; a request for ``org/b`` would have to load it."""
    world = World(chosen(slots=slots))
    world.start()
    world.resident("org/a")
    world.request("r1", "org/a")
    world.answered("r1")
    world.stock("org/a", "org/b")
    return world


def would(world: World, model: str = "org/b") -> list[str]:
    """What is in the way; and the same is found by asking."""
    found = [each for each in blockers(world.node.snapshot(world.now_s), model) if each.is_certain]
    (answer, *_) = said(world.request("asked", model))
    assert isinstance(answer, InferenceError) == bool(found), "said and done are the same"
    return [f"{each.code}: {each.words}" for each in found]


def test_a_cold_request_that_would_be_taken_has_nothing_in_its_way() -> None:
    assert would(cold_world()) == []


def test_a_model_that_came_lately_makes_no_room_and_says_so() -> None:
    world = cold_world(min_residency_s=600.0)
    capacity = report.heartbeat(world.node.snapshot(world.now_s)).backend_capacity
    assert capacity is not None
    assert capacity.free_for_load_gb == 0.0, "and nobody sends what would be refused"
    assert would(world) == [
        "slots_busy: 'org/a' was loaded less than slots.min_residency_s = 600 s ago"
    ]
    world.after(600.0)
    world.read_host()
    assert would(world) == []


def test_too_many_loads_are_in_the_way_of_the_next_and_it_is_said_until_when() -> None:
    world = cold_world(max_loads_per_h=1)
    for _ in range(3):
        world.node.loads.guard.began(world.node.settings.slots, world.now_s)
    (told,) = would(world)
    assert told == (
        "slots_busy: too much was loaded of late (slots.max_loads_per_h is 1); "
        "the next load may begin in 3600 s"
    )
    world.after(3600.0)
    world.read_host()
    assert would(world) == []


def test_a_model_whose_loads_fail_pauses_and_says_so() -> None:
    world = cold_world(max_model_slots=2)
    for _ in range(2):
        world.load_model("org/b")
        world.stage("org/b")
        world.tell(happened.EngineFailed("org/b", BAD))
        world.stopped("org/b")
    (told,) = would(world)
    assert told == "slots_busy: its last 2 loads failed; it may be loaded again in 60 s"


def test_a_model_that_takes_too_long_to_wait_for_is_said_to() -> None:
    world = cold_world()
    slow = Loaded(9999.0, 5 * GIB, 8192)
    world.load_model("org/b")
    world.stage("org/b")
    world.stopped("org/a")
    world.tell(happened.EngineLoaded("org/b", slow))
    world.load_model("org/a")
    world.stage("org/a")
    world.stopped("org/b")
    world.loaded("org/a")
    (told,) = would(world)
    assert told.startswith("model_not_ready: ")
    assert "too long" in told


def test_what_a_request_needs_beside_the_weights_counts() -> None:
    """A coordinator looks at the size alone; the load gate also at the cache of one request."""
    world = cold_world()
    world.available_bytes = 9 * GIB
    world.read_host()
    big = build("org/b", 9 * GIB)
    heads = {"num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128}
    wide = {"num_hidden_layers": 64, "hidden_size": 4096, "max_position_embeddings": 65536}
    cached = replace(big, config={**big.config, **heads, **wide})
    stock = Stock("org/b", "here", 9 * GIB, 9 * GIB, cached)
    world.tell(happened.InventoryChanged((stock,)))
    (found,) = [
        each for each in blockers(world.node.snapshot(world.now_s), "org/b") if each.is_certain
    ]
    assert found.code == "insufficient_memory"


@given(
    online=st.booleans(),
    worked=st.booleans(),
    private=st.booleans(),
    hot=st.booleans(),
    warm=st.booleans(),
    model=st.sampled_from([A, "org/b", "org/c", "org/x"]),
)
def test_every_blocker_says_what_it_is_and_what_helps(
    *, online: bool, worked: bool, private: bool, hot: bool, warm: bool, model: str
) -> None:
    tables = {"coordinator": PRIVATE} if private else {}
    node = good(settings(**tables), *([READY] if warm else []))
    line = replace(node.line, is_online=online, has_sent_work=worked)
    sampled = replace(node.sample, thermal_state="critical" if hot else "fair")
    found = blockers(replace(node, line=line, sample=sampled), model)
    assert all(each.words and each.remedy and each.code.islower() for each in found)
    assert len({each.code for each in found}) == len(found)
    assert ("line_down" in codes(replace(node, line=line), model)) == (not online)
    assert not worked or all(each.is_certain for each in found)
