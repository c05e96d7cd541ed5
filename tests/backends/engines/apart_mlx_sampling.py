"""How a row draws, on logits that a test lays out; with the real library, in this process."""

import math
from typing import cast

import pytest

from poolhand.backends.engines.asked import Sampling
from poolhand.backends.engines.manners import limits_kept

pytestmark = pytest.mark.engine
with limits_kept():
    import mlx.core as mx

    from poolhand.backends.engines.mlx_sampling import processors, sampler

LIKELY = [0.5, 0.3, 0.15, 0.05]


def value(array: mx.array) -> float:
    return cast("float", array.item())


def drawn(sampling: Sampling, times: int = 40, odds: list[float] = LIKELY) -> set[float]:
    draw = sampler(sampling)
    logprobs = mx.array([[math.log(odd) for odd in odds]])
    return {value(draw(logprobs)) for _ in range(times)}


def test_without_heat_the_likeliest_is_drawn_always() -> None:
    assert drawn(Sampling(temperature=0.0)) == {0}
    assert drawn(Sampling(temperature=0.0, seed=3)) == {0}


def test_heat_draws_others_too() -> None:
    assert drawn(Sampling(temperature=50.0), 200) == {0, 1, 2, 3}
    assert drawn(Sampling(temperature=50.0, seed=1), 200) == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", [None, 5])
def test_cuts_leave_out_the_unlikely(seed: int | None) -> None:
    hot = 20.0
    assert drawn(Sampling(temperature=hot, top_k=2, seed=seed), 100) == {0, 1}
    assert drawn(Sampling(temperature=hot, min_p=0.5, seed=seed), 100) == {0, 1}
    assert drawn(Sampling(temperature=1.0, top_p=0.4, seed=seed), 100) == {0}


def test_a_seed_is_a_sequence_of_its_own() -> None:
    logprobs = mx.array([[math.log(odd) for odd in LIKELY]])

    def sequence(seed: int) -> list[float]:
        draw = sampler(Sampling(temperature=5.0, seed=seed))
        return [value(draw(logprobs)) for _ in range(30)]

    first = sequence(1)
    mx.random.seed(99)
    assert sequence(1) == first
    assert sequence(2) != first
    assert len(set(first)) > 1


def test_a_plain_row_needs_no_processor() -> None:
    assert processors(Sampling()) == []


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(repetition_penalty=2.0),
        Sampling(presence_penalty=1.5),
        Sampling(frequency_penalty=1.5),
    ],
)
def test_a_penalty_makes_what_was_said_less_likely(sampling: Sampling) -> None:
    (process,) = processors(sampling)
    logits = process(mx.array([1, 1]), mx.array([[1.0, 1.0, 1.0]]))
    assert value(logits[0, 1]) < 1.0
    assert value(logits[0, 0]) == value(logits[0, 2]) == 1.0
