"""The numbers of the scripted checkpoint: tensors laid out so that the answer is known.

Each script token has a random sign vector for an embedding, and the output head's row of
its successor points the same way, so one logit stands out. Attention and MLP blocks are
real and random, but small: they only disturb. The numbers come out of SHAKE-128 over a
label, so the same options give the same bytes on every machine.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from math import prod
from types import MappingProxyType

from ...config.frozen import frozen
from .checkpoint_vocabulary import Vocabulary


@frozen
class Shape:
    """The dimensions of a Llama-style model; ``vocab`` and ``context`` count tokens."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    context: int = 4096

    @property
    def head_dim(self) -> int:
        """Numbers of one attention head."""
        return self.hidden // self.heads


PRESETS: Mapping[str, Shape] = MappingProxyType(
    {
        "nano": Shape(128, 2, 4, 2, 256, 768),
        "tiny": Shape(256, 3, 8, 2, 640, 1024),
        "small": Shape(512, 4, 8, 4, 1408, 1536),
        "medium": Shape(1024, 8, 16, 4, 2816, 2048),
        "large": Shape(2048, 10, 32, 8, 6144, 4096),
    }
)
"""About 1, 5, 26, 180 and 1000 MB as BF16."""

WIDTH_BYTES: Mapping[str, int] = MappingProxyType({"BF16": 2, "F16": 2, "F32": 4})
"""Element types that can be written, by their safetensors names."""

_BLOCK_BYTES = 1 << 22
_LOGIT_GAIN = 28.0
_HEAD_NOISE = 0.05
_BRANCH_SCALE = 0.03
"""Share of what attention and MLP add to the residual stream."""


@frozen
class Tensor:
    """One named tensor; its bytes are made when ``chunks`` is called, not before."""

    name: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[bytes]]

    def size_bytes(self, dtype: str) -> int:
        """Its length in a file of element type ``dtype``."""
        return prod(self.shape) * WIDTH_BYTES[dtype]


def build_tensors(shape: Shape, vocabulary: Vocabulary, *, seed: int, dtype: str) -> list[Tensor]:
    """All tensors of a Llama checkpoint, in the order of its files.

    Args:
        shape: The model's dimensions.
        vocabulary: As many tokens as ``shape.vocab``.
        seed: Another seed gives other numbers, the same answers.
        dtype: A key of :data:`WIDTH_BYTES`.
    """
    embedding, head = _embedding_and_head(shape, vocabulary, seed=seed)
    ones = _packed(1.0, dtype) * shape.hidden
    flat = (shape.hidden,)
    square = (shape.vocab, shape.hidden)

    def norm(name: str) -> Tensor:
        return Tensor(f"{name}.weight", flat, lambda: iter([ones]))

    tensors = [Tensor("model.embed_tokens.weight", square, lambda: _rows(embedding, dtype))]
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        for part, dims, scale in _branches(shape):
            name = f"{prefix}{part}"
            tensors.append(_random(name, dims, scale=scale, seed=seed, dtype=dtype))
        tensors.append(norm(f"{prefix}input_layernorm"))
        tensors.append(norm(f"{prefix}post_attention_layernorm"))
    tensors.append(norm("model.norm"))
    tensors.append(Tensor("lm_head.weight", square, lambda: _rows(head, dtype)))
    return tensors


def _branches(shape: Shape) -> list[tuple[str, tuple[int, int], float]]:
    """Name, dimensions and standard deviation of each matrix in a layer."""
    wide, ffn, keys = shape.hidden, shape.ffn, shape.kv_heads * shape.head_dim
    unit = wide**-0.5
    return [
        ("self_attn.q_proj", (wide, wide), unit),
        ("self_attn.k_proj", (keys, wide), unit),
        ("self_attn.v_proj", (keys, wide), unit),
        ("self_attn.o_proj", (wide, wide), _BRANCH_SCALE * unit),
        ("mlp.gate_proj", (ffn, wide), unit),
        ("mlp.up_proj", (ffn, wide), unit),
        ("mlp.down_proj", (wide, ffn), _BRANCH_SCALE * ffn**-0.5),
    ]


def _embedding_and_head(
    shape: Shape, vocabulary: Vocabulary, *, seed: int
) -> tuple[list[list[int]], list[list[float]]]:
    """Rows of the embedding and of the output head, one a token."""
    wide = shape.hidden
    # what is in no script shares three quarters of its signs, which lead into the greeting
    common = _signs(f"{seed}/common", wide)
    embedding: list[list[int]] = []
    for token in range(shape.vocab):
        row = _signs(f"{seed}/code/{token}", wide)
        if token not in vocabulary.successors:
            row = [
                c if at % 4 else own for at, (c, own) in enumerate(zip(common, row, strict=True))
            ]
        embedding.append(row)

    gain = _LOGIT_GAIN / wide
    head = [
        [gain * _HEAD_NOISE * sign for sign in _signs(f"{seed}/head/{token}", wide)]
        for token in range(shape.vocab)
    ]
    pulls = [(after, embedding[token]) for token, after in vocabulary.successors.items()]
    for after, code in [*pulls, (vocabulary.greeting, common)]:
        head[after] = [h + gain * sign for h, sign in zip(head[after], code, strict=True)]
    return embedding, head


def _stream(label: str, size_bytes: int) -> Iterator[bytes]:
    """Pseudo-random bytes that depend on the label alone."""
    for block, at in enumerate(range(0, size_bytes, _BLOCK_BYTES)):
        some = min(_BLOCK_BYTES, size_bytes - at)
        yield hashlib.shake_128(f"{label}/{block}".encode()).digest(some)


def _signs(label: str, count: int) -> list[int]:
    return [1 if byte & 1 else -1 for byte in chain.from_iterable(_stream(label, count))]


def _packed(value: float, dtype: str) -> bytes:
    """One number, little endian; BF16 rounds to nearest, ties to even."""
    if dtype == "F16":
        return struct.pack("<e", value)
    wide = struct.pack("<f", value)
    if dtype == "F32":
        return wide
    bits = int.from_bytes(wide, "little")
    bits += 0x7FFF + ((bits >> 16) & 1)
    return (bits >> 16).to_bytes(2, "little")


def _random(name: str, dims: tuple[int, int], *, scale: float, seed: int, dtype: str) -> Tensor:
    """A matrix of 256 evenly spaced levels with standard deviation ``scale``."""
    levels = [(level - 127.5) / 127.5 * 3**0.5 * scale for level in range(256)]
    packed = [_packed(level, dtype) for level in levels]
    # one translation table for each byte of an element: far quicker than element by element
    tables = [bytes(element[at] for element in packed) for at in range(WIDTH_BYTES[dtype])]

    def chunks() -> Iterator[bytes]:
        for raw in _stream(f"{seed}/{name}", prod(dims)):
            out = bytearray(len(raw) * len(tables))
            for at, table in enumerate(tables):
                out[at :: len(tables)] = raw.translate(table)
            yield bytes(out)

    return Tensor(f"{name}.weight", dims, chunks)


def _rows(rows: Sequence[Sequence[float]], dtype: str) -> Iterator[bytes]:
    seen: dict[float, bytes] = {}
    for row in rows:
        for value in row:
            if value not in seen:
                seen[value] = _packed(value, dtype)
        yield b"".join([seen[value] for value in row])
