"""What a config.json says about KV memory: families by hand, the engine's own caches, and laws."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from poolhand.agent.core.shape import ModelShape, kv_bytes, kv_bytes_per_token

Config = dict[str, object]

LLAMA_8B: Config = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "max_position_embeddings": 131072,
}
DEEPSEEK_V3: Config = {
    "model_type": "deepseek_v3",
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "hidden_size": 7168,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
}
QWEN3_NEXT: Config = {
    "model_type": "qwen3_next",
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "hidden_size": 2048,
    "full_attention_interval": 4,
    "linear_num_key_heads": 16,
    "linear_key_head_dim": 128,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
}
GEMMA3: Config = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "num_hidden_layers": 62,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "head_dim": 128,
        "sliding_window": 1024,
        "sliding_window_pattern": 6,
    },
}
GPT_OSS: Config = {
    "model_type": "gpt_oss",
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
}
FAMILIES = [LLAMA_8B, DEEPSEEK_V3, QWEN3_NEXT, GEMMA3, GPT_OSS]


def shape_of(config: Config, **changed: object) -> ModelShape:
    return ModelShape.from_config(config | changed)


def test_grouped_queries() -> None:
    shape = shape_of(LLAMA_8B)
    assert (shape.layers, shape.kv_heads, shape.head_dim) == (32, 8, 128)
    assert shape.context_tokens == 131072
    assert kv_bytes_per_token(shape) == 131072, "128 KiB a token is Llama 3's well-known figure"
    assert kv_bytes(shape, 4096) == 4096 * 131072
    assert kv_bytes_per_token(shape, dtype_bytes=1) == 65536


def test_without_groups_every_head_has_its_own() -> None:
    config = {key: value for key, value in LLAMA_8B.items() if key != "num_key_value_heads"}
    assert shape_of(config).kv_heads == 32


def test_gpt2_names_its_counts_otherwise() -> None:
    shape = shape_of({"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024})
    assert kv_bytes_per_token(shape) == 2 * 12 * 64 * 12 * 2
    assert shape.context_tokens == 1024


def test_compressed_attention_keeps_its_latent() -> None:
    shape = shape_of(DEEPSEEK_V3)
    assert (shape.kv_heads, shape.head_dim) == (None, None)
    assert kv_bytes_per_token(shape) == (512 + 64) * 61 * 2, "70 KB a token, as its paper says"


def test_an_engine_that_keeps_it_expanded_needs_more() -> None:
    expanded = shape_of(DEEPSEEK_V3, model_type="deepseek_v2")
    assert expanded.token_elements == 128 * (128 + 64 + 128)


def test_sparse_attention_keeps_an_index_beside_it() -> None:
    assert shape_of(DEEPSEEK_V3, index_head_dim=128).token_elements == 512 + 64 + 256


def test_linear_layers_keep_a_state_of_fixed_size() -> None:
    shape = shape_of(QWEN3_NEXT)
    assert (shape.full_layers, shape.linear_layers, shape.window_layers) == (12, 36, 0)
    assert kv_bytes_per_token(shape) == 12 * 2 * 2 * 256 * 2
    state_bytes = (3 * (2 * 16 * 128 + 32 * 128) + 32 * 128 * 128) * 4
    assert kv_bytes(shape, 0) == 36 * state_bytes


def test_linear_layers_of_unknown_size_count_as_full() -> None:
    config = {key: value for key, value in QWEN3_NEXT.items() if "linear" not in key}
    assert shape_of(config).full_layers == 48


def test_windows_by_a_pattern_inside_a_multimodal_config() -> None:
    shape = shape_of(GEMMA3)
    assert (shape.full_layers, shape.window_layers, shape.window_tokens) == (10, 52, 1024)
    element_bytes = 2 * 16 * 128 * 2
    assert kv_bytes_per_token(shape) == 10 * element_bytes
    kept_tokens = 10 * 32768 + 52 * (1024 + 512 - 1)
    assert kv_bytes(shape, 32768, prefill_step_tokens=512) == kept_tokens * element_bytes


def test_a_pattern_that_goes_without_saying() -> None:
    text = {"num_hidden_layers": 12, "sliding_window": 512}
    assert shape_of({"model_type": "gemma3_text", **text}).window_layers == 10
    assert shape_of({"model_type": "gpt_oss", **text}).window_layers == 6


def test_windows_by_a_list() -> None:
    shape = shape_of(GPT_OSS)
    assert (shape.full_layers, shape.window_layers, shape.window_tokens) == (12, 12, 128)


def test_a_bare_window_is_not_believed() -> None:
    assert shape_of(LLAMA_8B, sliding_window=4096).window_layers == 0


def test_windows_without_a_size_count_as_full() -> None:
    shape = shape_of(GPT_OSS, sliding_window=None)
    assert (shape.full_layers, shape.window_layers) == (24, 0)


def test_a_layer_of_a_kind_we_do_not_know_counts_as_full() -> None:
    shape = shape_of(GPT_OSS, layer_types=["sliding_attention", "mamba", 7])
    assert (shape.full_layers, shape.window_layers) == (23, 1)


def test_a_list_longer_than_the_model_is_cut() -> None:
    shape = shape_of(GPT_OSS, layer_types=["sliding_attention"] * 99)
    assert (shape.full_layers, shape.window_layers) == (0, 24)
    assert kv_bytes_per_token(shape) == 0


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_attention_heads", "hidden_size"])
@pytest.mark.parametrize("value", [None, "32", 0, -1, True, 1.5, [], {}, 2**40])
def test_a_count_that_is_none_makes_the_whole_unknown(key: str, value: object) -> None:
    config = {k: v for k, v in LLAMA_8B.items() if k != "num_key_value_heads"}
    shape = shape_of(config, **{key: value})
    assert kv_bytes_per_token(shape) is None
    assert kv_bytes(shape, 100) is None


def test_an_empty_config_knows_nothing() -> None:
    assert shape_of({}) == ModelShape()


COUNTED_BY_THE_ENGINE = r"""
import importlib, json, sys
import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

mx.set_default_device(mx.cpu)
for config, tokens, step in json.load(sys.stdin):
    module = importlib.import_module("mlx_lm.models." + config["model_type"])
    model = module.Model(module.ModelArgs.from_dict(config))
    model.set_dtype(mx.bfloat16)
    caches = make_prompt_cache(model)
    held = 0
    for at in range(0, tokens, step):
        model(mx.zeros((1, min(step, tokens - at)), dtype=mx.int32), cache=caches)
        mx.eval([cache.state for cache in caches])
        held = max(held, sum(cache.nbytes for cache in caches))
    print(held)
"""
SMALL: Config = {
    "vocab_size": 32,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
MLA: Config = {
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "n_routed_experts": None,
    "moe_intermediate_size": 64,
    "n_shared_experts": None,
    "num_experts_per_tok": 1,
    "rope_scaling": {
        "type": "yarn",
        "factor": 1.0,
        "mscale_all_dim": 1,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32,
        "beta_slow": 1,
    },
}
SMALL_MODELS: list[Config] = [
    SMALL | {"model_type": "llama", "num_hidden_layers": 3},
    SMALL
    | {
        "model_type": "gemma3_text",
        "num_hidden_layers": 6,
        "sliding_window": 64,
        "sliding_window_pattern": 3,
        "query_pre_attn_scalar": 16,
    },
    SMALL
    | {
        "model_type": "llama",
        "num_hidden_layers": 4,
        "sliding_window": 100,
        "layer_types": ["full_attention", "sliding_attention"] * 2,
    },
    SMALL | MLA | {"model_type": "deepseek_v3"},
    SMALL | MLA | {"model_type": "deepseek_v2"},
    SMALL
    | {
        "model_type": "qwen3_next",
        "num_hidden_layers": 4,
        "full_attention_interval": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 32,
        "linear_num_value_heads": 4,
        "linear_value_head_dim": 32,
        "linear_conv_kernel_dim": 4,
        "partial_rotary_factor": 0.5,
        "num_experts": 0,
        "num_experts_per_tok": 0,
        "decoder_sparse_step": 1,
        "shared_expert_intermediate_size": 0,
        "mlp_only_layers": [],
        "moe_intermediate_size": 0,
        "norm_topk_prob": False,
    },
]


@pytest.mark.engine
def test_the_engines_own_caches_are_no_larger_than_we_say() -> None:
    pytest.importorskip("mlx_lm", reason="needs the mlx extra")
    runs = [(config, tokens, 128) for config in SMALL_MODELS for tokens in (100, 700)]
    said = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-W", "ignore", "-c", COUNTED_BY_THE_ENGINE],
        input=json.dumps(runs),
        check=True,
        capture_output=True,
        text=True,
    )
    for (config, tokens, step), line in zip(runs, said.stdout.split(), strict=True):
        shape = ModelShape.from_config(config)
        ours, engines = kv_bytes(shape, tokens, prefill_step_tokens=step), int(line)
        assert ours is not None
        assert engines <= ours <= 1.5 * engines + 2**16, (config["model_type"], tokens)


def json_values() -> SearchStrategy[object]:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        ),
        max_leaves=8,
    )


KEYS = sorted(
    {key for family in FAMILIES for key in family}
    | {"text_config", "llm_config", "sliding_window", "layer_types", "sliding_window_pattern"}
    | {"n_layer", "global_head_dim", "index_head_dim"}
)


@given(config=st.dictionaries(st.sampled_from(KEYS), json_values(), max_size=12))
@settings(max_examples=200)
def test_no_json_makes_us_fall(config: Config) -> None:
    shape = ModelShape.from_config(config)
    per_token = kv_bytes_per_token(shape)
    assert per_token is None or per_token >= 0
    assert (kv_bytes(shape, 1000) is None) == (per_token is None)


@given(
    family=st.sampled_from(FAMILIES),
    changed=st.dictionaries(st.sampled_from(KEYS), json_values(), max_size=3),
    tokens=st.integers(0, 10**6),
    more=st.integers(0, 10**5),
)
@settings(max_examples=200)
def test_laws(family: Config, changed: Config, tokens: int, more: int) -> None:
    shape = ModelShape.from_config(family | changed)
    fewer_bytes, more_bytes = kv_bytes(shape, tokens), kv_bytes(shape, tokens + more)
    if fewer_bytes is None or more_bytes is None:
        return
    assert 0 <= fewer_bytes <= more_bytes, "a longer request never takes less"
    assert shape.full_layers is not None
    assert shape.layers == shape.full_layers + shape.window_layers + shape.linear_layers
    assert shape.full_layers >= 0
    all_full = replace(
        shape, full_layers=shape.layers, window_layers=0, linear_layers=0, state_bytes=0
    )
    states_bytes = shape.linear_layers * shape.state_bytes
    full_bytes = kv_bytes(all_full, tokens)
    assert full_bytes is not None
    assert fewer_bytes <= full_bytes + states_bytes, "a window never takes more than full attention"
    per_token = kv_bytes_per_token(shape)
    assert per_token is not None
    assert fewer_bytes >= per_token * tokens, "the marginal cost is a lower bound"
