"""A flood of lines: the first pass, the rest is counted, and nothing grows."""

from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.runtime.flood import MOST_KINDS, MOST_LINES, WINDOW_S, Flood, Passed


def test_the_first_lines_pass_and_the_rest_is_counted() -> None:
    flood = Flood()
    told = [flood.passes("a", 5.0) for _ in range(MOST_LINES + 30)]
    assert [each.is_written for each in told] == [True] * MOST_LINES + [False] * 30
    assert [at for at, each in enumerate(told) if each.is_first_left_out] == [MOST_LINES]
    assert flood.passes("b", 5.0) == Passed(is_written=True), "another kind has its own"
    assert flood.passes("a", 5.0 + WINDOW_S) == Passed(is_written=True, left_out=30)
    assert flood.passes("a", 5.1 + WINDOW_S) == Passed(is_written=True)


def test_a_clock_that_jumps_back_begins_anew() -> None:
    flood = Flood()
    for _ in range(MOST_LINES + 1):
        flood.passes("a", 1e9)
    assert flood.passes("a", 5.0) == Passed(is_written=True, left_out=1)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 100)), max_size=400))
@knobs(max_examples=50, deadline=None)
def test_law_every_line_is_written_or_counted(lines: list[tuple[int, float]]) -> None:
    flood = Flood()
    written = left_out = 0
    for kind, now_s in sorted(lines, key=lambda line: line[1]):
        told = flood.passes(kind, now_s)
        written += told.is_written
        left_out += told.left_out
    left_out += sum(flood.passes(kind, 1e6).left_out for kind in range(4))
    assert written + left_out == len(lines)


def test_kinds_that_never_end_do_not_grow() -> None:
    flood = Flood()
    for number in range(3 * MOST_KINDS):
        assert flood.passes(number, 0.0).is_written
    assert len(vars(flood)["_kinds"]) <= MOST_KINDS
