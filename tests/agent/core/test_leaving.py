"""Two moments on the way out."""

from poolhand.agent.core.leaving import GRACE_S, Leaving


def test_nobody_leaves_who_was_not_asked() -> None:
    leaving = Leaving()
    assert not leaving.is_begun
    assert leaving.deadline_s is None
    assert not leaving.is_cut(1e9)
    assert not leaving.is_over(1e9, is_empty=True)


def test_what_runs_is_cut_once_and_the_node_is_gone_once() -> None:
    leaving = Leaving()
    leaving.begin(100.0, 20.0)
    assert leaving.deadline_s == 120.0
    assert not leaving.is_cut(119.9)
    assert leaving.is_cut(120.0)
    assert not leaving.is_cut(121.0), "said once"
    assert leaving.deadline_s == 120.0 + GRACE_S
    assert not leaving.is_over(121.0, is_empty=False)
    assert leaving.is_over(120.0 + GRACE_S, is_empty=False)
    assert not leaving.is_over(1e9, is_empty=True), "said once"


def test_an_empty_node_waits_for_nothing() -> None:
    leaving = Leaving()
    leaving.begin(0.0, 60.0)
    assert leaving.is_over(0.0, is_empty=True)


def test_a_second_wish_can_only_hurry() -> None:
    leaving = Leaving()
    leaving.begin(0.0, 60.0)
    leaving.begin(10.0, 600.0)
    assert leaving.deadline_s == 60.0
    leaving.begin(10.0, 0.0)
    assert leaving.deadline_s == 10.0
