"""Engines' errors: their codes, what a coordinator reads of them, and what stays here."""

import pytest

from poolhand.backends.engines.errors import (
    EngineBrokeOff,
    EngineDied,
    EngineError,
    EngineMissing,
    EngineNotRunning,
    EngineStartFailed,
    EngineTimeout,
)
from poolhand.config.errors import AgentError, Retry

ALL: tuple[EngineError, ...] = (
    EngineMissing(engine="mlx", needs="pip install it"),
    EngineNotRunning(engine="mlx"),
    EngineStartFailed(engine="mlx", kind="bad_model", reason="/secret/path", tail="canary"),
    EngineTimeout(engine="mlx", waited_s=61.4),
    EngineDied(engine="mlx", exit_code=-9, tail="canary"),
    EngineBrokeOff(engine="vllm", reason="a chunk is no JSON"),
)


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_every_error_has_a_code_a_remedy_and_both_statuses(error: EngineError) -> None:
    assert isinstance(error, AgentError)
    assert error.code.startswith("engine_")
    assert error.remedy
    assert 400 <= error.status < 600
    assert error.wire_status >= 500


def test_codes_are_told_apart() -> None:
    assert len({error.code for error in ALL}) == len(ALL)


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_a_log_never_travels(error: EngineError) -> None:
    for told in (str(error), error.request_text, error.load_text):
        assert "canary" not in told


def test_a_path_stays_on_this_machine() -> None:
    failed = EngineStartFailed(engine="mlx", kind="bad_model", reason="/secret/path")
    assert "/secret/path" in str(failed), "for the node's own log"
    assert "/secret" not in failed.load_text + failed.request_text


def test_a_load_that_lacked_memory_says_so_in_the_words_that_are_looked_for() -> None:
    def text(kind: str) -> str:
        return EngineStartFailed(engine="mlx", kind=kind, reason="r").load_text

    assert text("out_of_memory") == "model load failed: out of memory"
    assert text("bad_model") == "model load failed: bad_model"


def test_an_engine_that_is_not_there_makes_a_request_go_elsewhere() -> None:
    error = EngineNotRunning(engine="mlx")
    assert (error.wire_status, error.request_text) == (
        503,
        "model not loaded: engine is not running",
    )


def test_what_only_the_operator_can_cure_is_not_tried_again() -> None:
    missing = EngineMissing(engine="mlx", needs="pip install 'poolhand[mlx]'")
    assert (missing.retry, missing.status) == (Retry.OPERATOR, 501)
    assert "pip install 'poolhand[mlx]'" in str(missing)
    assert EngineTimeout(engine="mlx", waited_s=1).retry is Retry.LATER


def test_a_death_and_a_silence_are_closed_words_on_the_wire() -> None:
    died, silent = EngineDied(engine="mlx", exit_code=-9), EngineTimeout(engine="mlx", waited_s=61)
    assert (died.request_text, silent.request_text) == ("engine died", "engine timed out")
    assert "exit code -9" in str(died)
    assert "61 s" in str(silent)
    assert died.exit_code == -9
