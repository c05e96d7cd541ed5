"""Every reason to take nothing new, each by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core import events as happened
from poolhand.agent.core.drains import WORDS, Drains, Reason
from poolhand.agent.wire.extensions import Drain
from poolhand.agent.wire.inbound import InferenceRequest
from poolhand.agent.wire.outbound import InferenceComplete, InferenceError, Outbound
from poolhand.backends.engines.base import Usage
from poolhand.config.refusals import NodeDraining, NodeResting
from tests.journeys.world import SEALED, World, said

DRAINING = "provider draining for update"


def test_as_long_as_one_reason_is_left_nothing_is_taken() -> None:
    drains = Drains()
    assert not drains.is_draining
    drains.begin("operator", 1.0)
    drains.begin("hours", 2.0, words="it is night")
    drains.end("operator")
    drains.end("operator")
    assert drains.is_draining
    assert drains.first is not None
    assert (drains.first.reason, drains.first.words) == ("hours", "it is night")
    drains.end("hours")
    assert not drains.is_draining
    assert drains.first is None


def test_a_reason_that_begins_again_has_held_all_the_time() -> None:
    drains = Drains()
    drains.begin("owner", 1.0)
    drains.begin("owner", 9.0, cut_s=12.0)
    assert drains.first is not None
    assert (drains.first.since_s, drains.first.cut_s) == (1.0, 12.0)


def test_what_runs_is_cut_once_for_each_deadline() -> None:
    drains = Drains()
    drains.begin("operator", 0.0, cut_s=10.0)
    drains.begin("hours", 0.0, cut_s=20.0)
    assert drains.deadline_s == 10.0
    assert not drains.is_cut(9.9)
    assert drains.is_cut(10.0)
    assert not drains.is_cut(11.0)
    assert drains.deadline_s == 20.0
    assert drains.is_cut(30.0)
    assert drains.deadline_s is None


def test_whoever_asks_during_a_rest_looks_elsewhere_and_during_a_drain_waits() -> None:
    drains = Drains()
    drains.begin("owner", 1.0)
    drains.begin("hours", 2.0)
    assert isinstance(drains.refusal, NodeResting)
    assert drains.refusal.cause == WORDS["owner"]
    drains.begin("operator", 3.0)
    assert isinstance(drains.refusal, NodeDraining), "the text that keeps a queue"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(sorted(WORDS)))))
def test_reasons_are_a_set(steps: list[tuple[bool, Reason]]) -> None:
    drains, held = Drains(), set[Reason]()
    for at_s, (begins, reason) in enumerate(steps):
        if begins:
            drains.begin(reason, float(at_s))
            held.add(reason)
        else:
            drains.end(reason)
            held.discard(reason)
        assert {each.reason for each in drains.all()} == held
        assert drains.is_draining == bool(held)
        assert all(drains.has(each) == (each in held) for each in WORDS)


@pytest.mark.parametrize(
    ("has_output", "kind"), [(False, InferenceError), (True, InferenceComplete)]
)
def test_what_a_drain_cuts_is_asked_elsewhere_unless_something_was_said(
    *, has_output: bool, kind: type[Outbound]
) -> None:
    world = World()
    world.start()
    world.resident("org/a")
    world.request("running", "org/a")
    world.hear(InferenceRequest(request_id="opening", encrypted_body=SEALED))
    world.hear(Drain(deadline_s=5.0))
    (told,) = (m for m in said(world.after(6.0)) if isinstance(m, InferenceError))
    assert (told.request_id, told.status_code, told.error) == ("opening", 503, DRAINING)
    usage = Usage(1, 1) if has_output else None
    ended = happened.GenerationEnded(
        world.key("running"), "cancelled", usage, has_output=has_output
    )
    (last,) = (m for m in said(world.tell(ended)) if isinstance(m, kind))
    if isinstance(last, InferenceError):
        assert (last.status_code, last.error) == (503, DRAINING)
    assert world.laws.is_square
