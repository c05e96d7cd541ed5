"""A small, real, scripted checkpoint: what the demo serves and the tests load.

An ordinary Llama folder (config.json, sharded safetensors with an index, tokenizer, chat
template) that any engine loads and runs with real attention, KV cache and sampling. What
it says is known beforehand: each script token has exactly one likely successor, at
temperature 0 or 1, in BF16 or 4 bit alike. A marker in the last message chooses what:

* none: a greeting that names the model, a count to twenty, the end
* ``[loop]``: tick tock without end, for limits, stop words and cancels
* ``[unicode]``: characters whose UTF-8 bytes are spread over several tokens
* ``[think]``: a thought between ``<think>`` marks, then an answer
* ``[tool]``: one well-formed tool call

The same options give byte-identical files everywhere, so digests can be pinned. Standard
library only.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypedDict

from .checkpoint_vocabulary import (
    CHAT_TEMPLATE,
    END_OF_TEXT,
    END_OF_TURN,
    MARKS,
    SPECIAL,
    Vocabulary,
    build_vocabulary,
    expected_text,
)
from .checkpoint_weights import PRESETS, WIDTH_BYTES, Shape, Tensor, build_tensors

__all__ = ["PRESETS", "FileFacts", "expected_text", "main", "make_model"]

_TORCH_NAMES: Mapping[str, str] = MappingProxyType(
    {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
)
_ALIGNMENT_BYTES = 8


class FileFacts(TypedDict):
    """What a manifest says of one file: its length in bytes and its hex SHA-256."""

    size: int
    sha256: str


def make_model(
    out: Path | str,
    *,
    preset: str = "tiny",
    name: str = "tiny",
    seed: int = 0,
    shards: int = 2,
    dtype: str = "BF16",
) -> dict[str, FileFacts]:
    """Write the checkpoint into ``out``, which is made if need be.

    Args:
        out: The folder; files of the same names are replaced, others stay.
        preset: A key of :data:`PRESETS`.
        name: What the model calls itself: a letter, then letters, digits, ``-``, ``_``;
            at most 32 characters.
        seed: Another seed gives other numbers, the same answers.
        shards: Into how many safetensors files the weights are split, at most.
        dtype: ``BF16``, ``F16`` or ``F32``.

    Returns:
        File name to its facts, in the order of writing.

    Raises:
        ValueError: An option is none of these.
    """
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,31}", name) is None:
        msg = f"name {name!r}: a letter, then at most 31 letters, digits, - or _"
        raise ValueError(msg)
    if preset not in PRESETS or dtype not in WIDTH_BYTES or shards < 1:
        msg = f"no checkpoint of preset {preset!r}, {dtype!r}, in {shards} shards"
        raise ValueError(msg)
    shape = PRESETS[preset]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = build_vocabulary(name, tokens=shape.vocab)
    tensors = build_tensors(shape, vocabulary, seed=seed, dtype=dtype)
    files = _write_weights(folder, tensors, shards=shards, dtype=dtype)
    documents = {
        "config.json": _config(shape, vocabulary, dtype),
        "generation_config.json": _generation_config(vocabulary),
        "tokenizer.json": _tokenizer(vocabulary),
        "tokenizer_config.json": _tokenizer_config(shape),
    }
    for file, document in documents.items():
        files[file] = _write(folder / file, [_json(document)])
    files["chat_template.jinja"] = _write(folder / "chat_template.jinja", [CHAT_TEMPLATE.encode()])
    return files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--preset", choices=list(PRESETS), default="tiny")
    parser.add_argument("--name", default="tiny", help="what the model calls itself")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--dtype", choices=list(WIDTH_BYTES), default="BF16")


def main(arguments: argparse.Namespace | None = None) -> int:
    """Write a checkpoint and print its files as JSON; the exit status is 0."""
    parser = argparse.ArgumentParser(prog="checkpoint", description=(__doc__ or "").split("\n")[0])
    add_arguments(parser)
    options = vars(arguments or parser.parse_args())
    sys.stdout.write(json.dumps(make_model(**options), indent=1) + "\n")
    return 0


# ── weights ───────────────────────────────────────────────────────────────────────────


def _write_weights(
    folder: Path, tensors: Sequence[Tensor], *, shards: int, dtype: str
) -> dict[str, FileFacts]:
    groups = _split(tensors, shards=shards, dtype=dtype)
    files: dict[str, FileFacts] = {}
    places: dict[str, str] = {}
    for number, group in enumerate(groups, start=1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        if len(groups) == 1:
            file = "model.safetensors"
        files[file] = _write(folder / file, _safetensors(group, dtype))
        places |= {tensor.name: file for tensor in group}
    if len(groups) > 1:
        total = sum(tensor.size_bytes(dtype) for tensor in tensors)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        file = "model.safetensors.index.json"
        files[file] = _write(folder / file, [_json(index)])
    return files


def _split(tensors: Sequence[Tensor], *, shards: int, dtype: str) -> list[list[Tensor]]:
    """The tensors in order, in at most ``shards`` groups of about the same size."""
    total = sum(tensor.size_bytes(dtype) for tensor in tensors)
    groups: list[list[Tensor]] = [[]]
    used = 0
    for tensor in tensors:
        if groups[-1] and len(groups) < shards and used >= total * len(groups) / shards:
            groups.append([])
        groups[-1].append(tensor)
        used += tensor.size_bytes(dtype)
    return groups


def _safetensors(tensors: Sequence[Tensor], dtype: str) -> Iterable[bytes]:
    """A file's bytes: the header's length, the header padded with blanks, the tensors.

    Source:
        safetensors README, "Format".
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in tensors:
        end = at + tensor.size_bytes(dtype)
        header[tensor.name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    yield len(text).to_bytes(_ALIGNMENT_BYTES, "little") + text
    for tensor in tensors:
        yield from tensor.chunks()


# ── documents ─────────────────────────────────────────────────────────────────────────


def _config(shape: Shape, vocabulary: Vocabulary, dtype: str) -> Mapping[str, object]:
    ids = vocabulary.ids
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": ids[END_OF_TEXT],
        "eos_token_id": ids[END_OF_TURN],
        "pad_token_id": ids[END_OF_TEXT],
        "torch_dtype": _TORCH_NAMES[dtype],
    }


def _generation_config(vocabulary: Vocabulary) -> Mapping[str, object]:
    ids = vocabulary.ids
    return {
        "bos_token_id": ids[END_OF_TEXT],
        "eos_token_id": [ids[END_OF_TURN]],
        "pad_token_id": ids[END_OF_TEXT],
    }


def _tokenizer(vocabulary: Vocabulary) -> Mapping[str, object]:
    """The tokenizers library's file: byte-level BPE with our control tokens added."""
    ids = vocabulary.ids
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    byte_level["use_regex"] = True
    added = [
        {
            "id": ids[token],
            "content": token,
            **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
            "special": token in SPECIAL,
        }
        for token in (*SPECIAL, *MARKS)
    ]
    unset = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    plain = {token: number for token, number in ids.items() if token not in {*SPECIAL, *MARKS}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            **dict.fromkeys(unset),
            **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False),
            "vocab": plain,
            "merges": [list(pair) for pair in vocabulary.merges],
        },
    }


def _tokenizer_config(shape: Shape) -> Mapping[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END_OF_TURN,
        "pad_token": END_OF_TEXT,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": shape.context,
        "chat_template": CHAT_TEMPLATE,
    }


def _json(document: Mapping[str, object]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _write(path: Path, chunks: Iterable[bytes]) -> FileFacts:
    """Write the chunks, hashing what passes."""
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size_bytes += len(chunk)
    return {"size": size_bytes, "sha256": digest.hexdigest()}


if __name__ == "__main__":
    sys.exit(main())
