"""Every reason to take nothing new, each by itself."""

from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.drains import WORDS, Drains, Reason
from poolhand.config.refusals import NodeDraining, NodeResting


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
