"""Rates: measured or absent, and a pause is no slowness."""

import pytest

from poolhand.backends.engines.pace import ALPHA, MOMENT_S, WINDOW_STEPS, Pace


def test_nothing_is_known_before_anything_was_measured() -> None:
    pace = Pace()
    pace.stepped(1.0)
    assert pace.decode_tps is None
    assert pace.prefill_tps is None


def test_a_window_of_even_steps_gives_their_rate_and_later_ones_move_it() -> None:
    pace = Pace()
    for step in range(WINDOW_STEPS + 1):
        pace.stepped(step * 0.1)
    assert pace.decode_tps == pytest.approx(10)
    start_s = WINDOW_STEPS * 0.1
    for step in range(1, WINDOW_STEPS + 1):
        pace.stepped(start_s + step * 0.05)
    assert pace.decode_tps == pytest.approx(10 + ALPHA * 10)


def test_a_pause_between_steps_does_not_count() -> None:
    pace = Pace()
    now_s = 0.0
    for step in range(WINDOW_STEPS + 2):
        if step == 5:
            pace.pause()
            now_s += 100
        pace.stepped(now_s)
        now_s += 0.1
    assert pace.decode_tps == pytest.approx(10)


def test_prompts_have_a_rate_of_their_own() -> None:
    pace = Pace()
    pace.prefilled(100, 0.5)
    pace.prefilled(100, 0.0)
    assert pace.prefill_tps == pytest.approx(200)
    pace.prefilled(100, 1.0)
    assert pace.prefill_tps == pytest.approx(200 - ALPHA * 100)


def test_a_probe_counts_what_came_after_its_first_token() -> None:
    pace = Pace()
    pace.decoded(0, 1.0)
    pace.decoded(8, 0.0)
    assert pace.decode_tps is None
    pace.decoded(8, 0.5)
    assert pace.decode_tps == pytest.approx(16)
    pace.decoded(8, 1.0)
    assert pace.decode_tps == pytest.approx(16 - ALPHA * 8)


def test_only_who_reads_a_long_prompt_in_a_moment_is_tried_with_one() -> None:
    pace = Pace()
    assert not pace.is_quick_to_read(1), "nobody knows"
    pace.prefilled(8, 1.0)
    assert not pace.is_quick_to_read(64)
    assert pace.is_quick_to_read(int(8 * MOMENT_S) - 1)
    quick = Pace()
    quick.prefilled(8, 0.01)
    assert quick.is_quick_to_read(64)
