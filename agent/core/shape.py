"""What a model's ``config.json`` says about the memory that its requests will take.

A request's KV cache grows with its length, in a way that the layers decide: full attention keeps
every token, a sliding window the newest ones, linear attention a state of fixed size. Where an
engine may keep less than is counted here, the larger figure stands: this is an upper bound.

No JSON makes any of this raise; what cannot be understood is ``None``.
"""

from collections.abc import Mapping
from typing import Self, cast

from ...config.frozen import frozen

CACHE_STEP_TOKENS = 256
"""A cache grows by so many tokens at once. Source: mlx_lm 0.32 ``KVCache.step``."""

STATE_ELEMENT_BYTES = 4
"""Recurrent states are kept in float32 whatever the weights are in."""

_MOST = 2**31
"""No count in a config is larger; one that is, is not a count."""

_NESTED = ("text_config", "llm_config", "language_config")
"""Where a multimodal model describes its language half."""

_EXPANDED_MLA = frozenset({"deepseek_v2", "minicpm3", "youtu_llm"})
"""Compress keys and values on paper, but cache them expanded in mlx_lm 0.32."""

_GEMMA3_PATTERN = 6
"""Gemma 3's default ``sliding_window_pattern``: one full layer in six."""


@frozen
class ModelShape:
    """The counts that the size of a KV cache follows from; per request and layer.

    Attributes:
        layers: All layers that cache something.
        kv_heads: Heads of keys and values; ``None`` if they are compressed (MLA).
        head_dim: Size of one head; ``None`` if they are compressed (MLA).
        token_elements: Numbers that one attention layer keeps of one token.
        full_layers: Layers that keep every token.
        window_layers: Layers that keep the newest ``window_tokens``.
        linear_layers: Layers that keep ``state_bytes``, however long the request is.
        context_tokens: The longest request that the model was made for.
    """

    layers: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    token_elements: int | None = None
    full_layers: int | None = None
    window_layers: int = 0
    window_tokens: int = 0
    linear_layers: int = 0
    state_bytes: int = 0
    context_tokens: int | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Read a parsed ``config.json``, of whatever family.

        Understood are grouped-query attention (Llama, Qwen, Gemma, ...), compressed attention
        (DeepSeek), linear attention between full layers (Qwen3-Next) and sliding windows
        (Gemma 3, gpt-oss, Ministral). A layer of a kind that is not known counts as full.
        """
        config = _language_half(config)
        layers = _first(config, "num_hidden_layers", "n_layer", "num_layers")
        kv_heads, head_dim = _heads(config)
        compressed = _compressed_elements(config)
        window_tokens = _count(config.get("sliding_window")) or 0
        state_bytes = _linear_state_bytes(config)
        kinds = _layer_kinds(config, layers or 0)
        window_layers = kinds.count("sliding_attention") if window_tokens else 0
        linear_layers = kinds.count("linear_attention") if state_bytes else 0
        return cls(
            layers=layers,
            kv_heads=kv_heads if compressed is None else None,
            head_dim=head_dim if compressed is None else None,
            token_elements=compressed or _product(2, kv_heads, head_dim),
            full_layers=None if layers is None else layers - window_layers - linear_layers,
            window_layers=window_layers,
            window_tokens=window_tokens if window_layers else 0,
            linear_layers=linear_layers,
            state_bytes=(state_bytes or 0) if linear_layers else 0,
            context_tokens=_first(config, "max_position_embeddings", "n_positions"),
        )


def kv_bytes_per_token(shape: ModelShape, *, dtype_bytes: int = 2) -> int | None:
    """What one more token of a long request costs, in bytes.

    Returns:
        ``None`` if the shape is not known; 0 if no layer keeps every token.
    """
    return _product(shape.full_layers, shape.token_elements, dtype_bytes)


def kv_bytes(
    shape: ModelShape, tokens: int, *, dtype_bytes: int = 2, prefill_step_tokens: int = 512
) -> int | None:
    """What one request of ``tokens`` keeps while it runs, in bytes.

    Args:
        shape: The model's.
        tokens: Prompt and answer together, 0 or more.
        dtype_bytes: Bytes of one cached number.
        prefill_step_tokens: Prompt tokens that the engine reads at once. While it does, a
            window's cache holds the window and one step less one: mlx_lm 0.32
            ``RotatingKVCache._update_concat``.

    Returns:
        ``None`` if the shape is not known.
    """
    if shape.full_layers is None or shape.token_elements is None:
        return None
    full_tokens = -(-tokens // CACHE_STEP_TOKENS) * CACHE_STEP_TOKENS
    window_tokens = min(full_tokens, shape.window_tokens + prefill_step_tokens - 1)
    kept_tokens = shape.full_layers * full_tokens + shape.window_layers * window_tokens
    states_bytes = shape.linear_layers * shape.state_bytes
    return kept_tokens * shape.token_elements * dtype_bytes + states_bytes


def _language_half(config: Mapping[str, object]) -> Mapping[str, object]:
    for key in _NESTED:
        nested = config.get(key)
        if isinstance(nested, Mapping):
            return {**config, **cast("Mapping[str, object]", nested)}
    return config


def _heads(config: Mapping[str, object]) -> tuple[int | None, int | None]:
    """Heads of keys and values, and the size of one; the larger of two where layers differ."""
    heads = _first(config, "num_attention_heads", "n_head")
    hidden = _first(config, "hidden_size", "n_embd")
    kv_heads = _first(config, "num_key_value_heads") or heads
    head_dim = _first(config, "head_dim")
    if head_dim is None and heads and hidden:
        head_dim = -(-hidden // heads)
    global_dim = _count(config.get("global_head_dim"))
    return kv_heads, max(head_dim, global_dim) if head_dim and global_dim else head_dim


def _compressed_elements(config: Mapping[str, object]) -> int | None:
    """What multi-head latent attention keeps of a token; ``None`` if the model has none."""
    rank = _count(config.get("kv_lora_rank"))
    rope = _count(config.get("qk_rope_head_dim"))
    if rank is None or rope is None:
        return None
    if str(config.get("model_type")) in _EXPANDED_MLA:
        heads = _first(config, "num_attention_heads")
        nope = _count(config.get("qk_nope_head_dim"))
        value = _count(config.get("v_head_dim")) or nope
        if heads and nope and value:
            return heads * (nope + rope + value)
    # sparse attention keeps an indexer's key beside it, and mlx_lm an equal value of zeros
    return rank + rope + 2 * (_count(config.get("index_head_dim")) or 0)


def _linear_state_bytes(config: Mapping[str, object]) -> int | None:
    """One gated delta-net layer's convolution and recurrent state; ``None`` if it has none.

    Source:
        mlx_lm 0.32 qwen3_next.py: ``conv_dim``, and a state of value heads x key x value.
    """
    key_heads = _count(config.get("linear_num_key_heads"))
    key_dim = _count(config.get("linear_key_head_dim"))
    value_heads = _count(config.get("linear_num_value_heads"))
    value_dim = _count(config.get("linear_value_head_dim"))
    kernel = _count(config.get("linear_conv_kernel_dim"))
    if not (key_heads and key_dim and value_heads and value_dim and kernel):
        return None
    convolution = (kernel - 1) * (2 * key_heads * key_dim + value_heads * value_dim)
    return (convolution + value_heads * key_dim * value_dim) * STATE_ELEMENT_BYTES


def _layer_kinds(config: Mapping[str, object], layers: int) -> list[str]:
    """The kinds of the layers that are not certainly full, in any order.

    A bare ``sliding_window`` (Mistral 7B) is not enough: mlx_lm keeps every token unless a
    list or a pattern says which layers slide.
    """
    listed = config.get("layer_types")
    if isinstance(listed, list | tuple):
        kinds = cast("list[object]", listed)[:layers]
        return [kind for kind in kinds if isinstance(kind, str)]
    if interval := _count(config.get("full_attention_interval")):
        return ["linear_attention"] * (layers - layers // interval)
    model_type = str(config.get("model_type"))
    pattern = _count(config.get("sliding_window_pattern"))
    if pattern is None and model_type.startswith("gemma3"):
        pattern = _GEMMA3_PATTERN
    if pattern is None and model_type == "gpt_oss":
        pattern = 2
    return ["sliding_attention"] * (layers - layers // pattern) if pattern else []


def _first(config: Mapping[str, object], *keys: str) -> int | None:
    return next((found for key in keys if (found := _count(config.get(key)))), None)


def _count(value: object) -> int | None:
    """A positive integer; ``None`` for all else that JSON can hold."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST
    return value if isinstance(value, int) and is_count else None


def _product(*factors: int | None) -> int | None:
    product = 1
    for factor in factors:
        if factor is None:
            return None
        product *= factor
    return product
