"""The tiny checkpoint once more, as the one GGUF file that llama.cpp's server opens.

Source:
    The GGUF specification, version 3; the tensor names and the order of rows in ``attn_q`` and
    ``attn_k`` as llama.cpp's ``convert_hf_to_gguf.py`` writes them.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

ALIGNMENT_BYTES = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TYPE_F32, TYPE_BF16 = 0, 30
NORMAL, CONTROL = 1, 3
NAMES: Mapping[str, str] = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(folder: Path, file: Path) -> None:
    """Write the checkpoint in ``folder`` (BF16) as one file."""
    config = json.loads((folder / "config.json").read_text())
    tensors = [_tensor(name, shape, data, config) for name, shape, data in _read(folder)]
    _write(file, _pairs(config, folder), tensors)


def _write(
    file: Path, pairs: list[bytes], tensors: list[tuple[str, list[int], int, bytes]]
) -> None:
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(pairs)), *pairs]
    offset = 0
    for name, shape, kind, data in tensors:
        dims = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head.append(_text(name) + dims + struct.pack("<IQ", kind, offset))
        offset += len(data) + -len(data) % ALIGNMENT_BYTES
    start = b"".join(head)
    with file.open("wb") as out:
        out.write(start + bytes(-len(start) % ALIGNMENT_BYTES))
        for *_, data in tensors:
            out.write(data + bytes(-len(data) % ALIGNMENT_BYTES))


def write_adapter(folder: Path, file: Path) -> None:
    """Write an adapter for the checkpoint in ``folder`` that has it say other words.

    Of two tokens one becomes likelier than all, whichever sign the last layer's sum has.
    """
    config = json.loads((folder / "config.json").read_text())
    hidden, size = config["hidden_size"], config["vocab_size"]
    up = [0.0] * size
    up[size // 3], up[size // 2] = 1000.0, -1000.0
    tensors = [
        ("output.weight.lora_a", [1, hidden], struct.pack(f"<{hidden}f", *[1.0] * hidden)),
        ("output.weight.lora_b", [size, 1], struct.pack(f"<{size}f", *up)),
    ]
    pairs = [
        _pair("general.type", STRING, _text("adapter")),
        _pair("general.architecture", STRING, _text("llama")),
        _pair("adapter.type", STRING, _text("lora")),
        _pair("adapter.lora.alpha", F32, struct.pack("<f", 1.0)),
    ]
    _write(file, pairs, [(name, shape, TYPE_F32, data) for name, shape, data in tensors])


def _read(folder: Path) -> Iterator[tuple[str, list[int], bytes]]:
    for file in sorted(folder.glob("*.safetensors")):
        content = file.read_bytes()
        (length,) = struct.unpack_from("<Q", content)
        header = cast("dict[str, dict[str, list[int]]]", json.loads(content[8 : 8 + length]))
        for name, said in header.items():
            if name != "__metadata__":
                begin, end = said["data_offsets"]
                yield name, said["shape"], content[8 + length + begin : 8 + length + end]


def _tensor(
    name: str, shape: list[int], data: bytes, config: Mapping[str, int]
) -> tuple[str, list[int], int, bytes]:
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        given = f"blk.{layer}.{NAMES[part]}.weight"
        heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
        if (key := heads.get(NAMES[part])) is not None:
            data = _pairs_of_halves(data, config[key], shape)
    else:
        given = f"{NAMES[stem]}.weight"
    if len(shape) > 1:
        return given, shape, TYPE_BF16, data
    # what has one dimension is kept in full: the upper half of a float32 is a bfloat16
    halves = [data[at : at + 2] for at in range(0, len(data), 2)]
    return given, shape, TYPE_F32, b"".join(b"\0\0" + half for half in halves)


def _pairs_of_halves(data: bytes, heads: int, shape: list[int]) -> bytes:
    """Rows of each head in the order 0, n/2, 1, n/2 + 1, ..., which its rotation expects."""
    row_bytes, per_head = shape[1] * 2, shape[0] // heads
    rows = [data[at : at + row_bytes] for at in range(0, len(data), row_bytes)]
    order = [at for half in range(per_head // 2) for at in (half, half + per_head // 2)]
    return b"".join(rows[head * per_head + at] for head in range(heads) for at in order)


def _pairs(config: Mapping[str, int], folder: Path) -> list[bytes]:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    special = {one["id"]: one["content"] for one in tokenizer["added_tokens"]}
    names = {index: text for text, index in tokenizer["model"]["vocab"].items()} | special
    size = config["vocab_size"]
    tokens = [names.get(index, f"[unused{index}]") for index in range(size)]
    kinds = [CONTROL if index in special else NORMAL for index in range(size)]
    merges = [
        one if isinstance(one, str) else " ".join(one) for one in tokenizer["model"]["merges"]
    ]
    return [
        _pair("general.architecture", STRING, _text("llama")),
        _pair("llama.block_count", U32, struct.pack("<I", config["num_hidden_layers"])),
        _pair("llama.context_length", U32, struct.pack("<I", config["max_position_embeddings"])),
        _pair("llama.embedding_length", U32, struct.pack("<I", config["hidden_size"])),
        _pair("llama.feed_forward_length", U32, struct.pack("<I", config["intermediate_size"])),
        _pair("llama.attention.head_count", U32, struct.pack("<I", config["num_attention_heads"])),
        _pair(
            "llama.attention.head_count_kv", U32, struct.pack("<I", config["num_key_value_heads"])
        ),
        _pair("llama.attention.key_length", U32, struct.pack("<I", config["head_dim"])),
        _pair("llama.attention.value_length", U32, struct.pack("<I", config["head_dim"])),
        _pair("llama.rope.dimension_count", U32, struct.pack("<I", config["head_dim"])),
        _pair("llama.rope.freq_base", F32, struct.pack("<f", config["rope_theta"])),
        _pair(
            "llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", config["rms_norm_eps"])
        ),
        _pair("llama.vocab_size", U32, struct.pack("<I", size)),
        _pair("tokenizer.ggml.model", STRING, _text("gpt2")),
        _pair("tokenizer.ggml.pre", STRING, _text("default")),
        _pair("tokenizer.ggml.tokens", ARRAY, _texts(tokens)),
        _pair("tokenizer.ggml.token_type", ARRAY, struct.pack(f"<IQ{size}i", I32, size, *kinds)),
        _pair("tokenizer.ggml.merges", ARRAY, _texts(merges)),
        _pair("tokenizer.ggml.eos_token_id", U32, struct.pack("<I", config["eos_token_id"])),
        _pair("tokenizer.ggml.padding_token_id", U32, struct.pack("<I", config["pad_token_id"])),
        _pair("tokenizer.ggml.add_bos_token", BOOL, b"\0"),
        _pair(
            "tokenizer.chat_template", STRING, _text((folder / "chat_template.jinja").read_text())
        ),
    ]


def _pair(name: str, kind: int, value: bytes) -> bytes:
    return _text(name) + struct.pack("<I", kind) + value


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _texts(texts: list[str]) -> bytes:
    return struct.pack("<IQ", STRING, len(texts)) + b"".join(map(_text, texts))
