"""Every call into mlx-lm that the child makes, by name and form: the library is young.

It runs in a process of its own, for importing the library lowers this one's file limit.
"""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.engine

PROGRAM = """
import importlib, inspect, json
import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm import sample_utils, tokenizer_utils, utils
from mlx_lm.models import cache
import mlx_lm
# the package has a function of the same name
generate = importlib.import_module("mlx_lm.generate")
def form(call):
    return list(inspect.signature(call).parameters)
B, T, W = generate.BatchGenerator, generate.TextStateMachine, tokenizer_utils.TokenizerWrapper
calls = {
    "BatchGenerator": B, "insert": B.insert, "next": B.next, "remove": B.remove, "close": B.close,
    "split": T.split, "flush": T.flush, "make_state": T.make_state,
    "make_text_state_machine": generate.make_text_state_machine,
    "load_model": utils.load_model, "load_tokenizer": utils.load_tokenizer,
    "make_sampler": sample_utils.make_sampler,
    "make_logits_processors": sample_utils.make_logits_processors,
    "apply_top_p": sample_utils.apply_top_p, "apply_min_p": sample_utils.apply_min_p,
    "apply_top_k": sample_utils.apply_top_k,
    "rfind_think_start": W.rfind_think_start, "rfind_think_end": W.rfind_think_end,
    "apply_chat_template": W.apply_chat_template, "tree_flatten": tree_flatten,
    "can_trim_prompt_cache": cache.can_trim_prompt_cache,
    "trim_prompt_cache": cache.trim_prompt_cache,
}
told = {name: form(call) for name, call in calls.items()}
told["wrapper"] = [name for name in (
    "has_thinking", "has_tool_calling", "eos_token_ids", "detokenizer", "tool_parser",
    "tool_call_start", "response_initial_state") if isinstance(getattr(W, name), property)]
told["read"] = list(generate.PromptProcessingBatch.Response.__annotations__)
# it may be set between two steps: each one reads it
told["steps"] = [name for name in B._next.__code__.co_names if name == "prefill_step_size"]
told["response"] = list(generate.GenerationBatch.Response.__annotations__)
told["mx"] = [name for name in ("clear_cache", "device_info", "default_device", "eval",
    "get_active_memory", "get_peak_memory", "get_cache_memory", "set_cache_limit",
    "set_wired_limit", "clear_streams") if callable(getattr(mx, name))]
told["random"] = [
    name for name in ("key", "split", "categorical") if callable(getattr(mx.random, name))]
told["version"] = mlx_lm.__version__
print(json.dumps(told))
"""

NEEDED = {
    "BatchGenerator": [
        "model",
        "stop_tokens",
        "completion_batch_size",
        "prefill_batch_size",
        "prefill_step_size",
    ],
    "insert": [
        "prompts",
        "max_tokens",
        "caches",
        "all_tokens",
        "samplers",
        "logits_processors",
    ],
    "next": ["self"],
    "remove": ["uids"],
    "close": ["self"],
    "split": ["state", "text"],
    "flush": ["state"],
    "make_state": ["initial"],
    "make_text_state_machine": ["tokenizer"],
    "load_model": ["model_path", "lazy", "trust_remote_code"],
    "load_tokenizer": ["model_path", "tokenizer_config_extra", "eos_token_ids"],
    "make_sampler": ["temp", "top_p", "min_p", "top_k"],
    "make_logits_processors": ["repetition_penalty", "presence_penalty", "frequency_penalty"],
    "apply_top_p": ["logprobs", "top_p"],
    "apply_min_p": ["logprobs", "min_p"],
    "apply_top_k": ["logprobs", "top_k"],
    "rfind_think_start": ["tokens", "start"],
    "rfind_think_end": ["tokens", "start"],
    "apply_chat_template": ["tokenize", "kwargs"],
    "tree_flatten": ["tree"],
    "response": ["uid", "token", "finish_reason", "prompt_cache", "all_tokens"],
    "read": ["uid", "progress", "end_of_prompt"],
    "can_trim_prompt_cache": ["cache"],
    "trim_prompt_cache": ["cache", "num_tokens"],
    "steps": ["prefill_step_size"],
}
COUNTS = {"wrapper": 7, "mx": 10, "random": 3}


@pytest.fixture(scope="module")
def told() -> dict[str, list[str]]:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", PROGRAM],
        capture_output=True,
        check=True,
        text=True,
        timeout=50,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [*NEEDED])
def test_a_call_takes_what_we_give_it(told: dict[str, list[str]], name: str) -> None:
    assert set(NEEDED[name]) <= set(told[name])


@pytest.mark.parametrize("name", [*COUNTS])
def test_names_that_we_read_are_there(told: dict[str, list[str]], name: str) -> None:
    assert len(told[name]) == COUNTS[name]


def test_the_version_is_the_one_that_was_read(told: dict[str, list[str]]) -> None:
    assert str(told["version"]).startswith("0.32.")
