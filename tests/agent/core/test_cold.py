"""A model that is not in memory: what it takes, and when it could answer."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.cold import estimate, is_too_slow, missing_bytes
from poolhand.agent.core.measured import Measured, Measurements
from poolhand.agent.core.slots import SlotState, Stay
from poolhand.backends.stores.base import Progress, Stock
from tests.journeys.world import GIB, build, settings

HALF = Stock("org/a", "partial", 100, 50)
COMING = Stay("org/a", progress=Progress(80, 100))


def test_a_longer_context_takes_more_and_a_model_s_own_bound_counts() -> None:
    shape = {
        "num_hidden_layers": 2, "num_key_value_heads": 2, "num_attention_heads": 4,
        "hidden_size": 64, "max_position_embeddings": 8192, "model_type": "llama",
    }  # fmt: skip
    made = replace(build("org/a"), config=shape)
    short = settings(memory={"kv_context_tokens": 64})
    assert estimate(short, "org/a", made).kv_bytes < estimate(settings(), "org/a", made).kv_bytes
    rows = [{"id": "org/a", "ref": "s3://models/a", "context_tokens": 64}]
    bound = settings(pools={}, models=rows)
    assert estimate(bound, "org/a", made) == estimate(short, "org/a", made)
    assert estimate(settings(), "org/a", build("org/a")).weights_bytes == 4 * GIB


def test_what_an_engine_keeps_of_finished_answers_is_counted() -> None:
    keeps = settings(engines={"mlx": {"prompt_cache_gib": 0.5}})
    more = estimate(keeps, "org/a", build("org/a")).kv_bytes
    assert more == estimate(settings(), "org/a", build("org/a")).kv_bytes + 512 * 2**20
    rows = [{"id": "org/a", "ref": "s3://models/a", "engine": "vllm"}]
    served = settings(pools={}, models=rows, engines={"mlx": {"prompt_cache_gib": 0.5}})
    assert estimate(served, "org/a", build("org/a")) == estimate(
        settings(), "org/a", build("org/a")
    )


@pytest.mark.parametrize(
    ("stock", "stay", "missing"),
    [
        (None, None, 0),
        (HALF, None, 50),
        (HALF, COMING, 20),
        (HALF, Stay("org/a"), 50),
        (HALF, Stay("org/a", SlotState.LOADING), 0),
        (Stock("org/a", "listed"), None, 0),
    ],
)
def test_what_is_still_to_come(stock: Stock | None, stay: Stay | None, missing: int) -> None:
    assert missing_bytes(stock, stay) == missing


@given(took_s=st.floats(0, 1e6), wait_s=st.floats(1, 86400))
def test_only_a_measurement_makes_a_model_too_slow(took_s: float, wait_s: float) -> None:
    chosen, found = settings(requests={"cold_wait_s": wait_s}), Measurements()
    assert not is_too_slow("org/a", found, chosen, stock=HALF)
    found.recalled([Measured("org/a", 1, 1, 1, None, took_s)])
    assert is_too_slow("org/a", found, chosen, stock=HALF) == (took_s > wait_s)
