"""The scripted checkpoint's numbers: the head picks each script token's successor."""

import struct

import pytest

from poolhand.agent.dev.checkpoint_vocabulary import Vocabulary, build_vocabulary
from poolhand.agent.dev.checkpoint_weights import PRESETS, WIDTH_BYTES, Tensor, build_tensors

NANO = PRESETS["nano"]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return build_vocabulary("alpha", tokens=NANO.vocab)


def numbers(tensor: Tensor, dtype: str) -> list[float]:
    raw = b"".join(tensor.chunks())
    if dtype == "BF16":
        raw = b"".join(b"\0\0" + raw[at : at + 2] for at in range(0, len(raw), 2))
    code = "e" if dtype == "F16" else "f"
    return list(struct.unpack(f"<{len(raw) // struct.calcsize(code)}{code}", raw))


def rows(tensor: Tensor, dtype: str) -> list[list[float]]:
    flat, wide = numbers(tensor, dtype), tensor.shape[1]
    return [flat[at : at + wide] for at in range(0, len(flat), wide)]


@pytest.mark.parametrize("dtype", list(WIDTH_BYTES))
def test_the_head_picks_the_successor_by_far(vocabulary: Vocabulary, dtype: str) -> None:
    tensors = {t.name: t for t in build_tensors(NANO, vocabulary, seed=0, dtype=dtype)}
    embedding = rows(tensors["model.embed_tokens.weight"], dtype)
    head = rows(tensors["lm_head.weight"], dtype)
    plain = vocabulary.ids["e"]
    for token, after in [*vocabulary.successors.items(), (plain, vocabulary.greeting)]:
        logits = [sum(map(float.__mul__, row, embedding[token])) for row in head]
        best = max(range(len(logits)), key=logits.__getitem__)
        rest = max(logit for number, logit in enumerate(logits) if number != best)
        assert best == after
        # the other half of a shared embedding is noise, so plain text pulls less
        assert logits[best] - rest > (2.0 if token == plain else 8.0)


@pytest.mark.parametrize("dtype", list(WIDTH_BYTES))
def test_each_tensor_gives_as_many_bytes_as_it_says(vocabulary: Vocabulary, dtype: str) -> None:
    tensors = build_tensors(NANO, vocabulary, seed=0, dtype=dtype)
    assert len({tensor.name for tensor in tensors}) == len(tensors)
    for tensor in tensors:
        assert sum(map(len, tensor.chunks())) == tensor.size_bytes(dtype)


def test_every_element_type_holds_the_same_numbers_as_near_as_it_can(
    vocabulary: Vocabulary,
) -> None:
    def of(dtype: str) -> list[float]:
        tensors = build_tensors(NANO, vocabulary, seed=0, dtype=dtype)
        return numbers(next(t for t in tensors if "up_proj" in t.name), dtype)

    exact = of("F32")
    for dtype, relative in (("BF16", 2**-8), ("F16", 2**-10)):
        assert all(abs(a - b) <= abs(b) * relative for a, b in zip(of(dtype), exact, strict=True))
    deviation = (sum(x * x for x in exact) / len(exact)) ** 0.5
    assert deviation == pytest.approx(NANO.hidden**-0.5, rel=0.02)


def test_a_seed_changes_the_numbers_and_nothing_else(vocabulary: Vocabulary) -> None:
    one, two = (build_tensors(NANO, vocabulary, seed=seed, dtype="BF16") for seed in (0, 1))
    assert [(t.name, t.shape) for t in one] == [(t.name, t.shape) for t in two]
    matrices = [(a, b) for a, b in zip(one, two, strict=True) if len(a.shape) > 1]
    assert all(b"".join(a.chunks()) != b"".join(b.chunks()) for a, b in matrices)


def test_chunks_can_be_made_again(vocabulary: Vocabulary) -> None:
    for tensor in build_tensors(NANO, vocabulary, seed=0, dtype="BF16"):
        assert b"".join(tensor.chunks()) == b"".join(tensor.chunks())
