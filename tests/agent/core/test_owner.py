"""Does the machine's owner need it: reasons, patience, and no change of mind at each pause."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.owner import NOBODY, Verdict, judge, sign
from poolhand.backends.hosts.base import THERMAL_STATES, Activity, ThermalState
from poolhand.config.hours import Owner

ALL = Owner(yield_to=("input", "battery", "gpu", "heat"))
PATIENT = Owner(
    yield_to=("input", "gpu"), yield_after_s=10.0, resume_after_s=60.0, gpu_busy_ratio=0.4
)
TOUCHED, LEFT = Activity(input_idle_s=3.0), Activity(input_idle_s=600.0)


@pytest.mark.parametrize(
    ("activity", "heat", "name", "words"),
    [
        (Activity(), None, None, ""),
        (Activity(), "fair", None, ""),
        (LEFT, "nominal", None, ""),
        (Activity(input_idle_s=60.0), None, None, ""),
        (Activity(input_idle_s=59.9), None, "input", "keyboard or mouse used 60 s ago"),
        (Activity(is_on_battery=False), None, None, ""),
        (Activity(is_on_battery=True), None, "battery", "the machine runs on its battery"),
        (Activity(others_gpu_ratio=0.3), None, None, ""),
        (Activity(others_gpu_ratio=0.31), None, "gpu", "another program keeps the GPU 31% busy"),
        (Activity(), "serious", "heat", "the machine's heat is serious"),
        (Activity(thermal_state="serious"), "fair", "heat", "the machine's heat is serious"),
        (Activity(), "critical", "heat", "the machine's heat is critical"),
    ],
)
def test_each_sign_and_what_a_person_is_told_of_it(
    activity: Activity, heat: ThermalState | None, name: str | None, words: str
) -> None:
    found = sign(ALL, activity, heat, was_busy=False)
    assert found == (None if name is None else (name, words))


def test_nobody_is_heeded_who_was_not_asked_for() -> None:
    worst = Activity(0.0, is_on_battery=True, others_gpu_ratio=1.0, thermal_state="critical")
    assert sign(Owner(), worst, "critical", was_busy=True) is None


def test_stepping_aside_takes_a_while_and_coming_back_a_longer_one() -> None:
    verdict = judge(NOBODY, PATIENT, TOUCHED, None, 100.0)
    assert (verdict.is_owners, verdict.held_s) == (False, 100.0)
    assert judge(verdict, PATIENT, TOUCHED, None, 109.9).is_owners is False
    verdict = judge(verdict, PATIENT, TOUCHED, None, 110.0)
    assert (verdict.is_owners, verdict.sign) == (True, "input")
    verdict = judge(verdict, PATIENT, LEFT, None, 200.0)
    assert (verdict.is_owners, verdict.words) == (True, "keyboard or mouse used 3 s ago")
    assert judge(verdict, PATIENT, LEFT, None, 259.9).is_owners is True
    again = judge(verdict, PATIENT, TOUCHED, None, 250.0)
    assert judge(again, PATIENT, LEFT, None, 261.0).is_owners is True, "the pause begins anew"
    assert judge(verdict, PATIENT, LEFT, None, 260.0) == NOBODY


def test_whoever_passes_by_changes_nothing() -> None:
    verdict = judge(NOBODY, PATIENT, TOUCHED, None, 100.0)
    verdict = judge(verdict, PATIENT, LEFT, None, 105.0)
    assert verdict == NOBODY
    assert judge(verdict, PATIENT, TOUCHED, None, 112.0).is_owners is False


def test_a_gpu_that_was_others_is_so_until_it_is_half_free() -> None:
    verdict = NOBODY
    for now_s, busy_ratio in [(0.0, 0.5), (10.0, 0.5), (20.0, 0.3), (90.0, 0.21)]:
        verdict = judge(verdict, PATIENT, Activity(others_gpu_ratio=busy_ratio), None, now_s)
    assert (verdict.is_owners, verdict.clear_s) == (True, None)
    free = judge(verdict, PATIENT, Activity(others_gpu_ratio=0.2), None, 100.0)
    assert free.clear_s == 100.0
    assert judge(NOBODY, PATIENT, Activity(others_gpu_ratio=0.3), None, 0.0) == NOBODY


def test_what_can_no_longer_be_read_is_no_reason() -> None:
    taken = Verdict(is_owners=True, sign="input", words="w", held_s=0.0)
    verdict = judge(taken, PATIENT, Activity(), None, 100.0)
    assert verdict.is_owners is True, "but the pause is kept"
    assert judge(verdict, PATIENT, Activity(), None, 160.0) == NOBODY


READINGS = st.tuples(
    st.builds(
        Activity,
        st.none() | st.floats(0, 300),
        st.none() | st.booleans(),
        st.none() | st.floats(0, 1),
    ),
    st.none() | st.sampled_from(THERMAL_STATES),
    st.floats(0.1, 90.0),
)


@given(readings=st.lists(READINGS, max_size=40))
def test_law_it_steps_aside_and_comes_back_only_after_its_patience(
    readings: list[tuple[Activity, ThermalState | None, float]],
) -> None:
    verdict, now_s = NOBODY, 0.0
    held_since_s: float | None = None
    clear_since_s: float | None = 0.0
    for activity, heat, wait_s in readings:
        now_s += wait_s
        is_held = sign(ALL, activity, heat, was_busy=verdict.sign == "gpu") is not None
        held_since_s = (now_s if held_since_s is None else held_since_s) if is_held else None
        clear_since_s = None if is_held else now_s if clear_since_s is None else clear_since_s
        before, verdict = verdict, judge(verdict, ALL, activity, heat, now_s)
        if verdict.is_owners and not before.is_owners:
            assert held_since_s is not None
            assert now_s - held_since_s >= ALL.yield_after_s
        if before.is_owners and not verdict.is_owners:
            assert clear_since_s is not None
            assert now_s - clear_since_s >= ALL.resume_after_s
        assert not is_held or verdict.words, "a reason is always told"
