"""Stories told to a node, and the traces that come of them."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.control.spans import MOST_OPEN, NAMES, Span, Spans, walked
from poolhand.agent.core import events as happened
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.events import Event
from poolhand.agent.core.request_key import LOCAL, RequestKey
from poolhand.agent.wire.inbound import PrefetchModel
from poolhand.backends.engines.base import Usage
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.stores.base import Progress
from poolhand.backends.stores.errors import StoreUnreachable
from tests.journeys.world import World


class Watched(World):
    """A world whose events and effects are told to the spans as the daemon tells them."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Span] = []
        self.spans = Spans(self.node, self.given.append)

    def tell(self, event: Event) -> list[Effect]:
        self.spans.happened(event, self.now_s)
        effects = super().tell(event)
        for effect in effects:
            self.spans.done(effect, self.now_s)
        self.now_s += 0.5  # everything takes its time
        return effects

    def of(self, name: str) -> list[Span]:
        return [span for span in self.given if span.name == name]


def started() -> Watched:
    world = Watched()
    world.start()
    return world


def names(span: Span) -> list[str]:
    return [part.name for part in span.parts]


def test_a_load_is_told_with_all_its_phases() -> None:
    world = started()
    world.load_model("org/a")
    for phase, done in (("list", 0), ("fetch", 1), ("fetch", 8), ("publish", 9)):
        progress = Progress(done, 9, 1, 3.0, phase)
        world.tell(happened.WeightsProgressed("org/a", progress))
    world.stage("org/a")
    assert world.of("load") == []
    world.loaded("org/a")
    (load,) = world.of("load")
    assert names(load) == ["fetch", "verify", "wait", "engine"]
    assert names(load.parts[0]) == ["fetch.list", "fetch.fetch", "fetch.publish"]
    assert load.facts == {"model": "org/a", "store": "s3"}
    assert load.parts[0].facts == {"bytes": 9, "bytes_resumed": 1}
    assert load.error == ""
    assert all(part.ends_s is not None for part in walked(load))


def test_a_load_that_fails_says_where_and_of_what() -> None:
    world = started()
    world.load_model("org/a")
    world.tell(happened.WeightsFailed("org/a", StoreUnreachable(store="s", reason="r")))
    world.load_model("org/a")
    world.stage("org/a")
    world.tell(happened.EngineFailed("org/a", EngineDied(engine="x", exit_code=9)))
    first, second = world.of("load")
    assert (first.error, first.parts[-1].name) == ("store_unreachable", "fetch")
    assert (second.error, second.parts[-1].name, second.parts[-1].error) == (
        "engine_died",
        "engine",
        "engine_died",
    )


def test_bytes_that_came_for_their_own_sake_wait_for_nothing() -> None:
    world = started()
    world.resident("org/a")
    world.hear(PrefetchModel(model_id="org/b"))
    world.stage("org/b")
    world.after(5)
    _, prefetch = world.of("load")
    assert names(prefetch) == ["fetch", "verify"]
    assert prefetch.facts["bytes_alone"] is True
    assert prefetch.ends_s == prefetch.parts[-1].ends_s


def answered(world: Watched, key: RequestKey) -> None:
    world.tell(
        happened.GenerationEnded(
            key, "complete", Usage(5, 7), has_output=True, first_s=0.25, reason="stop"
        )
    )


def test_a_request_is_told_with_its_queue_its_first_token_and_its_counts() -> None:
    world = started()
    world.resident("org/a")
    world.request("r1", "org/a")
    answered(world, world.key("r1"))
    (request,) = world.of("request")
    queue, answer = request.parts
    assert (queue.name, answer.name) == ("queue", "answer")
    assert queue.ends_s == answer.begins_s
    assert answer.marks == {"first_token": answer.begins_s + 0.25}
    assert answer.facts == {
        "outcome": "complete",
        "finish_reason": "stop",
        "first_token_s": 0.25,
        "prompt_tokens": 5,
        "completion_tokens": 7,
    }
    assert request.facts == {
        "model": "org/a",
        "request_id": "r1",
        "local": False,
        "outcome": "complete",
    }
    assert request.error == ""


def test_what_was_refused_never_had_an_answer() -> None:
    world = started()
    world.request("r1", "org/c")
    local = RequestKey(LOCAL, "l1")
    world.spans.called_by("l1", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    world.tell(happened.RequestOpened(local, "org/c"))
    theirs, ours = world.of("request")
    assert (names(theirs), theirs.error) == (["queue"], "refused")
    assert (names(ours), ours.error) == (["queue"], "model_not_in_pool")
    assert ours.parent.startswith("00-aaaa")
    assert theirs.facts["outcome"] == ours.facts["outcome"] == "refused"
    assert "model" in ours.facts


def test_a_name_that_nobody_offers_is_not_written_down() -> None:
    world = started()
    world.request("r1", "canary-of-a-client")
    (request,) = world.of("request")
    assert "model" not in request.facts


def test_a_line_that_comes_back_is_told_with_its_dials() -> None:
    world = started()
    world.resident("org/a")
    world.request("waits", "org/b")
    world.request("runs", "org/a")
    world.drop()
    world.tell(happened.GenerationEnded(RequestKey(1, "runs"), "cancelled"))
    assert {span.error for span in world.of("request")} == {"link_lost"}
    assert len(world.of("request")) == 2
    while world.laws.socket is None:
        world.after(0.5)
    world.drop()
    world.redial()
    (reconnect,) = world.of("reconnect")
    assert names(reconnect) == ["dial", "dial"]
    assert [part.error for part in reconnect.parts] == ["link_lost", ""]
    assert reconnect.facts == {"close_code": 1006, "reason": "link_lost"}


def test_what_never_ends_is_forgotten_some_day() -> None:
    world = started()
    world.resident("org/a")
    for number in range(2 * MOST_OPEN):
        world.spans.called_by(f"l{number}", "x")
        world.spans.happened(happened.RequestOpened(RequestKey(LOCAL, f"l{number}"), "org/a"), 1.0)
    assert len(vars(world.spans)["_open"]) <= MOST_OPEN
    assert len(vars(world.spans)["_callers"]) <= MOST_OPEN


DEAD = EngineDied(engine="x", exit_code=1)
STEPS = st.lists(st.integers(0, 7), max_size=25)


@knobs(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_every_trace_is_whole_when_it_is_given(steps: list[int]) -> None:
    world = started()
    acts: list[Callable[[int], object]] = [
        lambda _: world.load_model("org/a"),
        lambda _: world.stage("org/a"),
        lambda _: world.loaded("org/a"),
        lambda number: world.request(f"r{number}", "org/a"),
        lambda number: answered(world, RequestKey(world.line, f"r{number - 1}")),
        lambda _: world.drop(),
        lambda _: world.tell(happened.EngineFailed("org/a", DEAD)),
        lambda _: world.after(3),
    ]
    for number, step in enumerate(steps):
        acts[step](number)
    for trace in world.given:
        for span in walked(trace):
            assert span.ends_s is not None
            assert trace.begins_s <= span.begins_s <= span.ends_s <= (trace.ends_s or 0)
            assert set(span.facts) <= set(NAMES)
            for before, after in zip(span.parts, span.parts[1:], strict=False):
                assert (before.ends_s or 0) <= after.begins_s, "one part after the other"
