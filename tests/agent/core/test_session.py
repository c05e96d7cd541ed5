"""The line without the line: stories, and laws for every order of events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.session import GAP_S, NOTHING, Session, State, Step
from poolhand.config.errors import LinkLost

LOST = LinkLost(close_code=1006, reason="")


def session(*, heartbeat_s: float = 5.0) -> Session:
    return Session(chance=lambda: 0.5, heartbeat_s=heartbeat_s)


def online(line: Session) -> Session:
    line.due(0.0)
    line.opened(1, 0.0)
    assert line.is_online
    return line


def test_it_dials_at_once_registers_and_then_beats() -> None:
    line = session()
    assert line.due(0.0).dial == 1
    assert line.opened(1, 3.0) == Step(is_registration_due=True)
    assert line.due(7.9) == NOTHING
    assert line.due(8.0) == Step(is_heartbeat_due=True)
    assert line.deadline_s == 13.0


def test_a_late_look_does_not_shift_the_beat() -> None:
    line = online(session())
    assert line.due(9.0).is_heartbeat_due
    assert line.deadline_s == 10.0
    assert line.due(10.0).is_heartbeat_due


def test_missed_beats_are_not_made_up_for() -> None:
    line = online(session(heartbeat_s=1.0))
    assert line.due(5.5).is_heartbeat_due
    assert line.deadline_s == 6.0


def test_a_dial_that_nobody_answers_is_given_up() -> None:
    line = session()
    line.due(0.0)
    assert line.due(14.9) == NOTHING
    assert line.due(15.0) == Step(hang_up=1, is_polite=False)
    assert (line.state, line.failures, line.deadline_s) == (State.DOWN, 1, 15.5)
    assert line.due(15.5).dial == 2


def test_waits_grow_and_are_forgiven_after_a_minute() -> None:
    line, now_s, waits = session(), 0.0, list[float]()
    for lived_s in (0.0, 0.0, 59.9, 60.0, 0.0):
        line.due(now_s)
        line.opened(line.line, now_s)
        now_s += lived_s
        line.closed(line.line, 1000, LOST, now_s)
        assert line.deadline_s is not None
        waits.append(line.deadline_s - now_s)
        now_s = line.deadline_s
    assert waits == pytest.approx([0.5, 1.0, 2.0, 0.5, 1.0])


def test_words_from_a_dead_line_mean_nothing() -> None:
    line = online(session())
    line.closed(1, 1006, LOST, 1.0)
    line.due(2.0)
    assert line.line == 2
    assert line.opened(1, 2.1) == NOTHING
    line.closed(1, 1006, LOST, 2.2)
    assert line.state is State.CONNECTING
    line.opened(2, 2.3)
    assert line.opened(2, 2.4) == NOTHING, "an opening is heard once"


def test_the_last_error_is_kept_for_the_owner() -> None:
    line = online(session())
    assert line.last_error is None
    line.closed(1, 1006, LOST, 1.0)
    assert line.last_error is LOST


@pytest.mark.parametrize("state", [State.DOWN, State.CONNECTING, State.ONLINE])
def test_after_a_gap_the_line_is_dialled_anew(state: State) -> None:
    line = session()
    line.woke(0.0)
    if state is not State.DOWN:
        line.due(0.0)
    if state is State.ONLINE:
        line.opened(1, 0.0)
    assert line.woke(GAP_S) == NOTHING
    hang_up = None if state is State.DOWN else 1
    step = line.woke(2 * GAP_S + 0.1)
    assert step == Step(hang_up=hang_up, is_polite=False, dial=line.line)
    assert line.state is State.CONNECTING


def test_a_gap_while_leaving_changes_nothing() -> None:
    line = online(session())
    line.woke(0.0)
    line.leave(0.0)
    assert line.woke(100.0) == NOTHING


def test_a_goodbye_that_is_answered() -> None:
    line = online(session())
    assert line.leave(1.0) == Step(hang_up=1)
    assert (line.state, line.is_online) == (State.LEAVING, False)
    assert line.leave(1.1) == NOTHING
    line.closed(1, 1000, LOST, 1.2)
    assert (line.state, line.deadline_s) == (State.CLOSED, None)


def test_a_goodbye_that_is_not_answered() -> None:
    line = online(session())
    line.leave(1.0)
    assert line.due(15.9) == NOTHING
    assert line.due(16.0) == Step(hang_up=1, is_polite=False)
    assert line.state is State.CLOSED
    assert line.due(99.0) == NOTHING


def test_there_is_nobody_to_say_goodbye_to() -> None:
    line = session()
    assert line.leave(0.0) == NOTHING
    assert line.state is State.CLOSED


def test_a_polite_change_of_lines() -> None:
    line = online(session())
    assert line.redial(1.0) == Step(hang_up=1, is_polite=True, dial=2)
    assert line.redial(1.1) == NOTHING, "it is on its way"


VERBS = ("due", "woke", "opened", "closed", "late", "redial", "leave")


def step(line: Session, verb: str, now_s: float, code: int) -> Step:
    match verb:
        case "due":
            return line.due(now_s)
        case "woke":
            return line.woke(now_s)
        case "opened":
            return line.opened(line.line, now_s)
        case "closed":
            return line.closed(line.line, code, LOST, now_s)
        case "late":
            return line.closed(line.line - 1, code, LOST, now_s)
        case "redial":
            return line.redial(now_s)
        case _:
            return line.leave(now_s)


moves = st.tuples(
    st.sampled_from(VERBS),
    st.floats(0.0, 30.0),
    st.sampled_from([1000, 1001, 1006, 1008]),
)


@given(
    story=st.lists(moves, max_size=60),
    heartbeat_s=st.sampled_from([0.2, 0.7, 5.0, 60.0]),
    start_s=st.floats(0.0, 1e7),
)
def test_laws(story: list[tuple[str, float, int]], heartbeat_s: float, start_s: float) -> None:
    line, now_s, socket = session(heartbeat_s=heartbeat_s), start_s, 0
    for verb, passed_s, code in story:
        now_s += passed_s
        was = line.state
        asked = step(line, verb, now_s, code)
        if verb == "closed":
            socket = 0
        if asked.hang_up is not None:
            assert socket in {0, asked.hang_up}
            socket = 0
        if asked.dial is not None:
            assert socket == 0, "never two sockets"
            socket = asked.dial
        if verb == "due" and line.deadline_s is not None:
            assert line.deadline_s > now_s, "a deadline that came is never left standing"
        assert (line.deadline_s is None) == (line.state is State.CLOSED), "no endless wait"
        assert was is not State.CLOSED or line.state is State.CLOSED
        assert asked.is_registration_due == (was is State.CONNECTING and line.is_online)


def test_what_was_due_and_is_not_done_is_no_movement() -> None:
    line = session()
    for now_s in (0.0, 4.0, 8.0):
        line.due(now_s)
        assert line.is_moving(now_s)
    deadline_s = line.deadline_s
    assert deadline_s is not None
    assert line.is_moving(deadline_s + GAP_S - 0.1)  # a late look is no standstill
    assert not line.is_moving(deadline_s + GAP_S)
    line.due(deadline_s + GAP_S)
    assert line.is_moving(deadline_s + GAP_S)
    line.leave(deadline_s + GAP_S)
    assert line.is_moving(1e9), "nothing is due any more"
