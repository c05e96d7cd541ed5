"""A provider that refuses again and again is left alone, longer each time."""

from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.engines.hosted_circuit import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    STRIKES,
    Circuit,
)


def struck(times: int, now_s: float = 0.0) -> Circuit:
    circuit = Circuit()
    for _ in range(times):
        assert circuit.wait_s(now_s) is None
        circuit.struck(now_s)
    return circuit


def test_a_few_refusals_are_no_pattern() -> None:
    circuit = struck(STRIKES - 1)
    circuit.passed()
    for _ in range(STRIKES - 1):
        circuit.struck(0)
    assert circuit.state() == "closed"


def test_it_opens_lets_one_through_and_closes_when_that_one_passes() -> None:
    circuit = struck(STRIKES)
    assert (circuit.state(), circuit.wait_s(1.0)) == ("open", FIRST_PAUSE_S - 1)
    assert circuit.wait_s(FIRST_PAUSE_S) is None
    assert circuit.state() == "trying"
    assert circuit.wait_s(FIRST_PAUSE_S) == FIRST_PAUSE_S, "one tries, the others wait"
    circuit.passed()
    assert (circuit.state(), circuit.wait_s(FIRST_PAUSE_S)) == ("closed", None)


def test_each_pause_is_longer_up_to_a_bound() -> None:
    circuit, now_s, pauses = struck(STRIKES), 0.0, list[float]()
    for _ in range(7):
        pause_s = circuit.wait_s(now_s)
        assert pause_s is not None
        pauses.append(pause_s)
        now_s += pause_s
        assert circuit.wait_s(now_s) is None
        circuit.struck(now_s)
    assert pauses == [30, 60, 120, 240, 480, 600, 600]


def test_refusals_of_what_was_under_way_make_no_pause_longer() -> None:
    circuit = struck(STRIKES)
    for _ in range(32):
        circuit.struck(1.0)
    assert circuit.wait_s(1.0) == FIRST_PAUSE_S - 1
    assert circuit.wait_s(FIRST_PAUSE_S) is None
    circuit.struck(FIRST_PAUSE_S)
    assert circuit.wait_s(FIRST_PAUSE_S) == 2 * FIRST_PAUSE_S


def test_a_provider_may_ask_for_more_but_not_for_ever() -> None:
    circuit = struck(STRIKES - 1)
    circuit.struck(0, retry_after_s=100)
    assert circuit.wait_s(0) == 100
    circuit = struck(STRIKES - 1)
    circuit.struck(0, retry_after_s=1e9)
    assert circuit.wait_s(0) == LONGEST_PAUSE_S


def test_a_trial_that_decides_nothing_leaves_the_next_one_to_try() -> None:
    circuit = struck(STRIKES)
    assert circuit.wait_s(40) is None
    circuit.undecided()
    assert (circuit.state(), circuit.wait_s(40)) == ("open", None)


@given(st.lists(st.tuples(st.sampled_from(["ask", "pass", "strike", "leave"]), st.floats(0, 700))))
def test_law_nobody_waits_for_ever_and_one_tries_at_a_time(steps: list[tuple[str, float]]) -> None:
    circuit, now_s = Circuit(), 0.0
    for step, later_s in steps:
        now_s += later_s
        before = circuit.state()
        match step:
            case "ask":
                wait_s = circuit.wait_s(now_s)
                assert wait_s is None or 0 < wait_s <= LONGEST_PAUSE_S
                assert not (before == "trying" and wait_s is None)
            case "pass":
                circuit.passed()
                assert circuit.state() == "closed"
            case "strike":
                circuit.struck(now_s)
                assert circuit.state() in {before, "open"}
            case _:
                circuit.undecided()
                assert circuit.state() != "trying"
