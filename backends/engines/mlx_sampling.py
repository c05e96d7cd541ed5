"""How each row of a batch draws its next token; in the child only."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# The library has no types; what comes from it is cast where it enters.

from collections.abc import Callable

import mlx.core as mx
from mlx_lm.sample_utils import (
    apply_min_p,
    apply_top_k,
    apply_top_p,
    make_logits_processors,
    make_sampler,
)

from .asked import Sampling

Draw = Callable[[mx.array], mx.array]
Process = Callable[[mx.array, mx.array], mx.array]


def processors(sampling: Sampling) -> list[Process]:
    """What changes a row's logits before it draws."""
    penalty = sampling.repetition_penalty
    return make_logits_processors(
        repetition_penalty=None if penalty == 1 else penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
    )


def sampler(sampling: Sampling) -> Draw:
    """How this row draws; a seed gives it a chance of its own."""
    if sampling.seed is None or sampling.temperature == 0:
        return make_sampler(
            sampling.temperature,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            top_k=sampling.top_k,
        )
    return _seeded(sampling, sampling.seed)


def _seeded(sampling: Sampling, seed: int) -> Draw:
    key = mx.random.key(seed)

    def draw(logprobs: mx.array) -> mx.array:
        nonlocal key
        key, now = mx.random.split(key)
        if sampling.top_p < 1:
            logprobs = apply_top_p(logprobs, sampling.top_p)
        if sampling.min_p > 0:
            logprobs = apply_min_p(logprobs, sampling.min_p)
        if sampling.top_k > 0:
            logprobs = apply_top_k(logprobs, sampling.top_k)
        return mx.random.categorical(logprobs * (1 / sampling.temperature), key=now)

    return draw
