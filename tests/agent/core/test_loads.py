"""Which models come, by whose wish, and who is told."""

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core.loads import Loads
from poolhand.agent.core.pool import pool_of
from poolhand.agent.core.slots import SlotState
from poolhand.agent.core.stays import LoadEnded
from poolhand.agent.core.wishes import PROGRESS_EVERY_S
from poolhand.agent.wire.inbound import DesiredModels, PrefetchModel
from poolhand.agent.wire.outbound import PrefetchModelStatus
from poolhand.agent.wire.types import DesiredModel
from poolhand.backends.engines.base import Load, Loaded
from poolhand.backends.stores.base import ELSEWHERE, Build, Progress, Stock
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.config.refusals import ModelNotInPool, NodeDraining, SlotsBusy
from poolhand.config.settings import Settings
from tests.journeys.world import GIB, build, settings, status

NOBODY: frozenset[str] = frozenset()
BROKEN = StoreUnreachable(store="s3", reason="silence")


def loads(chosen: Settings | None = None) -> Loads:
    chosen = chosen or settings()
    return Loads(chosen, pool_of(chosen, machine_id="m"))


def with_resident(model: str = "org/a") -> Loads:
    here = loads()
    here.asked(model, NOBODY, 0.0)
    here.came(here.stays.fetched(model, 0.0))
    here.verified(model, build(model), 0.0)
    here.stays.settle(slots=1, busy=NOBODY, free_bytes=lambda: 64 * GIB, now_s=0.0)
    here.came(here.stays.loaded(model, Loaded(1.0, 1, 1), 0.0))
    assert here.stays.ready(model)
    return here


def test_a_load_is_started_and_everyone_who_asked_is_told() -> None:
    here = loads()
    assert here.asked("org/a", NOBODY, 0.0) == [
        status("org/a", "started"),
        do.FetchWeights("org/a"),
    ]
    assert here.asked("org/a", NOBODY, 0.0) == [status("org/a", "started")]
    text = "model load failed: store_unreachable"
    assert here.came(here.stays.weights_failed("org/a", BROKEN, 1.0)) == [
        status("org/a", "failed", text),
        status("org/a", "failed", text),
        LoadEnded("org/a", 2, BROKEN),
    ]


def test_what_answers_already_has_succeeded() -> None:
    here = with_resident()
    assert here.asked("org/a", frozenset({"org/a"}), 1.0) == [status("org/a", "succeeded")]


def test_refusals_are_counted_in_a_row() -> None:
    here = loads()
    for _ in range(2):
        here.asked("org/c", NOBODY, 1.0)
    assert here.refusals.last is not None
    assert (here.refusals.last.model, here.refusals.last.count, here.refusals.total) == (
        "org/c",
        2,
        2,
    )
    here.asked("org/x", NOBODY, 2.0)
    assert (here.refusals.last.model, here.refusals.last.count, here.refusals.total) == (
        "org/x",
        1,
        3,
    )
    assert here.refusals.last.at_s == 2.0
    assert isinstance(here.refusals.last.error, ModelNotInPool)
    assert here.stays.all() == ()


def test_a_request_brings_its_model_and_tells_nobody() -> None:
    here = loads()
    assert here.needed("org/a", NOBODY, 0.0) == [do.FetchWeights("org/a")]
    assert here.needed("org/a", NOBODY, 0.0) == []
    assert isinstance(here.needed("org/b", NOBODY, 0.0), SlotsBusy)
    assert isinstance(here.needed("org/c", NOBODY, 0.0), ModelNotInPool)
    assert here.refusals.total == 2
    ended = here.came(here.stays.weights_failed("org/a", BROKEN, 1.0))
    assert ended == [LoadEnded("org/a", 0, BROKEN)]


def test_a_node_that_drains_takes_nothing() -> None:
    here = with_resident()
    assert here.empty(NodeDraining(), NOBODY, 1.0) == [do.StopEngine("org/a")]
    text = "provider draining for update"
    assert here.asked("org/a", NOBODY, 1.0) == [status("org/a", "failed", text)]
    assert isinstance(here.needed("org/a", NOBODY, 1.0), NodeDraining)
    assert here.prefetch(PrefetchModel(model_id="org/a"), 1.0) == [
        PrefetchModelStatus(model_id="org/a", status="failed", error=text)
    ]
    assert here.desire(wanted("org/a"), {}, 1.0) == []


def test_memory_is_what_weights_and_one_request_take() -> None:
    shaped = {
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_size": 4096,
        "max_position_embeddings": 8192,
    }
    entry = {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a"}
    needs = list[int]()
    for short in (None, 2048):
        more = {} if short is None else {"context_tokens": short}
        here = loads(settings(models=[entry | more]))
        here.asked("org/a", NOBODY, 0.0)
        here.came(here.stays.fetched("org/a", 0.0))
        plain = build("org/a")
        found = Build(
            folder=plain.folder,
            size_bytes=plain.size_bytes,
            weights_bytes=4 * GIB,
            weight_hash=plain.weight_hash,
            verified_by="self",
            config=shaped,
        )
        said = here.verified("org/a", found, 0.0)
        assert said == [do.SampleHost(), do.RefreshInventory()]
        needs.append(here.stays.all()[0].needs_bytes)
    assert needs[0] - needs[1] == (4096 - 2048) * 131072


# ── bytes ahead of time ───────────────────────────────────────────────────────────────


def wanted(*models: str) -> DesiredModels:
    return DesiredModels(
        models=tuple(DesiredModel(model_name="tiny", desired_build=model) for model in models)
    )


def prefetching() -> Loads:
    here = loads()
    started = PrefetchModelStatus(model_id="org/c", status="started")
    assert here.prefetch(PrefetchModel(model_id="org/c"), 0.0) == [
        started,
        do.FetchWeights("org/c"),
    ]
    return here


def test_a_prefetch_of_what_is_loaded_is_over_at_once() -> None:
    here = with_resident()
    words = here.prefetch(PrefetchModel(model_id="org/a"), 1.0)
    assert words == [
        PrefetchModelStatus(model_id="org/a", status="started"),
        PrefetchModelStatus(model_id="org/a", status="verified"),
    ]


@pytest.mark.parametrize(
    ("at_s", "bytes_done", "is_told"),
    [
        (PROGRESS_EVERY_S - 0.1, 49, False),
        (PROGRESS_EVERY_S, 1, True),
        (0.1, 50, True),
    ],
)
def test_progress_is_told_every_two_seconds_or_five_percent(
    at_s: float, bytes_done: int, *, is_told: bool
) -> None:
    here = prefetching()
    words = here.progressed("org/c", Progress(bytes_done, 1000), at_s)
    assert bool(words) is is_told
    assert here.progressed("org/c", Progress(bytes_done, 1000), at_s) == []


def test_nobody_is_told_of_a_load_by_the_byte() -> None:
    here = loads()
    here.asked("org/a", NOBODY, 0.0)
    assert here.progressed("org/a", Progress(900, 1000), 50.0) == []
    assert here.stays.all()[0].progress == Progress(900, 1000)


def test_an_empty_model_has_no_ratio() -> None:
    assert prefetching().progressed("org/c", Progress(0, 0), 0.1) == []


def test_a_prefetch_that_fails_is_told() -> None:
    here = prefetching()
    (failed,) = here.came(here.stays.weights_failed("org/c", BROKEN, 1.0))
    assert failed == PrefetchModelStatus(
        model_id="org/c", status="failed", error="model load failed: store_unreachable"
    )


def test_after_a_lost_line_nobody_is_told_of_a_prefetch() -> None:
    here = prefetching()
    here.line_lost()
    assert here.progressed("org/c", Progress(900, 1000), 9.0) == []
    assert here.came(here.stays.weights_failed("org/c", BROKEN, 9.0)) == []
    assert here.wishes.desired is None


def test_what_is_desired_comes_one_by_one_and_once() -> None:
    here = loads()
    assert here.desire(wanted("org/c", "org/a", "org/b"), {}, 0.0) == [do.FetchWeights("org/a")]
    assert here.pursue({}, 0.0) == []
    here.came(here.stays.fetched("org/a", 1.0))
    here.verified("org/a", build("org/a"), 1.0)
    assert here.pursue({}, 1.0) == [do.FetchWeights("org/b")], "done, whatever the disk says"
    here.came(here.stays.weights_failed("org/b", BROKEN, 1.0))
    assert here.pursue({}, 1.0) == [], "not again until it is named again"


def test_what_is_on_disk_or_loaded_is_not_fetched() -> None:
    here = with_resident()
    stocks = {"org/b": Stock("org/b", "here")}
    assert here.desire(wanted("org/a", "org/b"), stocks, 1.0) == []
    partial = {"org/b": Stock("org/b", "partial")}
    assert here.pursue(partial, 1.0) == [do.FetchWeights("org/b")]


def test_a_push_replaces_the_one_before() -> None:
    here = loads()
    here.desire(wanted("org/a"), {}, 0.0)
    assert here.desire(wanted("org/b"), {}, 1.0) == [
        do.CancelFetch("org/a"),
        do.FetchWeights("org/b"),
    ]
    assert here.desire(DesiredModels(), {}, 2.0) == [do.CancelFetch("org/b")]


def test_an_empty_push_leaves_what_others_asked_for() -> None:
    here = loads()
    here.desire(wanted("org/a"), {}, 0.0)
    here.prefetch(PrefetchModel(model_id="org/a"), 0.0)
    assert here.desire(DesiredModels(), {}, 2.0) == []


# ── the owner ─────────────────────────────────────────────────────────────────────────


def test_another_pool_sends_away_who_is_outside_of_it() -> None:
    here = with_resident()
    chosen = settings(pools={"assigned": "other"})
    pool = pool_of(chosen, machine_id="m")
    assert here.repool(chosen, pool, frozenset({"org/a"}), 1.0) == []
    assert here.stays.all()[0].state is SlotState.DRAINING
    assert here.repool(chosen, pool, NOBODY, 1.0) == [do.StopEngine("org/a")]


def test_the_same_pool_disturbs_nobody() -> None:
    here = with_resident()
    assert here.repool(settings(), here.pool, NOBODY, 1.0) == []
    assert here.stays.ready("org/a")


def test_a_model_elsewhere_takes_no_memory_here() -> None:
    here = loads()
    here.asked("org/a", NOBODY, 0.0)
    here.came(here.stays.fetched("org/a", 0.0))
    here.verified("org/a", ELSEWHERE, 0.0)
    said = here.stays.settle(slots=1, busy=NOBODY, free_bytes=lambda: 0, now_s=0.0)
    assert said == [do.LoadEngine("org/a", ELSEWHERE)]
    here.came(here.stays.loaded("org/a", Loaded(0.1, None, None), 0.0))
    stay = here.stays.ready("org/a")
    assert stay is not None
    assert stay.takes_bytes == 0


def test_an_engine_that_could_not_be_measured_is_measured_when_it_is_read() -> None:
    here = with_resident()
    (stay,) = here.stays.all()
    measured_bytes = stay.holds_bytes
    here.sampled({"org/a": Load(memory_active_bytes=7)})
    assert here.stays.all()[0].holds_bytes == measured_bytes, "its own word at the start counts"
    bare = loads()
    bare.asked("org/a", NOBODY, 0.0)
    bare.came(bare.stays.fetched("org/a", 0.0))
    bare.verified("org/a", build("org/a"), 0.0)
    bare.stays.settle(slots=1, busy=NOBODY, free_bytes=lambda: 64 * GIB, now_s=0.0)
    bare.loaded("org/a", Loaded(0.1, None, None), 0.0)
    bare.sampled({"org/a": Load(), "org/b": Load(memory_active_bytes=7)})
    assert bare.stays.all()[0].holds_bytes is None
    bare.sampled({"org/a": Load(memory_active_bytes=7)})
    assert bare.stays.all()[0].holds_bytes == 7
