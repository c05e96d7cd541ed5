"""Every metric: as Prometheus' own parser reads it, from a node to which things happen."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parsed

from poolhand.agent.control.counts import MOST_OPEN, Counts
from poolhand.agent.control.exposition import MOST_SERIES, PREFIX, Family, Series, text
from poolhand.agent.control.families import COUNTED, FAMILIES
from poolhand.agent.control.gauges import Process, gauges
from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.events import Event, RequestKey
from poolhand.agent.wire.inbound import LoadModel, Unknown
from poolhand.agent.wire.outbound import LoadModelStatus
from poolhand.backends.engines.base import Usage
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.hosts.base import GpuSample, HostSample
from poolhand.backends.stores.base import Progress, Survey
from poolhand.backends.stores.errors import WeightsCorrupt
from poolhand.config.errors import ConfigInvalid, LinkLost
from tests.journeys.world import GIB, World, sample, settings

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]

PROMISED = (
    *("connection_state", "connects_total", "reconnect_seconds", "last_ack_age_seconds"),
    *("heartbeat_bytes", "commands_total", "command_seconds", "outbox_depth", "slots"),
    *("slot_loaded_bytes", "load_seconds", "load_failures_total", "evictions_total"),
    *("rejected_loads_total", "pool_epoch", "download_bytes_total"),
    *("download_resumed_bytes_total", "verify_failures_total", "cache_bytes"),
    *("cache_quota_bytes", "disk_free_bytes", "memory_reserve_bytes", "memory_pressure"),
    *("gpu_memory_used_bytes", "gpu_temperature_celsius", "requests_in_flight"),
    *("stream_chunks_total", "relay_seconds", "owner_active", "build_info"),
)

PEERS = {"sent_bytes": 7, "asks": 6, "connections": 5, "refused": 4, "turned_away": 3}
PROCESS = Process(
    "1.2.3", 60.0, ack_age_s=1.5, outbox=2, chunks=40, resident_bytes=40 * 2**20, peers=PEERS
)


class Counted(World):
    """A world whose every event and effect is counted, in the order of the loop."""

    def __init__(self) -> None:
        super().__init__(settings(pools={"assigned": "tiny"}))
        self.counts = Counts(self.node)

    def tell(self, event: Event) -> list[do.Effect]:
        self.counts.happened(event, self.now_s)
        effects = super().tell(event)
        for effect in effects:
            self.counts.done(effect, self.now_s)
        return effects

    def text(self) -> str:
        return text([*self.counts.series, *gauges(self.node, PROCESS, self.now_s)])

    def values(self) -> Values:
        return values(self.text())

    def value(self, name: str, **labels: str) -> float | None:
        return self.values().get((PREFIX + name, frozenset(labels.items())))


def values(said: str) -> Values:
    found: Values = {}
    for family in parsed(said):
        for each in family.samples:
            found[each.name, frozenset(each.labels.items())] = each.value
    return found


@pytest.fixture
def world() -> Counted:
    """A node to which everything that is counted has happened."""
    world = Counted()
    world.start()
    world.resident("org/b")
    world.load_model("org/a")
    world.tell(happened.WeightsProgressed("org/a", Progress(30, 100, bytes_resumed=10)))
    world.tell(happened.WeightsProgressed("org/a", Progress(90, 100, bytes_resumed=10)))
    world.stage("org/a")
    world.stopped("org/b")
    world.loaded("org/a")
    world.load_model("org/c")
    world.request("r", "org/a")
    world.answered("r", tokens=7)
    world.tell(happened.CacheSurveyed(Survey(7 * GIB, 0, 90 * GIB, 10 * GIB, 50 * GIB)))
    world.tell(happened.WeightsFailed("org/b", WeightsCorrupt(model="org/b", file="x", reason="y")))
    world.drop()
    world.redial()
    gpu = GpuSample(0, 80 * GIB, 60 * GIB, 0.5, 71)
    read = sample()
    full = HostSample(
        read.memory_total_bytes, read.memory_available_bytes, 0.1, 0.2, "nominal", gpus=(gpu,)
    )
    world.tell(happened.HostSampled(full))
    return world


def test_every_promised_name_is_there_and_has_a_value(world: Counted) -> None:
    names = {name for name, _ in world.values()}
    for promised in PROMISED:
        full = PREFIX + promised
        assert {full, f"{full}_count"} & names, promised
    assert len(FAMILIES) == len({family.name for family in FAMILIES}) >= 30


def test_what_happened_is_counted(world: Counted) -> None:
    assert world.value("connects_total") == 2
    assert world.value("line_losses_total", close_code="1006") == 1
    assert world.value("reconnect_seconds_count") == 1
    assert world.value("commands_total", kind="load_model", result="heard") == 3
    assert world.value("commands_total", kind="load_model", result="succeeded") == 2
    assert world.value("commands_total", kind="load_model", result="failed") == 1
    assert world.value("command_seconds_count", kind="load_model") == 3
    assert world.value("rejected_loads_total", reason="model_not_in_pool") == 1
    assert world.value("download_bytes_total", source="s3") == 80
    assert world.value("download_resumed_bytes_total") == 10
    assert world.value("load_failures_total", reason="weights_corrupt") == 1
    assert world.value("verify_failures_total") == 1
    assert world.value("requests_total", outcome="complete") == 1
    assert world.value("completion_tokens_total") == 7
    assert world.value("relay_seconds_count") == 1
    for phase in ("fetch", "verify", "load"):
        assert world.value("load_seconds_count", phase=phase) == 2


def test_what_is_so_is_told(world: Counted) -> None:
    assert world.value("build_info", version="1.2.3", backend="poolhand") == 1
    assert world.value("serving") == 1
    assert world.value("connection_state", state="online") == 1
    assert world.value("connection_state", state="down") == 0
    assert world.value("slots", state="ready") == 1
    assert world.value("slot_loaded_bytes", model="org/a") == 5 * GIB
    assert world.value("gpu_memory_used_bytes", gpu="0") == 20 * GIB
    assert world.value("gpu_temperature_celsius", gpu="0") == 71
    assert world.value("cache_quota_bytes") == 50 * GIB
    assert world.value("last_ack_age_seconds") == 1.5


def test_how_far_a_download_is() -> None:
    world = Counted()
    world.start()
    world.load_model("org/a")
    names = ("download_done_bytes", "download_whole_bytes", "download_left_seconds")
    seen: list[list[float | None]] = []
    for told in (Progress(30, 100), Progress(90, 100, eta_s=4.5)):
        world.tell(happened.WeightsProgressed("org/a", told))
        seen.append([world.value(name, model="org/a") for name in names])
    assert seen == [[30, 100, None], [90, 100, 4.5]]
    world.stage("org/a")
    assert [world.value(name, model="org/a") for name in names] == [None, None, None]


def test_what_peers_did(world: Counted) -> None:
    assert world.value("peers_sent_bytes_total") == 7
    assert world.value("peers_asks_total") == 6
    assert world.value("peers_connections") == 5
    assert world.value("peers_refused_total") == 4
    assert world.value("peers_turned_away_total") == 3


def test_what_peers_brought_is_counted_apart() -> None:
    world = Counted()
    for done, peers in ((10, 0), (60, 30), (100, 60)):
        event = happened.WeightsProgressed("org/a", Progress(done, 100, 10, bytes_peers=peers))
        world.counts.happened(event, 0.0)
    assert world.value("download_bytes_total", source="peers") == 60
    assert world.value("download_bytes_total", source="s3") == 30


def test_what_was_not_measured_is_not_there() -> None:
    world = Counted()
    said = text([*world.counts.series, *gauges(world.node, Process("1", 0.0), 0.0)])
    names = {name.removeprefix(PREFIX) for name, _ in values(said)}
    unknown = "last_ack_age_seconds outbox_depth cache_bytes memory_pressure gpu_usage cpu_usage"
    assert not names & set(unknown.split())
    assert {"uptime_seconds", "serving", "slots_max", "connects_total"} <= names


def test_why_a_model_left() -> None:
    world = Counted()
    world.start()
    world.resident("org/a")
    world.tell(happened.EngineFailed("org/a", EngineDied(engine="mlx", exit_code=1)))
    world.stopped("org/a")
    assert world.value("evictions_total", reason="failed") == 1
    world.resident("org/b")
    world.load_model("org/a")
    world.stage("org/a")
    world.stopped("org/b")
    assert world.value("evictions_total", reason="made_way") == 1
    assert world.value("load_failures_total", reason="engine_died") == 1


def test_reloads_and_orders_by_their_end() -> None:
    world = Counted()
    world.start()
    world.choose(settings())
    world.tell(happened.SettingsRejected(ConfigInvalid(path="x", line=1, problem="y")))
    world.tell(ordered.PinAsked(1, "nowhere"))
    assert world.value("config_reloads_total", result="applied") == 1
    assert world.value("config_reloads_total", result="rejected") == 1
    assert world.value("config_rejected") == 1
    assert world.value("orders_total", result="refused") == 1


def test_nobody_outside_can_make_up_a_label_or_let_it_grow() -> None:
    world = Counted()
    world.start()
    for number in range(2 * MOST_OPEN):
        world.counts.happened(happened.Heard(1, LoadModel(model_id=f"m{number}")), 0.0)
        world.counts.happened(happened.Heard(1, Unknown(f"kind{number}", "x")), 0.0)
        key = RequestKey(1, f"secret-{number}")
        world.counts.done(do.StartGeneration(key, "org/a", 10), 0.0)
        world.counts.done(do.Send(1, LoadModelStatus(model_id=f"m{number}", status="started")), 0.0)
    said = world.text()
    assert len(said) < 40_000
    assert "secret" not in said
    assert "kind1" not in said
    assert 'model="m' not in said


def test_a_family_of_too_many_series_counts_the_rest_together() -> None:
    series = Series(Family("x_total", "counter", "X.", ("a", "b")))
    for number in range(MOST_SERIES + 50):
        series.add(str(number), "y")
    found = values(text([series]))
    assert len(found) == MOST_SERIES + 1
    assert found[f"{PREFIX}x_total", frozenset({("a", "other"), ("b", "other")})] == 50


def test_a_histogram_adds_up() -> None:
    series = Series(Family("x_seconds", "histogram", "X.", (), (0.5, 1.0)))
    for value in (0.1, 0.5, 0.7, 9.0):
        series.observe(value)
    found = {
        dict(labels).get("le", name): value
        for (name, labels), value in values(text([series])).items()
    }
    assert found == {
        "0.5": 2, "1": 3, "+Inf": 4,
        f"{PREFIX}x_seconds_sum": 10.3, f"{PREFIX}x_seconds_count": 4,
    }  # fmt: skip


@given(st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False))
@knobs(max_examples=100, deadline=None)
def test_law_any_label_and_any_number_comes_back(label: str, value: float) -> None:
    clean = "".join(one for one in label if one.isprintable() or one in '\\"\n')
    series = Series(Family("x", "gauge", "X.", ("a",)))
    series.put(value, clean)
    ((found, told),) = values(text([series])).items()
    assert dict(found[1])["a"] == clean
    assert told == value


def test_names_follow_the_custom() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"[a-z][a-z0-9_]+", family.name), family.name
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert family.words.endswith(".")
        assert len(family.labels) <= 5
        assert (family.kind == "histogram") == bool(family.bounds)
        assert list(family.bounds) == sorted(set(family.bounds))
    assert not {"request", "id", "prompt", "user"} & set(labels(FAMILIES))
    assert len(COUNTED) > 10


def labels(families: Iterable[Family]) -> Iterator[str]:
    return (label for family in families for label in family.labels)


def test_promtool_finds_nothing_to_say(world: Counted) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here; the parser above has read it all")
    ended = subprocess.run(  # noqa: S603  # Prometheus' own checker
        [promtool, "check", "metrics"],
        input=world.text(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_usage_of_a_failed_answer_counts_too() -> None:
    world = Counted()
    ended = happened.GenerationEnded(
        RequestKey(1, "r"), "failed", Usage(5, 3), error=LinkLost(close_code=1006, reason="x")
    )
    world.tell(ended)
    assert world.value("prompt_tokens_total") == 5
    assert world.value("request_errors_total", reason="link_lost") == 1
