"""What speaks against a model is told before its bytes are fetched, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.admission import GIB, budget_bytes
from poolhand.agent.core.cold import estimate
from poolhand.agent.core.foresight import obstacle
from poolhand.agent.core.measured import Measurements
from poolhand.backends.stores.base import Build
from poolhand.config.errors import AgentError
from poolhand.config.refusals import InsufficientMemory
from poolhand.config.settings import Settings

SETTINGS = Settings.model_validate(
    {
        "coordinator": {"url": "ws://localhost/"},
        "models": [{"id": "m", "ref": "s3://models/m"}],
    }
)


def judged(
    weights_bytes: int | None = GIB,
    config: str = "{}",
    *,
    total_bytes: int | None = 16 * GIB,
    is_code_refused: bool = True,
) -> AgentError | None:
    known = Measurements()
    return obstacle(SETTINGS, known, total_bytes, "m", weights_bytes, config, is_code_refused)


def test_a_model_that_fits_is_let_in() -> None:
    assert judged() is None


def test_one_that_would_not_fit_into_an_empty_machine_is_not() -> None:
    error = judged(15 * GIB)
    assert isinstance(error, InsufficientMemory)
    assert error.needs_bytes > 15 * GIB > error.free_bytes


@pytest.mark.parametrize("key", ["auto_map", "model_file"])
def test_code_of_its_own(key: str) -> None:
    config = f'{{"{key}": {{"AutoModel": "code.Model"}}}}'
    error = judged(config=config)
    assert error is not None
    assert (error.code, key in str(error)) == ("weights_unsafe", True)
    assert judged(config=config, is_code_refused=False) is None
    assert judged(config=f'{{"{key}": null}}') is None


def test_what_is_not_known_speaks_against_nobody() -> None:
    assert judged(None) is None
    assert judged(2**50, total_bytes=None) is None


@pytest.mark.parametrize("config", ["", "[]", "{", "null", "[" * 10_000])
def test_a_configuration_that_is_none_is_judged_later(config: str) -> None:
    assert judged(config=config) is None


@given(weights_bytes=st.integers(0, 64 * GIB), total_bytes=st.integers(GIB, 64 * GIB))
def test_it_says_what_admission_would_say_of_an_empty_machine(
    weights_bytes: int, total_bytes: int
) -> None:
    build = Build("", weights_bytes, weights_bytes, "", "self", {})
    reserve_bytes = int(SETTINGS.memory.reserve_gib * GIB)
    room_bytes = budget_bytes(
        total_bytes=total_bytes, available_bytes=total_bytes, reserve_bytes=reserve_bytes
    )
    fits = estimate(SETTINGS, "m", build).total_bytes <= room_bytes
    assert (judged(weights_bytes, total_bytes=total_bytes) is None) == fits
