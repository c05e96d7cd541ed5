"""What loads took corrects what is estimated of the next; and what is admitted has its memory."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.admission import (
    GIB,
    MIB,
    Holding,
    ModelNeeds,
    budget_bytes,
    ceiling_bytes,
    fits,
    overhead_bytes,
)
from poolhand.agent.core.measured import MOST_MODELS, Measured, Measurements
from poolhand.backends.engines.base import Load, Loaded
from poolhand.backends.hosts.base import HostSample
from poolhand.backends.stores.base import Progress, Stock
from tests.journeys.world import World, build, only, said, sample, settings

NEEDS = ModelNeeds(weights_bytes=8 * GIB, kv_bytes=GIB, overhead_bytes=overhead_bytes(8 * GIB))
OTHER = ModelNeeds(weights_bytes=9 * GIB, kv_bytes=GIB, overhead_bytes=GIB)


def seen(memory_bytes: int | None, took_s: float = 3.0) -> Measurements:
    found = Measurements()
    found.loaded("a", NEEDS, Loaded(took_s, memory_bytes, 8192))
    return found


def test_what_was_found_beside_the_weights_replaces_the_guess() -> None:
    found = seen(8 * GIB + 100 * MIB)
    assert found.corrected("a", NEEDS).overhead_bytes == 100 * MIB
    assert found.corrected("a", NEEDS).total_bytes == 9 * GIB + 100 * MIB
    assert seen(10 * GIB).corrected("a", NEEDS).total_bytes == 11 * GIB, "either way"


def test_other_weights_another_model_and_no_measurement_correct_nothing() -> None:
    found = seen(8 * GIB)
    assert found.corrected("a", OTHER) == OTHER
    assert found.corrected("b", NEEDS) == NEEDS
    assert seen(None).corrected("a", NEEDS) == NEEDS


@given(st.integers(0, 2**40))
def test_weights_that_are_read_late_are_counted_whole(memory_bytes: int) -> None:
    corrected = seen(memory_bytes).corrected("a", NEEDS)
    assert corrected.weights_bytes == NEEDS.weights_bytes
    assert corrected.total_bytes >= NEEDS.weights_bytes + NEEDS.kv_bytes


def test_peaks_are_kept_but_not_each_of_them() -> None:
    found = seen(8 * GIB)
    assert found.sampled({"a": Load(memory_peak_bytes=9 * GIB)})
    assert not found.sampled({"a": Load(memory_peak_bytes=9 * GIB + MIB)})
    assert not found.sampled({"a": Load(), "x": Load(memory_peak_bytes=GIB)})
    assert found.sampled({"a": Load(memory_peak_bytes=10 * GIB)})
    found.loaded("a", NEEDS, Loaded(4.0, 8 * GIB, None))
    assert found.known["a"].peak_bytes == 10 * GIB, "of the same weights"
    found.loaded("a", OTHER, Loaded(4.0, 8 * GIB, None))
    assert found.known["a"].peak_bytes is None


def test_what_was_measured_since_is_newer_than_what_is_read() -> None:
    found = seen(8 * GIB)
    old = Measured("a", 1, 1, 1, None, 1.0)
    found.recalled([old, Measured("b", 2, 2, 2, None, 2.0)])
    assert found.known["a"].loaded_bytes == 8 * GIB
    assert found.known["b"].took_s == 2.0


def test_no_more_models_are_kept_than_a_file_takes() -> None:
    found = Measurements()
    for number in range(MOST_MODELS + 3):
        found.loaded(str(number), NEEDS, Loaded(1.0, None, None))
    assert len(found.known) == MOST_MODELS
    assert "2" not in found.known


def test_how_soon_a_model_answers_is_told_only_by_measurements() -> None:
    found = Measurements()
    assert found.ready_in_s("a", 10**9) is None
    found.fetched(None)
    found.fetched(10**8)
    assert found.ready_in_s("a", 10**9) == pytest.approx(10.0)
    found.loaded("a", NEEDS, Loaded(3.0, None, None))
    assert found.ready_in_s("a", 10**9) == pytest.approx(13.0)
    assert found.ready_in_s("a", 0) == pytest.approx(3.0)


# ── told to a node ────────────────────────────────────────────────────────────────────


def test_the_second_load_is_judged_by_the_first() -> None:
    """``org/a`` turned out larger than thought: where it fitted before, it fits no more."""
    world = World()
    world.start()
    world.load_model("org/a")
    world.stage("org/a")
    effects = world.loaded("org/a", 20 * GIB)
    (kept,) = only(effects, do.PersistMeasured)
    assert [(each.model, each.loaded_bytes) for each in kept.measured] == [("org/a", 20 * GIB)]
    world.tell(happened.EngineStopped("org/a"))
    fresh = World()
    fresh.tell(happened.MeasuredRead(kept.measured))
    fresh.start()
    fresh.available_bytes = 12 * GIB
    fresh.load_model("org/a")
    effects = fresh.stage("org/a")
    assert only(effects, do.LoadEngine) == []
    assert "insufficient memory" in str(said(effects)[-1])


def test_a_resident_s_next_request_has_its_memory_kept() -> None:
    """Two slots: what the first one may still take is not promised to the second."""
    world = World(settings(slots={"max_model_slots": 2}))
    world.start()
    world.load_model("org/a")
    world.stage("org/a", 20 * GIB)
    world.loaded("org/a", 20 * GIB)
    (stay,) = world.node.loads.stays.all()
    assert stay.due_bytes == 4 * GIB, "a fifth of the weights: the KV cache of a request"
    world.available_bytes = 36 * GIB
    world.load_model("org/b")
    effects = world.stage("org/b", 27 * GIB)
    assert only(effects, do.LoadEngine) == [], "27 GiB and their cache beside 4 GiB still due"


def test_a_load_after_an_unload_waits_for_memory_that_was_read_to_be_free() -> None:
    world = World()
    world.start()
    world.resident("org/a")
    world.load_model("org/b")
    world.available_bytes = 2 * GIB
    world.stage("org/b")
    effects = world.stopped("org/a")
    assert only(effects, do.LoadEngine) == [], "the driver has not given it back yet"
    world.available_bytes = 60 * GIB
    assert only(world.read_host(), do.LoadEngine) == [do.LoadEngine("org/b", build("org/b"))]


def test_a_request_that_would_wait_too_long_is_sent_elsewhere_at_once() -> None:
    world = World(settings(requests={"cold_wait_s": 60.0}))
    slow = Measured("org/a", 1, 1, 1, None, 61.0)
    world.tell(happened.MeasuredRead((slow,)))
    world.start()
    (refused,) = said(world.request("r1", "org/a"))
    assert "not loaded" in str(refused)
    assert world.state("org/a") == []
    world.request("r2", "org/b")
    world.tell(happened.WeightsProgressed("org/b", Progress(0, 70 * MIB, rate_bytes_s=MIB)))
    (refused,) = said(world.request("r3", "org/b"))
    assert "not loaded" in str(refused), "70 s of bytes are still to come"
    world.tell(happened.WeightsProgressed("org/b", Progress(60 * MIB, 70 * MIB, rate_bytes_s=MIB)))
    assert [word.type for word in said(world.request("r4", "org/b"))] == ["inference_accepted"]


def test_bytes_that_are_not_here_count_too() -> None:
    world = World(settings(requests={"cold_wait_s": 60.0}))
    world.start()
    world.node.loads.measured.fetched(float(MIB))
    world.tell(happened.InventoryChanged((Stock("org/a", "partial", 100 * MIB, 50 * MIB),)))
    assert [word.type for word in said(world.request("r1", "org/a"))] == ["inference_accepted"]
    other = World(settings(requests={"cold_wait_s": 60.0}))
    other.start()
    other.node.loads.measured.fetched(float(MIB))
    other.tell(happened.InventoryChanged((Stock("org/a", "partial", 200 * MIB, 50 * MIB),)))
    assert "not loaded" in str(said(other.request("r1", "org/a"))[0])


# ── the law, over a hundred thousand machines ─────────────────────────────────────────

STATES = 100_000


def test_a_hundred_thousand_machines_are_never_overcommitted_and_rarely_refused() -> None:
    """Each machine has a system, up to two residents and a model that asks to come.

    What a model takes in truth is its weights, its request's cache and something beside them
    that nobody knows before the first load; it was measured for most. Overcommitted is a machine
    whose system and models together would take more than there is; falsely refused is a model
    that would have fitted below the ceiling.
    """
    chance = random.Random(20)  # noqa: S311  # a story, no secret
    overcommitted = refused = falsely = admitted = 0
    for _ in range(STATES):
        total = chance.choice((8, 16, 24, 32, 64, 96, 128, 192, 512)) * GIB
        system = int(total * chance.uniform(0.03, 0.5))
        holdings: list[Holding] = []
        used = peak = 0
        for _ in range(chance.choice((0, 0, 1, 1, 2))):
            weights = int(total * chance.uniform(0.02, 0.3))
            cache = weights // 5
            beside = int(overhead_bytes(weights) * chance.random())
            now = weights + beside + int(cache * chance.random())
            is_loading = chance.random() < 0.1
            due = weights + beside + cache - now
            if is_loading:
                promised = weights + overhead_bytes(weights) + cache
                holdings.append(Holding(promised, is_promised=True))
                now = int(now * chance.random())
            else:
                holdings.append(Holding(now, due_bytes=due))
            used += now
            peak += weights + beside + cache
        available = max(0, total - system - used)
        weights = int(total * chance.uniform(0.01, 0.9))
        beside = int(overhead_bytes(weights) * chance.random())
        truth = ModelNeeds(weights, weights // 5, beside)
        needs = ModelNeeds(weights, weights // 5, overhead_bytes(weights))
        if chance.random() < 0.9:
            known = Measurements()
            known.loaded("m", needs, Loaded(1.0, weights + beside, None))
            needs = known.corrected("m", needs)
        free = budget_bytes(total_bytes=total, available_bytes=available, holdings=holdings)
        takes = truth.total_bytes + peak
        if fits(needs, free):
            admitted += 1
            overcommitted += takes + system > total or takes > ceiling_bytes(total)
        elif takes <= ceiling_bytes(total) and takes + system <= total:
            falsely += 1
        else:
            refused += 1
    assert overcommitted == 0
    assert falsely <= STATES // 100, falsely
    assert min(admitted, refused) > STATES // 5, "both happen"


def test_what_was_not_read_admits_nothing() -> None:
    world = World()
    world.start()
    world.load_model("org/a")
    world.tell(happened.WeightsFetched("org/a"))
    world.tell(happened.WeightsVerified("org/a", build("org/a")))
    assert only(world.tell(happened.HostSampled(HostSample())), do.LoadEngine) == []
    assert only(world.tell(happened.HostSampled(sample(None))), do.LoadEngine) == []
