"""Bytes that are wanted ahead of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.ahead import MAX_QUEUED, WAITS_S, Ahead


def test_the_most_wanted_first_and_the_oldest_among_equals() -> None:
    ahead = Ahead(lambda: 0.0)
    for model, priority in (("a", 0), ("b", 2), ("c", 2), ("a", 1), ("b", -1)):
        assert ahead.put(model, priority)
    assert [ahead.next() for _ in range(4)] == ["b", "c", "a", None]
    ahead.put("a", 0)
    ahead.clear_queue()
    assert ahead.next() is None


def test_a_queue_has_an_end() -> None:
    ahead = Ahead(lambda: 0.0)
    assert all(ahead.put(f"m{number}", 0) for number in range(MAX_QUEUED))
    assert not ahead.put("one more", 9)
    assert ahead.put("m0", 9), "who waits already may be promoted"
    assert ahead.next() == "m0"


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.99])
def test_waits_grow_have_jitter_and_never_end(chance: float) -> None:
    ahead, now_s = Ahead(lambda: chance), 0.0
    for longest_s in (*WAITS_S, WAITS_S[-1], WAITS_S[-1]):
        ahead.failed("a")
        assert not ahead.may_try("a")
        assert not ahead.look(now_s)
        due_s = ahead.deadline_s
        assert due_s == pytest.approx(now_s + longest_s * (1 + chance) / 2)
        now_s = due_s or 0.0
        assert not ahead.may_try("a")
        assert ahead.look(now_s)
        assert ahead.may_try("a")
        assert ahead.deadline_s is None, "a deadline that came is not left standing"
    ahead.came("a")
    ahead.failed("a")
    ahead.look(now_s)
    assert ahead.deadline_s == pytest.approx(now_s + WAITS_S[0] * (1 + chance) / 2)
    ahead.forgive()
    assert ahead.may_try("a")


@given(
    failures=st.lists(st.sampled_from("abc"), max_size=30), chance=st.floats(0, 1, exclude_max=True)
)
def test_whatever_fails_may_be_tried_again(failures: list[str], chance: float) -> None:
    ahead, now_s = Ahead(lambda: chance), 0.0
    for model in failures:
        ahead.failed(model)
        ahead.look(now_s)
        now_s += 1.0
    while (due_s := ahead.deadline_s) is not None:
        assert due_s <= now_s + WAITS_S[-1]
        ahead.look(due_s)
    assert all(ahead.may_try(model) for model in "abc")
